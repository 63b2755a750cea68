"""Losses and scores against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wengert.data.preprocess import TargetCoding
from wengert.train.metrics import baseline, log_probabilities, measure

CLASSES = TargetCoding("y", "classification", ("a", "b", "c"))
NUMBER = TargetCoding("y", "regression", (), mean=10.0, scale=2.0)


def test_cross_entropy_and_accuracy():
    answers = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]))
    score = measure(answers, np.array([0, 2, 1]), CLASSES)
    assert score.rows == 3
    assert score.score == pytest.approx(2 / 3)
    assert score.loss == pytest.approx(-math.log(0.5 * 0.7 * 0.3) / 3)


def test_an_unknown_class_counts_as_wrong():
    score = measure(np.array([[9.0, 0.0, 0.0]] * 2), np.array([0, -1]), CLASSES)
    assert score.score == 0.5
    assert score.loss < 0.01
    assert math.isnan(measure(np.zeros((1, 3)), np.array([-1]), CLASSES).loss)


def test_log_probabilities_of_huge_answers_are_finite():
    logs = log_probabilities(np.array([[1e4, 0.0, -1e4]], dtype=np.float32))
    assert logs.tolist() == [[0.0, -1e4, -2e4]]


def test_r2_and_the_error_in_the_targets_unit():
    expected = np.array([[-1.0], [0.0], [1.0]])
    score = measure(np.array([[-1.0], [0.0], [0.5]]), expected, NUMBER)
    assert score.loss == pytest.approx(0.25 / 3)
    assert score.score == pytest.approx(1 - 0.25 / 2)
    assert score.error == pytest.approx(2.0 * math.sqrt(0.25 / 3))


def test_r2_of_a_target_that_does_not_vary_is_nan():
    assert math.isnan(measure(np.zeros((2, 1)), np.ones((2, 1)), NUMBER).score)


def test_answers_that_are_not_finite_give_a_loss_that_is_not():
    answers = np.array([[np.inf, np.inf, 0.0]])
    assert not math.isfinite(measure(answers, np.array([0]), CLASSES).loss)


def test_baseline_of_classes_is_the_most_frequent_one():
    expected = np.array([0, 0, 0, 1, 0, 1, 2])
    name, score = baseline(expected, np.arange(4), np.arange(4, 7), CLASSES)
    assert name == "always 'a'"
    assert score.score == pytest.approx(1 / 3)
    shares = np.array([3.0, 1.0, 0.5])
    assert score.loss == pytest.approx(-np.log(shares / shares.sum()).mean())


def test_baseline_of_numbers_is_the_training_mean():
    name, score = baseline(np.array([[1.0], [-1.0]]), np.arange(0), np.arange(2), NUMBER)
    assert name == "the mean, 10"
    assert score.score == 0.0
    assert score.error == 2.0

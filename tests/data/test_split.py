"""Splits: deterministic, stratified, complete."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wengert.data import Target, UserError, split_rows


def classes(counts):
    values = np.repeat(np.arange(len(counts)), counts)
    return Target("y", "classification", tuple(str(i) for i in range(len(counts))), values)


def numbers(rows):
    return Target("y", "regression", (), np.linspace(0.0, 1.0, rows))


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=8).filter(lambda each: sum(each) > 25),
    seed=st.integers(0, 2**63 - 1),
)
def test_each_row_is_in_one_part_and_every_class_is_trained_on(counts, seed):
    target = classes(counts)
    split = split_rows(target, 0.2, 0.2, seed)
    every = np.concatenate([split.train, split.validation, split.test])
    assert sorted(every.tolist()) == list(range(sum(counts)))
    assert set(target.values[split.train]) == set(range(len(counts)))


@pytest.mark.parametrize(
    "target", [classes([100, 40, 60]), numbers(200)], ids=["classes", "numbers"]
)
def test_parts_have_the_shares_asked_for(target):
    split = split_rows(target, 0.1, 0.25, seed=3)
    assert (len(split.train), len(split.validation), len(split.test)) == (130, 20, 50)


def test_classes_keep_their_shares():
    target = classes([100, 40, 60])
    split = split_rows(target, 0.1, 0.25, seed=3)
    assert np.bincount(target.values[split.test]).tolist() == [25, 10, 15]
    assert np.bincount(target.values[split.validation]).tolist() == [10, 4, 6]


def test_many_small_classes_together_get_their_share():
    split = split_rows(classes([3] * 40), 0.1, 0.1, seed=0)
    assert len(split.validation) == 12
    assert len(split.test) == 12


def test_the_seed_decides():
    target = numbers(100)
    first, again, other = (split_rows(target, 0.2, 0.2, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match=r"9 rows with a target: at least 10 are needed"):
        split_rows(numbers(9), 0.2, 0.2, 0)


def test_a_part_without_rows_is_refused():
    with pytest.raises(UserError, match=r"test share of 0\.01 of 20 rows is not one row.*--test"):
        split_rows(numbers(20), 0.2, 0.01, 0)

"""Summaries over rounds."""

import pytest

from wengert.bench.stats import Summary, disagreement, ratios, summarise


def test_quartiles_are_those_of_the_rounds():
    assert summarise([5.0, 1.0, 4.0, 2.0, 3.0]) == Summary(3.0, 2.0, 4.0, 1.0, 5)


def test_one_round_has_no_spread():
    assert summarise([2.0]) == Summary(2.0, 2.0, 2.0, 2.0, 1)


def test_a_finer_minimum_is_kept():
    assert summarise([2.0, 3.0], minimum=1.5).minimum == 1.5


def test_no_rounds_is_an_error():
    with pytest.raises(ValueError, match="no rounds were measured"):
        summarise([])


def test_ratio_is_taken_within_rounds():
    # Both are ten times slower in the second round: the ratio of medians would not be 0.5.
    assert ratios([1.0, 20.0, 2.0], [2.0, 40.0, 4.0]) == Summary(0.5, 0.5, 0.5, 0.5, 3)


def test_ratio_needs_the_same_rounds():
    with pytest.raises(ValueError, match="same rounds, got 2 and 1"):
        ratios([1.0, 2.0], [1.0])


def test_disagreement_is_the_largest_relative_difference():
    assert disagreement([1.0, 2.2, -3.0], [1.0, 2.0, -3.0]) == pytest.approx(0.1)
    assert disagreement([0.5], [0.0]) == 0.5


def test_disagreement_needs_equal_lengths():
    with pytest.raises(ValueError, match="lengths differ, got 1 and 2"):
        disagreement([1.0], [1.0, 2.0])

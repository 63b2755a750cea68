"""Rows in minibatches of one size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wengert.train import minibatches as module
from wengert.train.minibatches import Minibatches
from wengert.train.steps import NO_CLASS


def copied(minibatches, rows):
    return [(x.copy(), y.copy()) for x, y in minibatches.of(rows)]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.data())
def test_minibatches_hold_the_rows_in_order_and_then_rows_that_do_not_count(
    rows, size, batches_at_once, data
):
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    classes = np.arange(50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_BYTES", batches_at_once * size * 3 * 4)
        minibatches = Minibatches(features, classes, size, rows)
    for _ in range(3):
        count = data.draw(st.integers(1, rows))
        order = np.random.default_rng(count).permutation(50)[:count]
        found = copied(minibatches, order)
        assert {len(x) for x, _ in found} == {size}
        assert len(found) == -(-count // size)
        assert np.array_equal(np.concatenate([x for x, _ in found])[:count], features[order])
        targets = np.concatenate([y for _, y in found])
        assert targets[:count].tolist() == order.tolist()
        assert set(targets[count:].tolist()) <= {NO_CLASS}


def test_numbers_are_filled_up_with_nan():
    numbers = np.arange(5, dtype=np.float32)[:, None]
    (_, expected), *_ = copied(Minibatches(np.ones((5, 2), np.float32), numbers, 3, 2), [4, 1])
    np.testing.assert_array_equal(expected, [[4.0], [1.0], [np.nan]])


def test_minibatches_are_the_same_views_at_each_pass():
    minibatches = Minibatches(np.ones((6, 2), np.float32), np.arange(6), 2, 6)
    first, second = (list(minibatches.of(np.arange(6))) for _ in range(2))
    assert all(x is a and y is b for (x, y), (a, b) in zip(first, second, strict=True))


def test_rows_that_are_held_are_not_copied_again_unless_others_came_between(monkeypatch):
    minibatches = Minibatches(np.ones((6, 2), np.float32), np.arange(6), 2, 6)
    some, others = np.array([5, 0, 3]), np.array([1, 2])
    before = copied(minibatches, some)
    monkeypatch.setattr(np, "take", lambda *_, **__: pytest.fail("it copied"))
    assert str(copied(minibatches, some)) == str(before)
    monkeypatch.undo()
    copied(minibatches, others)
    assert str(copied(minibatches, some)) == str(before)


def test_a_pass_that_was_not_finished_is_not_taken_for_held():
    minibatches = Minibatches(np.ones((6, 2), np.float32), np.arange(6), 2, 6)
    some, others = np.arange(6), np.array([3, 3, 3])
    copied(minibatches, some)
    next(minibatches.of(others))
    assert [y.tolist() for _, y in minibatches.of(some)] == [[0, 1], [2, 3], [4, 5]]

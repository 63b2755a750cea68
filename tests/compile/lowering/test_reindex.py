"""Index spaces expressed in one another."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wengert.compile.emit.arrays import Buffer, Strided, dense
from wengert.compile.lowering.reindex import reindex

FLOAT = np.dtype(np.float64)


def elements(view, memory):
    """Return what a view shows of some memory."""
    index = np.full(view.shape, view.offset)
    for axis, (n, step) in enumerate(zip(view.shape, view.strides, strict=True)):
        shape = [1] * len(view.shape)
        shape[axis] = n
        index = index + step * np.arange(n).reshape(shape)
    return memory[index]


@st.composite
def views(draw):
    """Return an array and a view of it, made by the steps that lowerings make."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    target = dense(Buffer(8 * int(np.prod(shape))), shape, FLOAT)
    order = draw(st.permutations(range(len(shape))))
    lengths, strides = [shape[i] for i in order], [target.strides[i] for i in order]
    offset = 0
    for axis, n in enumerate(lengths):
        step = draw(st.sampled_from([1, 1, 2, -1]))
        first = draw(st.integers(0, n - 1)) if step > 0 else n - 1
        places = range(first, n, step) if step > 0 else range(first, -1, step)
        offset += first * strides[axis]
        lengths[axis], strides[axis] = len(places), step * strides[axis]
    if draw(st.booleans()):
        place = draw(st.integers(0, len(lengths)))
        lengths.insert(place, draw(st.integers(1, 3)))
        strides.insert(place, 0)
    return target, target.with_axes(lengths, strides, offset)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(views(), st.integers(0, 1000))
def test_other_arrays_are_seen_at_the_same_places(pair, seed):
    target, view = pair
    through = reindex(view, target)
    assert through is not None
    rng = np.random.default_rng(seed)
    # Another array over the space of the target, laid out differently.
    steps = np.cumprod([1, *[n + 1 for n in target.shape]])[:-1]
    other = Strided(Buffer(0), FLOAT, target.shape, tuple(int(s) for s in steps), 3)
    memory = rng.permutation(10_000).astype(float)
    seen = through(other)
    assert seen is not None
    flat = elements(other, memory).reshape(-1)
    wanted = flat[elements(view, np.arange(target.size))]
    np.testing.assert_array_equal(elements(seen, memory), wanted)


def test_axes_that_were_merged_are_taken_apart():
    target = dense(Buffer(8 * 24), (4, 6), FLOAT)
    through = reindex(target.with_axes((24,), (1,)), target)
    assert through is not None
    assert through(target) == target.with_axes((24,), (1,))
    padded = Strided(Buffer(0), FLOAT, (4, 6), (16, 1))
    assert through(padded) is None


def test_what_jumps_over_an_edge_is_refused():
    target = dense(Buffer(8 * 24), (4, 6), FLOAT)
    assert reindex(target.with_axes((3,), (5,)), target) is None
    assert reindex(target.with_axes((4,), (1,), 4), target) is None


def test_an_array_that_is_repeated_in_memory_is_no_target():
    view = dense(Buffer(8 * 4), (2, 2), FLOAT)
    assert reindex(view, view.with_axes((2, 2), (1, 1))) is None


def test_an_array_whose_rows_interlock_is_seen_through_as_long_as_no_two_places_are_one():
    target = Strided(Buffer(0), FLOAT, (4, 2, 2), (9, 6, 2))
    back = target.with_axes((2, 4), (-6, 9), 6)
    through = reindex(back, target)
    assert through is not None
    assert through(target) == back
    assert reindex(back, Strided(Buffer(0), FLOAT, (4, 2, 2), (8, 6, 2))) is None

"""Indexing, compared with NumPy's over keys that hypothesis makes up."""

from __future__ import annotations

import hypothesis.extra.numpy as nps
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import wengert as wg
from tests.tensor.shared import array, leaf
from wengert import ShapeError, TracerError

SHAPES = nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbers(shape):
    return np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape)


def check(a, key, tensor_key=None):
    """Compare value, gradient and, unless a mask decides the shape, the traced shape with NumPy."""
    key_of_ours = key if tensor_key is None else tensor_key
    expected = a[key]
    x = wg.tensor(a, requires_grad=True)
    found = x[key_of_ours]
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(array(found), expected)
    weights = np.cos(numbers(expected.shape))
    wg.sum(found * weights).backward()
    wanted = np.zeros_like(a)
    np.add.at(wanted, key, weights)
    np.testing.assert_allclose(array(x.grad), wanted, rtol=1e-14)
    tangent = wg.jvp(lambda x: x[key_of_ours], (a,), (np.sin(a),))[1]
    np.testing.assert_array_equal(array(tangent), np.sin(a)[key])


def check_traced(a, key):
    graph = wg.trace(lambda x: x[key])(a)
    wg.verify(graph)
    np.testing.assert_array_equal(graph(a)[0], a[key])
    lanes = np.stack([a, 2 * a])
    made = wg.vmap(lambda x: x[key])(lanes)
    np.testing.assert_array_equal(array(made), np.stack([a[key], 2 * a[key]]))


@settings(max_examples=200)
@given(st.data())
def test_basic(data):
    shape = data.draw(SHAPES)
    a = numbers(shape)
    key = data.draw(nps.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    check(a, key)
    check_traced(a, key)


@settings(max_examples=100)
@given(st.data())
def test_integer_arrays(data):
    shape = data.draw(nps.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    a = numbers(shape)
    key = data.draw(
        nps.integer_array_indices(shape, result_shape=SHAPES.filter(lambda s: len(s) < 4))
    )
    check(a, key)
    check(a, key, tuple(wg.tensor(k) for k in key))
    check_traced(a, key)


@settings(max_examples=150)
@given(st.data())
def test_integers_arrays_and_slices_together(data):
    shape = data.draw(nps.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4))
    a = numbers(shape)
    result = data.draw(nps.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    parts = []
    for length in shape[: data.draw(st.integers(1, len(shape)))]:
        kind = data.draw(st.sampled_from(["integer", "slice", "array", "list"]))
        if kind == "integer":
            parts.append(data.draw(st.integers(-length, length - 1)))
        elif kind == "slice":
            parts.append(data.draw(st.slices(length)))
        else:
            index = data.draw(
                nps.arrays(np.int64, result, elements=st.integers(-length, length - 1))
            )
            parts.append(index if kind == "array" or index.size == 0 else index.tolist())
    for _ in range(data.draw(st.integers(0, 2))):
        parts.insert(data.draw(st.integers(0, len(parts))), None)
    key = tuple(parts)
    check(a, key)
    check_traced(a, key)


@settings(max_examples=100)
@given(st.data())
def test_masks(data):
    shape = data.draw(nps.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    a = numbers(shape)
    axes = data.draw(st.integers(1, len(shape)))
    mask = data.draw(nps.arrays(bool, shape[:axes]))
    check(a, mask)
    check(a, mask, wg.tensor(mask))
    if axes < len(shape):
        rest = data.draw(nps.basic_indices(shape[axes:], allow_newaxis=False, allow_ellipsis=False))
        rest = rest if isinstance(rest, tuple) else (rest,)
        if all(isinstance(part, slice) for part in rest):
            check(a, (mask, *rest), (wg.tensor(mask), *rest))


CASES = {
    "nothing": ((3,), ()),
    "ellipsis of 0-d": ((), ...),
    "new axis of 0-d": ((), None),
    "mask of 0-d": ((), np.array(True)),
    "numpy integer": ((3,), np.int64(-1)),
    "numpy 0-d array": ((3, 2), np.array(1)),
    "bool of 0-d": ((2, 2), np.array([[True, False], [False, True]])),
    "backwards": ((5,), slice(None, None, -1)),
    "backwards by two": ((5, 4), (slice(4, None, -2), slice(-1, -4, -2))),
    "past the end": ((3,), slice(1, 100)),
    "nothing left": ((3,), slice(2, 1)),
    "ellipsis in the middle": ((2, 3, 4), (0, ..., 1)),
    "ellipsis for no axis": ((2, 3), (0, ..., 1)),
    "new axes": ((2, 3), (None, 0, None, slice(None), None)),
    "integer beside an array": ((2, 3, 4), (0, slice(None), [1, 2])),
    "arrays apart": ((2, 3, 4), ([0, 1], slice(None), [1, 2])),
    "arrays together": ((2, 3, 4), (slice(None), [0, 1], [1, 2])),
    "arrays that broadcast": ((3, 4), ([[0], [2]], [1, 3])),
    "same element often": ((3,), [1, 1, 1, -2]),
    "no element": ((3, 2), np.zeros(0, np.int64)),
    "mask and array": ((3, 4), (np.array([True, False, True]), [0, 3])),
    "unsigned": ((3,), np.array([2, 0], np.uint8)),
}


@pytest.mark.parametrize(("shape", "key"), CASES.values(), ids=CASES)
def test_particular_keys(shape, key):
    check(numbers(shape), key)


def test_key_of_python_booleans_is_a_mask():
    a = numbers((2, 3))
    check(a, [True, False])
    check(a, (slice(None), [True, False, True]))


def test_tensors_in_keys():
    x = wg.tensor(numbers((3, 4)))
    i = wg.tensor(2)
    np.testing.assert_array_equal(array(x[i]), numbers((3, 4))[2])
    np.testing.assert_array_equal(array(x[i, 1:]), numbers((3, 4))[2, 1:])
    np.testing.assert_array_equal(array(x[:, wg.argmax(x, axis=1)]), numbers((3, 4))[:, [3, 3, 3]])
    np.testing.assert_array_equal(array(x[x > 5]), numbers((3, 4)).ravel()[5:])
    with pytest.raises(TypeError, match=r"index must be an integer or a mask, got float32"):
        x[wg.tensor(1.0)]


def test_traced_index():
    f = lambda x, i: x[i, 1:] * x[0, i]  # noqa: E731
    a = numbers((3, 4))
    graph = wg.trace(f)(a, wg.tensor(2))
    np.testing.assert_array_equal(graph(a, np.array(2))[0], a[2, 1:] * a[0, 2])
    np.testing.assert_array_equal(graph(a, np.array(1))[0], a[1, 1:] * a[0, 1])
    rows = wg.vmap(f, in_axes=(None, 0))(a, wg.tensor([2, 0]))
    np.testing.assert_array_equal(array(rows), [a[2, 1:] * a[0, 2], a[0, 1:] * a[0, 0]])


def test_shape_that_depends_on_values_cannot_be_traced():
    with pytest.raises(TracerError, match=r"boolean mask.*wg\.where"):
        wg.trace(lambda x: x[x > 0])(wg.ones(3))
    mask = np.array([True, False, True])
    assert wg.trace(lambda x: x[mask])(wg.ones(3)).outputs[0].shape == (2,)


BAD = {
    "out of range": ((3,), 3, r"3.*(3,|length 3|size 3)"),
    "out of range below": ((3,), -4, "-4"),
    "array out of range": ((3,), [0, 5], "5"),
    "too many": ((3,), (0, 0), r"indices.*\(3,\)"),
    "two ellipses": ((3, 3), (..., ...), r"only one '\.\.\.'"),
    "float": ((3,), 1.0, "integer"),
    "text": ((3,), "a", "integer|str"),
    "wrong mask": ((3,), np.array([True, False]), r"\(2,\)|2.*3"),
    "arrays that do not broadcast": ((3, 3), ([0, 1], [0, 1, 2]), r"\(2,\).*\(3,\)"),
    "step zero": ((3,), slice(None, None, 0), "zero"),
}


@pytest.mark.parametrize(("shape", "key", "match"), BAD.values(), ids=BAD)
def test_bad_keys(shape, key, match):
    with pytest.raises((IndexError, ShapeError, TypeError, ValueError), match=match):
        wg.ones(shape)[key]


@pytest.mark.parametrize(
    ("shape", "of_index", "axis"),
    [((3, 4), (1, 4), 1), ((3, 4), (3, 1), 0), ((1, 4), (3, 2), 1), ((2, 1, 4), (1, 3, 5), -1)],
)
def test_take_along_axis_broadcasts_beside_the_axis(shape, of_index, axis):
    x = numbers(shape)
    index = np.random.default_rng(0).integers(-x.shape[axis], x.shape[axis], of_index)
    beside = [list(shape), list(of_index)]
    beside[0][axis] = beside[1][axis] = 1
    common = np.broadcast_shapes(*map(tuple, beside))
    wide = [list(common), list(common)]
    wide[0][axis], wide[1][axis] = shape[axis], of_index[axis]
    wanted = np.take_along_axis(np.broadcast_to(x, wide[0]), np.broadcast_to(index, wide[1]), axis)
    for function in (wg.take_along_axis, wg.compile(wg.take_along_axis, threads=1)):
        np.testing.assert_array_equal(function(wg.asarray(x), wg.asarray(index), axis), wanted)


def test_assignment_out_of_range_says_so():
    x = wg.ones((2, 2))
    for key in ([0, 5], wg.tensor([0, 5]), (0, np.array([-3]))):
        with pytest.raises(IndexError, match=r"slice_set: index .* out of bounds .*test_indexing"):
            x[key] = 0.0
    assert x.tolist() == [[1, 1], [1, 1]]


def test_index_out_of_range_is_an_index_error():
    for key in (3, -4, [0, 5]):
        with pytest.raises(IndexError, match=r"test_indexing.py:\d+"):
            wg.ones(3)[key]
    with pytest.raises(IndexError):
        wg.take(wg.ones(3), wg.tensor([0, 7]))


def test_loop_over_elements_is_linear():
    x = leaf(*range(3000))
    total = wg.tensor(0.0, dtype=wg.float64)
    for i in range(3000):
        total = total + x[i] * float(i)
    total.backward()
    assert array(x.grad).tolist() == list(range(3000))

"""Assignments to parts write into the buffer where nobody else sees it: filling is linear."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, leaf
from wengert import ShapeError


def address(t):
    return t._variable.value.ctypes.data


KEYS = {
    "element": (1, 2),
    "row": 1,
    "slice": slice(0, 1),
    "steps": (slice(None), slice(None, None, 2)),
    "reversed": (slice(None, None, -1), slice(2, 0, -1)),
    "ellipsis": (..., 0),
    "new axis": (None, 1),
    "everything": ...,
    "mask": np.array([[True, False, True], [False, False, True]]),
    "mask of rows": np.array([False, True]),
    "tensor mask": wg.tensor([True, False]),
    "integers": [1, 0],
    "pairs": ([0, 1], wg.tensor([2, 0])),
    "new axis and integers": (None, [1, 0]),
    "empty": slice(0, 0),
    "nothing true": np.zeros((2, 3), bool),
}
DTYPES = [np.float32, np.int64, np.bool_]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_assignment_writes_into_the_buffer(key, dtype):
    start = np.arange(6).reshape(2, 3).astype(dtype)
    t, expected = wg.tensor(start), start.copy()
    plain = key
    if isinstance(key, wg.Tensor):
        plain = array(key)
    elif isinstance(key, tuple):
        plain = tuple(array(k) if isinstance(k, wg.Tensor) else k for k in key)
    before = address(t)
    for value in (1, np.ones((1, 1), dtype)):
        t[key] = value
        expected[plain] = 1
        assert address(t) == before
        np.testing.assert_array_equal(array(t), expected)


def test_filling_a_tensor_keeps_its_buffer():
    t = wg.zeros(100)
    before = address(t)
    for i in range(1, 100):
        t[i] = t[i - 1] + 1
    assert address(t) == before
    assert t.tolist() == list(range(100))
    rows = wg.ones((50, 2))
    before = address(rows)
    for i in range(1, 50):
        rows[i] = rows[i - 1]
        rows[i] = rows[i - 1] * 2.0
    assert address(rows) == before
    assert rows[:3].tolist() == [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]


def test_a_part_that_is_held_is_not_written():
    t = wg.tensor([1.0, 2.0, 3.0])
    part = t[:2]
    t[1:] = part
    assert (t.tolist(), part.tolist()) == ([1.0, 1.0, 2.0], [1.0, 2.0])
    rows = wg.tensor([[1.0], [2.0], [3.0]])
    row = rows[0]
    rows[1] = row
    rows[0] = 9.0
    assert (rows.tolist(), row.tolist()) == ([[9.0], [1.0], [3.0]], [1.0])
    picked = wg.tensor([1.0, 2.0, 3.0])
    picked[[2, 1, 0]] = picked[:]
    assert picked.tolist() == [3.0, 2.0, 1.0]
    exported = wg.tensor([1.0, 2.0, 3.0])
    seen = exported.numpy()
    exported[[2, 1, 0]] = seen
    assert seen.tolist() == [3.0, 2.0, 1.0]
    exported[[1, 2]] = exported[:2]
    assert seen.tolist() == [3.0, 3.0, 2.0]


@pytest.mark.parametrize("start", ["plain", "result"])
def test_filling_with_recorded_values_keeps_the_buffer(start):
    x = leaf(*range(1, 9))
    table = wg.zeros(8, dtype=wg.float64) if start == "plain" else x + 1.0
    before = address(table)
    for i in range(8):
        table[i] = x[i] * x[i]
    assert address(table) == before
    assert not table.is_leaf
    (table * table).sum().backward()
    np.testing.assert_allclose(array(x.grad), 4 * np.arange(1.0, 9.0) ** 3)


def test_filling_what_a_derivative_needs_copies_once():
    x = leaf(1.0, 2.0)
    h = wg.exp(x)
    before = address(h)
    h[0] = x[0]
    between = address(h)
    h[1] = x[1] * 3.0
    assert before != between == address(h)
    h.sum().backward(create_graph=True)
    assert x.grad.tolist() == [1.0, 3.0]
    h = wg.exp(x)
    loss = (h * h).sum()
    h[0] = x[0]
    x.grad = None
    (loss + h.sum()).backward()
    np.testing.assert_allclose(array(x.grad), [2 * np.e**2 + 1, 2 * np.e**4 + np.e**2])


def test_filling_under_hooks_and_twice_back():
    x = leaf(1.0, 2.0)
    h, seen = x + 0.0, []
    h.register_hook(lambda g: seen.append(g.tolist()))
    h[0] = x[1] ** 2
    loss = (h * h).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert seen == [[0.0, 4.0]] * 2
    assert x.grad.tolist() == [0.0, 2 * (4.0 + 4 * 8.0)]
    assert wg.hessian(_filled)(leaf(1.0, 2.0).detach()).tolist() == [[12.0, 0.0], [0.0, 2.0]]


def _filled(x):
    table = wg.zeros(2, dtype=wg.float64)
    table[0] = x[0] * x[0]
    table[1] = x[1]
    return (table * table).sum()


def test_filling_in_transforms_and_traces():
    x = wg.tensor([1.0, 2.0], dtype=wg.float64)
    assert wg.grad(_filled)(x).tolist() == [4.0, 4.0]
    assert wg.vmap(wg.grad(_filled))(wg.stack([x, 2.0 * x])).tolist() == [[4.0, 4.0], [32.0, 8.0]]
    assert wg.jvp(_filled, (x,), (wg.ones_like(x),))[1].item() == 8.0
    assert float(wg.trace(_filled)(x)(np.array([1.0, 2.0]))[0]) == 5.0


def test_a_leaf_is_filled_under_no_grad():
    w = leaf(1.0, 2.0, 3.0)
    before = address(w)
    with wg.no_grad():
        w[0] = 5.0
        w[wg.tensor([False, True, True])] = 7.0
    assert address(w) == before
    assert w.is_leaf
    (w * w).sum().backward()
    assert w.grad.tolist() == [10.0, 14.0, 14.0]


def test_what_does_not_fit_is_refused_as_a_whole():
    t = wg.zeros((2, 3))
    before = address(t)
    for key, shape in ((0, (2,)), (([0, 1], [1, 2]), (3,)), (slice(None), (2, 2, 3))):
        with pytest.raises(ShapeError, match=r"assignment: (an array of shape|shapes)"):
            t[key] = wg.ones(shape)
    with pytest.raises(IndexError, match="5"):
        t[[0, 5]] = 1.0
    assert t.tolist() == [[0.0] * 3] * 2
    assert address(t) == before

"""Python numbers in compiled functions: what they are eagerly, to the dtype and the bit."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array

pytest.importorskip("llvmlite")

SINGLE = np.array([0.1, 2.5, -3.7], np.float32)
DOUBLE = SINGLE.astype(np.float64) / 3

FUNCTIONS = {
    "number": lambda x: x,
    "operator": lambda x: x * 2,
    "arithmetic": lambda x: (1.0 - x) / 3 + x**2 - x**0.5 + 2**x - (-x) + abs(-x),
    "square": lambda x: wg.tensor(DOUBLE) * (x**2 * 0.1),
    "function": lambda x: wg.exp(x),  # noqa: PLW0108  (a function of its own)
    "binary function": lambda x: wg.multiply(x, 3.3),
    "negative": lambda x: wg.negative(x),  # noqa: PLW0108
    "power": lambda x: wg.pow(x, 2),
    "sum": lambda x: wg.sum(x * 3.3),
    "function, then double": lambda x: wg.multiply(x, 3.3) + wg.tensor(DOUBLE),
    "single": lambda x: wg.tensor(SINGLE) * (x * 3.3),
    "double": lambda x: wg.tensor(DOUBLE) * (x * 3.3) - x,
    "integers": lambda x: wg.arange(3) * x,
    "integers plus": lambda x: x * 3 + wg.arange(3, dtype=wg.int32),
    "bool": lambda x: wg.tensor([True, False]) * x,
    "comparison": lambda x: wg.tensor(SINGLE) > x,
    "where": lambda x: wg.where(wg.tensor(SINGLE) > 0, 1.0, x),
    "where double": lambda x: wg.where(wg.tensor(SINGLE) > 0, x, wg.tensor(DOUBLE)),
    "maximum": lambda x: wg.maximum(wg.tensor(SINGLE), x),
    "maximum of numbers": lambda x: wg.maximum(1.0, x),
    "stack": lambda x: wg.stack([x, x * 2]),
    "tensor": lambda x: wg.tensor(x) * 2,
    "asarray": lambda x: wg.asarray(x * 1.1),
    "astype": lambda x: wg.astype(x, wg.float64),
    "full": lambda x: wg.full((2,), x) * 2,
    "full double": lambda x: wg.full((2,), x, wg.float64),
    "item assignment": lambda x: _with_item(wg.tensor(DOUBLE), x),
    "in place": lambda x: wg.tensor(DOUBLE).add_(x, alpha=0.1).mul_(x),
    "rebound": lambda x: _rebound(x),  # noqa: PLW0108
    "container": lambda x: {"a": x, "b": (x + 1, wg.exp(x))},
    "gradient": wg.grad(lambda z: z * z * 0.1),
    "gradient by another": lambda x: wg.grad(lambda z: wg.sum(z * x))(wg.tensor(SINGLE)),
    "tie": lambda x: wg.grad(lambda z: wg.sum(wg.maximum(z, x)))(wg.tensor([0.1, 3.7])),
    "vmap": lambda x: wg.vmap(lambda z: z * x)(wg.tensor(SINGLE)),
    "checkpoint": lambda x: wg.checkpoint(lambda z: z * (x * 3.3))(wg.tensor(SINGLE)),
}


def _with_item(t, x):
    t[1] = x
    return t


def _rebound(x):
    before = x
    x += 1.5
    x *= 2
    x //= 0.5
    x %= 7
    x **= 2
    return before, x


def described(tree):
    """Return what is compared: types of numbers, dtypes and bits of arrays."""
    if isinstance(tree, dict):
        return {key: described(value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map(described, tree))
    if isinstance(tree, wg.Tensor | np.ndarray | np.generic):
        values = array(tree)
        return values.dtype, values.shape, values.tolist()
    return type(tree), tree


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_number_is_what_it_is_eagerly(name, double):
    f = FUNCTIONS[name]
    try:
        if double:
            wg.set_default_dtype(wg.float64)
        compiled = wg.compile(f)
        for number in (0.1, 3.7, 2, True):
            if isinstance(number, bool | int) and ("gradient" in name or name == "tie"):
                continue
            if isinstance(number, bool) and name in {"arithmetic", "negative"}:
                continue
            found, expected = described(compiled(number)), described(f(number))
            if name in {"function", "container", "arithmetic", "square"}:
                np.testing.assert_equal(dtypes(found), dtypes(expected))
                continue
            assert found == expected, number
    finally:
        wg.set_default_dtype(wg.float32)


def dtypes(tree):
    """Return the types and dtypes alone: library functions may differ in the last place."""
    if isinstance(tree, dict):
        return {key: dtypes(value) for key, value in tree.items()}
    return tree[0] if isinstance(tree[0], type | np.dtype) else tuple(map(dtypes, tree))


def test_a_setting_must_be_a_plain_number():
    f = wg.compile(lambda x, slope: wg.leaky_relu(x, slope) * 1)
    with pytest.raises(wg.TracerError, match=r"plain number .*input 'slope'.*numbers.py:\d+"):
        f(wg.ones(2), 0.1)


STRONG = [np.float32(0.1), np.float64(0.1), np.int32(3), np.int64(-2), np.bool_(True), SINGLE]


@pytest.mark.parametrize("value", STRONG, ids=lambda v: f"{v.dtype}{v.shape}")
def test_numpy_values_are_strong(value):
    for f in (
        lambda x: wg.tensor(SINGLE) * x,
        lambda x: wg.tensor(DOUBLE) + x,
        lambda x: wg.arange(3) + x,
        lambda x: wg.multiply(x, 2),
        wg.sum,
        lambda x: x,
    ):
        assert described(wg.compile(f)(value)) == described(f(value))


def test_two_numbers_of_other_kinds():
    f = lambda a, b, x: a * b + x  # noqa: E731
    for a in (0.1, 3, np.float32(0.1), np.float64(0.1), True):
        compiled = wg.compile(f)
        for b in (0.7, 2, np.float64(0.7)):
            for x in (SINGLE, DOUBLE):
                expected = f(a, b, wg.tensor(x))
                assert described(compiled(a, b, wg.tensor(x))) == described(expected)

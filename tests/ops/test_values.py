"""Values and slopes at ordinary, tiny and huge points, against mpmath at fifty digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from tests.ops.checks import SATURATING
from tests.ops.running import public_functions, reverse, values, variables

ops = public_functions()
mpmath.mp.dps = 50

SIZES = (1e-300, 1e-30, 1e-12, 1e-6, 1e-3, 0.1, 0.5, 1.0, 1.7, 3.0, 6.0, 12.0, 20.0, 36.0, 80.0)
HUGE = (300.0, 700.0, 750.0, 1e4, 1e9, 1e15, 1e300)
BOTH = tuple(s * x for x in (*SIZES, *HUGE) for s in (1, -1))
POSITIVE = (*SIZES, *HUGE)


def sigmoid(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-x)) if x > -1e5 else mpmath.mpf(0)


def softplus(x: mpmath.mpf) -> mpmath.mpf:
    return x + softplus(-x) if x > 0 else mpmath.log1p(mpmath.exp(x)) if x > -1e5 else mpmath.mpf(0)


def exp(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.exp(x) if abs(x) < 1e5 else mpmath.mpf("inf" if x > 0 else 0)


def tanh(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.tanh(x) if abs(x) < 1e5 else mpmath.sign(x)


# name: the function, its derivative, the points
FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[float, ...]]] = {
    "exp": (exp, exp, BOTH),
    "expm1": (lambda x: mpmath.expm1(x) if abs(x) < 1e5 else exp(x) - 1, exp, BOTH),
    "log": (mpmath.log, lambda x: 1 / x, POSITIVE),
    "log1p": (mpmath.log1p, lambda x: 1 / (1 + x), (*POSITIVE, -1e-300, -1e-9, -0.1, -0.999)),
    "sqrt": (mpmath.sqrt, lambda x: 1 / (2 * mpmath.sqrt(x)), POSITIVE),
    "sin": (mpmath.sin, mpmath.cos, BOTH),
    "cos": (mpmath.cos, lambda x: -mpmath.sin(x), BOTH),
    "tanh": (tanh, lambda x: mpmath.sech(x) ** 2 if abs(x) < 1e5 else mpmath.mpf(0), BOTH),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x), BOTH),
    "softplus": (softplus, sigmoid, BOTH),
    "erf": (mpmath.erf, lambda x: 2 / mpmath.sqrt(mpmath.pi) * exp(-x * x), BOTH),
}


def rounded(numbers: list[Any], dtype: Any) -> np.ndarray:
    """Return the numbers as `dtype`; beyond its range they are infinite, as in IEEE arithmetic."""
    with np.errstate(over="ignore", under="ignore"):
        return np.array([float(n) for n in numbers]).astype(dtype)


def points(name: str, dtype: Any) -> np.ndarray:
    x = np.array(FUNCTIONS[name][2])
    limits = np.finfo(dtype)
    return x[(np.abs(x) < limits.max) & (np.abs(x) > limits.tiny)].astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name: str, dtype: Any) -> None:
    x = points(name, dtype)
    wanted = rounded([FUNCTIONS[name][0](mpmath.mpf(float(v))) for v in x], dtype)
    (found,) = values([getattr(ops, name)(*variables([x]))])
    assert found.dtype == dtype
    limits = np.finfo(dtype)
    np.testing.assert_allclose(found, wanted, rtol=4 * limits.eps, atol=2 * limits.tiny)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes(name: str) -> None:
    x = points(name, np.float64)
    wanted = rounded([FUNCTIONS[name][1](mpmath.mpf(float(v))) for v in x], np.float64)
    function = getattr(ops, name)
    (found,) = values(
        reverse(lambda xs: (function(*xs),), variables([x]), variables([np.ones_like(x)]))
    )
    floor = 4 * np.finfo(np.float64).eps if name in SATURATING else 1e-300
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=floor)


VECTORS = [
    [0.5],
    [0.1, 0.2, -0.3],
    [1000.0, 1000.0],
    [-1000.0, -1001.0],
    [1e300, 1.0],
    [-1e300, 1e-300],
    [1e-300, 1e-300],
    [700.0, 710.0, -700.0],
    [-800.0, 0.0, 1e-12],
]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_logsumexp(vector: list[float]) -> None:
    numbers = [mpmath.mpf(v) for v in vector]
    top = max(numbers)
    terms = [mpmath.exp(n - top) if n - top > -1e5 else mpmath.mpf(0) for n in numbers]
    total = mpmath.fsum(terms)
    xs = variables([np.array(vector)])
    (found,) = values([ops.logsumexp(*xs)])
    np.testing.assert_allclose(found, float(top + mpmath.log(total)), rtol=1e-15, atol=1e-16)
    (slopes,) = values(reverse(lambda v: (ops.logsumexp(*v),), xs, variables([np.ones(())])))
    np.testing.assert_allclose(slopes, [float(t / total) for t in terms], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    ("x", "y"),
    [(2.0, 0.5), (1e-5, 3.5), (1e5, -3.5), (0.999, 1e5), (1.0, 1e300), (7.0, 0.0), (1e-300, 1.0)],
)
def test_pow(x: float, y: float) -> None:
    base, power = mpmath.mpf(x), mpmath.mpf(y)
    xs = variables([np.array(x), np.array(y)])
    value = base**power
    (found,) = values([ops.power(*xs)])
    np.testing.assert_allclose(found, float(value), rtol=1e-12)
    slopes = values(reverse(lambda v: (ops.power(*v),), xs, variables([np.ones(())])))
    wanted = [float(power * base ** (power - 1)), float(value * mpmath.log(base))]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-12)


def test_special_values_are_as_ieee_says() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0])
    table = {
        "exp": [np.inf, 0, np.nan, 1, 1],
        "expm1": [np.inf, -1, np.nan, 0.0, -0.0],
        "log": [np.inf, np.nan, np.nan, -np.inf, -np.inf],
        "log1p": [np.inf, np.nan, np.nan, 0.0, -0.0],
        "sqrt": [np.inf, np.nan, np.nan, 0.0, -0.0],
        "sin": [np.nan, np.nan, np.nan, 0.0, -0.0],
        "cos": [np.nan, np.nan, np.nan, 1, 1],
        "tanh": [1, -1, np.nan, 0.0, -0.0],
        "sigmoid": [1, 0, np.nan, 0.5, 0.5],
        "softplus": [np.inf, 0, np.nan, np.log(2), np.log(2)],
        "erf": [1, -1, np.nan, 0.0, -0.0],
    }
    assert set(table) == set(FUNCTIONS)
    for name, wanted in table.items():
        (found,) = values([getattr(ops, name)(*variables([x]))])
        np.testing.assert_array_equal(found, wanted, err_msg=name)
        np.testing.assert_array_equal(np.signbit(found[3:]), np.signbit(wanted[3:]), err_msg=name)

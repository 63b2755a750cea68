"""Powers of one known exponent are products, reciprocals and roots, nearly as exact as powers."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp

import wengert as wg
from tests.compile.elementary.references import BOUNDS, extremes
from tests.compile.programs import F, compiled, graph_of, in_units, reference, same_bits
from wengert.compile.plan import make_plan

pytestmark = pytest.mark.usefixtures("every_processor")

EXPONENTS = [0, 1, 2, 3, 4, -1, 0.5, -0.5]
OTHERS = [5, 7, 31, 32, 33, -2, -3, -32, 1.5, 2.5]
floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def numbers(dtype):
    rng = np.random.default_rng(0)
    some = np.exp2(rng.uniform(-40, 40, 500)).astype(dtype)
    near = rng.uniform(0.5, 2.0, 500).astype(dtype)
    return np.concatenate([some, near, -near, -some])


def errors(exponent, x, y):
    """Return the errors of ``y = x ** exponent``, in units in the last place of the exact power."""
    with mp.workprec(300):
        exact = [mp.mpf(v) ** mp.mpf(exponent) for v in x.tolist()]
        found = [
            abs(mp.mpf(v) - e) / mp.mpf(float(np.spacing(np.abs(w))))
            for v, w, e in zip(y.tolist(), y, exact, strict=True)
        ]
    return np.array(found, float)


def power(exponent, x, shape=()):
    known = np.full(shape, exponent, x.dtype)
    graph = graph_of(lambda v: F.power(v, known), x)
    return compiled(graph, [x])[0], reference(graph, [x])[0]


@floats
@pytest.mark.parametrize("exponent", EXPONENTS + OTHERS)
def test_errors_are_small(exponent, dtype):
    x = numbers(dtype)
    if not float(exponent).is_integer():
        x = np.abs(x)
    actual, _ = power(exponent, x)
    normal = np.isfinite(actual) & (np.abs(actual) >= np.finfo(dtype).tiny)
    assert normal.sum() > 100
    assert errors(exponent, x[normal], actual[normal]).max() <= BOUNDS[np.dtype(dtype)]


@floats
@pytest.mark.parametrize("exponent", [*EXPONENTS, *OTHERS, np.inf, -np.inf, np.nan])
def test_special_values_are_those_of_numpy(exponent, dtype):
    sizes = np.array([0.0, 0.5, 3.0, np.inf, np.nan], dtype)
    x = np.concatenate([sizes, -sizes, extremes(dtype)])
    actual, wanted = power(exponent, x)
    exact = ~np.isfinite(wanted) | (wanted == 0)
    np.testing.assert_array_equal(actual[exact], wanted[exact])
    for values in power(exponent, x, x.shape):
        np.testing.assert_array_equal(values[exact], wanted[exact])
    signs = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(actual)[signs], np.signbit(wanted)[signs])
    assert in_units(actual[~exact], wanted[~exact]).max(initial=0) <= 3


@pytest.mark.parametrize("exponent", [0.5, -0.5, 2, -1])
def test_it_makes_no_difference_how_an_exponent_is_given(exponent):
    x = wg.tensor([0.0, -0.0, np.inf, -np.inf, 4.0, -4.0])
    given = [
        lambda x: x**exponent,
        lambda x: x ** wg.full_like(x, exponent),
        lambda x: wg.pow(x, wg.tensor([float(exponent)])),
    ]
    with np.errstate(all="ignore"):
        wanted = np.power(x.numpy(), np.full(6, exponent, np.float32))
    for function in given:
        np.testing.assert_array_equal(function(x).numpy(), wanted)
        np.testing.assert_array_equal(wg.compile(function)(x).numpy(), wanted)
    argument = wg.compile(lambda x, p: x**p)
    np.testing.assert_array_equal(argument(x, float(exponent)).numpy(), wanted)


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 32), (np.float64, 3)])
def test_only_powers_that_stay_exact_are_products(dtype, most):
    x = np.ones(10, dtype)

    def flops(exponent):
        graph = graph_of(lambda v: F.power(v, np.asarray(exponent, dtype)), x)
        return make_plan(graph, {}).flops

    assert flops(most) == flops(0.5) == flops(-0.5) < flops(most + 1) == flops(1.5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, 12])
def test_powers_of_integers_wrap_round(exponent, dtype):
    x = np.arange(-20, 21).astype(dtype)
    same_bits(*([values] for values in power(exponent, x)))


def test_slopes_of_powers_are_powers():
    x = wg.tensor([0.0, -0.0, 2.0, -3.0])
    slope = wg.grad(lambda v: wg.sum(v**3))
    curvature = wg.grad(lambda v: wg.sum(slope(v)))
    np.testing.assert_array_equal(wg.compile(slope)(x).numpy(), [0, 0, 12, 27])
    np.testing.assert_array_equal(wg.compile(curvature)(x).numpy(), [0, 0, 12, -18])

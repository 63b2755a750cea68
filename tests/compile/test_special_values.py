"""NaN, infinities, signed zeros, subnormal and huge numbers go through native code as in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, in_units, reference, same_bits
from wengert.graph.bind import bind
from wengert.graph.primitive import registry
from wengert.ops.lowering import Inexact

pytestmark = pytest.mark.usefixtures("every_processor")

UNARY = ("neg", "abs", "sign", "floor", "relu", "sqrt", "exp", "expm1", "log", "log1p", "sin")
UNARY += ("cos", "tanh", "sigmoid", "erf", "softplus", "round")
BINARY = ("add", "sub", "mul", "div", "pow", "equal", "not_equal", "less", "less_equal", "greater")
BINARY += ("greater_equal", "logaddexp", "floor_divide", "remainder")
floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def specials(dtype):
    limits = np.finfo(dtype)
    numbers = [0.0, 1.0, np.inf, limits.tiny, limits.smallest_subnormal, limits.max, 0.5, 3.0]
    both = [sign * n for n in numbers for sign in (1, -1)]
    return np.array([*both, np.nan], dtype)


def agree(name, actual, wanted):
    lower = registry[name].lower
    if isinstance(lower, Inexact) and lower.units and actual.dtype.kind == "f":
        units = in_units(actual, wanted)
        normal = np.abs(wanted) >= np.finfo(wanted.dtype).tiny  # units below have no size
        assert units[normal].max() <= lower.units
        np.testing.assert_array_equal(np.signbit(actual)[normal], np.signbit(wanted)[normal])
    elif isinstance(lower, Inexact) and lower.normwise and actual.dtype.kind == "f":
        np.testing.assert_allclose(actual, wanted, lower.normwise * np.finfo(wanted.dtype).eps, 0)
    else:
        same_bits([actual], [wanted], name)


@floats
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_number(name, dtype):
    x = np.tile(specials(dtype), 3)  # long enough for vectors, and with some left over
    if name in {"sin", "cos"}:  # a huge number has no digits left after the point
        x = x[~(np.abs(x) > 100)]
    graph = graph_of(lambda v: bind(registry[name], (v,)), x)
    agree(name, compiled(graph, [x])[0], reference(graph, [x])[0])


@floats
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(name, dtype):
    pairs = np.array(list(itertools.product(specials(dtype), repeat=2)), dtype)
    x, y = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    graph = graph_of(lambda v, w: bind(registry[name], (v, w)), x, y)
    agree(name, compiled(graph, [x, y])[0], reference(graph, [x, y])[0])


@floats
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extrema_of_two_numbers(name, dtype):
    pairs = np.array(list(itertools.product(specials(dtype), repeat=2)), dtype)
    x, y = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    graph = graph_of(lambda v, w: bind(registry[name], (v, w), {"tie": 0.5}), x, y)
    # IEEE leaves open which of two zeros is the greater, and so does NumPy.
    np.testing.assert_array_equal(compiled(graph, [x, y])[0], reference(graph, [x, y])[0])


@floats
def test_clip(dtype):
    x = specials(dtype)
    graph = graph_of(lambda v: bind(registry["clip"], (v,), {"lower": -0.5, "upper": 2.0}), x)
    same_bits(compiled(graph, [x]), reference(graph, [x]))


@floats
def test_a_zero_cotangent_is_stronger_than_any_slope(dtype):
    cotangent = np.array([0.0, -0.0, 2.0, np.inf, np.nan, 0.0, 1.0], dtype)
    slope = np.array([np.inf, np.nan, np.inf, 0.0, 1.0, 3.0, np.nan], dtype)
    graph = graph_of(F.cotangent_mul, cotangent, slope)
    (found,) = compiled(graph, [cotangent, slope])
    np.testing.assert_array_equal(found, [0.0, 0.0, np.inf, np.nan, np.nan, 0.0, np.nan])
    taken = np.array([True, False, True, False, False, False, True])
    graph = graph_of(F.cotangent_mul, cotangent, taken)
    (found,) = compiled(graph, [cotangent, taken])
    np.testing.assert_array_equal(found, [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0])


@floats
def test_the_branch_not_taken_is_never_seen(dtype):
    x = np.array([1.0, np.nan, -np.inf, 2.0] * 6, dtype)
    taken = np.array([True, False, False, True] * 6)
    graph = graph_of(lambda c, v: F.where(c, v, 0.0), taken, x)
    np.testing.assert_array_equal(compiled(graph, [taken, x])[0], np.where(taken, x, 0))


@floats
@pytest.mark.parametrize("name", ["sum", "max", "min", "prod", "logsumexp"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_reductions_show_what_is_not_finite(name, bad, dtype):
    for place in (0, 17, 40):
        x = np.linspace(0.5, 1.5, 41, dtype=dtype)
        x[place] = bad
        graph = graph_of(lambda v: bind(registry[name], (v,), {"axes": (0,)}), x)
        found, wanted = compiled(graph, [x])[0], reference(graph, [x])[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@floats
def test_softmax_of_infinite_rows(dtype):
    x = np.array([[-np.inf, 0, 1], [-np.inf] * 3, [np.inf, 0, 0], [np.nan, 0, 0]], dtype)
    graph = graph_of(lambda v: (F.softmax(v), F.log_softmax(v)), x)
    for found, wanted in zip(compiled(graph, [x]), reference(graph, [x]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@floats
def test_products_of_matrices_show_what_is_not_finite(dtype):
    x, y = np.ones((9, 7), dtype), np.ones((7, 33), dtype)
    x[4, 3], y[2, 32] = np.nan, np.inf
    graph = graph_of(F.matmul, x, y)
    np.testing.assert_array_equal(compiled(graph, [x, y])[0], x @ y)


@pytest.mark.parametrize("first", ["argmax", "argmin"])
def test_the_first_of_equals_and_nan_win(first):
    rows = np.array([[1, 3, 3, 0], [np.nan, 1, np.nan, 2], [-np.inf] * 4, [2, np.nan, 5, 5]])
    long = np.zeros(3000)
    long[[1500, 2999]] = 1 if first == "argmax" else -1
    for x, axis in ((rows, 1), (rows.T.copy(), 0), (long, 0)):
        graph = graph_of(lambda v, axis=axis: bind(registry[first], (v,), {"axis": axis}), x)
        same_bits(compiled(graph, [x]), reference(graph, [x]))


def test_a_sum_of_nothing_is_zero_and_a_product_one():
    x = np.zeros((0, 3))
    graph = graph_of(lambda v: (F.sum(v), bind(registry["prod"], (v,), {"axes": (0,)})), x)
    same_bits(compiled(graph, [x]), [np.zeros(()), np.ones(3)])


@pytest.mark.parametrize("after", [F.relu, F.elu, F.absolute, F.sign, F.isnan, lambda x: x])
def test_the_mean_of_nothing_is_nan_whatever_is_made_of_it(after):
    x = np.zeros((8, 0), np.float32)
    graph = graph_of(lambda x: (after(F.mean(x, axis=1)),), x)
    with np.errstate(invalid="ignore"):
        same_bits(compiled(graph, [x]), reference(graph, [x]))

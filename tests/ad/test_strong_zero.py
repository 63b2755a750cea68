"""The branch that `where` does not take never reaches a gradient, whatever its slope is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.running import forward, public_functions, reverse, trace, values, variables
from wengert.graph.variable import Variable
from wengert.ops.arithmetic import cotangent_mul

ops = public_functions()
X = np.array([-2.0, -0.0, 0.0, 4.0, np.inf])
SAFE = np.array([False, False, False, True, False])

# name: the branch taken at 4 only; its first and second derivative there
BRANCHES = {
    "sqrt": (ops.sqrt, 1 / 4, -1 / 32),
    "log": (ops.log, 1 / 4, -1 / 16),
    "division": (lambda x: 1.0 / x, -1 / 16, 1 / 32),
    "power": (lambda x: ops.power(x, 0.5), 1 / 4, -1 / 32),
    "log of sqrt": (lambda x: ops.log(ops.sqrt(x)), 1 / 8, -1 / 32),
    "power by itself": (
        lambda x: ops.power(x, x),
        256 * (np.log(4) + 1),
        256 * ((np.log(4) + 1) ** 2 + 1 / 4),
    ),
}


def guarded(branch):
    mask = Variable(SAFE)
    return lambda xs: (ops.where(mask, branch(xs[0]), 3.0),)


def gradient(f):
    return lambda xs: reverse(f, xs, (Variable(np.ones(5)),))


def tangent(f):
    return lambda xs: forward(f, xs, (Variable(np.ones(5)),))


FIRST = {"reverse": gradient, "forward": tangent}
SECOND = {
    "forward over reverse": lambda f: tangent(gradient(f)),
    "reverse over forward": lambda f: gradient(tangent(f)),
    "reverse over reverse": lambda f: gradient(gradient(f)),
    "forward over forward": lambda f: tangent(tangent(f)),
}


def result(g, x=X):
    (eager,) = values(g(variables([x])))
    (traced,) = trace(g, [x])(x)
    np.testing.assert_array_equal(traced, eager)
    return eager


@pytest.mark.parametrize("mode", FIRST)
@pytest.mark.parametrize("name", BRANCHES)
def test_first_order(name, mode):
    branch, slope, _ = BRANCHES[name]
    found = result(FIRST[mode](guarded(branch)))
    np.testing.assert_allclose(found, [0, 0, 0, slope, 0], rtol=1e-14)


@pytest.mark.parametrize("order", SECOND)
@pytest.mark.parametrize("name", BRANCHES)
def test_second_order(name, order):
    branch, _, curvature = BRANCHES[name]
    found = result(SECOND[order](guarded(branch)))
    np.testing.assert_allclose(found, [0, 0, 0, curvature, 0], rtol=1e-14)


@pytest.mark.parametrize("mode", FIRST)
def test_each_branch_is_odd_where_the_other_is_taken(mode):
    x = np.array([-2.0, 4.0, -1.0, 0.5, 3.0])
    mask = Variable(x > 0)
    f = lambda xs: (ops.where(mask, ops.log(xs[0]), ops.log(-xs[0])),)  # noqa: E731
    np.testing.assert_allclose(result(FIRST[mode](f), x), 1 / x, rtol=1e-15)


def test_a_zero_cotangent_meets_an_infinite_slope():
    x = np.array([0.0, 0.0, 4.0, 1.0, 9.0])
    y_bar = np.array([0.0, 1.0, 1.0, 0.0, 2.0])
    f = lambda xs: (ops.sqrt(xs[0]),)  # noqa: E731
    (found,) = values(reverse(f, variables([x]), variables([y_bar])))
    np.testing.assert_array_equal(found, [0, np.inf, 0.25, 0, 1 / 3])


def test_a_live_nan_is_not_hidden():
    f = lambda xs: (ops.sqrt(xs[0]),)  # noqa: E731
    (found,) = values(
        reverse(f, variables([np.array([-1.0, 4.0])]), variables([np.array([1.0, 1.0])]))
    )
    np.testing.assert_array_equal(found, [np.nan, 0.25])


@pytest.mark.parametrize("slope", [np.inf, -np.inf, np.nan])
def test_product_is_zero_where_the_cotangent_is(slope):
    cotangent = Variable(np.array([0.0, -0.0, 2.0]))
    found = cotangent_mul(cotangent, Variable(np.full(3, slope))).value
    np.testing.assert_array_equal(found, [0, 0, 2 * slope])


def test_product_with_a_mask_selects():
    cotangent = Variable(np.array([np.inf, np.nan, 2.0, np.inf]))
    mask = Variable(np.array([False, False, True, True]))
    np.testing.assert_array_equal(cotangent_mul(cotangent, mask).value, [0, 0, 2, np.inf])


def test_product_broadcasts_where_it_is_repaired():
    cotangent = Variable(np.array([[0.0], [1.0]]))
    found = cotangent_mul(cotangent, Variable(np.array([np.inf, 3.0]))).value
    np.testing.assert_array_equal(found, [[0, 0], [np.inf, 3]])

"""Nested derivatives keep apart what each of them differentiates by."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.ops.running import forward, reverse, trace, values, variables
from wengert.graph.variable import Variable
from wengert.ops.exponential import exp, sin

ONE = Variable(np.array(1.0))


def by_reverse(f):
    return lambda x: reverse(lambda xs: (f(xs[0]),), (x,), (ONE,))[0]


def by_forward(f):
    return lambda x: forward(lambda xs: (f(xs[0]),), (x,), (ONE,))[0]


MODES = {"reverse": by_reverse, "forward": by_forward}
PAIRS = list(itertools.product(MODES, repeat=2))


def at(f, x):
    """Return f(x), eager and through a trace."""
    eager = float(values([f(Variable(np.array(x)))])[0])
    (traced,) = trace(lambda xs: (f(xs[0]),), [np.array(x)])(np.array(x))
    assert float(traced) == pytest.approx(eager, rel=1e-13, abs=1e-300)
    return eager


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_perturbations_are_not_confused(outer, inner):
    """d/dx (x d/dy (x + y)) = 1: a system that confuses dx with dy says 2."""
    d, e = MODES[outer], MODES[inner]
    assert at(d(lambda x: x * e(lambda y: x + y)(x)), 3.0) == 1.0


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_inner_derivative_of_a_closure(outer, inner):
    """d/dx [d/dy (x y²) at y = 3] = 6, and at y = x: d/dx (2 x²) = 4 x."""
    d, e = MODES[outer], MODES[inner]
    three = Variable(np.array(3.0))
    assert at(d(lambda x: e(lambda y: x * y * y)(three)), 5.0) == 6.0
    assert at(d(lambda x: e(lambda y: x * y * y)(x)), 5.0) == 20.0


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_inner_derivative_that_does_not_depend_on_its_variable(outer, inner):
    d, e = MODES[outer], MODES[inner]
    assert at(d(lambda x: e(lambda y: x * x)(x)), 5.0) == 0.0
    assert at(d(lambda x: x * e(lambda y: x * x)(x) + x), 5.0) == 1.0


@pytest.mark.parametrize("modes", list(itertools.product(MODES, repeat=3)), ids="-".join)
def test_three_deep(modes):
    """d/dx (x d/dy (y x d/dz (x y z))), all at x: d/dx (3 x⁴ ...), written out below."""
    d, e, g = (MODES[m] for m in modes)

    def inner(x, y):
        return g(lambda z: x * y * z * z)(y)  # 2 x y²

    def middle(x):
        return e(lambda y: y * x * inner(x, y))(x)  # d/dy 2 x² y³ = 6 x² y² = 6 x⁴

    assert at(d(lambda x: x * middle(x)), 2.0) == pytest.approx(30 * 2.0**4, rel=1e-14)


@pytest.mark.parametrize("modes", list(itertools.product(MODES, repeat=4)), ids="-".join)
def test_fourth_derivative(modes):
    f = sin
    for mode in modes:
        f = MODES[mode](f)
    assert at(f, 0.7) == pytest.approx(np.sin(0.7), rel=1e-13)


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_the_same_function_differentiated_inside_itself(outer, inner):
    """With f(x) = x eˣ: d/dx f(f′(x)) = f′(f′(x)) f″(x)."""
    d, e = MODES[outer], MODES[inner]

    def f(x):
        return x * exp(x)

    def slope(x):
        return (x + 1) * np.exp(x)

    wanted = slope(slope(0.3)) * (2.3 * np.exp(0.3))
    assert at(d(lambda x: f(e(f)(x))), 0.3) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_seed_depends_on_the_outer_variable(outer, inner):
    """The cotangent (or tangent) of an inner derivative may be what the outer one varies."""
    d = MODES[outer]
    two = Variable(np.array(2.0))

    def seeded(x):
        run = reverse if inner == "reverse" else forward
        return run(lambda ys: (ys[0] * ys[0] * ys[0],), (two,), (x * x,))[0]

    assert at(d(seeded), 5.0) == pytest.approx(12 * 2 * 5.0, rel=1e-14)


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_two_inputs_that_are_one_variable(outer, inner):
    """Differentiating f(a, b) by both inputs, at a = b = x, keeps them apart."""
    d, run = MODES[outer], reverse if inner == "reverse" else forward

    def parts(x):
        if inner == "reverse":
            a_bar, b_bar = run(lambda v: (v[0] * v[0] * v[1],), (x, x), (ONE,))
            return a_bar * 10.0 + b_bar
        (dot,) = run(lambda v: (v[0] * v[0] * v[1],), (x, x), (ONE * 10.0, ONE))
        return dot

    assert at(parts, 3.0) == pytest.approx(21 * 9.0, rel=1e-14)
    assert at(d(parts), 3.0) == pytest.approx(42 * 3.0, rel=1e-14)


def test_closed_over_leaf_stays_differentiable():
    """The result of an inner derivative carries a graph to what it closed over."""
    w = Variable(np.array(4.0), requires_grad=True)
    (slope,) = reverse(lambda xs: (xs[0] * xs[0] * w,), variables([np.array(3.0)]), (ONE,))
    assert float(slope.value) == 24.0
    assert slope.requires_grad
    with_constant = Variable(np.array(4.0))
    (slope,) = reverse(
        lambda xs: (xs[0] * xs[0] * with_constant,), variables([np.array(3.0)]), (ONE,)
    )
    assert not slope.requires_grad
    assert slope.op is None

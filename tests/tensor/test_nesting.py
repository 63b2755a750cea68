"""Transforms nested four deep, in every order.

Each transform is made a map from functions of four numbers to functions of four numbers, so that
they compose freely. The outermost is checked with finite differences (or a loop) over what is
inside it; since what is inside is checked likewise, all levels are.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, by_linear, by_softmax, close, slope

V = np.array([0.3, -0.8, 0.5, 0.4])
WEIGHTS = np.array([0.9, -0.2, 0.6, 0.7])
LANES = np.array([1.0, 0.93, 1.04])


def weighted(f):
    return lambda x: wg.sum(f(x) * WEIGHTS)


def by_grad(f):
    return wg.grad(weighted(f))


def by_jvp(f):
    return lambda x: wg.jvp(f, (x,), (V,))[1]


def by_vmap(f):
    return lambda x: wg.sum(wg.vmap(f)(wg.outer(LANES, x)), axis=0)


def by_jacobian(f):
    return lambda x: wg.matmul(wg.jacobian(f)(x), V)


def by_hessian(f):
    return lambda x: wg.matmul(wg.hessian(weighted(f))(x), V)


TRANSFORMS = {
    "grad": by_grad,
    "jvp": by_jvp,
    "vmap": by_vmap,
    "jacobian": by_jacobian,
    "hessian": by_hessian,
    "checkpoint": wg.checkpoint,
}


def composed(names, f):
    for name in reversed(names):
        f = TRANSFORMS[name](f)
    return f


def plain(f):
    """Return `f` as a function of arrays."""
    return lambda x: array(f(wg.tensor(x)))


def check(names, f):
    """Check the outermost of the transforms `names` around `f`."""
    inside = composed(names[1:], f)
    found = array(composed(names, f)(wg.tensor(X)))
    match names[0]:
        case "grad":
            rate = slope(lambda x: plain(inside)(x) @ WEIGHTS, X, V)
            close(found @ V, rate, 1e-6, atol=1e-7 * float(np.abs(found).max()))
        case "jvp" | "jacobian":
            close(found, slope(plain(inside), X, V), 1e-6, atol=1e-9)
        case "hessian":
            close(found, slope(plain(by_grad(inside)), X, V), 1e-6, atol=1e-9)
        case "vmap":
            close(found, sum(plain(inside)(lane * X) for lane in LANES), 1e-11, atol=1e-11)
        case "checkpoint":
            close(found, plain(inside)(X), 1e-12, atol=1e-13)
    assert found.dtype == np.float64
    assert np.abs(found).max() > 1e-4  # nothing vanished


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("names", [*itertools.product(TRANSFORMS, repeat=2)], ids="-".join)
def test_two_deep(names, f):
    check(names, f)


ORDERS = [*itertools.permutations(TRANSFORMS, 4), *([name] * 4 for name in TRANSFORMS)]


@pytest.mark.parametrize("place", range(len(ORDERS)), ids=["-".join(names) for names in ORDERS])
def test_four_deep(place):
    check(ORDERS[place], FUNCTIONS[place % len(FUNCTIONS)])


@pytest.mark.parametrize("names", [*itertools.product(("grad", "jvp"), repeat=5)], ids="-".join)
def test_forward_and_reverse_mode_five_deep(names):
    check(names, by_linear)


@pytest.mark.parametrize("inner", [*itertools.product(TRANSFORMS, repeat=2)], ids="-".join)
def test_hvp_and_vjp_around_two_others(inner):
    f = composed(inner, by_softmax)
    close(wg.hvp(weighted(f), wg.tensor(X), V), composed(["hessian", *inner], by_softmax)(X), 1e-9)
    value, pullback = wg.vjp(f, wg.tensor(X))
    close(value, plain(f)(X), 1e-12)
    close(pullback(WEIGHTS)[0], composed(["grad", *inner], by_softmax)(X), 1e-10)


def test_derivatives_of_a_polynomial_to_the_sixth_order():
    f = lambda x: x**7  # noqa: E731
    for order, expected in enumerate([128.0, 448.0, 1344.0, 3360.0, 6720.0, 10080.0, 10080.0]):
        for modes in ("grad", "jvp", "both"):
            g = f
            for level in range(order):
                forward = modes == "jvp" or (modes == "both" and level % 2)
                g = forward_derivative(g) if forward else wg.grad(g)
            assert g(wg.tensor(2.0, dtype=wg.float64)).item() == pytest.approx(expected, rel=1e-13)


def forward_derivative(f):
    return lambda x: wg.jvp(f, (x,), (wg.ones_like(x),))[1]


# --- What a function gives besides its value ------------------------------------------------------


def _through_state(transform):
    def beside(f, x):
        state = wg.zeros_like(x)

        def stores(x):
            value, kept = f(x)
            state.copy_(kept)
            return value

        transform(stores)(x)
        return state

    return beside


def _jvp(f, has_aux=False):
    return lambda x: wg.jvp(f, (x,), (x,), has_aux=has_aux)


def _vjp(f, has_aux=False):
    return lambda x: wg.vjp(f, x, has_aux=has_aux)


BESIDE = {
    "grad": lambda f, x: wg.grad(f, has_aux=True)(x)[1],
    "value_and_grad": lambda f, x: wg.value_and_grad(f, has_aux=True)(x)[0][1],
    "vjp": lambda f, x: _vjp(f, True)(x)[2],
    "jvp": lambda f, x: _jvp(f, True)(x)[2],
    "jacobian": lambda f, x: wg.jacobian(f, has_aux=True)(x)[1],
    "state, grad": _through_state(wg.grad),
    "state, vjp": _through_state(_vjp),
    "state, jvp": _through_state(_jvp),
    "state, jacobian": _through_state(wg.jacobian),
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_an_outer_derivative_passes_through_what_an_inner_function_gives_besides(beside):
    """The value does not depend on the outer variable: only what comes with it does."""

    def outer(y, x):
        def inner(x):
            shared = x * x
            return wg.sum(shared), shared * y * y

        return wg.sum(beside(inner, x) * WEIGHTS)

    x, y = wg.tensor(X), wg.tensor(V)
    expected = 2 * X * X * V * WEIGHTS
    found = wg.grad(outer)(y, x)
    close(found, expected, 1e-12)
    assert not found.requires_grad
    close(wg.jvp(lambda y: outer(y, x), (y,), (y,))[1], np.sum(expected * V), 1e-12)
    close(wg.compile(wg.grad(outer))(y, x), expected, 1e-12)
    leaf = wg.tensor(V, requires_grad=True)
    outer(leaf, x).backward()
    close(leaf.grad, expected, 1e-12)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "compiled"])
def test_results_hold_nothing_of_inner_transforms_that_have_ended(traced):
    x = wg.tensor(X)
    for inner in (
        lambda y: wg.vjp(lambda x: x * x * y, x)[0],
        lambda y: wg.jvp(lambda x: x * x * y, (x,), (x,))[0],
        lambda y: wg.value_and_grad(lambda x: wg.sum(x * x * y))(x)[0],
    ):
        gradient = wg.grad(lambda y, inner=inner: wg.sum(inner(y)))
        found = (wg.compile(gradient) if traced else gradient)(wg.tensor(V))
        close(found, X * X, 1e-12)
        assert not found.requires_grad


def test_a_backward_pass_inside_ends_what_a_function_gives_besides():
    def f(x):
        inner = wg.sum(x * x)
        inner.backward()
        return wg.sum(x), inner

    gradient, beside = wg.grad(f, has_aux=True)(wg.tensor(X))
    close(gradient, np.ones(4), 0)
    assert not beside.requires_grad


def test_what_a_differentiated_function_stores_elsewhere_cannot_be_differentiated():
    stored = []

    def f(x):
        stored.append(x * x)
        return wg.sum(stored[0])

    wg.grad(f)(wg.tensor(X))
    close(stored[0].detach(), X * X, 1e-12)
    with pytest.raises(wg.GraphFreedError, match=r"return it with has_aux=True"):
        wg.sum(stored[0]).backward()

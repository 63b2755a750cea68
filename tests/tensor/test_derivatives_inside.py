"""Derivatives inside derivatives: perturbations, captures, modes, and what is kept alive."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import Watch, array, close, derivative, leaves, scalar

# --- Perturbations stay apart ---------------------------------------------------------------------


D = pytest.mark.parametrize("d", [wg.grad, derivative], ids=["reverse", "forward"])
E = pytest.mark.parametrize("e", [wg.grad, derivative], ids=["reverse", "forward"])


@D
@E
def test_perturbations_of_nested_derivatives(d, e):
    one = scalar(1.0)
    assert d(lambda x: x * e(lambda y: x + y)(one))(one).item() == 1.0
    assert d(lambda x: x * e(lambda y: x * y)(scalar(2.0)))(scalar(3.0)).item() == 6.0
    assert d(lambda x: e(lambda y: x * y * y)(x))(scalar(3.0)).item() == 12.0
    assert d(lambda x: e(lambda y: x * y * y)(wg.stop_gradient(x)))(scalar(3.0)).item() == 6.0


@D
@E
def test_perturbations_of_a_closure_that_is_returned(d, e):
    def shift(x):
        return lambda f: lambda y: f(x + y)

    # Siskind & Pearlmutter's amazing bug: d/dx of a function that returns a derivative operator.
    def twice(x):
        return e(shift(x)(e(shift(x)(wg.sin))))(scalar(0.3))

    expected = -2 * -np.cos(2 * 0.5 + 0.3)
    assert d(twice)(scalar(0.5)).item() == pytest.approx(-expected, rel=1e-12)


@D
@E
def test_perturbations_through_vmap(d, e):
    lanes = wg.tensor(np.array([1.0, 2.0, 3.0]))
    assert d(lambda x: wg.sum(wg.vmap(lambda y: x * y * y)(lanes)))(scalar(2.0)).item() == 14.0
    assert d(lambda x: wg.sum(wg.vmap(e(lambda y: x * y**3))(lanes)))(scalar(2.0)).item() == 42.0
    found = wg.vmap(lambda x: d(lambda z: z * e(lambda y: z * y * x)(x))(x))(lanes)
    close(found, 2 * array(lanes) ** 2)
    found = wg.vmap(lambda x: d(lambda z: wg.sum(wg.vmap(e(lambda y: x * y * z))(lanes)))(x))(lanes)
    close(found, 3 * array(lanes))


@D
def test_perturbations_through_a_cell(d):
    cell = wg.zeros((), dtype=wg.float64)

    def inner(y):
        return cell * y * y

    def outer(x):
        cell.copy_(x)
        return wg.grad(inner)(scalar(3.0)) * x

    assert d(outer)(scalar(2.0)).item() == 24.0  # d (6 x²)


def test_perturbations_of_a_jacobian_inside_and_outside():
    def f(x):
        return wg.sum(wg.jacobian(lambda y: y * y * x)(x) @ x)  # Σ 2 x³

    x = np.array([0.5, -1.0])
    close(wg.grad(f)(wg.tensor(x)), 6 * x**2)
    close(wg.jacobian(wg.grad(f))(wg.tensor(x)), np.diag(12 * x))
    close(wg.vmap(wg.grad(f))(wg.tensor(x)[None]), 6 * x[None] ** 2)
    close(wg.checkpoint(wg.grad(f))(wg.tensor(x)), 6 * x**2)


def test_pullback_used_inside_another_derivative():
    x = scalar(2.0)

    def f(x):
        _, pullback = wg.vjp(lambda y: y * y * x, x)
        return pullback(x)[0]  # 2 x³

    assert wg.grad(f)(x).item() == 24.0
    assert derivative(f)(x).item() == 24.0
    assert wg.vmap(wg.grad(f))(x[None]).item() == 24.0


def test_pullback_is_linear_in_its_cotangent():
    x = scalar(2.0)
    _, pullback = wg.vjp(lambda x: x * x * x, x)
    assert wg.grad(lambda c: pullback(c)[0])(scalar(1.0)).item() == 12.0
    assert derivative(lambda c: pullback(c * c)[0])(scalar(3.0)).item() == 72.0


# --- Tensors from outside -------------------------------------------------------------------------


def test_captured_parameters_receive_gradients_through_a_functional_gradient():
    w = wg.tensor([0.5, -0.3], dtype=wg.float64, requires_grad=True)
    x = wg.tensor([1.0, 2.0], dtype=wg.float64)
    g = wg.grad(lambda x: wg.sum(wg.tanh(w * x)))(x)
    assert g.requires_grad
    wg.sum(g * g).backward()
    a, b = np.array([0.5, -0.3]), np.array([1.0, 2.0])
    sech2 = 1 / np.cosh(a * b) ** 2
    expected = 2 * (a * sech2) * (sech2 - 2 * a * b * sech2 * np.tanh(a * b))
    close(w.grad, expected)


def test_gradient_penalty():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((3, 4)), rng.standard_normal((4, 1))
    data = rng.standard_normal((5, 3))

    def critic(x, first, second):
        return wg.sum(wg.tanh(x @ first) @ second)

    def penalty(x, first, second):
        norms = wg.sqrt(wg.sum(wg.grad(critic)(x, first, second) ** 2, axis=1))
        return wg.mean((norms - 1) ** 2)

    params = [wg.tensor(w, requires_grad=True) for w in (first, second)]
    penalty(wg.tensor(data), *params).backward()
    functional = wg.grad(penalty, argnums=(1, 2))(data, first, second)
    for param, expected in zip(params, functional, strict=True):
        close(param.grad, expected, 1e-12)
    step = 1e-5 * np.ones_like(first)
    ends = [penalty(data, first + sign * step, second).item() for sign in (1, -1)]
    assert array(functional[0]).sum() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("make", [wg.jacobian, wg.hessian], ids=["jacobian", "hessian"])
def test_captured_parameters_receive_gradients_through_matrices(make):
    w = wg.tensor([0.5, -0.3], dtype=wg.float64, requires_grad=True)
    matrix = make(lambda x: wg.sum(w * x * x * x))(wg.tensor([1.0, 2.0], dtype=wg.float64))
    wg.sum(matrix).backward()
    close(w.grad, [3.0, 12.0] if make is wg.jacobian else [6.0, 12.0])


def test_captured_parameters_receive_gradients_through_vmap_and_jvp():
    w = wg.tensor([0.5, -0.3], dtype=wg.float64, requires_grad=True)
    wg.sum(wg.vmap(lambda x: w * x)(wg.tensor([1.0, 2.0], dtype=wg.float64))).backward()
    close(w.grad, [3.0, 3.0])
    w.grad = None
    x = wg.tensor([1.0, 2.0], dtype=wg.float64)
    wg.sum(wg.jvp(lambda x: w * x * x, (x,), (x,))[1]).backward()
    close(w.grad, [2.0, 8.0])


def test_argument_that_requires_grad_keeps_its_connection():
    x = wg.tensor([1.0, 2.0], dtype=wg.float64, requires_grad=True)
    y = wg.tensor(3.0, dtype=wg.float64)
    wg.sum(wg.grad(lambda x, y: wg.sum(x**3) * y)(x, y)).backward()
    close(x.grad, [18.0, 36.0])
    assert y.grad is None


def test_transform_does_not_write_into_grad():
    w = wg.tensor([1.0], requires_grad=True)
    wg.grad(lambda w: wg.sum(w * w))(w)
    wg.jacobian(lambda w: w * w)(w)
    assert w.grad is None


def test_backward_inside_a_transform():
    def f(x):
        w = wg.tensor(2.0, requires_grad=True)
        (w * w * x).backward(create_graph=True)
        return w.grad * x  # 4 x²

    assert wg.grad(f)(wg.tensor(3.0)).item() == 24.0
    assert wg.vmap(f)(wg.tensor([3.0, 1.0])).tolist() == [36.0, 4.0]


# --- Modes ----------------------------------------------------------------------------------------


def test_no_grad_inside_makes_constants():
    def f(x):
        with wg.no_grad():
            y = 2 * x
        return y * x

    assert wg.grad(f)(wg.tensor(3.0)).item() == 6.0
    assert derivative(f)(wg.tensor(3.0)).item() == 6.0
    assert wg.vmap(wg.grad(f))(wg.tensor([3.0])).tolist() == [6.0]


def test_no_grad_outside_changes_no_derivative():
    cube = lambda x: wg.sum(x * x * x)  # noqa: E731
    with wg.no_grad():
        assert wg.grad(wg.grad(cube))(wg.tensor(3.0)).item() == 18.0
        assert wg.jacobian(wg.grad(cube))(wg.ones(2)).tolist() == [[6.0, 0.0], [0.0, 6.0]]
        assert wg.hvp(cube, wg.ones(2), wg.ones(2)).tolist() == [6.0, 6.0]
        assert derivative(derivative(cube))(wg.tensor(3.0)).item() == 18.0


def test_mode_is_restored_after_an_exception():
    def broken(x):
        raise ZeroDivisionError

    for call in (
        lambda: wg.grad(broken)(wg.tensor(1.0)),
        lambda: wg.vmap(broken)(wg.ones(2)),
        lambda: wg.jvp(broken, (wg.tensor(1.0),), (wg.tensor(1.0),)),
    ):
        with wg.no_grad():
            with pytest.raises(ZeroDivisionError):
                call()
            assert not wg.is_grad_enabled()
        with pytest.raises(ZeroDivisionError):
            call()
        assert wg.is_grad_enabled()
        assert (wg.ones(2) + 1).tolist() == [2.0, 2.0]


def test_stop_gradient_of_containers():
    def f(x):
        stopped = wg.stop_gradient({"a": x, "b": [2 * x, 1.0], "c": "text"})
        return stopped["a"] * x + stopped["b"][0] * 3

    assert wg.grad(f)(wg.tensor(3.0)).item() == 3.0
    assert derivative(f)(wg.tensor(3.0)).item() == 3.0
    assert wg.hessian(f)(wg.tensor(3.0)).item() == 0.0
    assert wg.vmap(wg.grad(f))(wg.tensor([3.0, 4.0])).tolist() == [3.0, 4.0]


def by_stop_gradient(x):
    return x * wg.stop_gradient(x)


def by_detach(x):
    return x * x.detach()


def by_no_grad(x):
    with wg.no_grad():
        y = x * 1.0
    return x * y


REWRITES = {
    "vmap": wg.vmap,
    "checkpoint": wg.checkpoint,
    "vmap of checkpoint": lambda f: wg.vmap(wg.checkpoint(f)),
    "checkpoint of vmap": lambda f: wg.checkpoint(wg.vmap(f)),
    "checkpoint twice": lambda f: wg.checkpoint(lambda x: wg.checkpoint(f)(x)),  # noqa: PLW0108
}


@pytest.mark.parametrize("f", [by_stop_gradient, by_detach, by_no_grad])
@pytest.mark.parametrize("rewritten", REWRITES.values(), ids=REWRITES)
def test_what_was_stopped_stays_stopped(f, rewritten):
    x, g = wg.tensor([3.0, 4.0]), rewritten(f)
    total = lambda x: wg.sum(g(x))  # noqa: E731
    assert wg.grad(total)(x).tolist() == [3.0, 4.0]
    assert wg.jvp(g, (x,), (wg.ones(2),))[1].tolist() == [3.0, 4.0]
    assert wg.jacobian(g)(x).tolist() == [[3.0, 0.0], [0.0, 4.0]]
    assert wg.hessian(total)(x).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert wg.trace(total)(x).backward()(array(x))[0].tolist() == [3.0, 4.0]
    required = x.clone().requires_grad_()
    total(required).backward()
    assert required.grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("rewritten", REWRITES.values(), ids=REWRITES)
@pytest.mark.parametrize(
    "f", [lambda x: wg.stop_gradient(x * x), wg.stop_gradient, lambda x: (2 * x).detach()]
)
def test_result_that_was_stopped_stays_stopped(f, rewritten):
    x, g = wg.tensor([3.0, 4.0], requires_grad=True), rewritten(f)
    assert not g(x).requires_grad
    assert wg.grad(lambda x: wg.sum(g(x) * x))(x.detach()).tolist() == f(x).tolist()
    wg.sum(g(x) * x).backward()
    assert x.grad.tolist() == f(x).tolist()


def test_changes_in_place_inside_a_transform():
    def f(x):
        y = x * 1.0
        y[0] = y[1] * y[1]
        y += x
        return wg.sum(y * y)

    # (x₁² + x₀)² + 4 x₁²
    x = np.array([2.0, 3.0])
    close(wg.grad(f)(x), [22.0, 156.0])
    close(wg.hessian(f)(x), [[2.0, 12.0], [12.0, 124.0]])
    close(wg.vmap(wg.grad(f))(np.stack([x, [1.0, 1.0]])), [[22.0, 156.0], [4.0, 16.0]])


@pytest.mark.parametrize("required", [False, True])
def test_argument_changed_in_place_inside_is_the_functions_own(required):
    def f(x):
        x *= 2.0
        x[0] = 1.0
        return wg.sum(x * x)

    x = wg.tensor([2.0, 3.0], requires_grad=required)
    assert wg.grad(f)(x).tolist() == [0.0, 24.0]
    assert wg.vmap(f)(x.detach()[None]).tolist() == [37.0]
    assert x.tolist() == [2.0, 3.0]


# --- Nothing is kept that is not needed -----------------------------------------------------------


CALLS = {
    "grad": lambda f, x: wg.grad(lambda x: wg.sum(f(x)))(x),
    "grad aux": lambda f, x: wg.grad(lambda x: (wg.sum(f(x)), x * 2), has_aux=True)(x),
    "value_and_grad": lambda f, x: wg.value_and_grad(lambda x: wg.sum(f(x)))(x),
    "jvp": lambda f, x: wg.jvp(f, (x,), (x,)),
    "jacobian": lambda f, x: wg.jacobian(f)(x),
    "jacobian aux": lambda f, x: wg.jacobian(lambda x: (f(x), x * 2), has_aux=True)(x),
    "hessian": lambda f, x: wg.hessian(lambda x: wg.sum(f(x)))(x),
    "hvp": lambda f, x: wg.hvp(lambda x: wg.sum(f(x)), x, x),
    "pullback": lambda f, x: wg.vjp(f, x)[1](x),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_results_hold_no_tape(call, without_collector):
    watch = Watch()

    def f(x):
        return wg.tanh(watch(wg.exp(watch(wg.sin(x)))))

    result = call(f, wg.tensor([0.1, 0.2, 0.3]))
    assert watch.references
    assert watch.alive() == 0
    for leaf in leaves(result):
        assert not leaf.requires_grad
        assert leaf._variable.op is None


def test_value_of_vjp_holds_no_tape_when_its_pullback_is_dropped(without_collector):
    watch = Watch()
    value, pullback = wg.vjp(lambda x: wg.exp(watch(wg.sin(x))), wg.tensor([0.1, 0.2]))
    assert watch.alive() == 1
    del pullback
    assert watch.alive() == 0
    assert not value.requires_grad


def test_loop_of_transforms_does_not_grow(without_collector):
    watch = Watch()
    x = wg.ones(10)
    for _ in range(20):
        x = x - 0.1 * wg.grad(lambda x: wg.sum(watch(wg.exp(x))))(x)
        x = x - 0.1 * wg.jvp(lambda x: watch(wg.sin(x)), (x,), (x,))[1]
    assert watch.alive() == 0

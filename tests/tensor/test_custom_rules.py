"""custom_vjp and custom_jvp: derivative rules of the user's own."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import X, close, derivative, scalar
from wengert import ShapeError

# --- custom_vjp -----------------------------------------------------------------------------------


def tripled(f=None):
    """Return sin with a derivative three times too large, to see that the rule is used."""
    g = wg.custom_vjp(lambda x: wg.sin(x))  # noqa: PLW0108  (a function of its own)
    g.defvjp(lambda x: (wg.sin(x), x), lambda x, y_bar: (3 * y_bar * wg.cos(x),))
    return g


def test_custom_vjp_is_used_by_reverse_mode():
    f, x = tripled(), scalar(0.4)
    assert f(x).item() == np.sin(0.4)
    assert wg.grad(f)(x).item() == pytest.approx(3 * np.cos(0.4))
    assert wg.vjp(f, x)[1](scalar(2.0))[0].item() == pytest.approx(6 * np.cos(0.4))
    leaf = wg.tensor(0.4, dtype=wg.float64, requires_grad=True)
    (f(leaf) * f(leaf)).backward()
    assert leaf.grad.item() == pytest.approx(6 * np.cos(0.4) * np.sin(0.4))


def test_custom_vjp_gives_forward_mode_too():
    f, x = tripled(), scalar(0.4)
    assert derivative(f)(x).item() == pytest.approx(3 * np.cos(0.4))
    close(wg.jacobian(f, mode="forward")(X), np.diag(3 * np.cos(X)))
    close(wg.jacobian(f, mode="reverse")(X), np.diag(3 * np.cos(X)))


def test_custom_vjp_can_be_differentiated_again():
    f, x = tripled(), scalar(0.4)
    for first in (wg.grad, derivative):
        for second in (wg.grad, derivative):
            assert second(first(f))(x).item() == pytest.approx(-3 * np.sin(0.4))
            assert first(second(first(f)))(x).item() == pytest.approx(-3 * np.cos(0.4))
    close(wg.hessian(lambda x: wg.sum(f(x)))(X), np.diag(-3 * np.sin(X)))


@pytest.mark.parametrize("transform", ["vmap", "checkpoint", "trace"])
def test_custom_vjp_inside_others(transform):
    f = tripled()
    if transform == "vmap":
        close(wg.vmap(wg.grad(f))(X), 3 * np.cos(X))
        close(wg.vmap(wg.grad(wg.grad(f)))(X), -3 * np.sin(X))
        close(wg.vmap(derivative(f))(X), 3 * np.cos(X))
        close(wg.grad(lambda x: wg.sum(wg.vmap(f)(x)))(X), 3 * np.cos(X))
    elif transform == "checkpoint":
        g = wg.checkpoint(lambda x: wg.sum(f(x * 1.0)))
        close(wg.grad(g)(X), 3 * np.cos(X))
        close(wg.hessian(g)(X), np.diag(-3 * np.sin(X)))
    else:
        backward = wg.trace(lambda x: wg.sum(f(x)))(X).backward()
        wg.verify(backward)
        close(backward(X)[0], 3 * np.cos(X))


def test_custom_vjp_of_several_arguments_and_results():
    @wg.custom_vjp
    def f(p, y):
        return {"product": p["x"] * y, "sum": p["x"] + y}

    def forward(p, y):
        return f(p, y), (p["x"], y)

    def backward(residuals, bar):
        x, y = residuals
        x_bar = bar["product"] * y + bar["sum"]
        return {"x": 10 * x_bar}, 100 * (bar["product"] * x + bar["sum"])

    f.defvjp(forward, backward)

    def loss(p, y):
        made = f(p, y)
        return wg.sum(made["product"] * made["sum"])  # x y (x + y)

    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    grads = wg.grad(loss, argnums=(0, 1))({"x": x}, y)
    close(grads[0]["x"], 10 * (2 * x * y + y * y))
    close(grads[1], 100 * (x * x + 2 * x * y))
    only = wg.grad(lambda y: wg.sum(f({"x": x}, y)["sum"]))(y)
    close(only, [100.0, 100.0])


def test_custom_vjp_batches_only_what_is_batched():
    @wg.custom_vjp
    def f(x, w):
        return x * w

    f.defvjp(lambda x, w: (x * w, (x, w)), lambda r, b: (2 * b * r[1], 3 * b * r[0]))
    x, w = np.array([1.0, 2.0, 3.0]), scalar(5.0)
    close(wg.vmap(wg.grad(f), in_axes=(0, None))(x, w), [10.0, 10.0, 10.0])
    close(wg.vmap(wg.grad(f, argnums=1), in_axes=(0, None))(x, w), 3 * x)
    total = wg.grad(lambda w: wg.sum(wg.vmap(lambda x: f(x, w))(x)))(w)
    assert total.item() == 18.0


def test_custom_vjp_with_an_integer_argument():
    @wg.custom_vjp
    def pick(x, i):
        return x[i]

    def backward(residuals, bar):
        _, i = residuals
        return wg.where(wg.arange(3) == i, 2 * bar, 0.0), None

    pick.defvjp(lambda x, i: (x[i], (x, i)), backward)
    for i in (1, wg.tensor(1)):
        assert wg.grad(pick)(wg.tensor([1.0, 2.0, 3.0]), i).tolist() == [0.0, 2.0, 0.0]


def test_custom_vjp_keeps_numbers_exact_and_static():
    @wg.custom_vjp
    def scaled(x, factor):
        return x * factor if factor > 0 else x

    scaled.defvjp(lambda x, s: (x * s, (s,)), lambda r, bar: (bar * r[0], None))
    assert scaled(scalar(1.0), 0.1).item() == 0.1


def test_custom_vjp_without_its_rule():
    f = wg.custom_vjp(lambda x: x)
    with pytest.raises(RuntimeError, match=r"custom_vjp: give the rule through \.defvjp"):
        f(wg.tensor(1.0))


BAD_RULES = {
    "too few": lambda r, bar: (bar,),
    "too many": lambda r, bar: (bar, bar, bar),
    "wrong shape": lambda r, bar: (bar, wg.sum(bar)),
    "wrong dtype": lambda r, bar: (bar, wg.astype(bar, wg.float32)),
    "no tuple": lambda r, bar: bar,
}


@pytest.mark.parametrize("rule", BAD_RULES.values(), ids=BAD_RULES)
def test_custom_vjp_checks_what_its_rule_returns(rule):
    @wg.custom_vjp
    def multiplied(x, y):
        return x * y

    multiplied.defvjp(lambda x, y: (x * y, ()), rule)
    x = np.ones(2)
    match = (
        r"multiplied: its rule must return (the|one) cotangents?.*, got \(?(1|3|f64\[\]|f32\[2\])"
    )
    with pytest.raises((ValueError, TypeError), match=match):
        wg.grad(lambda x: wg.sum(multiplied(x, x)))(x)


def test_custom_vjp_forward_must_return_residuals():
    f = wg.custom_vjp(lambda x: x)
    f.defvjp(lambda x: x, lambda r, bar: (bar,))
    with pytest.raises((TypeError, ValueError), match=r"\(value, residuals\)"):
        f(wg.ones(3))


def test_custom_rules_refuse_captured_gradients():
    w = wg.tensor(2.0, requires_grad=True)
    f = wg.custom_vjp(lambda x: x * w)
    f.defvjp(lambda x: (x * w, ()), lambda r, bar: (bar,))
    g = wg.custom_jvp(lambda x: x * w)
    g.defjvp(lambda primals, tangents: (g(*primals), tangents[0]))
    for rule in (f, g):
        with pytest.raises(RuntimeError, match=r"captures a tensor that requires gradients \(f32"):
            rule(wg.tensor(1.0))
        with wg.no_grad():
            assert rule(wg.tensor(1.0)).item() == 2.0
        with pytest.raises(RuntimeError, match="captures a tensor"):
            wg.grad(lambda v, rule=rule: rule(v))(wg.tensor(1.0))


def test_custom_rules_refuse_a_captured_variable_of_an_outer_derivative():
    def outer(z):
        f = wg.custom_vjp(lambda x: x * z)
        f.defvjp(lambda x: (x * z, ()), lambda r, bar: (bar,))
        return f(wg.tensor(1.0))

    with pytest.raises(RuntimeError, match="captures a tensor"):
        wg.grad(outer)(wg.tensor(3.0))


def test_custom_rules_may_capture_constants():
    c = wg.tensor([2.0, 3.0])
    f = wg.custom_vjp(lambda x: x * c)
    f.defvjp(lambda x: (x * c, ()), lambda r, bar: (bar * c * 10,))
    assert wg.grad(lambda x: wg.sum(f(x)))(wg.ones(2)).tolist() == [20.0, 30.0]
    assert wg.vmap(wg.grad(lambda x: wg.sum(f(x))))(wg.ones((2, 2))).tolist() == [[20.0, 30.0]] * 2


def test_custom_rules_draw_new_numbers_each_time():
    f = wg.custom_vjp(lambda x: x * wg.rand(3))

    def forward(x):
        drawn = wg.rand(3)
        return x * drawn, drawn

    f.defvjp(forward, lambda drawn, bar: (bar * drawn,))
    first, second = f(wg.ones(3)), f(wg.ones(3))
    assert first.tolist() != second.tolist()
    (value, gradient) = wg.value_and_grad(lambda x: wg.sum(f(x)))(wg.ones(3))
    assert value.item() == pytest.approx(gradient.detach().numpy().sum())


# --- custom_jvp -----------------------------------------------------------------------------------


def halved():
    """Return sin with half its derivative, stated forwards."""
    g = wg.custom_jvp(lambda x: wg.sin(x))  # noqa: PLW0108  (a function of its own)
    g.defjvp(lambda primals, tangents: (g(*primals), wg.cos(primals[0]) * tangents[0] / 2))
    return g


def test_custom_jvp_is_used_by_both_modes():
    f, x = halved(), scalar(0.4)
    assert f(x).item() == np.sin(0.4)
    assert derivative(f)(x).item() == pytest.approx(np.cos(0.4) / 2)
    assert wg.grad(f)(x).item() == pytest.approx(np.cos(0.4) / 2)
    close(wg.jacobian(f, mode="forward")(X), np.diag(np.cos(X) / 2))
    close(wg.jacobian(f, mode="reverse")(X), np.diag(np.cos(X) / 2))
    leaf = wg.tensor(X, requires_grad=True)
    wg.sum(f(leaf)).backward()
    close(leaf.grad, np.cos(X) / 2)


def test_custom_jvp_can_be_differentiated_again():
    f, x = halved(), scalar(0.4)
    for first in (wg.grad, derivative):
        for second in (wg.grad, derivative):
            assert second(first(f))(x).item() == pytest.approx(-np.sin(0.4) / 2)
    close(wg.hessian(lambda x: wg.sum(f(x)))(X), np.diag(-np.sin(X) / 2))


def test_custom_jvp_inside_others():
    f = halved()
    close(wg.vmap(wg.grad(f))(X), np.cos(X) / 2)
    close(wg.vmap(derivative(f))(X), np.cos(X) / 2)
    close(wg.vmap(wg.grad(derivative(f)))(X), -np.sin(X) / 2)
    close(wg.grad(wg.checkpoint(lambda x: wg.sum(f(x))))(X), np.cos(X) / 2)
    backward = wg.trace(lambda x: wg.sum(f(x)))(X).backward()
    wg.verify(backward)
    close(backward(X)[0], np.cos(X) / 2)


def test_custom_jvp_of_several_arguments_and_results():
    @wg.custom_jvp
    def f(x, p):
        return x * p["y"], [x + p["y"]]

    def rule(primals, tangents):
        (x, p), (x_dot, p_dot) = primals, tangents
        return f(x, p), (x_dot * p["y"] + x * p_dot["y"], [7 * x_dot + 11 * p_dot["y"]])

    f.defjvp(rule)
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])

    def loss(x, p):
        a, (b,) = f(x, p)
        return wg.sum(a) + wg.sum(b)

    grads = wg.grad(loss, argnums=(0, 1))(x, {"y": y})
    close(grads[0], y + 7)
    close(grads[1]["y"], x + 11)
    tangent = wg.jvp(loss, (x, {"y": y}), (x, {"y": np.zeros(2)}))[1]
    assert tangent.item() == pytest.approx((x * (y + 7)).sum())


def test_custom_jvp_without_its_rule():
    with pytest.raises(RuntimeError, match=r"custom_jvp: give the rule through \.defjvp"):
        wg.custom_jvp(lambda x: x)(wg.tensor(1.0))


@pytest.mark.parametrize("bad", [wg.sum, lambda t: (t, t), lambda t: t > 0])
def test_custom_jvp_checks_what_its_rule_returns(bad):
    f = wg.custom_jvp(lambda x: 2 * x)
    f.defjvp(lambda primals, tangents: (f(*primals), bad(tangents[0])))
    for transform in (
        lambda: wg.jvp(f, (wg.ones(2),), (wg.ones(2),)),
        lambda: wg.grad(lambda x: wg.sum(f(x)))(wg.ones(2)),
    ):
        with pytest.raises((ValueError, TypeError), match=r"its rule must return the tangents"):
            transform()


def test_shape_error_inside_a_custom_function_is_clear():
    f = wg.custom_vjp(lambda x: x + wg.ones(3))
    f.defvjp(lambda x: (x + wg.ones(3), ()), lambda r, bar: (bar,))
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\).*test_custom_rules.py:\d+"):
        f(wg.ones(2))


def test_forward_of_a_custom_function_may_call_it():
    f = wg.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (f(x), x), lambda x, bar: (3 * x * bar,))
    assert f(scalar(3.0)).item() == 9.0
    assert wg.grad(f)(scalar(3.0)).item() == 9.0
    assert wg.grad(wg.grad(f))(scalar(3.0)).item() == 3.0


def test_rule_of_a_custom_function_may_call_it():
    f = wg.custom_vjp(lambda x: wg.exp(x))  # noqa: PLW0108  (a function of its own)
    f.defvjp(lambda x: (wg.exp(x), x), lambda x, bar: (2 * f(x) * bar,))
    assert wg.grad(f)(scalar(0.5)).item() == pytest.approx(2 * np.exp(0.5))
    assert wg.grad(wg.grad(f))(scalar(0.5)).item() == pytest.approx(4 * np.exp(0.5))

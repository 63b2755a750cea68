"""checkpoint, custom_vjp, custom_jvp."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, close, derivative, scalar
from wengert import ShapeError, TracerError
from wengert.tensor.random import default_generator

# --- checkpoint: the same derivatives -------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
def test_checkpoint_gives_the_same_bits(f):
    x = wg.tensor(X)
    plain, saved = [lambda x, g=g: wg.sum(wg.sin(g(x))) for g in (f, wg.checkpoint(f))]
    for transform in (wg.grad, wg.value_and_grad, wg.hessian, wg.jacobian):
        for a, b in zip(*(transform(g)(x) for g in (plain, saved)), strict=True):
            np.testing.assert_array_equal(array(a), array(b))
    np.testing.assert_array_equal(array(wg.checkpoint(f)(x)), array(f(x)))
    tangents = [wg.jvp(g, (x,), (wg.ones_like(x),))[1].item() for g in (plain, saved)]
    assert tangents[0] == tangents[1]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_checkpoint_gives_the_same_bits_to_backward(f):
    grads = []
    for g in (f, wg.checkpoint(f)):
        x = wg.tensor(X, requires_grad=True)
        wg.sum(wg.exp(g(x))).backward()
        grads.append(array(x.grad))
    np.testing.assert_array_equal(*grads)


def test_checkpoint_of_checkpoints():
    def f(x):
        return wg.sum(wg.checkpoint(lambda x: wg.checkpoint(wg.sin)(x * x))(x) * x)

    def plain(x):
        return wg.sum(wg.sin(x * x) * x)

    outer = wg.checkpoint(f)
    close(wg.grad(outer)(X), wg.grad(plain)(X), 1e-14)
    close(wg.hessian(outer)(X), wg.hessian(plain)(X), 1e-14)
    close(wg.grad(lambda x: wg.grad(outer)(x)[0])(X), array(wg.hessian(plain)(X))[0], 1e-14)


def test_checkpoint_under_vmap_and_around_it():
    batch = np.stack([X, 2 * X])
    f = wg.checkpoint(lambda x: wg.sum(wg.tanh(x) ** 3))
    expected = wg.vmap(wg.grad(lambda x: wg.sum(wg.tanh(x) ** 3)))(batch)
    close(wg.vmap(wg.grad(f))(batch), expected, 1e-14)
    around = wg.checkpoint(lambda b: wg.sum(wg.vmap(lambda x: wg.sum(wg.tanh(x) ** 3))(b)))
    close(wg.grad(around)(batch), expected, 1e-14)
    w = scalar(0.5)
    shared = wg.vmap(wg.checkpoint(lambda x: wg.sum(wg.tanh(w * x))))
    gradient = wg.grad(lambda v: wg.sum(wg.checkpoint(lambda x: wg.tanh(v * x))(X)))(w)
    close(gradient, (X / np.cosh(0.5 * X) ** 2).sum())
    assert shared(batch).shape == (2,)


def test_checkpoint_of_containers_keywords_and_numbers():
    @wg.checkpoint
    def f(p, factor, *, shift=0.0, name="ignored", flag=True):
        if flag and factor > 0:
            return {"y": p["x"] * factor + shift, "n": (p["x"], None)}
        return {}

    x = np.array([1.0, 2.0])
    found = f({"x": x}, 0.1, shift=scalar(0.25))
    np.testing.assert_array_equal(array(found["y"]), x * 0.1 + 0.25)
    assert found["n"][1] is None
    gradient = wg.grad(lambda p: wg.sum(f(p, 0.1)["y"]))({"x": x})
    np.testing.assert_array_equal(array(gradient["x"]), [0.1, 0.1])
    shifted = wg.grad(lambda s: wg.sum(f({"x": x}, 0.1, shift=s)["y"]))(scalar(0.0))
    assert shifted.item() == 2.0


def test_checkpoint_cannot_branch_on_values():
    f = wg.checkpoint(lambda x: x if x > 0 else -x)
    with pytest.raises(TracerError, match=r"condition.*test_rules.py:\d+.*wg\.where"):
        f(wg.tensor(1.0))


def test_checkpoint_of_a_function_with_an_integer_result():
    f = wg.checkpoint(lambda x: (wg.max(x), wg.argmax(x)))
    assert wg.grad(lambda x: f(x)[0])(wg.tensor([1.0, 3.0])).tolist() == [0.0, 1.0]
    assert f(wg.tensor([1.0, 3.0]))[1].item() == 1


def test_checkpoint_captures_parameters():
    w = wg.tensor(X, requires_grad=True)
    b = wg.tensor(0.3, dtype=wg.float64, requires_grad=True)
    layer = wg.checkpoint(lambda x: wg.tanh(x * w + b))
    loss = wg.sum(layer(layer(wg.tensor(X))))
    loss.backward()
    grads = wg.grad(lambda w, b: wg.sum(wg.tanh(wg.tanh(X * w + b) * w + b)), argnums=(0, 1))(
        w.detach(), b.detach()
    )
    close(w.grad, grads[0], 1e-14)
    close(b.grad, grads[1], 1e-14)


def test_checkpoint_captures_modules():
    wg.manual_seed(1)
    net = wg.nn.Sequential(wg.nn.Linear(4, 8), wg.nn.Tanh(), wg.nn.Linear(8, 1))
    x = wg.randn(5, 4)
    grads = []
    for f in (net, wg.checkpoint(net), wg.checkpoint(lambda x: net(x * 1))):
        wg.sum(f(x)).backward()
        grads.append([array(p.grad).copy() for p in net.parameters()])
        for p in net.parameters():
            p.grad = None
    for plain, *others in zip(*grads, strict=True):
        for other in others:
            np.testing.assert_array_equal(plain, other)


def test_captured_parameter_changed_before_the_backward_pass():
    w = wg.tensor([1.0, 2.0], requires_grad=True)
    y = wg.sum(wg.checkpoint(lambda x: wg.exp(x * w) * w)(wg.ones(2)))
    with wg.no_grad():
        w.mul_(100.0)
    y.backward()
    a = np.array([1.0, 2.0])
    close(w.grad, np.exp(a) * (a + 1), 1e-6)


# --- checkpoint: recomputation --------------------------------------------------------------------


def test_checkpoint_computes_again(spy):
    f = wg.checkpoint(lambda x: wg.sum(wg.exp(wg.erf(x))))
    x = wg.tensor(X, requires_grad=True)
    results = spy("erf")
    y = f(x)
    assert len(results) == 1
    y.backward()
    assert len(results) == 2
    with wg.no_grad():
        f(x)
    assert len(results) == 3


def test_intermediates_of_a_checkpoint_die_at_once(spy, without_collector):
    results = spy("erf")
    x = wg.tensor(np.ones(100), requires_grad=True)
    y = wg.checkpoint(lambda x: wg.sum(wg.exp(wg.erf(x))))(x)
    assert [result() for result in results] == [None]
    y.backward()
    assert [result() for result in results] == [None, None]


def bytes_held(y):
    """Return the bytes of all values that the graph behind `y` holds."""
    held = {}
    stack = [y._variable]
    while stack:
        v = stack.pop()
        if v.value is not None:
            held[id(v.value)] = v.value.nbytes
        if v.op is not None:
            stack += v.op.inputs
    return sum(held.values())


def test_nothing_inside_a_checkpoint_is_stored():
    def deep(x):
        for _ in range(10):
            x = wg.exp(wg.sin(x))
        return wg.sum(x)

    x = wg.tensor(np.ones(10_000), requires_grad=True)
    assert bytes_held(deep(x)) >= 20 * 80_000
    assert bytes_held(wg.checkpoint(deep)(x)) <= 80_000 + 8


# --- checkpoint: effects --------------------------------------------------------------------------


def test_checkpoint_draws_the_same_dropout_again():
    x = np.ones(1000)

    def f(x):
        return wg.sum(wg.dropout(x, 0.5) ** 2)

    wg.manual_seed(3)
    expected = array(wg.grad(f)(x))
    state = default_generator.state.tolist()
    wg.manual_seed(3)
    found = array(wg.grad(wg.checkpoint(f))(x))
    np.testing.assert_array_equal(found, expected)
    assert default_generator.state.tolist() == state
    assert set(np.unique(found)) == {0.0, 8.0}
    assert array(wg.grad(wg.checkpoint(f))(x)).tolist() != found.tolist()


def test_checkpoint_draws_in_backward_leave_the_generator_alone():
    x = wg.tensor(np.ones(100), requires_grad=True)
    y = wg.sum(wg.checkpoint(lambda x: wg.dropout(x, 0.5))(x))
    wg.rand(3)
    state = default_generator.state.tolist()
    y.backward()
    assert default_generator.state.tolist() == state
    np.testing.assert_array_equal(array(x.grad).sum(), y.item())


def test_checkpoint_carries_out_writes():
    counter = wg.zeros(2)
    f = wg.checkpoint(lambda x: (counter.add_(1.0), wg.sum(x * x))[1])
    assert wg.grad(f)(wg.ones(2)).tolist() == [2.0, 2.0]
    assert counter.tolist() == [1.0, 1.0]


def test_checkpoint_of_backward_inside():
    w = wg.tensor(2.0, requires_grad=True)

    def f(x):
        (w * x).backward()
        return x

    try:
        wg.checkpoint(f)(wg.tensor(3.0))
    except RuntimeError as error:
        assert "checkpoint" in str(error)  # noqa: PT017  (or it is carried out)
    else:
        assert w.grad is not None
        assert w.grad.item() == 3.0


def test_exception_inside_a_checkpoint_restores_the_cells():
    cell, w = wg.zeros(2), wg.tensor(2.0, requires_grad=True)

    def f(x):
        cell.add_(1.0)
        (w * x).backward()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wg.checkpoint(f)(wg.tensor(3.0))
    assert cell.tolist() == [0.0, 0.0]
    assert w.grad is None
    assert (w * 2).requires_grad


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
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\).*test_rules.py:\d+"):
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

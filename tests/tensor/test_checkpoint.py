"""checkpoint: the same derivatives, with intermediates computed again instead of stored."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, close, scalar
from wengert import TracerError
from wengert.tensor.random import default_generator

# --- The same derivatives -------------------------------------------------------------


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
    with pytest.raises(TracerError, match=r"condition.*test_checkpoint.py:\d+.*wg\.where"):
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


# --- Recomputation --------------------------------------------------------------------


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


# --- Effects --------------------------------------------------------------------------


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

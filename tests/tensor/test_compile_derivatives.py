"""Derivatives of compiled functions, by transforms and by backward passes from their results."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, close, leaf
from wengert.tensor.random import default_generator

pytest.importorskip("llvmlite")


def test_derivatives_pass_through():
    f = wg.compile(lambda x: wg.sum(x * x * x))
    x = wg.tensor([1.0, 2.0])
    assert wg.grad(f)(x).tolist() == [3.0, 12.0]
    assert wg.hessian(f)(x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert wg.jvp(f, (x,), (x,))[1].item() == 27.0
    assert wg.vmap(f)(x[:, None]).tolist() == [1.0, 8.0]
    assert wg.vmap(wg.grad(f))(x[:, None]).tolist() == [[3.0], [12.0]]
    assert wg.trace(f)(x).outputs[0].shape == ()
    assert wg.compile(lambda x: f(x) + 1)(x).item() == 10.0
    assert wg.checkpoint(f)(x).item() == 9.0


def test_derivatives_pass_through_captured_tensors():
    def outer(w):
        return wg.compile(lambda x: wg.sum(x * w * w))(wg.ones(2))

    assert wg.grad(outer)(wg.tensor([2.0, 3.0])).tolist() == [4.0, 6.0]
    x = wg.tensor([2.0, 3.0])
    assert wg.jvp(outer, (x,), (x,))[1].item() == 26.0
    assert wg.vmap(outer)(x[:, None]).tolist() == [8.0, 18.0]


def test_backward_through_a_compiled_function():
    f = wg.compile(lambda x: x * x)
    x = leaf(3.0)
    f(x * 2).sum().backward()
    assert x.grad.tolist() == [24.0]


def test_backward_from_the_result_of_a_compiled_function():
    w = leaf(1.0, 2.0)
    loss = wg.compile(lambda x: wg.sum(w * w * x))
    for value in (loss(np.ones(2)), wg.compile(lambda w: wg.sum(w * w))(w)):
        w.grad = None
        try:
            value.backward()
        except RuntimeError as error:
            assert "compile" in str(error)  # noqa: PT017  (recorded, or refused with the reason)
        else:
            assert w.grad.tolist() == [2.0, 4.0]


DETACHED = {
    "detach": lambda x: (x * 2).detach(),
    "stop_gradient": lambda x: wg.stop_gradient(x * x),
    "argument": lambda x: x.detach(),
    "no_grad": wg.no_grad()(lambda x: x * 3),
    "integers": lambda x: wg.argsort(x),  # noqa: PLW0108  (a function of its own)
}


@pytest.mark.parametrize("f", DETACHED.values(), ids=DETACHED)
def test_detached_results_stay_detached(f):
    w, compiled = leaf(3.0, 4.0), wg.compile(lambda: f(w))
    for y in (compiled(), wg.compile(f)(w)):
        assert not y.requires_grad
        w.grad = None
        (w * y).sum().backward()
        np.testing.assert_array_equal(array(w.grad), array(f(w)))


def test_backward_from_the_result_keeps_the_values_that_were_seen():
    w, x = leaf(1.0, 2.0), np.array([3.0, 4.0])
    f = wg.compile(lambda x: wg.exp(w * x))
    first, second = f(x), f(2 * x)
    expected = np.exp([3.0, 8.0]) * x
    x[0] = 50.0
    with wg.no_grad():
        w.mul_(10.0)
    try:
        first.sum().backward()
    except (RuntimeError, wg.MutationError) as error:
        assert "compile" in str(error) or isinstance(error, wg.MutationError)  # noqa: PT017
    else:
        close(w.grad, expected)
    del second


def test_backward_through_a_function_that_draws_and_counts():
    results = []
    for make in (lambda f: f, wg.compile):
        w, count, mean = leaf(1.0, 2.0), wg.zeros(()), wg.zeros(2, dtype=wg.float64)

        def f(x, w=w, count=count, mean=mean):
            count.add_(1.0)
            y = wg.dropout(w * x * (1 + mean), 0.5)
            with wg.no_grad():
                mean.mul_(0.5).add_(y)
            return wg.sum(y * y)

        wg.manual_seed(5)
        call, seen = make(f), []
        for i in range(6):
            loss = call(np.array([1.0, 2.0 + i]))
            w.grad = None
            loss.backward()
            seen.append((loss.item(), w.grad.tolist()))
        results.append((seen, count.item(), mean.tolist(), default_generator.state.tolist()))
    assert results[0][1:] == results[1][1:]
    np.testing.assert_allclose(*([v for _, g in r[0] for v in g] for r in results), rtol=1e-12)


EFFECTS = {
    "weight": lambda w, x: w.copy_(w * 0.5),
    r"weight\.grad": lambda w, x: wg.sum(w * x).backward(),
}


@pytest.mark.parametrize("what", EFFECTS)
@pytest.mark.parametrize("argument", [False, True])
def test_what_keeps_a_derivative_from_passing_is_named(what, argument):
    w = leaf(1.0, 2.0)
    w.name = "weight"

    def train(x, weight=w):
        y = wg.sum(weight * x)
        with wg.no_grad() if what == "weight" else contextlib.nullcontext():
            EFFECTS[what](weight, x)
        return y

    compiled = wg.compile(train)
    loss = compiled(np.ones(2), w) if argument else compiled(np.ones(2))
    assert loss.requires_grad
    match = rf"compiled function train, which changed {what}; .*inside the compiled function"
    with pytest.raises(RuntimeError, match=match):
        (loss * 2).sum().backward()
    assert loss.detach().item() == 3.0


def test_hooks_run_inside():
    w = leaf(1.0, 2.0)
    w.register_hook(lambda g: wg.clip(g, -1.0, 1.0))

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    wg.compile(step)(np.array([0.5, 5.0]))
    assert w.grad.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_backward_passes_are_native_and_right(f, monkeypatch):
    compiled = wg.compile(lambda x, y: (f(x) * y, wg.sum(f(y))))
    x, y = leaf(*X), leaf(*(X * 0.5 + 0.1))
    weights = np.array([0.3, -1.0, 2.0, 0.7])

    def gradients(call):
        x.grad = y.grad = None
        first, second = call(x, y)
        (wg.sum(first * weights) * second).backward()
        both = [array(x.grad), array(y.grad)]
        x.grad = y.grad = None
        call(x, y)[1].backward()
        return [*both, array(y.grad), x.grad]

    expected = gradients(compiled.function)
    monkeypatch.setattr("wengert.ad.call._rerun", None)  # nothing is computed again by NumPy
    for _ in range(2):
        *found, none = gradients(compiled)
        assert none is None or not array(none).any()
        for mine, other in zip(found, expected, strict=False):
            close(mine, other, 1e-12)


def test_backward_pass_with_another_backward_pass_to_come():
    x = leaf(1.0, 2.0)
    compiled = wg.compile(lambda x: wg.sum(x * x * x))
    compiled(x).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.sum().backward()
    assert (first.tolist(), x.grad.tolist()) == ([3.0, 12.0], [6.0, 12.0])


def test_backward_pass_by_the_reference_evaluator():
    w = leaf(1.0, 2.0)
    y = wg.compile(lambda: wg.sum(wg.exp(w)))()
    with wg.disable_compile():
        y.backward()
    close(w.grad, np.exp([1.0, 2.0]))

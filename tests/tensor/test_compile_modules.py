"""Modules that a compiled function is given, or that a derivative in it copies."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import wengert as wg

pytest.importorskip("llvmlite")

X = wg.ones((8, 4))


def net():
    return wg.nn.Sequential(wg.nn.Linear(4, 3), wg.nn.Dropout(0.5), wg.nn.Linear(3, 1))


def total(model, x):
    return wg.sum(model(x))


def drawn(f, *args):
    """Return what `f` gives from the same random numbers each time, as nested lists."""
    wg.manual_seed(0)
    value, gradient = f(*args)
    return value.item(), [p.tolist() for p in gradient.parameters()]


def close(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transform", [wg.grad, wg.value_and_grad])
def test_the_gradient_of_a_model_that_is_called(transform):
    model = net().eval()
    expected = transform(total)(model, X)
    found = wg.compile(transform(total))(model, X)
    pairs = [(expected, found)] if transform is wg.grad else [(expected[1], found[1])]
    for one, other in pairs:
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-5)


def by_argument(model):
    f = wg.compile(wg.value_and_grad(total))
    return lambda: drawn(f, model, X), f


def from_outside(model):
    f = wg.compile(lambda x: wg.value_and_grad(lambda model: total(model, x))(model))
    return lambda: drawn(f, X), f


@pytest.mark.parametrize("way", [by_argument, from_outside])
def test_modes_and_numbers_of_a_copied_model_are_read_afresh(way):
    model = net()
    call, f = way(model)
    eager = wg.value_and_grad(total)
    close(call(), drawn(eager, model, X))
    model[1].p = 0.25  # an input
    close(call(), drawn(eager, model, X))
    assert f.compilations == ["first call"]
    model.eval()
    close(call(), drawn(eager, model, X))
    model.train()
    close(call(), drawn(eager, model, X))
    assert len(f.compilations) == 2
    with wg.no_grad():
        model[0].weight.fill_(1.0)
    close(call(), drawn(eager, model, X))
    model[0] = wg.nn.Linear(4, 3)
    close(call(), drawn(eager, model, X))


def test_a_number_of_a_model_that_is_an_argument_is_read_afresh():
    layer = wg.nn.Dropout(0.5)
    f = wg.compile(lambda layer, x: layer(x))
    assert f(layer, X).max().item() == 2
    layer.p = 0.75
    assert f(layer, X).max().item() == 4
    assert f.compilations == ["first call"]


def test_what_the_function_sets_on_its_copy_holds():
    model = net()

    def loss(model):
        model.eval()
        model[1].p = 0.1
        return total(model, X)

    f = wg.compile(wg.value_and_grad(loss))
    expected = drawn(wg.value_and_grad(total), net_like(model), X)
    close(drawn(f, model), expected)
    close(drawn(f, model), expected)
    assert f.compilations == ["first call"]
    assert model.training
    assert model[1].p == 0.5


def net_like(model):
    other = net().eval()
    other.load_state_dict(model.state_dict())
    return other


def test_a_model_that_a_compiled_function_returned_is_one_in_its_own_right():
    model = net()
    updated = wg.compile(wg.grad(total))(model, X)
    f = wg.compile(lambda x: total(updated, x))
    f(X)
    updated.eval()
    f(X)
    assert f.compilations == ["first call", "changed: 1.training"]
    updated[0] = wg.nn.Linear(4, 3)
    assert f(X).item() == pytest.approx(total(updated, X).item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:compile. <lambda> was compiled 8 times")
def test_modules_that_nobody_has_any_more_are_forgotten():
    compiled, x = wg.compile(lambda layer, x: layer(x)), wg.ones((1, 3))
    kept, known = [], []
    with wg.no_grad():
        for i in range(40):
            layer = wg.nn.Linear(3, 2)
            known.append(weakref.ref(layer))
            if i % 10 == 0:
                kept.append(layer)
            for _ in range(3):
                compiled(layer, x)
        del layer
        gc.collect()
        assert len(kept) <= sum(layer() is not None for layer in known) < 30
        before = len(compiled.compilations)
        for layer in kept:
            np.testing.assert_allclose(compiled(layer, x).tolist(), layer(x).tolist(), rtol=1e-6)
    assert len(compiled.compilations) == before
    assert not any("compiled" in name for layer in kept for name in vars(layer))

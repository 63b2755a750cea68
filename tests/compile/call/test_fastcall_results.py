"""Calls of compiled functions that run no Python: what they return."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import wengert as wg
from tests.compile.call.quick import (
    SCALE,
    Training,
    X,
    Y,
    assert_alike,
    double,
    is_fast,
    needs_fast_calls,
    warm,
)
from wengert import TracerError

pytestmark = needs_fast_calls


def test_each_call_returns_a_tensor_of_its_own():
    compiled = warm(wg.compile(lambda x: (x + 1, x * 2)), wg.zeros(3))
    kept = [compiled(wg.full(3, float(i))) for i in range(8)]
    for i, (a, b) in enumerate(kept):
        assert a.tolist() == [i + 1.0] * 3
        assert b.tolist() == [i * 2.0] * 3
    assert len({id(t) for pair in kept for t in pair}) == 16


USES = {
    "tensor": lambda y: y,
    "detached": lambda y: y.detach(),
    "view": lambda y: y[1:],
    "array": lambda y: y.numpy(),
    "view of the array": lambda y: y.numpy()[1:],
    "memoryview": lambda y: memoryview(y.numpy()),
    "in a graph": lambda y: y * wg.ones(3).requires_grad_(),
    "variable": lambda y: y._variable,
    "value": lambda y: y._variable.value,
    "gradient": lambda y: setattr(SCALE, "grad", None) or y.reshape(3),
}


@pytest.mark.parametrize("use", USES)
def test_what_is_made_of_a_result_outlives_it(use):
    compiled = warm(wg.compile(lambda x: x + 1), wg.zeros(3))
    kept = [USES[use](compiled(wg.full(3, float(i)))) for i in range(6)]
    for i, thing in enumerate(kept):
        value = getattr(thing, "value", thing)
        value = value.detach() if isinstance(value, wg.Tensor) else value
        assert set(np.asarray(value).ravel().tolist()) == {i + 1.0}


def _mark(y, name):
    y.name = name


CHANGED = {
    "name": lambda y: _mark(y, "mine"),
    "requires_grad": lambda y: y.requires_grad_(),
    "gradient": lambda y: setattr(y, "grad", wg.ones(3)),
    "hook": lambda y: y.requires_grad_().register_hook(lambda g: g),
    "values": lambda y: y.fill_(7.0),
    "part": lambda y: y.__setitem__(0, 7.0),
    "memory": lambda y: y.numpy().fill(7.0),
    "class": lambda y: setattr(y, "__class__", wg.nn.Parameter),
    "read-only": lambda y: y._variable.value.setflags(write=False),
    "another value": lambda y: y.copy_(wg.ones(3)),
}


@pytest.mark.parametrize("change", CHANGED)
def test_changes_of_a_result_do_not_come_back(change):
    compiled = warm(wg.compile(lambda x: x + 1), wg.zeros(3))
    for _ in range(4):
        CHANGED[change](compiled(wg.zeros(3)))
        y = compiled(wg.ones(3))
        assert type(y) is wg.Tensor
        assert (y.name, y.grad, y.requires_grad, y.is_leaf) == (None, None, False, True)
        assert not hasattr(y._variable, "hooks")
        assert y._variable.value.flags.writeable
        assert y.tolist() == [2.0] * 3


@pytest.mark.parametrize("part", [lambda y: y, lambda y: y._variable])
def test_what_is_known_by_a_weak_reference_does_not_come_back(part):
    compiled = warm(wg.compile(lambda x: x + 1), wg.zeros(3))
    for _ in range(4):
        y = compiled(wg.zeros(3))
        reference = weakref.ref(part(y))
        del y
        others = [compiled(wg.zeros(3)) for _ in range(3)]
        assert not any(reference() is part(other) for other in others)


def test_whoever_waits_for_a_result_to_go_may_call():
    compiled = warm(wg.compile(lambda x: x + 1), wg.zeros(3))
    references, found = [], []

    def call(_):
        found.append(compiled(wg.full(3, 5.0)).tolist())

    for i in range(8):
        y = compiled(wg.full(3, float(i)))
        assert y.tolist() == [i + 1.0] * 3
        references.append(weakref.ref(y, call))
        del y
    assert len(found) >= 4
    assert found == [[6.0] * 3] * len(found)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: None, "None"),
        (lambda x: x, "tensor([1., 1.])"),
        (lambda x: (x, None, "a"), "(tensor([1., 1.]), None, 'a')"),
        (lambda x: [x, x + 1], "[tensor([1., 1.]), tensor([2., 2.])]"),
        (lambda x: {"a": (x,), "b": 3}, "{'a': (tensor([1., 1.]),), 'b': 3}"),
        (lambda x: (), "()"),
    ],
)
def test_results_of_all_forms(function, expected):
    compiled = warm(wg.compile(function), wg.ones(2))
    assert [repr(compiled(wg.ones(2))) for _ in range(4)] == [expected] * 4


def test_what_can_be_changed_is_returned_anew():
    outside = np.ones(2)
    compiled = wg.compile(lambda x: (x, np.zeros(2), {1, 2}, outside))
    for i in range(4):
        _, made, numbers, other = compiled(wg.ones(2))
        assert (made.tolist(), numbers) == ([0.0, 0.0], {1, 2})
        assert other.tolist() == [i + 1.0] * 2
        made += 1
        numbers.add(3)
        outside += 1


@pytest.mark.parametrize(
    "function", [lambda x: (x * i for i in range(3)), lambda x: (x, map(abs, [1]))]
)
def test_what_runs_once_is_refused(function):
    with pytest.raises(TracerError, match=r"returned a (generator|map), whose code would run once"):
        wg.compile(function)(wg.ones(2))


def test_numbers_among_the_results():
    compiled = warm(wg.compile(lambda x, c: (x, c * 2)), wg.ones(1), 2.5)
    kept = [compiled(wg.ones(1), float(i))[1] for i in range(6)]
    assert kept == [2.0 * i for i in range(6)]
    assert {type(number) for number in kept} == {float}
    alone = warm(wg.compile(lambda c: c + 1), 1.0)
    assert [alone(float(i)) for i in range(4)] == [1.0, 2.0, 3.0, 4.0]
    both = wg.compile(lambda c: (c > 1, c))
    assert [both(float(i)) for i in range(4)] == [(i > 1, float(i)) for i in range(4)]


def test_large_results_are_not_kept():
    compiled = warm(wg.compile(lambda x: x + 1), wg.zeros((256, 256)))
    assert is_fast(compiled, wg.zeros((256, 256)))
    reference = weakref.ref(compiled(wg.zeros((256, 256))))
    assert reference() is None


def test_a_loss_refuses_derivatives_after_fast_calls_too():
    training = Training(True)
    warm(training.step, X, Y)
    losses = [training.step(X, Y) for _ in range(3)]
    assert all(loss.requires_grad and not loss.is_leaf for loss in losses)
    with pytest.raises(RuntimeError, match="which changed"):
        (losses[0] + losses[2]).backward()
    weight = double(2.0).requires_grad_()
    loss = training.step(X, Y)
    assert is_fast(training.step, X, Y)
    (loss * weight).backward(inputs=[weight])
    assert weight.grad.item() == loss.item()
    with pytest.raises(RuntimeError, match="which changed"):
        (training.step(X, Y) * weight).backward()
    assert is_fast(training.step, X, Y)


def test_a_gradient_that_somebody_holds_is_left_alone():
    trainings = [Training(compiles, "zero_grad first") for compiles in (True, False)]
    for _ in range(4):
        assert_alike(*trainings, X, Y)
    kept = [[p.grad for p in t.net.parameters()] for t in trainings]
    values = [g.tolist() for g in kept[0]]
    for _ in range(3):
        assert_alike(*trainings, X, Y)
    assert [g.tolist() for g in kept[0]] == values
    assert kept[0][0] is not trainings[0].net[0].weight.grad
    assert is_fast(trainings[0].step, X, Y)

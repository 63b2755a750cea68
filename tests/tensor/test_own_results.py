"""A result is a tensor of its own, also where nothing had to be computed."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf

SAME = {
    "reshape": lambda x: x.reshape(2, 2),
    "view": lambda x: x.view(x.shape),
    "wg.reshape": lambda x: wg.reshape(x, (2, 2)),
    "by name": lambda x: wg.reshape(x=x, shape=(2, 2)),
    "flatten": lambda x: x.flatten(1),
    "squeeze": lambda x: x.squeeze(),
    "expand_dims": lambda x: wg.expand_dims(x, ()),
    "broadcast_to": lambda x: wg.broadcast_to(x, (2, 2)),
    "permute_dims": lambda x: wg.permute_dims(x, (0, 1)),
    "moveaxis": lambda x: wg.moveaxis(x, 0, 0),
    "swapaxes": lambda x: wg.swapaxes(x, 0, 0),
    "astype": lambda x: x.astype(x.dtype),
    "double": lambda x: x.double(),
    "positive": lambda x: +x,
    "...": lambda x: x[...],
    ":": lambda x: x[:],
    "()": lambda x: x[()],
    "concat": lambda x: wg.concat([x]),
    "pad": lambda x: wg.pad(x, ((0, 0), (0, 0))),
    "sum": lambda x: wg.sum(x, ()),
    "flip": lambda x: wg.flip(x, ()),
    "clone": lambda x: x.clone(),
}


@pytest.fixture
def x():
    return wg.tensor(np.arange(4.0).reshape(2, 2), requires_grad=True)


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_names_and_hooks_are_its_own(same, x):
    x.name = "x"
    y = same(x)
    y.name = "y"
    assert (x.name, y.name) == ("x", "y")
    assert not y.is_leaf
    calls = []
    x.register_hook(lambda g: calls.append(("x", g.tolist())))
    y.register_hook(lambda g: calls.append(("y", g.tolist())))
    y.retain_grad()
    (y * y + 3.0 * x).sum().backward()
    doubled = (2 * np.arange(4.0)).reshape(2, 2)
    assert calls == [("y", doubled.tolist()), ("x", (doubled + 3.0).tolist())]
    assert y.grad.tolist() == doubled.tolist()
    assert x.grad.tolist() == (doubled + 3.0).tolist()


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_nothing_is_recorded_under_no_grad(same, x):
    with wg.no_grad():
        y = same(x)
    assert not y.requires_grad
    y.add_(1.0)
    assert x.tolist() == [[0.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_it_costs_no_operation_in_a_graph(same, x):
    graph = wg.trace(lambda x: same(x) * 2.0)(x)
    bare = wg.trace(lambda x: x * 2.0)(x)
    extra = len(graph.operations) - len(bare.operations)
    assert extra <= 1
    assert "alias" not in [op.primitive.name for op in graph.operations]


def test_asarray_of_a_tensor_is_the_tensor(x):
    assert wg.asarray(x) is x


def test_copying_a_leaf():
    x, y = leaf(1.0, 2.0), wg.zeros(2, dtype=wg.float64)
    y.copy_(x)
    assert y.requires_grad
    assert not y.is_leaf
    y.name = "y"
    assert x.name is None
    (y * y).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    with wg.no_grad():
        z = wg.zeros(2, dtype=wg.float64).copy_(x)
    assert not z.requires_grad
    z.add_(1.0)
    assert x.tolist() == [1.0, 2.0]


def test_copying_a_tensor_into_itself():
    x = leaf(1.0, 2.0)
    h = x * x
    h.copy_(h)
    h += h
    h.sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_gradient_that_is_the_value_itself():
    x = leaf(1.0, 2.0)
    x.grad = x.detach()
    with wg.no_grad():
        x.sub_(x.grad, alpha=0.5)
    assert (x.tolist(), x.grad.tolist()) == ([0.5, 1.0], [1.0, 2.0])
    x.sum().backward()
    assert (x.tolist(), x.grad.tolist()) == ([0.5, 1.0], [2.0, 3.0])


def test_a_changed_tensor_keeps_its_name():
    x = wg.zeros(3)
    x.name = "x"
    for change in (lambda: x.add_(1.0), lambda: x.__setitem__(0, 2.0), x.zero_):
        change()
        assert x.name == "x"

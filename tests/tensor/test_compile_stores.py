"""Tensors that a compiled function stores outside: as if its Python code had run at each call."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import TracerError
from wengert.tensor import pytree

pytest.importorskip("llvmlite")


class Box:
    """Holds attributes."""


class Net(wg.nn.Module):
    """Stores what it computes on the way, as one does to look at it."""

    def __init__(self):
        super().__init__()
        wg.manual_seed(0)
        self.first, self.last = wg.nn.Linear(2, 3), wg.nn.Linear(3, 1)

    def forward(self, x):
        self.x = x
        self.hidden = wg.tanh(self.first(x))
        self.sizes = {"x": (wg.sum(x * x), 2), "h": [self.hidden * 1]}
        return self.last(self.hidden)


def values(leaf):
    """Return the numbers of a tensor."""
    return leaf.tolist() if isinstance(leaf, wg.Tensor) else leaf


def storing():  # noqa: C901, PLR0915  (a list of functions)
    """Return functions that make a step, which stores, and say how to look at what it stored."""

    def attribute():
        box = Box()

        def step(x):
            box.a = x * 2
            box.pair = box.a, [x + 1, 2]
            return box.a + 1

        return step, lambda: vars(box)

    def item():
        table = {}

        def step(x):
            table["a"] = table["b"] = x * 2
            return x + 1

        return step, lambda: table

    def item_beside_another():
        table = {"w": wg.tensor([3.0, 4.0])}

        def step(x):
            table["a"] = x * table["w"]
            return table["a"] + 1

        return step, lambda: table

    def variable():
        late = None

        def step(x):
            nonlocal late
            late = x * 2
            return x + 1

        return step, lambda: late

    def of_a_class():
        class Settings:
            pass

        def step(x):
            Settings.last = x * 2
            return x + 1

        return step, lambda: Settings.last

    def argument():
        box = Box()

        def step(x):
            box.x = x
            return x + 1

        return step, lambda: box.x

    def captured():
        box, w = Box(), wg.tensor([1.0, 2.0])

        def step(x):
            box.w = w
            return x + box.w

        return step, lambda: box.w

    def returned():
        box = Box()

        def step(x):
            box.y = x * 2
            return box.y

        return step, lambda: box.y

    def gradient():
        box = Box()

        def step(x):
            w = wg.tensor([1.0, 2.0], requires_grad=True)
            (w * x).sum().backward()
            box.grad = w.grad
            return x + 1

        return step, lambda: box.grad

    def made_at_first():
        box = Box()

        def step(x):
            if not hasattr(box, "velocity"):
                box.velocity = x * 0
            box.velocity.add_(x)
            return box.velocity * 1

        return step, lambda: box.velocity

    def counted_from_the_first():
        box = Box()

        def step(x):
            if not hasattr(box, "count"):
                box.count = wg.tensor([0.0, 0.0])
            box.count.add_(1.0)
            return x + box.count

        return step, lambda: box.count

    def running_mean():
        net = wg.nn.Module()
        net.register_buffer("mean", wg.zeros(2))

        def step(x):
            net.mean = 0.5 * net.mean + 0.5 * x
            return x - net.mean

        return step, lambda: net.mean

    def carried():
        box, weight = Box(), wg.tensor([1.0, 0.5], requires_grad=True)
        box.state = None

        def step(x):
            if box.state is None:
                box.state = wg.zeros(2)
            weight.grad = None
            for _ in range(2):
                box.state = wg.tanh(weight * box.state + x)
            wg.sum(box.state).backward()
            box.state = box.state.detach()
            return box.state + weight.grad

        return step, lambda: box.state

    def momenta():
        momenta = [wg.zeros(2), wg.zeros(2)]

        def step(x):
            for i in range(2):
                momenta[i] = momenta[i] * 0.5 + x
            return momenta[0] + momenta[1]

        return step, lambda: momenta

    def changed_and_replaced():
        box = Box()
        box.a = wg.zeros(2)

        def step(x):
            box.a.add_(x)
            box.a = box.a * 2
            return box.a + 1

        return step, lambda: box.a

    def reset():
        box = Box()
        box.state = None

        def step(x):
            if box.state is None:
                box.state = wg.zeros(2)
            for _ in range(2):
                box.state = wg.tanh(box.state * 0 + x)
            y, box.state = box.state, None
            return y

        return step, lambda: box.state

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("make", storing(), ids=lambda f: f.__name__)
def test_what_is_stored_is_that_of_each_call(make):
    (step, look), (eager, expected) = make(), make()
    compiled = wg.compile(step)
    for count in range(4):
        x = wg.tensor([1.0, 2.0]) + count
        np.testing.assert_allclose(compiled(x).tolist(), eager(x).tolist(), rtol=1e-6)
        (stored, form), (wanted, known) = pytree.flatten(look()), pytree.flatten(expected())
        assert form == known
        for one, other in zip(stored, wanted, strict=True):
            np.testing.assert_allclose(values(one), values(other), rtol=1e-6)
    assert len(compiled.compilations) <= 2


def test_a_net_that_stores_is_trained_and_looked_at():
    def run(make):
        net, seen = Net(), []
        optimizer = wg.optim.Adam(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = wg.mean(net(x) ** 2)
            loss.backward()
            optimizer.step()
            return loss

        step = make(step)
        for count in range(3):
            x = wg.ones((2, 2)) * count
            seen.append(step(x).item())
            assert net.x is x
            seen += [net.hidden.tolist(), net.sizes["x"][0].item(), net.sizes["h"][0].tolist()]
        return seen

    for one, other in zip(run(wg.compile), run(lambda f: f), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_gradients_pass_through_what_is_stored():
    def run(make):
        net = Net()
        forward, x = make(net), wg.ones((2, 2))
        for _ in range(3):
            net.zero_grad()
            (wg.sum(forward(x)) + wg.sum(net.hidden * net.hidden)).backward()
        return [p.grad.tolist() for p in net.parameters()]

    for one, other in zip(run(wg.compile), run(lambda f: f), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_what_is_stored_twice_is_one_tensor():
    box = Box()

    def step(x):
        box.a = box.b = x * 2
        return box.a

    compiled, before = wg.compile(step), []
    for count in range(3):
        y = compiled(wg.ones(2) * count)
        assert box.a is box.b is y
        before.append(y)
    assert [y.tolist() for y in before] == [[0, 0], [2, 2], [4, 4]]


def test_a_tensor_that_is_replaced_is_another_one():
    box = Box()
    box.state = first = wg.zeros(1)

    def step(x):
        box.state.add_(1)
        box.state = box.state + x
        return box.state * 1

    compiled, held = wg.compile(step), [box.state]
    for _ in range(3):
        compiled(wg.ones(1))
        held.append(box.state)
    assert [t.item() for t in held] == [1, 3, 5, 6]
    box.state = wg.zeros(1)
    assert compiled(wg.ones(1)).item() == 2
    assert first.item() == 1
    assert compiled.compilations == ["first call"]


def test_a_tensor_that_stands_in_two_places_is_replaced_in_none():
    box, table = Box(), {}
    box.state = table["state"] = wg.zeros(1)

    def step(x):
        box.state = box.state + table["state"] + x
        return x

    with pytest.raises(TracerError, match=r"step changed where it reads tensors from \(Box.state"):
        wg.compile(step)(wg.ones(1))
    assert box.state is table["state"]


def test_hooks_of_a_tensor_that_is_replaced():
    box = Box()
    box.w = wg.tensor([1.0], requires_grad=True)
    box.w.register_hook(lambda g: g * 10)

    def step(x):
        (box.w * x).sum().backward()
        with wg.no_grad():
            box.w = box.w * 0.5
        return x

    compiled, first = wg.compile(step), box.w
    for _ in range(3):
        box.w.requires_grad_()
        compiled(wg.ones(1))
    assert first.grad.item() == 10
    np.testing.assert_allclose(box.w.tolist(), [0.125])


def test_what_a_place_held_before_is_a_guard():
    box = Box()
    box.state = None

    def step(x):
        box.state = x * 2 if box.state is None else x * 3
        return box.state + 0

    compiled, x = wg.compile(step), wg.ones(1)
    seen = []
    for _ in range(2):
        seen += [compiled(x).item() for _ in range(3)]
        box.state = None
    assert seen == [2, 3, 3] * 2
    assert compiled.compilations == ["first call", "changed: Box.state holds something else"]


def test_tables_made_at_the_first_call():
    tables = {}

    def f(x, n):
        if n not in tables:
            tables[n] = wg.arange(n) + 1
        return x * tables[n]

    compiled = wg.compile(f)
    for n in (2, 3, 2, 3, 2):
        assert compiled(wg.ones(n), n).tolist() == [1, 2, 3][:n]
    tables[2].mul_(2)
    assert compiled(wg.ones(2), 2).tolist() == [2, 4]
    tables[2] = wg.tensor([7, 7])
    assert compiled(wg.ones(2), 2).tolist() == [7, 7]


def test_another_tensor_from_outside_is_refused():
    box = Box()
    box.previous, box.now = wg.ones(2), wg.zeros(2)

    def step(x):
        box.previous, box.now = box.now, x * 2
        return x + 1

    with pytest.raises(TracerError, match=r"step changed where it reads tensors from .*previous"):
        wg.compile(step)(wg.ones(2))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_while_tracing_leaves_the_places_as_they_were(error):
    net, table, late, broken = Net(), {"a": 1}, "late", [True]
    net.hidden = "hidden"

    def step(x):
        nonlocal late
        late = table["a"] = table["b"] = net(x)
        if broken[0]:
            raise error
        return late

    compiled, x = wg.compile(step), wg.ones((1, 2))
    with pytest.raises(error):
        compiled(x)
    assert (table, late, net.hidden, hasattr(net, "sizes")) == ({"a": 1}, "late", "hidden", False)
    broken[0] = False
    assert compiled(x).tolist() == late.tolist() == table["b"].tolist()
    assert net.sizes["x"][0].item() == 2.0


def test_a_place_whose_gradient_was_asked_for_is_gone():
    found = []
    for make in (lambda f: f, wg.compile):
        table = {"w": wg.tensor([1.0, 2.0])}

        def step(x, table=table):
            before = table.get("w")
            if before is None:
                return x * 3
            grad = 0 if before.grad is None else before.grad
            table["w"] = before * x + grad
            return table["w"] * 1

        call, x = make(step), wg.full(2, 2.0)
        seen = [call(x).tolist() for _ in range(4)]
        del table["w"]
        found.append([*seen, *(call(x).tolist() for _ in range(4))])
    assert found[0] == found[1]

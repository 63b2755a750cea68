"""Calls of compiled functions that run no Python: objects and modules among their arguments."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

import wengert as wg
from tests.compile.call.quick import RTOL, X, Y, double, is_fast, needs_fast_calls, slow_calls, warm

pytestmark = needs_fast_calls


def network():
    wg.manual_seed(0)
    return wg.nn.Sequential(
        wg.nn.Linear(2, 3), wg.nn.Tanh(), wg.nn.Dropout(0.0), wg.nn.Linear(3, 1)
    ).double()


def descend(net, optimizer, x, y):
    optimizer.zero_grad()
    loss = ((net(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


def weigh_more(net, optimizer):
    del optimizer
    with wg.no_grad():
        net[0].weight.mul_(2)


def change_rate(net, optimizer):
    del net
    optimizer.param_groups[0]["lr"] = 0.5


def replace_a_parameter(net, optimizer):
    net[0].weight = wg.nn.Parameter(double([[1.0, 2.0]] * 3))
    optimizer.param_groups[0]["params"][0] = net[0].weight
    optimizer.state[net[0].weight] = {}


def replace_a_layer(net, optimizer):
    del optimizer
    net[1] = wg.nn.ReLU()


def switch_the_mode(net, optimizer):
    del optimizer
    net[2].p = 1.0
    net.eval()


def switch_the_mode_of_a_part(net, optimizer):
    del optimizer
    net[2].p = 1.0
    net[2].eval()


CHANGES = [
    weigh_more,
    change_rate,
    replace_a_parameter,
    replace_a_layer,
    switch_the_mode,
    switch_the_mode_of_a_part,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_module_and_its_optimiser_are_arguments(change):
    found = []
    for make in (lambda f: f, wg.compile):
        net = network()
        optimizer, step = wg.optim.SGD(net.parameters(), lr=0.1), make(descend)
        for _ in range(4):
            step(net, optimizer, X, Y)
        if make is wg.compile:
            assert is_fast(step, net, optimizer, X, Y)
        else:
            step(net, optimizer, X, Y)
        change(net, optimizer)
        found.append([step(net, optimizer, X, Y).item() for _ in range(4)])
    np.testing.assert_allclose(*found, rtol=RTOL)


def test_modules_of_one_kind_take_turns():
    compiled = wg.compile(lambda net, x: net(x).sum())
    nets = [network(), network().eval()]
    with wg.no_grad():
        nets[1][0].weight.mul_(2)
        for _ in range(3):
            found = [compiled(net, X).item() for net in nets]
            np.testing.assert_allclose(found, [net(X).sum().item() for net in nets], rtol=RTOL)
        assert all(is_fast(compiled, net, X) for net in nets)


def weight(net):
    net[0].weight = wg.nn.Parameter(double([[1.0, 2.0]] * 3))


def layer(net):
    net[0] = wg.nn.Linear(2, 3).double()


@pytest.mark.parametrize("replace", [weight, layer])
def test_parameters_of_an_argument_are_replaced(replace):
    compiled, net = wg.compile(lambda net, x: net(x)), network()
    with wg.no_grad():
        for _ in range(3):
            warm(compiled, net, X)
            replace(net)
            for _ in range(4):
                np.testing.assert_allclose(compiled(net, X).tolist(), net(X).tolist(), rtol=RTOL)


def test_a_method_is_fast():
    class Line(wg.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = wg.nn.Parameter(double([2.0]))

        @wg.compile
        def forward(self, x):
            return self.weight * x

    line = Line()
    with wg.no_grad():
        found = [line(double([float(i)])).item() for i in range(6)]
        forward = vars(Line)["forward"]
        assert slow_calls(forward) == 2
        line.weight = wg.nn.Parameter(double([3.0]))
        assert line(double([1.0])).item() == 3.0
    assert found == [2.0 * i for i in range(6)]


@dataclass
class State:
    weight: wg.Tensor
    rate: float = 0.5
    more: object = None


@dataclass(frozen=True, slots=True)
class Slotted:
    weight: wg.Tensor
    rate: float = 0.5
    more: object = None


class Other(State):
    pass


def advance(state, x):
    more = 0 if state.more is None else state.more[0]
    return replace(state, weight=state.weight - state.rate * x + more)


@pytest.mark.parametrize("kind", [State, Slotted])
def test_parts_of_objects_are_fast_and_read_anew(kind):
    compiled, state = wg.compile(advance), kind(double([0.0]), 0.5, [double([1.0])])
    for _ in range(3):
        compiled(state, double([1.0]))
    before = slow_calls(compiled)
    for i in range(4):
        state = kind(double([float(i)]), float(i), [double([10.0])])
        made = compiled(state, double([2.0]))
        assert type(made) is kind
        assert (made.weight.item(), made.rate) == (10.0 - i, float(i))
    assert slow_calls(compiled) == before


OTHERS = {
    "of a subclass": lambda s: Other(s.weight, s.rate, s.more),
    "of another class": lambda s: Slotted(s.weight, s.rate, s.more),
    "another dtype": lambda s: State(s.weight.astype("float32"), s.rate, s.more),
    "a whole number": lambda s: State(s.weight, 2, s.more),
    "something more": lambda s: State(s.weight, s.rate, [double([1.0])]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_object(name):
    def weigh(state, x):
        return state.weight * state.rate + x + (0 if state.more is None else state.more[0])

    compiled, x = wg.compile(weigh), double([1.0])
    warm(compiled, State(double([3.0])), x)
    for _ in range(4):
        other = OTHERS[name](State(double([4.0])))
        assert compiled(other, x).tolist() == weigh(other, x).tolist()
    assert compiled(State(double([3.0])), x).item() == 2.5


def test_an_attribute_is_missing():
    compiled, state = wg.compile(advance), State(double([3.0]))
    warm(compiled, state, double([1.0]))
    del state.weight
    for _ in range(2):
        with pytest.raises(AttributeError, match="weight"):
            compiled(state, double([1.0]))


def made_by_getattr(state):
    del state.weight


def made_by_a_property(state):
    type(state).weight = property(lambda self: double([7.0]))


@pytest.mark.parametrize("change", [made_by_getattr, made_by_a_property])
def test_an_attribute_is_made_when_it_is_asked_for(change):
    class Late(State):
        def __getattr__(self, name):
            if name != "weight":
                raise AttributeError(name)
            return double([7.0])

    kind = Late if change is made_by_getattr else type("Plain", (State,), {})
    compiled = wg.compile(lambda state, x: state.weight * state.rate + x)
    state, x = kind(double([3.0])), double([1.0])
    for _ in range(4):
        assert compiled(state, x).item() == 2.5
    change(state)
    for _ in range(50):
        assert compiled(state, x).item() == 4.5


def test_objects_are_not_held():
    compiled, weight = wg.compile(lambda state: state.weight * 2), double([3.0])
    state, net = State(weight), network()
    both = wg.compile(lambda net, x: net(x))
    watched = [state, weight, net, net[0].weight, State]
    with wg.no_grad():
        for _ in range(3):
            compiled(state), both(net, X)
        counts = [sys.getrefcount(w) for w in watched]
        for _ in range(1000):
            compiled(state), both(net, X)
    assert max(abs(sys.getrefcount(w) - c) for w, c in zip(watched, counts, strict=True)) < 10

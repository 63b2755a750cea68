"""Calls of compiled functions that run no Python: what they check."""

from __future__ import annotations

import collections
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest

import wengert as wg
from tests.compile.call.quick import (
    RTOL,
    Training,
    X,
    Y,
    assert_alike,
    double,
    is_fast,
    needs_fast_calls,
    slow_calls,
    warm,
)
from wengert.compile.call import fastcall
from wengert.compile.function import CompiledFunction

pytestmark = needs_fast_calls


def _set_grads(training):
    for p in training.net.parameters():
        p.grad = wg.ones(p.shape, dtype="float64")


def _export(training):
    training.lent = [p.detach().numpy() for p in training.net.parameters()]
    for array in training.lent:
        np.multiply(array, 0.5, out=array)


def _set_number(**numbers):
    return lambda training: training.optimizer.param_groups[0].update(numbers)


CHANGES = {
    "learning rate": _set_number(lr=0.02),
    "learning rate as an integer": _set_number(lr=0),
    "learning rate of NumPy": _set_number(lr=np.float32(0.25)),
    "no momentum": _set_number(momentum=0),
    "another momentum": _set_number(momentum=0.25),
    "weight decay": _set_number(weight_decay=0.1),
    "maximize": _set_number(maximize=True),
    "training": lambda t: t.net.eval(),
    "probability": lambda t: setattr(t.net[2], "p", 1.0),
    "layer": lambda t: t.net.__setitem__(1, wg.nn.ReLU()),
    "parameter": lambda t: setattr(t.net[0], "bias", wg.nn.Parameter(double([1.0, 2.0, 3.0]))),
    "requires_grad": lambda t: t.net[0].weight.requires_grad_(False),
    "hook": lambda t: t.net[3].weight.register_hook(lambda g: g * 2),
    "gradients": _set_grads,
    "variable of a closure": lambda t: t.replace_scale(double(0.5)),
    "item of a dict": lambda t: t.options.update(shift=double([2.0])),
    "item of a list": lambda t: t.listed.__setitem__(0, double([-1.0])),
    "length of a dict": lambda t: t.options.update(more=1),
    "length of a list": lambda t: t.listed.append(1),
    "shape of a captured tensor": lambda t: t.options.update(shift=double([[1.0]] * 3)),
    "value of a captured tensor": lambda t: t.options["shift"].fill_(3.0),
    "value of a parameter": lambda t: t.net[0].load_state_dict(t.net[0].state_dict()),
    "memory lent to NumPy": _export,
    "nothing": lambda t: None,
}
FAST = {
    *("learning rate", "learning rate as an integer", "another momentum"),
    *("value of a captured tensor", "value of a parameter", "nothing"),
}
"""The changes after which calls are as quick as before."""


@pytest.mark.parametrize("order", ["zero_grad last", "zero_grad first", "accumulates"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_after_fast_calls_is_seen(change, order):
    trainings = [Training(compiles, order) for compiles in (True, False)]
    for _ in range(6):
        assert_alike(*trainings, X, Y)
    assert is_fast(trainings[0].step, X, Y)
    trainings[1].step(X, Y)
    for training in trainings:
        CHANGES[change](training)
    before = slow_calls(trainings[0].step)
    for _ in range(3):
        assert_alike(*trainings, X, Y)
    other_values = change == "gradients" and order != "zero_grad last"
    assert (slow_calls(trainings[0].step) == before) is (change in FAST or other_values)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_state_of_optimisers_is_updated_by_fast_calls(name):
    trainings = []
    for compiles in (True, False):
        wg.manual_seed(0)
        net = wg.nn.Linear(2, 1).double()
        settings = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(wg.optim, name)(net.parameters(), lr=0.05, **settings)

        def step(x, y, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        trainings.append((wg.compile(step) if compiles else step, net, optimizer))
    schedules = [wg.optim.lr_scheduler.StepLR(o, 3, 0.5) for _, _, o in trainings]
    for _ in range(12):
        mine, other = (step(X, Y).item() for step, _, _ in trainings)
        np.testing.assert_allclose(mine, other, rtol=RTOL)
        for schedule in schedules:
            schedule.step()
    for a, b in zip(*(net.parameters() for _, net, _ in trainings), strict=True):
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=RTOL)
    assert is_fast(trainings[0][0], X, Y)


# --- What is read from outside --------------------------------------------------------------------


FACTOR = wg.tensor(2.0)


class Slotted:
    __slots__ = ("factor",)
    shared = wg.tensor(1.0)

    def __init__(self):
        self.factor = wg.tensor(3.0)


def test_places_of_all_kinds():
    holder, queue = Slotted(), collections.deque([wg.tensor(5.0)])
    table = collections.defaultdict(int, {"a": wg.tensor(7.0), 1: wg.tensor(11.0)})

    def total(x):
        places = FACTOR * holder.factor * Slotted.shared * queue[0] * table["a"] * table[1]
        return x * places

    compiled = warm(wg.compile(total), wg.tensor(1.0))
    replacements = [
        lambda: globals().update(FACTOR=wg.tensor(1.0)),
        lambda: setattr(holder, "factor", wg.tensor(1.0)),
        lambda: setattr(Slotted, "shared", wg.tensor(13.0)),
        lambda: queue.__setitem__(0, wg.tensor(1.0)),
        lambda: table.__setitem__("a", wg.tensor(1.0)),
        lambda: table.__setitem__(1, wg.tensor(1.0)),
    ]
    try:
        for replace in replacements:
            warm(compiled, wg.tensor(1.0))
            replace()
            assert compiled(wg.tensor(1.0)).item() == total(wg.tensor(1.0)).item()
    finally:
        globals().update(FACTOR=wg.tensor(2.0))
        Slotted.shared = wg.tensor(1.0)


def test_a_place_is_gone():
    table = {"a": wg.tensor(7.0)}
    compiled = warm(wg.compile(lambda x: x * table["a"]), X)
    del table["a"]
    with pytest.raises(KeyError, match="a"):
        compiled(X)


def test_an_error_of_what_reads_a_setting_is_raised():
    net = wg.nn.Dropout(0.5)
    compiled = warm(wg.compile(net), wg.ones(8))
    net.p = 2.0
    with pytest.raises(ValueError, match="probability"):
        compiled(wg.ones(8))
    net.p = 0.5
    assert set(compiled(wg.ones(8)).tolist()) <= {0.0, 2.0}


def test_an_interrupt_while_a_setting_is_read_is_raised():
    net = wg.nn.Dropout(0.5)
    compiled = warm(wg.compile(net), wg.ones(8))

    class Interrupting(float):
        """Raises once, as the key does."""

        __hash__ = float.__hash__
        pressed = True

        def __eq__(self, other):
            if self.pressed:
                self.pressed = False
                raise KeyboardInterrupt
            return float(self) == other

    net.p = Interrupting(0.5)
    with pytest.raises(KeyboardInterrupt):
        compiled(wg.ones(8))
    assert set(compiled(wg.ones(8)).tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize("what", ["item", "variable"])
def test_what_reading_a_setting_changes_is_seen(what):
    net, table = wg.nn.Dropout(0.0), {"a": wg.tensor(1.0)}
    shift = wg.tensor(0.0)

    def scaled(x):
        return net(x) * table["a"] + shift

    class Meddling(float):
        """Replaces what the function reads, whenever it is compared."""

        __hash__ = float.__hash__

        def __eq__(self, other):
            nonlocal shift
            if meddles and what == "item":
                table["a"] = wg.tensor(5.0)
            elif meddles:
                shift = wg.tensor(4.0)
            return float(self) == other

    meddles = False
    net.p = Meddling(0.0)
    compiled = warm(wg.compile(scaled), wg.ones(3))
    meddles = True
    assert compiled(wg.ones(3)).tolist() == [5.0] * 3


class Replacing:
    """A container for a result, which replaces a layer when it is made."""

    layers: ClassVar[dict[str, wg.nn.Module]] = {}

    def __init__(self, value):
        self.value = value

    def __wengert_flatten__(self):
        return [self.value], None, ["value"]

    @classmethod
    def __wengert_unflatten__(cls, rest, children):
        for name, layer in cls.layers.items():
            setattr(cls.net, name, layer)
        return cls(children[0])


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_what_is_replaced_while_a_call_ends_is_seen(after):
    Replacing.net, Replacing.layers = wg.nn.Sequential(wg.nn.Identity()), {}
    compiled = wg.compile(lambda x: Replacing(Replacing.net(x)))
    for _ in range(after):
        compiled(X)
    Replacing.layers = {"0": wg.nn.ReLU()}
    assert compiled(X).value.tolist() == X.tolist()
    for _ in range(4):
        assert compiled(X).value.tolist() == wg.relu(X).tolist()


@pytest.mark.parametrize("key", ["lr", "momentum", "maximize"])
def test_a_setting_is_gone(key):
    training = Training(True)
    warm(training.step, X, Y)
    del training.optimizer.param_groups[0][key]
    with pytest.raises(KeyError, match=key):
        training.step(X, Y)


def test_a_setting_that_is_no_finite_number():
    training = Training(True, momentum=0.0)
    warm(training.step, X, Y)
    training.optimizer.param_groups[0]["lr"] = 10**400
    with pytest.raises(OverflowError):
        training.step(X, Y)
    training.optimizer.param_groups[0]["lr"] = -1.0  # also what C returns with an error
    before = training.net[3].bias.item()
    training.step(X, Y)
    assert training.net[3].bias.item() != before
    assert is_fast(training.step, X, Y)


def test_random_numbers_are_drawn_anew():
    def draws(compiles):
        wg.manual_seed(3)
        net = wg.nn.Dropout(0.5)
        call = wg.compile(net) if compiles else net
        found = [call(wg.ones(16)).tolist() for _ in range(6)]
        return found, compiles and is_fast(call, wg.ones(16))

    mine, fast = draws(True)
    assert mine == draws(False)[0]
    assert fast


def test_a_tensor_that_a_graph_was_recorded_with_is_not_overwritten():
    weight = wg.ones(3).requires_grad_()

    def step():
        with wg.no_grad():
            weight.mul_(2.0)

    compiled = warm(wg.compile(step))
    y = (weight * weight).sum()
    before = weight.tolist()
    compiled()
    y.backward()
    assert weight.grad.tolist() == [2 * b for b in before]


# --- Modes ----------------------------------------------------------------------------------------


def test_modes_of_the_thread():
    weight = wg.ones(2).requires_grad_()
    compiled = wg.compile(lambda x: x * weight)
    with wg.no_grad():
        warm(compiled, wg.ones(2))
    y = compiled(wg.ones(2))
    assert y.requires_grad
    y.sum().backward()
    assert weight.grad.tolist() == [1.0, 1.0]
    with wg.no_grad():
        assert is_fast(compiled, wg.ones(2))
        assert not compiled(wg.ones(2)).requires_grad


def test_inside_transforms_the_function_itself_runs():
    compiled = warm(wg.compile(lambda x: x * x), wg.tensor(3.0))
    assert wg.grad(compiled)(wg.tensor(3.0)).item() == 6.0
    assert wg.vmap(compiled)(wg.tensor([1.0, 2.0])).tolist() == [1.0, 4.0]
    assert wg.jvp(compiled, (wg.tensor(3.0),), (wg.tensor(1.0),))[1].item() == 6.0
    assert "mul" in str(wg.trace(compiled)(wg.tensor(3.0)))
    outer = wg.compile(lambda x: compiled(x) + 1)
    assert [outer(wg.tensor(3.0)).item() for _ in range(4)] == [10.0] * 4
    x = wg.tensor(3.0, requires_grad=True)
    compiled(x * 1).backward()
    assert x.grad.item() == 6.0


def test_disable_compile_and_the_default_dtype():
    compiled = warm(wg.compile(lambda x: x + wg.ones(2)), wg.ones(2))
    with wg.disable_compile():
        assert not is_fast(compiled, wg.ones(2))
    assert is_fast(compiled, wg.ones(2))
    wg.set_default_dtype("float64")
    try:
        assert compiled(wg.ones(2, dtype="float32")).dtype == np.float64
    finally:
        wg.set_default_dtype("float32")
    assert compiled(wg.ones(2)).dtype == np.float32
    assert is_fast(compiled, wg.ones(2))


def test_another_thread_has_modes_of_its_own():
    weight = wg.ones(2).requires_grad_()
    compiled = wg.compile(lambda x: x * weight)
    found = {}

    def call(name):
        found[name] = compiled(wg.ones(2)).requires_grad

    with wg.no_grad():
        warm(compiled, wg.ones(2))
        thread = threading.Thread(target=call, args=("recording",))
        thread.start()
        thread.join()
        call("not recording")
    assert found == {"recording": True, "not recording": False}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_goes_on_alone():
    training = Training(True)
    warm(training.step, X, Y)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        loss = training.step(X, Y).item()
        os.write(write, repr(loss).encode())
        os._exit(0)
    os.waitpid(child, 0)
    expected = float(os.read(read, 100))
    assert training.step(X, Y).item() == expected
    assert is_fast(training.step, X, Y)


def test_threads_that_make_the_first_fast_calls_share_one_code(monkeypatch):
    both, load = threading.Barrier(2, timeout=30), fastcall._loaded

    def loaded(*given):
        both.wait()
        return load(*given)

    monkeypatch.setattr(fastcall, "_codes", {})
    monkeypatch.setattr(fastcall, "_loaded", loaded)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(fastcall._code, [CompiledFunction] * 2)
    assert one is other

"""Calls of compiled functions that run no Python: what they check, return, and leave alone."""

from __future__ import annotations

import collections
import gc
import os
import sys
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import wengert as wg
from wengert.compile import objects
from wengert.compile.function import CompiledFunction
from wengert.compile.guards import _LONG

pytestmark = pytest.mark.skipif(
    objects.slots() is None, reason="this interpreter keeps objects in a way of its own"
)

X = wg.tensor([[0.5, -1.0], [2.0, 0.3], [-0.2, 0.1]], dtype="float64")
Y = wg.tensor([[0.5], [-0.5], [1.0]], dtype="float64")
SCALE = wg.tensor(2.0, dtype="float64")
RTOL = 1e-9
"""Sums in another order, over a dozen steps that do not magnify errors a thousandfold."""


def double(values):
    return wg.tensor(values, dtype="float64")


def slow_calls(compiled):
    """Return how many calls have gone through Python."""
    return sum(entry.runs for entries in compiled._entries.values() for entry in entries)


def is_fast(compiled, *args):
    """Call, and tell whether that ran no Python."""
    before = slow_calls(compiled), len(compiled.compilations)
    compiled(*args)
    return (slow_calls(compiled), len(compiled.compilations)) == before


def warm(compiled, *args):
    """Call until calls are fast; return the compiled function."""
    for _ in range(3):
        compiled(*args)
    assert is_fast(compiled, *args)
    return compiled


class Training:
    """A step of training, compiled or not, with all that it reads from outside."""

    def __init__(self, compiles, order="zero_grad last", momentum=0.5):
        wg.manual_seed(0)
        self.net = wg.nn.Sequential(
            wg.nn.Linear(2, 3), wg.nn.Tanh(), wg.nn.Dropout(0.0), wg.nn.Linear(3, 1)
        ).double()
        self.optimizer = wg.optim.SGD(self.net.parameters(), lr=0.01, momentum=momentum)
        net, optimizer = self.net, self.optimizer
        scale, options = SCALE, {"shift": double([0.25])}
        listed = [double([1.5])]
        self.options, self.listed = options, listed

        def step(x, y):
            if order == "zero_grad first":
                optimizer.zero_grad()
            error = (net(x) - y) * scale + options["shift"] * listed[0]
            loss = (error * error).mean()
            loss.backward()
            optimizer.step()
            if order == "zero_grad last":
                optimizer.zero_grad()
            return loss

        def replace_scale(value):
            nonlocal scale
            scale = value

        self.replace_scale = replace_scale
        self.step = wg.compile(step) if compiles else step

    def state(self):
        grads = [p.grad for p in self.net.parameters()]
        return [
            *(p.tolist() for p in self.net.parameters()),
            *(None if g is None else g.tolist() for g in grads),
        ]


def assert_alike(compiled, eager, *args):
    mine, other = compiled.step(*args), eager.step(*args)
    np.testing.assert_allclose(mine.item(), other.item(), rtol=RTOL)
    for a, b in zip(compiled.state(), eager.state(), strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL)


def _set_grads(training):
    for p in training.net.parameters():
        p.grad = wg.ones(p.shape, dtype="float64")


def _export(training):
    training.lent = [p.detach().numpy() for p in training.net.parameters()]
    for array in training.lent:
        array *= 0.5


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


# --- Arguments ------------------------------------------------------------------------------------


def test_arguments_of_the_same_kind_are_fast_and_read_anew():
    compiled = warm(wg.compile(lambda x, c: x * c), wg.ones(3), 2.0)
    before = slow_calls(compiled)
    for value in range(5):
        assert compiled(wg.full(3, float(value)), value / 2).tolist() == [value * value / 2] * 3
    assert slow_calls(compiled) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: wg.ones(4),
        lambda: wg.ones((3, 1)),
        lambda: wg.ones(3, dtype="float64"),
        lambda: wg.ones(3, dtype="int32"),
        lambda: wg.ones(3).requires_grad_(),
        lambda: wg.nn.Parameter(wg.ones(3)),
        lambda: wg.asarray(np.ones((3, 2), np.float32)[:, 0]),
        lambda: np.ones(3, np.float32),
        lambda: np.ones(3, ">f4").astype(np.float32),
        lambda: np.ones((3, 2), np.float32)[:, 0],
        lambda: np.float32(1.0),
        lambda: 1,
        lambda: 1.0,
        lambda: True,
    ],
)
def test_another_kind_of_argument(make):
    compiled = warm(wg.compile(lambda x: x * 2 + 1), wg.ones(3))
    x = make()
    expected = (x if isinstance(x, wg.Tensor) else wg.tensor(x)) * 2 + 1
    for _ in range(4):
        found = compiled(x)
        assert np.asarray(wg.asarray(found).detach()).tolist() == expected.tolist()


def test_arrays_are_arguments_too_and_may_change_their_shape():
    compiled = wg.compile(lambda x: wg.sum(x, axis=0))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    warm(compiled, x)
    x[0, 0] = 10
    assert is_fast(compiled, x)
    assert compiled(x).tolist() == [13.0, 5.0, 7.0]
    x.shape = 3, 2
    assert compiled(x).tolist() == [16.0, 9.0]


def test_plain_values_are_constants():
    compiled = warm(wg.compile(lambda x, n, name=None: x + n if name else x), X, 2, "sum")
    assert compiled(X, 3, "sum").tolist() == (X + 3).tolist()
    assert compiled(X, 2, "").tolist() == X.tolist()
    assert compiled(X, True, "sum").tolist() == (X + 1).tolist()
    assert is_fast(compiled, X, 2, "sum")


def test_one_tensor_in_two_places():
    compiled = wg.compile(lambda x, y: x - y)
    a, b = wg.ones(3), wg.full(3, 3.0)
    warm(compiled, a, b)
    assert compiled(a, a).tolist() == [0.0] * 3
    warm(compiled, a, a)
    assert compiled(a, b).tolist() == [-2.0] * 3
    assert compiled(b, b).tolist() == [0.0] * 3


def test_an_argument_that_is_also_captured():
    weight = wg.ones(3)

    def change(x):
        weight.add_(1.0)
        return x * 1

    compiled = warm(wg.compile(change), wg.zeros(3))
    before = weight.tolist()
    assert compiled(weight).tolist() == [before[0] + 1] * 3


def test_an_argument_is_changed_in_place():
    def change(x):
        x.mul_(2.0)

    compiled = wg.compile(change)
    x = wg.ones(3)
    warm(compiled, x)
    before, alias = x.tolist(), x.detach()
    assert compiled(x) is None
    assert x.tolist() == [2 * before[0]] * 3
    assert alias.tolist() == before
    view = x[1:]
    kept = view.tolist()
    compiled(x)
    assert view.tolist() == kept


def test_wrong_arguments_are_refused_as_before():
    compiled = warm(wg.compile(lambda x, y: x + y), X, X)
    for call in (lambda: compiled(X), lambda: compiled(X, X, X), lambda: compiled(X, z=X)):
        with pytest.raises(TypeError, match="argument"):
            call()
    with pytest.raises(TypeError, match="neither an array nor hashable"):
        compiled(X, {1, 2})
    assert compiled(X, y=X).tolist() == (X + X).tolist()
    assert compiled(*[X, X]).tolist() == (X + X).tolist()
    assert is_fast(compiled, X, X)


def test_nested_arguments_go_through_python():
    compiled = wg.compile(lambda pair, scale: pair[0] * scale["s"] + pair[1])
    for value in (1.0, 2.0, 3.0, 4.0):
        assert compiled((X, X), {"s": value}).tolist() == (X * value + X).tolist()


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
        def __le__(self, other):
            raise KeyboardInterrupt

        __ge__ = __le__

    net.p = Interrupting(0.5)
    with pytest.raises(KeyboardInterrupt):
        compiled(wg.ones(8))


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
    assert wg.grad(lambda x: compiled(x))(wg.tensor(3.0)).item() == 6.0
    assert wg.vmap(compiled)(wg.tensor([1.0, 2.0])).tolist() == [1.0, 4.0]
    assert wg.jvp(compiled, (wg.tensor(3.0),), (wg.tensor(1.0),))[1].item() == 6.0
    assert "mul" in str(wg.trace(lambda x: compiled(x))(wg.tensor(3.0)))
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


# --- Results --------------------------------------------------------------------------------------


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


def test_a_weak_reference_to_a_result_dies_with_it():
    compiled = warm(wg.compile(lambda x: x + 1), wg.zeros(3))
    for _ in range(4):
        y = compiled(wg.zeros(3))
        references = [weakref.ref(y), weakref.ref(y._variable)]
        del y
        others = [compiled(wg.zeros(3)) for _ in range(3)]
        assert not any(r() is t or r() is t._variable for r in references for t in others)


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


def test_numbers_among_the_results_go_through_python():
    compiled = wg.compile(lambda x, c: (x, c))
    assert [compiled(wg.ones(1), 2.5)[1] for _ in range(4)] == [2.5] * 4


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
        (loss * weight).backward()
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


# --- Errors, threads, memory ----------------------------------------------------------------------


def test_an_index_out_of_range_is_reported():
    compiled = warm(wg.compile(lambda x, i: wg.take(x, i)), wg.ones(3), wg.tensor([0, 2]))
    for _ in range(3):
        with pytest.raises(IndexError, match="out of"):
            compiled(wg.ones(3), wg.tensor([0, 5]))
    assert compiled(wg.ones(3), wg.tensor([0, 1])).tolist() == [1.0, 1.0]


def test_long_calls_let_other_threads_run():
    a = wg.ones((700, 700))
    compiled = wg.compile(lambda a: wg.sum(a @ a @ a))
    warm(compiled, a)
    entry = next(iter(compiled._entries.values()))[0]
    assert entry.run.nanoseconds > _LONG
    turns, over = [0], threading.Event()

    def count():
        while not over.is_set():
            turns[0] += 1
            time.sleep(0)  # gives the interpreter away, if somebody wants it

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # nobody else gives the interpreter away
    try:
        thread.start()
        before = turns[0]
        for _ in range(5):
            compiled(a)
        during = turns[0] - before
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
    assert during > 0


def test_two_threads_share_one_function():
    compiled = wg.compile(lambda x: x * 2)
    failures = []

    def work(value):
        x = wg.full(4, value)
        for _ in range(2000):
            found = compiled(x).tolist()
            if found != [2 * value] * 4:
                failures.append(found)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures


def test_helping_threads():
    x = wg.ones((512, 512))
    compiled = warm(wg.compile(lambda x: wg.exp(x) + 1, threads=2), x)
    expected = compiled(x).tolist()
    assert all(compiled(x).tolist() == expected for _ in range(20))


def test_ten_thousand_calls_leave_nothing():
    training = Training(True, "zero_grad first")
    pair = wg.compile(lambda x, c: [x * c, x + 1])
    watched = [X, Y, X._variable, SCALE, None, training.optimizer.param_groups[0], training.step]
    warm(training.step, X, Y), warm(pair, X, 2.0)

    def call(times):
        for i in range(times):
            training.step(X, Y)
            pair(X, float(i))

    call(100)
    gc.collect()
    counts, known = [sys.getrefcount(w) for w in watched], len(gc.get_objects())
    tracemalloc.start()
    try:
        call(100)
        before = tracemalloc.get_traced_memory()[0]
        call(10_000)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    gc.collect()
    assert after - before < 4_000  # a leak of one object per call would be 100 times as much
    assert len(gc.get_objects()) - known < 100
    differences = [sys.getrefcount(w) - c for w, c in zip(watched, counts, strict=True)]
    assert max(map(abs, differences)) < 100


def test_a_compiled_function_and_what_it_holds_are_freed():
    weight = wg.ones(3)
    compiled = warm(wg.compile(lambda x: x * weight), wg.ones(3))
    result = compiled(wg.ones(3))
    references = [weakref.ref(compiled), weakref.ref(weight)]
    del compiled, weight
    gc.collect()
    assert [r() for r in references] == [None, None]
    assert result.tolist() == [1.0] * 3


def test_old_versions_are_forgotten():
    table = {"a": wg.tensor(0.0)}
    compiled = wg.compile(lambda x: x + table["a"])
    with pytest.warns(wg.RecompilationWarning):
        for i in range(12):
            table["a"] = wg.tensor(float(i))
            warm(compiled, wg.tensor(1.0))
            assert compiled(wg.tensor(1.0)).item() == 1.0 + i
    assert len(compiled._offered.programs) <= 8


def test_shapes_that_take_turns_are_all_fast():
    compiled = wg.compile(lambda x: wg.sum(x))
    shapes = [wg.ones(n) for n in (1, 2, 3)]
    for x in shapes:
        warm(compiled, x)
    for _ in range(3):
        for n, x in enumerate(shapes, 1):
            assert is_fast(compiled, x)
            assert compiled(x).item() == n


def test_subclasses_and_instances_of_the_plain_class_go_through_python():
    class Mine(CompiledFunction):
        pass

    for kind in (CompiledFunction, Mine):
        compiled = kind(lambda x: x + 1, 1)
        assert [compiled(wg.ones(1)).item() for _ in range(4)] == [2.0] * 4


def test_methods_and_attributes_are_as_before():
    class Model:
        @wg.compile
        def double(self, x):
            """Double it."""
            return x * 2

    assert isinstance(Model.double, CompiledFunction)
    assert Model.double.__doc__ == "Double it."
    model = Model()
    assert [model.double(wg.ones(1)).item() for _ in range(4)] == [2.0] * 4
    assert Model.double.compilations == ["first call"]

"""What outlives a compiled call, or is changed while others run: kept, interrupted, threaded."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

import wengert as wg
from tests.tensor.nets import X
from tests.tensor.shared import leaf
from wengert import TracerError

pytest.importorskip("llvmlite")


class Box:
    pass


def keepers():
    """Return functions that keep a tensor where no call can store its own."""
    box, items = Box(), []

    def appended(x):
        y = x * 2
        items.append(y)
        return y + 1

    def closure(x):
        y = x * 2
        box.later = lambda: y
        return x + 1

    def generator(x):
        box.stream = (v for v in [x * 2])
        return x + 1

    def inner(x):
        wg.vmap(lambda z: items.append(z * 2) or z)(x)
        return x + 1

    def lane(x):
        return wg.vmap(lambda z: setattr(box, "lane", z * 2) or z)(x)

    def in_a_cycle(x):
        box.cycle = Box()
        box.cycle.me, box.cycle.y = box.cycle, x * 2
        return x + 1

    def parameter(x):
        box.weight = wg.nn.Parameter(x * 2)
        return x + 1

    def leaf(x):
        box.leaf = (x * 2).detach().requires_grad_()
        return x + 1

    def constant(x):
        items.append(wg.tensor([1.0, 2.0]))
        return x + 1

    return [v for v in locals().values() if callable(v) and hasattr(v, "__code__")]


@pytest.mark.parametrize("keep", keepers(), ids=lambda f: f.__name__)
def test_a_tensor_that_is_kept_is_refused(keep):
    match = r"kept a tensor that it made .*return the tensor, or store it in an attribute"
    f = wg.compile(keep)
    for _ in range(2):
        with pytest.raises(TracerError, match=match):
            f(wg.ones(2))
    assert f.compilations == []


def lent():
    """Return functions that keep their argument where no call can store its own."""
    box, items = Box(), []

    def appended(x):
        items.append(x)
        return x + 1

    def view(x):
        return {"x": x}.values()

    def members(x):
        return {x}

    def inside(x):
        found = Box()
        found.x = x
        return found

    def closure(x):
        box.later = lambda: x
        return x + 1

    return [v for v in locals().values() if callable(v) and hasattr(v, "__code__")]


@pytest.mark.parametrize("keep", lent(), ids=lambda f: f.__name__)
@pytest.mark.parametrize("module", [wg, np], ids=["tensor", "array"])
def test_an_argument_that_is_kept_is_refused(keep, module):
    with pytest.raises(TracerError, match=rf"compile: {keep.__name__} kept a.*return the tensor"):
        wg.compile(keep)(module.ones(2))


def movers():
    """Return functions that put another tensor or module where they read one from."""
    box, table = Box(), {"a": wg.ones(2), "b": wg.zeros(2)}
    box.a, box.b, late = wg.ones(2), wg.zeros(2), wg.ones(2)
    spare = wg.zeros(2)
    box.net, box.other = wg.nn.Linear(2, 2), wg.nn.Linear(2, 2)
    box.weights = [wg.ones(2)]
    net = wg.nn.Sequential(wg.nn.Linear(2, 2))

    def swap(x):
        box.a, box.b = box.b, box.a
        return box.a + x

    def exchange(x):
        table["a"], table["b"] = table["b"], table["a"]
        return table["a"] + x

    def rebind(x):
        nonlocal late
        y = late + x
        late = spare
        return y

    def layer(x):
        y = box.net(x)
        box.net = box.other
        return y

    def append(x):
        y = sum(box.weights, x)
        box.weights.append(spare)
        return y

    def structure(x):
        y = net(x)
        net[0] = box.other
        return y

    return [value for value in locals().values() if hasattr(value, "__code__")]


@pytest.mark.parametrize("move", movers(), ids=lambda f: f.__name__)
def test_a_place_that_is_given_another_tensor_is_refused(move):
    match = rf"compile: {move.__name__} changed where it reads tensors from .*copy_"
    with pytest.raises(TracerError, match=match):
        wg.compile(move)(wg.ones(2))


def harmless():
    """Return functions that make tensors which outlive them, though nobody keeps them."""

    def cycle(x):
        box = Box()
        box.me, box.y = box, x * 2
        return x + 1

    def caught(x):
        y = x * 2
        try:
            raise ValueError(y)
        except ValueError as error:
            found = error
        return x + found.args[0]

    def hook(x):
        w = wg.tensor([1.0, 2.0], requires_grad=True)
        h = w * x
        h.register_hook(lambda g: g * h)
        return wg.grad(lambda v: wg.sum(h * v))(x)

    def rule(x):
        y = x * 2
        f = wg.custom_vjp(lambda z: z * 3)
        f.defvjp(lambda z: (z * 3, ()), lambda _, bar: (bar * y,))
        return f(x)

    wg.manual_seed(0)
    net = wg.nn.Sequential(wg.nn.Linear(2, 3), wg.nn.Tanh(), wg.nn.Linear(3, 2))

    def module(x):
        return wg.grad(lambda net: wg.sum(net(x) * net(x)))(net)[0].bias * 1

    def optimiser(x):
        w = wg.tensor([1.0, 2.0], requires_grad=True)
        optimizer = wg.optim.SGD([w], lr=0.25, momentum=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            wg.sum((w - x) * (w - x)).backward()
            optimizer.step()
        return w

    return [value for value in locals().values() if hasattr(value, "__code__")]


@pytest.mark.parametrize("f", harmless(), ids=lambda f: f.__name__)
def test_what_nobody_keeps_is_no_alarm(f):
    x = wg.tensor([1.0, 2.0])
    compiled = wg.compile(f)
    for _ in range(2):
        found, expected = np.array(compiled(x).tolist()), np.array(f(x).tolist())
        # Sums in another order: a few units in the last place of the largest element.
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7 * np.abs(expected).max())


def test_a_layer_of_a_differentiated_module_is_replaced():
    net, x = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Tanh()), wg.ones(2)
    compiled = wg.compile(lambda x: wg.grad(lambda net: wg.sum(net(x)))(net)[0].bias * 1)
    compiled(x)
    net[1] = wg.nn.Identity()
    assert compiled(x).tolist() == [1.0, 1.0]


def test_requires_grad_inside_stays():
    w = wg.tensor([1.0, 2.0])

    def f(v):
        w.requires_grad_()
        v.requires_grad_()
        wg.sum(w * w * v).backward()

    compiled = wg.compile(f)
    for factor in (1.0, 2.0):
        v = wg.tensor([3.0, 4.0])
        compiled(v)
        assert w.requires_grad
        assert v.requires_grad
        assert w.grad.tolist() == [6.0 * factor, 16.0 * factor]
        assert v.grad.tolist() == [1.0, 4.0]


def test_what_a_debugger_holds_is_no_alarm():
    frames = []

    def tracer(frame, event, argument):
        del event, argument
        if frame.f_code.co_name == "watched":
            frames.append(frame)
            assert frame.f_locals
        return tracer

    def watched(x):
        y = x * 2
        parts = [y + 1, {"a": y + 2}]
        return x + parts[0]

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        result = wg.compile(watched)(wg.tensor([1.0, 2.0]))
    finally:
        sys.settrace(before)
    assert result.tolist() == [4.0, 7.0]
    assert frames


def test_what_a_traceback_holds_is_no_alarm():
    kept = []

    def f(x):
        y = x * 2
        try:
            assert y is None
        except AssertionError as error:
            kept.append(error)
        return x + 1

    assert wg.compile(f)(wg.tensor([1.0])).tolist() == [2.0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_while_tracing_leaves_everything(error):
    w, broken = leaf(1.0, 2.0), [True]
    w.grad = wg.tensor([5.0, 5.0], dtype=wg.float64)

    def step(a, x):
        a.add_(1.0)
        (w * x).sum().backward()
        with wg.no_grad():
            w.sub_(w.grad)
        w.grad = None
        if broken[0]:
            raise error
        return wg.sum(w * a)

    compiled, a = wg.compile(step), wg.zeros(2, dtype=wg.float64)
    with pytest.raises(error):
        compiled(a, np.ones(2))
    assert (a.tolist(), w.tolist(), w.grad.tolist()) == ([0.0, 0.0], [1.0, 2.0], [5.0, 5.0])
    assert compiled.compilations == []
    broken[0] = False
    assert compiled(a, np.ones(2)).item() == -9.0
    assert (a.tolist(), w.tolist(), w.grad) == ([1.0, 1.0], [-5.0, -4.0], None)


def test_grad_modes_alternate():
    w = leaf(1.0, 2.0)
    f = wg.compile(lambda x: wg.sum(w * w * x))
    for _ in range(3):
        with wg.no_grad():
            assert not f(np.ones(2)).requires_grad
        w.grad = None
        f(np.ones(2)).backward()
        assert w.grad.tolist() == [2.0, 4.0]
    assert len(f.compilations) == 2


def test_two_threads_compile_one_function():
    w, results = leaf(1.0, 2.0), []
    f = wg.compile(lambda x: wg.sum(w * x))

    def work():
        for i in range(20):
            with wg.no_grad():
                results.append((i, f(np.array([i, 1.0])).item()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [value for i, value in results] == [i + 2.0 for i, value in results]
    assert len(results) == 60
    assert f.compilations == ["first call"]


def test_modes_of_a_module_that_is_an_argument():
    net = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Dropout(0.9))
    f = wg.compile(lambda net, x: net(x))
    f(net, X)
    net.eval()
    np.testing.assert_allclose(f(net, X).detach().numpy(), net(X).detach().numpy(), rtol=1e-5)
    assert len(f.compilations) == 2


def test_a_buffer_of_an_argument_is_not_replaced_but_changed_in_place():
    class Mean(wg.nn.Module):
        def __init__(self, replaces):
            super().__init__()
            self.register_buffer("mean", wg.zeros(2))
            self.replaces = replaces

        def forward(self, x):
            if self.replaces:
                self.mean = self.mean * 0.5 + x
            else:
                self.mean.mul_(0.5).add_(x)
            return self.mean.sum()

    compiled, x = wg.compile(lambda layer, x: layer(x)), wg.ones(2)
    with pytest.raises(TracerError, match="replaced the buffer 'mean' of a Mean that is an arg"):
        compiled(wg.nn.Sequential(Mean(True)), x)
    layer = Mean(False)
    assert [compiled(layer, x).item() for _ in range(4)] == [2.0, 3.0, 3.5, 3.75]
    assert layer.mean.tolist() == [1.875] * 2
    named = Mean(True)
    by_name = wg.compile(named)
    assert [by_name(x).item() for _ in range(4)] == [2.0, 3.0, 3.5, 3.75]

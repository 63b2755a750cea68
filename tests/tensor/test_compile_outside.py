"""What compiled functions read from outside: replaced, in two roles at once, kept."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import gc
import sys
import threading
import types
import weakref

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf
from wengert import TracerError
from wengert.compile import function as compiled_function

pytest.importorskip("llvmlite")


class Net(wg.nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.first = wg.nn.Linear(2, 3, bias=bias)
        self.act = wg.nn.Tanh()
        self.last = wg.nn.Linear(3, 1)
        self.register_buffer("shift", wg.zeros(1))
        self.extra = [wg.ones(1)]

    def forward(self, x):
        return self.last(self.act(self.first(x))) + self.shift + self.extra[0]


X = np.array([[0.5, -1.0], [2.0, 0.3]], np.float32)


def pair():
    """Return a net, its compiled and its eager form."""
    wg.manual_seed(0)
    net = Net()
    return net, wg.compile(net), net


# --- Replaced -------------------------------------------------------------------------------------


def _replace_bias_by_none(net):
    net.first.bias = None


REPLACEMENTS = {
    "parameter": lambda net: setattr(net.first, "weight", wg.nn.Parameter(wg.ones((3, 2)))),
    "module": lambda net: setattr(net, "last", wg.nn.Linear(3, 1)),
    "module without parameters": lambda net: setattr(net, "act", wg.nn.ReLU()),
    "buffer": lambda net: setattr(net, "shift", wg.tensor([5.0])),
    "none": _replace_bias_by_none,
    "item of a list": lambda net: net.extra.__setitem__(0, wg.tensor([7.0])),
    "list": lambda net: setattr(net, "extra", [wg.tensor([8.0])]),
    "hook": lambda net: net.last.weight.register_hook(lambda g: g * 2),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_what_a_module_holds_is_replaced(name):
    net, compiled, eager = pair()
    compiled(X)
    compiled(X)
    assert compiled.compilations == ["first call"]
    REPLACEMENTS[name](net)
    for _ in range(2):
        np.testing.assert_allclose(
            compiled(X).detach().numpy(), eager(X).detach().numpy(), rtol=1e-5
        )
    assert len(compiled.compilations) == 2
    assert compiled.compilations[1].startswith("changed: ")


def test_the_reason_names_the_module():
    net = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Tanh())
    compiled = wg.compile(net)
    compiled(X)
    net[0].weight = wg.nn.Parameter(wg.ones((2, 2)))
    compiled(X)
    assert compiled.compilations == ["first call", "changed: what 0 (Linear) holds"]


def test_a_replaced_parameter_is_trained():
    results = []
    for make in (lambda f: f, wg.compile):
        wg.manual_seed(0)
        model = wg.nn.Linear(2, 1)
        optimizer = wg.optim.SGD(model.parameters(), lr=0.1)

        def step(x, model=model):
            model.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            with wg.no_grad():
                for p in model.parameters():
                    p.sub_(p.grad, alpha=0.1)
            return loss

        call = make(step)
        del optimizer
        losses = [call(X).item() for _ in range(2)]
        old = model.weight
        model.weight = wg.nn.Parameter(wg.tensor([[3.0, -1.0]]))
        before = old.tolist()
        losses += [call(X).item() for _ in range(3)]
        assert old.tolist() == before
        results.append((losses, model.weight.tolist()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


def test_what_does_not_compile_again():
    wg.manual_seed(0)
    net = Net()
    optimizer = wg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = wg.optim.lr_scheduler.StepLR(optimizer, 1)
    history, settings = [], {"epoch": 0}

    def step(x):
        assert history is not settings
        loss = (net(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    compiled = wg.compile(step)
    weights = net.state_dict()
    for epoch in range(4):
        history.append(compiled(X))
        settings["epoch"] = epoch
        settings[f"loss of {epoch}"] = history[-1]
        schedule.step()
        net.best = history[-1]
        net.load_state_dict(weights)
        optimizer.load_state_dict(optimizer.state_dict())
        net.train()
        net.requires_grad_(True)
        wg.nn.Linear(2, 2)  # another module: announced, and no matter
        copied = Net()
        copied.shift = wg.ones(1)
    assert compiled.compilations == ["first call"]


def test_modes_and_frozen_layers():
    results = []
    for make in (lambda f: f, wg.compile):
        wg.manual_seed(0)
        net = wg.nn.Sequential(wg.nn.Linear(2, 4), wg.nn.Dropout(0.5), wg.nn.Linear(4, 1))
        optimizer = wg.optim.Adam(net.parameters(), lr=0.1)

        def step(x, net=net, optimizer=optimizer):
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

        call, seen = make(step), []
        for change in (
            lambda net: None,
            lambda net: net.eval(),
            lambda net: net.train(),
            lambda net: net[0].requires_grad_(False),
            lambda net: net[0].requires_grad_(True),
            lambda net: net[2].bias.requires_grad_(False),
        ):
            change(net)
            seen += [call(X).item() for _ in range(2)]
        results.append((seen, [p.tolist() for p in net.parameters()]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    for eager, compiled in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(eager, compiled, rtol=1e-4, atol=1e-6)


def test_parameters_added_to_an_optimiser():
    results = []
    for make in (lambda f: f, wg.compile):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        optimizer = wg.optim.SGD([a], lr=0.1)

        def step(a=a, b=b, optimizer=optimizer):
            optimizer.zero_grad()
            b.grad = None
            wg.sum(a * a * b).backward()
            optimizer.step()

        call = make(step)
        call()
        call()
        optimizer.add_param_group({"params": [b], "lr": 0.01})
        call()
        optimizer.param_groups[1]["params"] = []
        call()
        results.append((a.tolist(), b.tolist()))
    np.testing.assert_allclose(*results, rtol=1e-12)


def test_hooks_added_and_removed():
    w = leaf(1.0, 2.0)

    def step():
        w.grad = None
        wg.sum(w * w).backward()

    compiled = wg.compile(step)
    by_argument = wg.compile(lambda w: wg.sum(w * w).backward())
    compiled()
    assert w.grad.tolist() == [2.0, 4.0]
    handle = w.register_hook(lambda g: g * 10)
    compiled()
    assert w.grad.tolist() == [20.0, 40.0]
    w.grad = None
    by_argument(w)
    assert w.grad.tolist() == [20.0, 40.0]
    handle.remove()
    compiled()
    assert w.grad.tolist() == [2.0, 4.0]
    w.grad = None
    by_argument(w)
    assert w.grad.tolist() == [2.0, 4.0]


def test_hooks_of_a_parameter_with_a_gradient_do_not_compile_again():
    w = leaf(1.0, 2.0)
    w.register_hook(lambda g: g * 2)
    w.grad = wg.zeros(2, dtype=wg.float64)
    compiled = wg.compile(lambda: wg.sum(w * w).backward())
    for i in range(3):
        compiled()
        assert w.grad.tolist() == [4.0 * (i + 1), 8.0 * (i + 1)]
        wg.nn.Linear(2, 2)  # announces that it holds parameters
    assert compiled.compilations == ["first call"]


GLOBAL = wg.tensor([1.0])


class Holder:
    kept = wg.tensor([1.0])

    def __init__(self):
        self.w = wg.tensor([1.0])
        self.net = wg.nn.Linear(1, 1)

    def __call__(self, x):
        return x * self.w


@dataclasses.dataclass(slots=True, eq=False)
class Slotted:
    w: wg.Tensor


OUTSIDE = types.ModuleType("outside")
OUTSIDE.w = wg.tensor([1.0])
OUTSIDE.net = wg.nn.Linear(1, 1)


def _module_attribute():
    return (lambda x: x * OUTSIDE.w), lambda: setattr(OUTSIDE, "w", wg.tensor([5.0]))


def _model_of_a_module():
    def replace():
        OUTSIDE.net.weight = wg.nn.Parameter(wg.tensor([[5.0]]))

    return (lambda x: vars(OUTSIDE)["net"](x) * 1), replace


def _closure():
    w = wg.tensor([1.0])

    def replace():
        nonlocal w
        w = wg.tensor([5.0])

    return (lambda x: x * w), replace


def _global():
    def replace():
        global GLOBAL  # noqa: PLW0603
        GLOBAL = GLOBAL + 4.0

    return (lambda x: x * GLOBAL), replace


def _helper():
    def helper(x):
        return x * GLOBAL

    return functools.partial(lambda f, x: f(x), helper), _global()[1]


def _container(container, key):
    def replace():
        container[key] = wg.tensor([5.0])

    return (lambda x: x * container[key]), replace


def _nested():
    container = {"layers": [{"w": wg.tensor([1.0])}]}

    def replace():
        container["layers"][0] = {"w": wg.tensor([5.0])}

    return (lambda x: x * container["layers"][0]["w"]), replace


def _appended():
    weights = [wg.tensor([1.0])]
    return (lambda x: sum((x * w for w in weights), x)), lambda: weights.append(wg.tensor([4.0]))


def _object(call):
    holder = Holder()
    return call(holder), lambda: setattr(holder, "w", wg.tensor([5.0]))


def _class_attribute():
    return (lambda x: x * Holder.kept), lambda: setattr(Holder, "kept", wg.tensor([5.0]))


def _slotted():
    holder = Slotted(wg.tensor([1.0]))
    return (lambda x: x * holder.w), lambda: setattr(holder, "w", wg.tensor([5.0]))


def _model():
    holder = Holder()
    return (lambda x: holder.net(x) * 1), lambda: setattr(holder, "net", wg.nn.Linear(1, 1))


def _compiled_inside():
    f, replace = _closure()
    inner = wg.compile(f)
    return (lambda x: inner(x) + 1), replace


def _gradient():
    f, replace = _closure()
    return wg.grad(lambda x: wg.sum(f(x) * f(x))), replace


PLACES = {
    "attribute of a Python module": _module_attribute,
    "model of a Python module": _model_of_a_module,
    "closure": _closure,
    "global": _global,
    "helper": _helper,
    "list": lambda: _container([wg.tensor([1.0])], 0),
    "dict": lambda: _container({"w": wg.tensor([1.0])}, "w"),
    "deque": lambda: _container(collections.deque([wg.tensor([1.0])]), 0),
    "nested": _nested,
    "appended": _appended,
    "attribute": lambda: _object(lambda holder: lambda x: x * holder.w),
    "method": lambda: _object(lambda holder: holder.__call__),
    "callable": lambda: _object(lambda holder: holder),
    "slots": _slotted,
    "model": _model,
    "compiled inside": _compiled_inside,
    "gradient": _gradient,
}


@pytest.mark.parametrize("place", PLACES)
def test_what_a_place_holds_is_replaced(place):
    f, replace = PLACES[place]()
    compiled = wg.compile(f)
    x = wg.tensor([2.0])
    with wg.no_grad():
        for _ in range(2):
            assert compiled(x).tolist() == f(x).tolist()
        assert len(compiled.compilations) == 1
        replace()
        for _ in range(2):
            assert compiled(x).tolist() == f(x).tolist()
    assert len(compiled.compilations) == 2
    assert compiled.compilations[1].startswith("changed: ")


def test_replaced_models_are_let_go():
    models = {"net": wg.nn.Linear(1, 1)}
    compiled = wg.compile(lambda x: models["net"](x) * 1)
    gone = []
    for _ in range(compiled_function._MANY + 3):
        gone.append(weakref.ref(models["net"]))
        eighth = len(gone) == compiled_function._MANY
        with pytest.warns(wg.RecompilationWarning) if eighth else contextlib.nullcontext():
            compiled(wg.ones((1, 1)))
        models["net"] = wg.nn.Linear(1, 1)
    gc.collect()
    assert sum(model() is not None for model in gone) <= compiled_function._MANY


# --- One tensor in two roles ----------------------------------------------------------------------


def roles():  # noqa: C901, PLR0915  (a list of functions)
    """Return steps in which one tensor is met in two ways, with what to compare."""

    def grad_captured(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)
        g = w.grad

        def step(x):
            g.mul_(2.0)
            y = w.grad * 1
            w.grad.add_(x)
            return y, g * 1

        call = make(step)
        return [call(np.ones(2)) for _ in range(2)], w.grad, g

    def grad_first(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)
        g = w.grad

        def step(x):
            w.grad.add_(x)
            g.mul_(2.0)
            (w * x).sum().backward()
            return g * 1, w.grad * 1

        call = make(step)
        return [call(np.ones(2)) for _ in range(3)], w.grad, g

    def grad_argument(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)

        def step(g, x):
            g.mul_(2.0)
            w.grad.add_(x)
            return g * 1

        call = make(step)
        other = wg.tensor([1.0, 1.0], dtype=wg.float64)
        seen = [call(g, np.ones(2)) for g in (w.grad, w.grad, other, w.grad)]
        return seen, w.grad, other

    def grad_let_go(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)
        g = w.grad

        def step(x):
            w.grad.add_(x)
            g.mul_(2.0)
            w.grad = None

        make(step)(np.ones(2))
        return g, wg.tensor(float(w.grad is None))

    def two_gradients(make):
        v, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
        v.grad = w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)

        def step(x):
            v.grad.add_(x)
            w.grad.mul_(2.0)
            return v.grad * 1

        call = make(step)
        seen = [call(np.ones(2)), call(np.ones(2))]
        w.grad = wg.tensor([0.0, 0.0], dtype=wg.float64)
        return [*seen, call(np.ones(2))], v.grad, w.grad

    def argument_twice(make):
        def step(a, b):
            a.add_(1.0)
            b.mul_(2.0)
            return a + b

        call = make(step)
        w, v = wg.tensor([1.0, 2.0]), wg.tensor([5.0, 6.0])
        return [call(w, w), call(w, v), call(v, v), call(v, w)], w, v

    def argument_captured(make):
        w, v = leaf(1.0, 2.0), leaf(5.0, 6.0)

        def step(a, x):
            a.grad = None
            (a * w * x).sum().backward()
            with wg.no_grad():
                w.sub_(w.grad, alpha=0.1)
                a.mul_(0.5)
            return a + w

        call = make(step)
        seen = []
        for a in (w, v, w, w, v):
            w.grad = None
            seen.append(call(a, np.ones(2)))
        return seen, w, v, w.grad

    def captured_becomes_gradient(make):
        w, g = leaf(1.0, 2.0), wg.tensor([7.0, 8.0], dtype=wg.float64)
        w.grad = wg.tensor([1.0, 1.0], dtype=wg.float64)

        def step():
            g.add_(1.0)
            w.grad.mul_(2.0)
            return g + w.grad

        call = make(step)
        seen = [call()]
        w.grad = g
        return [*seen, call(), call()], g, w.grad

    def gradient_of_an_argument(make):
        def step(w, x):
            w.grad = None
            (w * w * x).sum().backward()
            (w * x).sum().backward()

        call = make(step)
        w, v = leaf(1.0, 2.0), leaf(5.0, 6.0)
        for a in (w, v, w):
            call(a, np.ones(2))
        return w.grad, v.grad

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("role", roles(), ids=lambda f: f.__name__)
def test_a_tensor_in_two_roles_is_one(role):
    def values(tree):
        return [values(t) for t in tree] if isinstance(tree, list | tuple) else tree.tolist()

    assert values(role(wg.compile)) == values(role(lambda f: f))


def test_tensors_in_two_roles_do_not_compile_at_each_call():
    v, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    v.grad = w.grad = wg.tensor([0.0, 0.0], dtype=wg.float64)
    g = w.grad

    def step(x, a):
        wg.sum(v * w * a * x).backward()
        g.mul_(0.5)
        return v.grad + w.grad

    compiled = wg.compile(step)
    for _ in range(3):
        compiled(np.ones(2), w)
    assert compiled.compilations == ["first call"]


def test_other_arguments_do_not_compile_again():
    def step(w, x):
        w.grad = None
        wg.sum(w * w * x).backward()
        with wg.no_grad():
            w.sub_(w.grad, alpha=0.25)

    compiled, gone = wg.compile(step), []
    for i in range(3):
        w = leaf(1.0 + i, 2.0)
        gone.append(weakref.ref(w))
        compiled(w, np.ones(2))
        assert w.tolist() == [(1.0 + i) / 2, 1.0]
    assert compiled.compilations == ["first call"]
    del w
    gc.collect()
    assert not any(w() is not None for w in gone)


# --- Kept -----------------------------------------------------------------------------------------


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


# --- Interrupted, threaded ------------------------------------------------------------------------


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
    w, results, errors = leaf(1.0, 2.0), [], []
    f = wg.compile(lambda x: wg.sum(w * x))

    def work():
        try:
            for i in range(20):
                with wg.no_grad():
                    results.append((i, f(np.array([i, 1.0])).item()))
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(value == i + 2.0 for i, value in results)
    assert all("running already" in error for error in errors)


def test_modes_of_a_module_that_is_an_argument():
    net = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Dropout(0.9))
    f = wg.compile(lambda net, x: net(x))
    f(net, X)
    net.eval()
    np.testing.assert_allclose(f(net, X).detach().numpy(), net(X).detach().numpy(), rtol=1e-5)
    assert len(f.compilations) == 2

"""What compiled functions read from outside is replaced."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import gc
import types
import weakref

import numpy as np
import pytest

import wengert as wg
from tests.tensor.nets import Net, X, pair
from tests.tensor.shared import leaf
from wengert.compile import function as compiled_function

pytest.importorskip("llvmlite")


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
        with pytest.warns(wg.RecompilationWarning) if eighth else contextlib.nullcontext() as found:
            compiled(wg.ones((1, 1)))
        if found:
            assert found[0].filename == __file__
        models["net"] = wg.nn.Linear(1, 1)
    gc.collect()
    assert sum(model() is not None for model in gone) <= compiled_function._MANY


def test_a_function_is_written_anew():
    names = {"wg": wg}
    exec(  # as a notebook does
        "def inner(x): return x * 2\n"
        "def helper(x): return inner(x) + 1\n"
        "def unused(x): return helper(x)\n"
        "def step(x): return helper(x) * 10\n",
        names,
    )
    compiled, x = wg.compile(names["step"]), wg.tensor([1.0])
    for code, expected in (
        ("", 30.0),
        ("def inner(x): return x * 3", 40.0),
        ("def unused(x): return x", 40.0),
        ("def helper(x): return inner(x) - 1", 20.0),
        ("def inner(x): return x * 4", 30.0),
    ):
        exec(code, names)
        assert [compiled(x).item() for _ in range(4)] == [expected] * 4
    assert compiled.compilations == [
        "first call",
        "changed: inner is another object",
        "changed: helper is another object",
        "changed: inner is another object",
    ]

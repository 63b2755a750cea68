"""What a trace may not give away, and what it restores, also after an exception."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf
from wengert import ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.tensor.random import default_generator

# --- Values that a trace does not have ------------------------------------------------------------

QUESTIONS = {
    "item": (lambda y: y.item(), r"\.item\(\)"),
    "tolist": (lambda y: y.tolist(), r"\.tolist\(\)"),
    "float": (float, r"float\(\)"),
    "int": (int, r"int\(\)"),
    "bool": (bool, "a condition"),
    "if": (lambda y: 1 if y > 0 else 2, "a condition"),
    "range": (lambda y: range(y.astype(wg.int64)), "use as an index"),
    "index": (lambda y: [1][y.astype(wg.int64)], "use as an index"),
    "numpy": (lambda y: y.numpy(), "conversion to NumPy"),
    "detached": (lambda y: y.detach().numpy(), "conversion to NumPy"),
    "ufunc": (np.sin, "conversion to NumPy"),
    "asarray": (np.asarray, "conversion to NumPy"),
}


@pytest.mark.parametrize(("ask", "wanted"), QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("transform", ["trace", "vmap", "checkpoint"])
def test_value_of_a_traced_tensor(ask, wanted, transform):
    def f(x):
        y = x * 2
        ask(y)
        return y

    match = wanted + r".*needs the value of a traced variable \(.*test_escapes.py:\d+\).*wg\.where"
    x = wg.ones(3) if transform == "vmap" else wg.tensor(1.0)
    with pytest.raises(TracerError, match=match):
        getattr(wg, transform)(f)(x)
    assert THREAD.now.trace is None


def test_value_of_an_input_is_named():
    with pytest.raises(TracerError, match=r"\.item\(\) .*\(f32\[\], input 'weight'\)"):
        wg.trace(lambda weight: weight.item())(wg.tensor(1.0))
    w = leaf(1.0)
    w.name = "bias"
    with pytest.raises(TracerError, match=r"input 'bias'"):
        wg.trace(lambda x: float(w))(wg.tensor(1.0))


def test_shapes_are_known():
    def f(x):
        assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, wg.float32)
        return sum(row.sum() for row in x)

    assert wg.trace(f)(wg.ones((2, 3)))(np.ones((2, 3), np.float32))[0] == 6.0


# --- Values that escape ---------------------------------------------------------------------------


def escaped(transform=wg.trace):
    kept = []
    transform(lambda x: kept.append(wg.sum(x * 2)) or x)(wg.ones((2, 3)))
    return kept[0]


USES = {
    "operator": lambda t: t + 1,
    "function": lambda t: wg.exp(t),  # noqa: PLW0108  (looked up when called)
    "operand": lambda t: wg.ones(3) * t,
    "concat": lambda t: wg.stack([wg.tensor(1.0), t]),
    "in place": lambda t: wg.zeros(()).add_(t),
    "copy": lambda t: wg.zeros(()).copy_(t),
    "inside a gradient": lambda t: wg.grad(lambda x: x * t)(wg.tensor(1.0)),
    "inside a vmap": lambda t: wg.vmap(lambda x: x * t)(wg.ones(3)),
    "inside a trace": lambda t: wg.trace(lambda x: x * t)(wg.tensor(1.0)),
    "result of a trace": lambda t: wg.trace(lambda x: t)(wg.tensor(1.0)),
    "inside a checkpoint": lambda t: wg.checkpoint(lambda x: x * t)(wg.tensor(1.0)),
    "item": lambda t: t.item(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("transform", [wg.trace, wg.vmap, wg.checkpoint])
def test_traced_tensor_used_later(use, transform):
    tensor = escaped(transform)
    with pytest.raises(TracerError, match=r"test_escapes.py:\d+"):
        use(tensor)
    assert THREAD.now.trace is None
    assert (wg.ones(2) + 1).tolist() == [2.0, 2.0]


def test_backward_from_an_escaped_tensor():
    with pytest.raises(TracerError, match=r"ended .*test_escapes.py:\d+"):
        escaped().backward()


def test_escaped_tensor_can_be_shown():
    tensor = escaped()
    assert repr(tensor).startswith("tensor(traced f32[], made by sum at test_escapes.py:")
    assert tensor.shape == ()


def test_error_names_the_trace():
    def forward_pass(x):
        kept.append(x * 2)
        return x

    kept = []
    wg.trace(forward_pass)(wg.ones(2))
    match = r"add: .*f32\[2\], made by mul at .*\(forward_pass\) had ended; return it"
    with pytest.raises(TracerError, match=match):
        kept[0] + 1


def test_inner_trace_may_use_an_outer_one_but_not_the_other_way_round():
    kept = []

    def outer(x):
        wg.vmap(lambda y: kept.append(x * y) or x * y)(wg.ones(3))
        return kept[0] + 1

    with pytest.raises(TracerError, match=r"\(vmap\) had ended"):
        wg.trace(outer)(wg.tensor(1.0))
    assert THREAD.now.trace is None


# --- What a trace restores ------------------------------------------------------------------------


class State:
    """Cells of all kinds, and what they were before."""

    def __init__(self):
        self.w, self.plain = leaf(1.0, 2.0), wg.zeros(3)
        (self.w * self.w).sum().backward()
        self.fresh = leaf(5.0)
        self.grad, self.seed = self.w.grad, default_generator.state.tolist()
        self.bindings = [t._variable for t in (self.w, self.plain, self.fresh, self.grad)]

    def change_everything(self, x):
        (self.w * self.fresh * x).sum().backward()
        with wg.no_grad():
            self.w.sub_(self.w.grad)
            self.fresh.zero_()
        self.plain[1] = 7.0
        self.plain += 1.0
        self.grad.mul_(3.0)
        self.w.grad = None
        wg.rand(3)
        return wg.sum(self.w * x)

    def check(self):
        found = [t._variable for t in (self.w, self.plain, self.fresh, self.grad)]
        assert all(a is b for a, b in zip(found, self.bindings, strict=True))
        assert self.w.grad is self.grad
        assert self.fresh.grad is None
        assert self.w.tolist() == [1.0, 2.0]
        assert self.grad.tolist() == [2.0, 4.0]
        assert self.plain.tolist() == [0.0, 0.0, 0.0]
        assert default_generator.state.tolist() == self.seed
        assert self.w.requires_grad
        assert self.w.is_leaf
        assert wg.is_grad_enabled()
        assert THREAD.now.trace is None
        assert THREAD.now.origin is None
        assert THREAD.now.scope == ""
        (self.w * 2).sum().backward()
        assert self.w.grad.tolist() == [4.0, 6.0]


def test_trace_restores_everything():
    state = State()
    graph = wg.trace(state.change_everything)(wg.ones(2, dtype=wg.float64))
    wg.verify(graph)
    state.check()


@pytest.mark.parametrize("transform", ["trace", "vmap", "checkpoint", "trace of vmap", "compile"])
def test_exception_restores_everything(transform):
    state = State()

    def f(x):
        state.change_everything(x)
        with wg.no_grad():
            raise ZeroDivisionError

    calls = {
        "trace": wg.trace(f),
        "vmap": wg.vmap(f),
        "checkpoint": wg.checkpoint(f),
        "trace of vmap": wg.trace(wg.vmap(f)),
        "compile": wg.compile(f),
    }
    with pytest.raises(ZeroDivisionError):
        calls[transform](wg.ones((2, 2), dtype=wg.float64))
    state.check()


def test_error_inside_an_operation_restores_everything():
    state = State()

    def f(x):
        state.change_everything(x)
        return x @ wg.ones((5, 5), dtype=wg.float64)

    with pytest.raises(ShapeError, match=r"matmul.*test_escapes.py:\d+"):
        wg.trace(f)(wg.ones(2, dtype=wg.float64))
    state.check()


def test_exception_that_the_traced_function_catches():
    state = State()

    def f(x):
        with contextlib.suppress(ZeroDivisionError):
            wg.vmap(lambda y: [state.change_everything(y), 1 / 0])(x[None])
        return wg.sum(state.w * x)

    graph = wg.trace(f)(wg.ones(2, dtype=wg.float64))
    assert [op.primitive.name for op in graph.operations] == ["mul", "sum"]
    state.check()


def test_writes_are_seen_inside_and_noted():
    cell, other = wg.zeros(2), wg.zeros(2)

    def f(x):
        cell.add_(x)
        cell.mul_(2.0)
        y = cell * 1
        other.copy_(y)
        return y

    graph = wg.trace(f)(wg.ones(2))
    assert cell.tolist() == other.tolist() == [0.0, 0.0]
    values = {"x": np.array([1.0, 2.0], np.float32)}
    arrays = [values.get(v.name, np.full(2, 10.0, np.float32)) for v in graph.inputs]
    assert graph(*arrays)[0].tolist() == [22.0, 24.0]
    assert [write.cell for write in graph.trace.writes] == [cell, other]


def test_argument_changed_in_place_inside():
    def f(x):
        x[0] = 5.0
        x *= 2.0
        return x

    x = wg.ones(2)
    graph = wg.trace(f)(x)
    assert graph(np.ones(2, np.float32))[0].tolist() == [10.0, 2.0]
    assert x.tolist() == [1.0, 1.0]


def test_backward_inside_a_trace():
    w = leaf(1.0, 2.0)

    def f(x):
        (w * w * x).sum().backward()
        gradient = w.grad
        w.grad = None
        return gradient

    graph = wg.trace(f)(np.ones(2))
    assert w.grad is None
    assert graph(np.ones(2), np.array([1.0, 2.0]))[0].tolist() == [2.0, 4.0]


def test_leaf_made_inside_a_trace():
    def f(x):
        p = wg.tensor([1.0, 2.0], requires_grad=True)
        q = x.detach().requires_grad_()
        (p * q * q).sum().backward()
        return p.grad, q.grad

    eager = f(wg.tensor([3.0, 4.0]))
    graph = wg.trace(f)(wg.tensor([3.0, 4.0]))
    found = graph(np.array([3.0, 4.0], np.float32))
    assert [a.tolist() for a in found] == [a.tolist() for a in eager] == [[9.0, 16.0], [6.0, 16.0]]


def test_hooks_run_inside_a_trace():
    w = leaf(1.0, 2.0)
    w.register_hook(lambda g: 10 * g)

    def f(x):
        h = w * x
        h.register_hook(lambda g: g + 1)
        h.sum().backward()
        return w.grad

    graph = wg.trace(f)(np.array([3.0, 4.0]))
    assert graph(np.array([3.0, 4.0]), np.array([1.0, 2.0]))[0].tolist() == [60.0, 80.0]
    assert w.grad is None

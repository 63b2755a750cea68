"""Where derivatives end: detach, stop_gradient and no_grad, under every transform and order.

What is stopped is a constant of every derivative, as in PyTorch: the function below has the
derivatives of ``sum(sin(c * x) * x)`` by x with ``c`` the value that was stopped.
"""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import close
from wengert.graph.graph import replay
from wengert.graph.verify import verify
from wengert.tensor.traced import trace

POINT = np.array([0.3, -1.2, 2.0])
BATCH = np.stack([POINT, 2 * POINT, POINT - 1])
C = np.exp(POINT)


def detached(x):
    return wg.exp(x).detach()


def stopped(x):
    return wg.stop_gradient({"c": wg.exp(x)})["c"]


def without_recording(x):
    with wg.no_grad():
        return wg.exp(x)


def partly_recorded(x):
    y = wg.exp(x / 2)
    with wg.no_grad():
        return y * y


def of_a_layer(x):
    layer = wg.nn.Identity()
    with wg.no_grad():
        return layer(wg.exp(x))


STOPS = [detached, stopped, without_recording, partly_recorded, of_a_layer]


def function(stop):
    return lambda x: wg.sum(wg.sin(stop(x) * x) * x)


VALUE = np.sum(np.sin(C * POINT) * POINT)
GRADIENT = C * np.cos(C * POINT) * POINT + np.sin(C * POINT)
SECOND = -(C**2) * np.sin(C * POINT) * POINT + 2 * C * np.cos(C * POINT)
V = np.array([1.0, -2.0, 0.5])


def plain(f):
    return f


def checkpointed(f):
    return wg.checkpoint(f)


def twice_checkpointed(f):
    return wg.checkpoint(wg.checkpoint(f))


def one_lane(f):
    return lambda x: wg.sum(wg.vmap(f)(wg.expand_dims(x, 0)))


def compiled(f):
    return wg.compile(f)


def compiled_checkpoint_of_a_lane(f):
    return wg.compile(wg.checkpoint(one_lane(f)))


def replayed(f):
    def again(x):
        graph = trace(f)(POINT)
        verify(graph)
        (y,) = replay(graph, [x._variable])
        return wg.Tensor(y)

    return again


RUNS = [
    plain,
    checkpointed,
    twice_checkpointed,
    one_lane,
    compiled,
    compiled_checkpoint_of_a_lane,
    replayed,
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("stop", STOPS)
def test_derivatives_of_both_modes_and_of_second_order(stop, run):
    f, x, v = run(function(stop)), wg.asarray(POINT), wg.asarray(V)
    close(f(x), VALUE)
    close(wg.grad(f)(x), GRADIENT)
    close(wg.jvp(f, (x,), (v,))[1], GRADIENT @ V)
    close(wg.hessian(f)(x), np.diag(SECOND))
    close(wg.hvp(f, x, v), SECOND * V)
    close(wg.grad(lambda x: wg.sum(wg.grad(f)(x) * v))(x), SECOND * V)
    close(wg.jvp(lambda x: wg.jvp(f, (x,), (v,))[1], (x,), (v,))[1], SECOND @ V**2)


@pytest.mark.parametrize("stop", STOPS)
def test_compiled_derivatives(stop):
    f, x = function(stop), wg.asarray(POINT)
    close(wg.compile(wg.grad(f))(x), GRADIENT)
    close(wg.compile(wg.hessian(f))(x), np.diag(SECOND))
    close(wg.compile(wg.vmap(wg.grad(f)))(wg.asarray(BATCH))[0], GRADIENT)


@pytest.mark.parametrize("stop", STOPS)
def test_backward_of_a_leaf(stop):
    for run in RUNS:
        x = wg.tensor(POINT, requires_grad=True)
        run(function(stop))(x).backward()
        close(x.grad, GRADIENT)


@pytest.mark.parametrize("stop", STOPS)
def test_derivatives_of_lanes(stop):
    f = function(stop)
    lanes = wg.vmap(wg.grad(f))(wg.asarray(BATCH))
    close(lanes, np.stack([wg.grad(f)(wg.asarray(row)).numpy() for row in BATCH]))
    of_sum = wg.grad(lambda xs: wg.sum(wg.vmap(f)(xs)))(wg.asarray(BATCH))
    close(of_sum, lanes)


def test_a_parameter_from_outside_is_stopped_too():
    w = wg.tensor(POINT, requires_grad=True)

    def f(x):
        with wg.no_grad():
            c = w * w
        return wg.sum(c * w * x)

    for run in (plain, checkpointed, one_lane, compiled):
        w.grad = None
        run(f)(wg.asarray(V)).backward()
        close(w.grad, POINT**2 * V)


def test_a_leaf_made_inside_is_cut_off():
    def f(x):
        z = (x * x).detach().requires_grad_()
        (z * z * z).sum().backward()
        return wg.sum(z.grad * x)

    x = wg.asarray(POINT)
    for run in RUNS:
        close(wg.grad(run(f))(x), 3 * POINT**4)


def test_a_gradient_taken_by_backward_is_a_constant_unless_its_graph_is_made():
    for create in (False, True):

        def f(x, create=create):
            y = 1 * x
            y.retain_grad()
            (y * y * y).sum().backward(create_graph=create)
            return wg.sum(y.grad * x)

        expected = 9 * POINT**2 if create else 3 * POINT**2
        for run in (plain, checkpointed, one_lane, compiled, replayed):
            close(wg.grad(run(f))(wg.asarray(POINT)), expected)


def test_hooks_see_what_they_see_without_a_trace():
    def f(x, seen):
        y = 1 * x
        y.register_hook(lambda bar: seen.append(bar.requires_grad))
        (y * y).sum().backward()
        return x

    for run in (plain, one_lane, compiled):
        seen = []
        wg.grad(run(lambda x, seen=seen: wg.sum(f(x, seen))))(wg.asarray(POINT))
        assert set(seen) == {False}


@pytest.mark.peers
@pytest.mark.parametrize("way", ["detach", "no_grad", "both"])
def test_pytorch_stops_them_too(way):
    torch = pytest.importorskip("torch")

    def f(library, x):
        y = library.sin(x) * x
        with library.no_grad():
            c = y * y if way != "detach" else None
        d = (y * y).detach() if way != "no_grad" else c
        return (library.exp(d * x) * y * (d if c is None else c)).sum()

    theirs = torch.tensor(POINT / 2, requires_grad=True)
    (first,) = torch.autograd.grad(f(torch, theirs), theirs, create_graph=True)
    (second,) = torch.autograd.grad(first @ torch.tensor(V), theirs)
    for run in RUNS:
        ours = run(lambda x: f(wg, x))
        x, v = wg.asarray(POINT / 2), wg.asarray(V)
        close(wg.grad(ours)(x), first.detach().numpy())
        close(wg.hvp(ours, x, v), second.numpy())


def test_integers_are_detached():
    assert wg.compile(lambda x: x.detach() + 1)(wg.tensor([1, 2])).tolist() == [2, 3]


def test_the_graph_shows_where_derivatives_end():
    for stop, names in {
        detached: ["exp", "stop_gradient", "mul"],
        without_recording: ["stop_gradient", "exp", "mul"],
    }.items():
        graph = trace(lambda x, stop=stop: stop(x) * x)(POINT)
        verify(graph)
        assert [op.primitive.name for op in graph.operations] == names
        assert "= stop_gradient(" in str(graph)


def test_a_derivative_is_closed_off_once():
    graph = trace(wg.vmap(wg.grad(lambda x: wg.sum(wg.sin(x) * wg.exp(x)))))(BATCH)
    assert not any(op.primitive.name == "stop_gradient" for op in graph.operations)

    def step(p):
        wg.sum(wg.sin(p) * wg.exp(p)).backward()
        return p.grad

    p = wg.tensor(POINT, requires_grad=True)
    names = [op.primitive.name for op in wg.compile(step).graph(p).operations]
    assert names.count("stop_gradient") == 1


def test_the_gradient_by_a_tensor_from_outside_that_requires_none():
    t = wg.asarray(POINT)
    t.name = "t"
    graph = trace(lambda x: wg.sum(t * x))(V)
    assert len(graph.backward().outputs) == 1
    with pytest.raises(RuntimeError, match="'t' is a tensor from outside that requires no gradien"):
        graph.backward("t")
    t.requires_grad_()
    close(trace(lambda x: wg.sum(t * x))(V).backward("t")(V, POINT)[0], V)

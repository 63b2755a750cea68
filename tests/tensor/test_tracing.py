"""The graphs of functions: inputs, backward graphs, printing, threads."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, close, leaf
from wengert import DTypeError, ShapeError
from wengert.graph.mode import THREAD
from wengert.tensor import effects
from wengert.tensor.random import default_generator


def names(graph):
    return [op.primitive.name for op in graph.operations]


# --- The graph of a function ----------------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
def test_graph_computes_what_the_function_does(f):
    graph = wg.trace(f)(X)
    wg.verify(graph)
    np.testing.assert_array_equal(graph(X)[0], array(f(wg.tensor(X))))
    np.testing.assert_allclose(graph(2 * X)[0].shape, (4,))


@pytest.mark.parametrize("f", FUNCTIONS)
def test_backward_graph_computes_the_gradient(f):
    loss = lambda x: wg.sum(wg.sin(f(x)))  # noqa: E731
    graph = wg.trace(loss)(X)
    backward = graph.backward()
    wg.verify(backward)
    np.testing.assert_array_equal(backward(X)[0], array(wg.grad(loss)(X)))
    assert backward.inputs == graph.inputs
    assert len(backward.operations) <= 5 * len(graph.operations)


def test_arguments_are_named_inputs():
    def f(p, q, *rest, k, flag=True):
        return p["a"] * q[0] * rest[0] * k if flag else None

    graph = wg.trace(f)({"a": wg.ones(2), "b": 3}, [wg.ones(2)], np.ones(2), k=wg.ones(2))
    assert [v.name for v in graph.inputs][:2] == ["p['a']", "q[0]"]
    assert len({v.name for v in graph.inputs}) == 4
    assert [str(v.aval) for v in graph.inputs] == ["f32[2]", "f32[2]", "f64[2]", "f32[2]"]


def test_numbers_are_static():
    graph = wg.trace(lambda x, n, s: x**n * s)(wg.ones(2), 3, 0.5)
    assert len(graph.inputs) == 1
    assert graph(np.full(2, 2.0, np.float32))[0].tolist() == [4.0, 4.0]


def test_captured_tensors_become_inputs_in_the_order_of_their_first_read():
    w, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    w.name, b.name = "w", "b"
    plain = wg.tensor([5.0, 6.0], dtype=wg.float64)
    graph = wg.trace(lambda x: x * b + w * b - plain + w)(np.ones(2))
    assert [v.name for v in graph.inputs[:3]] == ["x", "b", "w"]
    assert len(graph.inputs) == 4
    assert [v.requires_grad for v in graph.inputs[1:]] == [True, True, False]
    values = [np.ones(2), *(np.array(v) for v in ([3.0, 4.0], [1.0, 2.0], [5.0, 6.0]))]
    assert graph(*values)[0].tolist() == [2.0, 8.0]
    assert w.tolist() == [1.0, 2.0]
    assert w.is_leaf


def test_one_tensor_given_twice_is_two_inputs():
    x = wg.ones(2)
    graph = wg.trace(lambda a, b: a + b)(x, x)
    assert [v.name for v in graph.inputs] == ["a", "b"]
    assert graph(np.ones(2, np.float32), np.zeros(2, np.float32))[0].tolist() == [1.0, 1.0]


def test_results_that_are_inputs_or_constants():
    c = wg.ones(2)
    graph = wg.trace(lambda x: (x, wg.zeros(3), 1.5, c))(wg.ones(2))
    wg.verify(graph)
    found = graph(*[np.full(v.shape, 7.0, v.dtype) for v in graph.inputs])
    assert [a.tolist() for a in found[:3]] == [[7.0, 7.0], [0.0] * 3, 1.5]


def test_function_that_ignores_its_argument():
    graph = wg.trace(lambda x: wg.sum(wg.ones(3)))(wg.ones(2))
    assert graph(np.ones(2, np.float32))[0] == 3.0
    assert graph.backward()(np.ones(2, np.float32))[0].tolist() == [0.0, 0.0]


def test_hyper_parameters_become_weak_inputs():
    class Owner:
        lr = 0.1

    owner = Owner()
    read = lambda: effects.hyper(owner, "lr", lambda: owner.lr)  # noqa: E731
    graph = wg.trace(lambda x: x * read() + read())(wg.ones(2))
    assert [v.name for v in graph.inputs] == ["x", "lr"]
    assert str(graph.inputs[1].aval) == "~f64[]"
    assert graph.outputs[0].dtype == wg.float32
    assert read() == 0.1
    found = graph(np.ones(2, np.float32), np.array(0.5))[0]
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, 1.0]


def test_graph_is_the_same_as_eager_under_all_dtype_rules():
    def f(x):
        y = x * 2 + np.float64(1) - (x > 0)
        return y.astype(wg.float32) * 0.5, wg.mean(x.astype(wg.int64)), x / 3, 1 - x

    for x in (wg.ones(3), wg.ones(3, dtype=wg.float64), wg.ones(3, dtype=wg.int64)):
        eager = f(x)
        traced = wg.trace(f)(x)
        assert [v.dtype for v in traced.outputs] == [y.dtype for y in eager]
        for found, expected in zip(traced(array(x)), eager, strict=True):
            np.testing.assert_array_equal(found, array(expected))


# --- Its backward graph ---------------------------------------------------------------------------


def two_layers(x, w, v):
    return wg.sum(wg.tanh(x @ w) @ v)


ARGUMENTS = (np.ones((2, 3)), np.ones((3, 4)) / 3, np.ones((4, 1)))


def test_backward_computes_only_what_leads_to_what_is_asked():
    graph = wg.trace(two_layers)(*ARGUMENTS)
    whole, one = graph.backward(), graph.backward("v")
    assert len(whole.outputs) == 3
    assert len(one.outputs) == 1
    added = [op for op in one.operations if op not in graph.operations]
    assert not any(op.origin is not None and op.origin.primitive.name == "tanh" for op in added)
    assert len(one.operations) < len(whole.operations)
    close(one(*ARGUMENTS)[0], wg.grad(two_layers, argnums=2)(*ARGUMENTS))
    assert graph.backward(wrt=["w", "v"]).outputs[0].shape == (3, 4)
    by_variable = graph.backward(wrt=[graph.inputs[1]])
    close(by_variable(*ARGUMENTS)[0], wg.grad(two_layers, argnums=1)(*ARGUMENTS))


def test_backward_operations_remember_their_origin():
    graph = wg.trace(two_layers)(*ARGUMENTS)
    backward = graph.backward()
    added = [op for op in backward.operations if op not in graph.operations]
    origins = [op.origin for op in added if op.origin is not None]
    assert len(origins) >= len(added) - 1  # all but the seed
    assert set(origins) <= set(graph.operations)
    assert {op.primitive.name for op in origins} == set(names(graph))
    lines = {op.source for op in added if op.origin is not None}
    assert lines <= {op.source for op in graph.operations}


def test_backward_names_its_outputs():
    backward = wg.trace(two_layers)(*ARGUMENTS).backward(["w", "v"])
    assert [v.name for v in backward.outputs] == ["∂w", "∂v"]


def test_backward_of_captured_parameters():
    w = leaf(1.0, 2.0)
    w.name = "w"
    graph = wg.trace(lambda x: wg.sum(w * w * x))(np.ones(2))
    (w_bar,) = graph.backward("w")(np.ones(2), array(w))
    assert w_bar.tolist() == [2.0, 4.0]
    assert w.grad is None


def test_backward_can_be_made_again():
    graph = wg.trace(two_layers)(*ARGUMENTS)
    first, second = graph.backward("w"), graph.backward("w")
    assert str(first) == str(second)
    np.testing.assert_array_equal(first(*ARGUMENTS)[0], second(*ARGUMENTS)[0])


def test_backward_of_a_backward_graph():
    graph = wg.trace(lambda x: wg.sum(wg.exp(x) * x))(np.array(0.5))
    second = graph.backward().backward()
    wg.verify(second)
    assert second(np.array(0.5))[0] == pytest.approx(2.5 * np.exp(0.5))


def test_backward_is_checked():
    graph = wg.trace(two_layers)(*ARGUMENTS)
    with pytest.raises(KeyError, match=r"backward: no input is called 'z'; there are \['x', 'w', "):
        graph.backward("z")
    with pytest.raises(ShapeError, match=r"first output must be one number, got f32\[2\]"):
        wg.trace(lambda x: x)(wg.ones(2)).backward()
    picked = wg.trace(lambda x, i: x[i])(wg.ones(2), wg.tensor(1))
    assert len(picked.backward().outputs) == 1
    with pytest.raises(DTypeError, match="'i'"):
        picked.backward("i")


# --- Printing -------------------------------------------------------------------------------------


def printed(graph):
    return re.sub(r" +# ", "  # ", re.sub(r"(test_tracing\.py):\d+", r"\1:N", str(graph)))


def test_printed_form_of_a_graph_and_its_backward_graph():
    w = wg.tensor([[1.0, 2.0]], requires_grad=True)
    w.name = "w"
    graph = wg.trace(lambda x: wg.sum(wg.exp(x * w)))(wg.ones((3, 2)))
    assert printed(graph) == (
        "graph lambda(x: f32[3, 2], w: f32[1, 2]) -> (%2: f32[]):\n"
        "  %0: f32[3, 2] = mul(x, w)  # test_tracing.py:N\n"
        "  %1: f32[3, 2] = exp(%0)  # test_tracing.py:N\n"
        "  %2: f32[] = sum(%1; axes=(0, 1))  # test_tracing.py:N\n"
        "  return %2"
    )
    assert printed(graph.backward("w")) == (
        "graph lambda_backward(x: f32[3, 2], w: f32[1, 2]) -> (∂w: f32[1, 2]):\n"
        "  %0: f32[3, 2] = mul(x, w)  # test_tracing.py:N\n"
        "  %1: f32[3, 2] = exp(%0)  # test_tracing.py:N\n"
        "  %2: f32[] = full(shape=(), dtype=float32, value=1)  # test_tracing.py:N\n"
        "  %3: f32[3, 2] = broadcast(%2; shape=(3, 2))  # test_tracing.py:N  ∂sum\n"
        "  %4: f32[3, 2] = cotangent_mul(%3, %1)  # test_tracing.py:N  ∂%1\n"
        "  %5: f32[3, 2] = cotangent_mul(%4, x)  # test_tracing.py:N  ∂%0\n"
        "  %6: f32[2] = sum(%5; axes=(0,))  # test_tracing.py:N  ∂%0\n"
        "  ∂w: f32[1, 2] = reshape(%6; shape=(1, 2))  # test_tracing.py:N  ∂%0\n"
        "  return ∂w"
    )


def test_printed_form_does_not_depend_on_what_was_traced_before():
    first = printed(wg.trace(two_layers)(*ARGUMENTS).backward())
    wg.trace(two_layers)(*ARGUMENTS)
    assert printed(wg.trace(two_layers)(*ARGUMENTS).backward()) == first


# --- Random numbers -------------------------------------------------------------------------------


def test_state_of_the_generator_is_an_input_and_is_restored():
    before = default_generator.state.tolist()
    graph = wg.trace(lambda x: x * wg.rand(3) + wg.rand(3))(wg.ones(3))
    assert default_generator.state.tolist() == before
    assert len(graph.inputs) == 2
    found = graph(np.ones(3, np.float32), np.array(before, np.uint64))[0]
    np.testing.assert_array_equal(found, array(wg.rand(3) + wg.rand(3)))
    (written,) = graph.trace.writes
    assert written.cell is default_generator.state


# --- Threads --------------------------------------------------------------------------------------


def in_a_thread(work):
    """Run `work` in another thread and return its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(attempt(work)))
    thread.start()
    thread.join(timeout=20)
    return found[0]


def attempt(work):
    try:
        return work()
    except Exception as error:
        return error


def test_trace_of_one_thread_does_not_concern_another():
    def elsewhere():
        return (wg.ones(2) * 2).tolist()

    def f(x):
        assert in_a_thread(elsewhere) == [2.0, 2.0]
        assert in_a_thread(lambda: THREAD.now.trace) is None
        return x + 1

    assert names(wg.trace(f)(wg.ones(2))) == ["add"]


def test_parameter_read_by_a_trace_can_be_read_by_another_thread():
    w = leaf(1.0, 2.0)

    def elsewhere():
        return (w * 2).tolist()

    def f(x):
        y = w * x
        with wg.no_grad():
            w.mul_(5.0)
        assert in_a_thread(elsewhere) == [2.0, 4.0]
        return y

    wg.trace(f)(np.ones(2))
    assert w.tolist() == [1.0, 2.0]


def test_two_threads_trace_at_the_same_time():
    barrier = threading.Barrier(2, timeout=20)

    def work(factor):
        w = leaf(float(factor))

        def f(x):
            barrier.wait()
            y = w * x
            barrier.wait()
            y.sum().backward()
            return wg.sum(y * w.grad)

        graph = wg.trace(f)(np.ones(1))
        return names(graph), graph(np.ones(1), np.array([float(factor)]))[0].item()

    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.setdefault(i, attempt(lambda: work(i))))
        for i in (2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[2][0] == found[3][0]
    assert (found[2][1], found[3][1]) == (2.0, 3.0)

"""Graph: evaluation, replay, uses, and what aliases are for."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from tests.graph.shared import F64, constant, leaf, traced
from wengert.ad.tape import close_off, isolate
from wengert.graph.bind import bind
from wengert.graph.errors import ShapeError, TracerError
from wengert.graph.graph import Graph, drop_aliases, evaluate, replay
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval
from wengert.graph.verify import verify
from wengert.ops.exponential import exp, sin, sin_p
from wengert.ops.reduce import max_with_index, sum

X, Y = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 4.0])


def test_evaluates_as_eager():
    f = lambda x, y: sum(exp(x) * y + sin(y))  # noqa: E731
    graph = traced(f, (3,), (3,))
    verify(graph)
    (found,) = graph(X, Y)
    assert found == f(constant(X), constant(Y)).value
    assert found == evaluate(graph, (X, Y))[0]


def test_has_only_what_leads_to_the_outputs():
    def f(x, y):
        exp(y) * y  # nobody uses this
        return sin(x)

    graph = traced(f, (3,), (3,))
    assert [op.primitive.name for op in graph.operations] == ["sin"]
    assert len(graph.inputs) == 2


def test_output_may_be_an_input_a_constant_or_named_twice():
    known = constant(X)
    graph = traced(lambda x: (x, known, y := exp(x), y), (3,))
    verify(graph)
    found = graph(Y)
    np.testing.assert_array_equal(found, [Y, X, np.exp(Y), np.exp(Y)])


def test_each_operation_stands_after_what_it_uses():
    graph = traced(lambda x: (a := exp(x)) * (b := sin(a)) + a * b, (3,))
    known = set(graph.inputs)
    for op in graph.operations:
        assert known.issuperset(op.inputs)
        known.update(graph.results(op))


def test_only_one_output_of_several_used():
    graph = traced(lambda x: max_with_index(x)[1], (2, 3))
    verify(graph)
    (op,) = graph.operations
    assert len(graph.results(op)) == 2
    np.testing.assert_array_equal(graph(np.array([[1.0, 3, 2], [9, 8, 7]]))[0], [1, 0])


def test_wrong_number_of_values():
    graph = traced(lambda x, y: x * y, (3,), (3,))
    with pytest.raises(ShapeError, match=r"needs arrays of shapes \[\(3,\), \(3,\)\], got \["):
        graph(X)


def test_intermediate_values_are_dropped_after_their_last_use():
    alive = []

    def spy(x):
        y = np.sin(x)
        alive.append((weakref.ref(y), [r for r, _ in alive if r() is not None]))
        return y

    spied = dataclasses.replace(sin_p, evaluate=spy)

    def f(x):
        for _ in range(20):
            x = bind(spied, (x,))
        return x

    traced(f, (3,))(X)
    assert len(alive) == 20
    assert max(len(before) for _, before in alive) <= 1


def test_a_variable_of_an_outer_trace_is_free():
    with Trace("outer") as outer:
        x = outer.new_input(Aval((3,), F64))
        with Trace("inner") as inner:
            y = inner.new_input(Aval((3,), F64))
            graph = Graph((y,), (x * y,))
        assert graph.free == (x,)
        verify(graph)
        with pytest.raises(TracerError, match="evaluating a graph needs the value"):
            graph(X)
        (z,) = replay(graph, (exp(x),))
        outer_graph = Graph((x,), (z,))
    verify(outer_graph)
    np.testing.assert_allclose(outer_graph(X)[0], X * np.exp(X), rtol=1e-15)


def test_traced_variable_that_is_no_input():
    with Trace("outer") as trace:
        x, y = trace.new_input(Aval((3,), F64)), trace.new_input(Aval((3,), F64))
        with pytest.raises(TracerError, match=r"f64\[3\]\) reaches the outputs but is no input"):
            Graph((x,), (x * y,))


def test_consumers_and_last_uses():
    graph = traced(lambda x, y: ((a := exp(x)) * a, sin(a)), (3,), (3,))
    x, y = graph.inputs
    e, m, s = graph.operations
    (a,) = graph.results(e)
    assert graph.consumers() == {x: [e], a: [m, s]}
    uses = graph.last_uses()
    assert uses[x] == 0
    assert uses[a] == 2
    assert uses[graph.outputs[0]] == uses[graph.outputs[1]] == 3
    assert y not in uses


def test_replay_eager_records_again():
    graph = traced(lambda x, y: exp(x) * y, (3,), (3,))
    x, y = leaf(X), constant(Y)
    (z,) = replay(graph, (x, y))
    np.testing.assert_array_equal(z.value, np.exp(X) * Y)
    assert z.requires_grad
    assert z.op.inputs[1] is y
    assert z.op is not graph.operations[-1]


def test_replay_with_other_shapes():
    graph = traced(lambda x, y: exp(x) * y, (3,), (3,))
    (z,) = replay(graph, (constant(np.ones((2, 3))), constant(Y)))
    assert z.shape == (2, 3)


def test_replay_replaces_free_variables():
    known = constant(X)
    graph = traced(lambda x: x * known, (3,))
    (same,) = replay(graph, (constant(Y),))
    (other,) = replay(graph, (constant(Y),), {known: constant(Y)})
    np.testing.assert_array_equal(same.value, X * Y)
    np.testing.assert_array_equal(other.value, Y * Y)


def test_replay_several_outputs_and_passed_inputs():
    graph = traced(lambda x: (*max_with_index(x), x), (2, 3))
    x = leaf([[1.0, 3, 2], [9, 8, 7]])
    values, indices, same = replay(graph, (x,))
    np.testing.assert_array_equal(values.value, [3, 9])
    np.testing.assert_array_equal(indices.value, [1, 0])
    assert same is x


def test_aliases_can_be_dropped_once_nothing_is_differentiated_inside():
    with Trace("step") as trace:
        x = trace.new_input(Aval((3,), F64), requires_grad=True)
        inner = isolate(isolate(x))
        y = exp(inner) * inner
        outputs = drop_aliases((y, inner))
        graph = Graph((x,), outputs)
    verify(graph)
    assert [op.primitive.name for op in graph.operations] == ["exp", "mul"]
    assert outputs[1] is x
    np.testing.assert_allclose(graph(X)[0], X * np.exp(X), rtol=1e-15)


def test_what_stops_gradients_stays_when_aliases_are_dropped():
    with Trace("step") as trace:
        x = trace.new_input(Aval((3,), F64), requires_grad=True)
        y = exp(close_off(isolate(x)))
        graph = Graph((x,), drop_aliases((y,)))
    verify(graph)
    assert [op.primitive.name for op in graph.operations] == ["stop_gradient", "exp"]
    assert not graph.outputs[0].requires_grad
    np.testing.assert_array_equal(graph(X)[0], np.exp(X))


def test_graph_with_aliases_means_the_same():
    def f(x):
        y = isolate(x)
        return exp(y) * y

    graph = traced(f, (3,))
    verify(graph)
    assert "alias" in {op.primitive.name for op in graph.operations}
    np.testing.assert_allclose(graph(X)[0], X * np.exp(X), rtol=1e-15)


def test_depth_is_no_obstacle():
    def f(x):
        for _ in range(20_000):
            x = sin(isolate(x))
        return x

    with Trace("deep") as trace:
        x = trace.new_input(Aval((), F64))
        graph = Graph((x,), drop_aliases((f(x),)))
    assert len(graph.operations) == 20_000
    verify(graph)
    graph(np.array(1.0))
    replay(graph, (leaf(1.0),))


def test_summary():
    graph = traced(lambda x, y: exp(x) * y, (3,), (3,), name="loss")
    assert repr(graph) == "<Graph loss: 2 inputs, 2 operations, 1 outputs>"

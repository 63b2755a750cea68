"""The walk that all passes share: what a rewritten operation keeps of the one it stands for."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.graph.shared import here, traced
from tests.passes.shared import F, apply, graph_of, names
from wengert.graph.graph import Graph
from wengert.graph.source import line_number
from wengert.graph.verify import verify
from wengert.passes.cse import cse
from wengert.passes.pipeline import optimise
from wengert.passes.rewriting import rewrite
from wengert.passes.simplify import simplify

X = np.linspace(-1, 1, 6).reshape(2, 3)


def lines(graph):
    return [line_number(op.source) for op in graph.operations]


def test_nothing_better_gives_the_graph_itself():
    graph = graph_of(lambda x: F.sin(x) * x, X)
    assert rewrite(graph, lambda site, primitive, inputs, params: None) is graph


def test_what_stands_before_the_first_new_operation_is_shared():
    graph = graph_of(lambda x: F.cos(F.sin(x) / 4.0), X)
    before = [(op, op.inputs, op.serial) for op in graph.operations]
    after = simplify(graph)
    assert after.operations[0] is graph.operations[0]
    assert before == [(op, op.inputs, op.serial) for op in graph.operations]
    verify(graph)


def test_order_of_the_list_stays():
    def f(x):
        first = F.sin(x)
        second = F.cos(x / 2.0)
        return F.tanh(first), F.exp(second), F.sqrt(first)

    graph = graph_of(f, X)
    after = simplify(graph)
    assert names(after) == ["sin", "mul", "cos", "tanh", "exp", "sqrt"]
    verify(after)


def test_lines_and_layers_stay():
    layer = wg.nn.Linear(3, 2)
    layer.weight.requires_grad_(True)
    start = here(3)

    def f(x):
        y = layer(x) / 2.0
        return wg.sum(wg.negative(-y), axis=1) / 4.0

    step = wg.compile(f)
    x = wg.tensor(X.astype(np.float32))
    after = step.passes(x).after
    assert names(after) == ["linear", "mul", "sum", "mul"]
    assert lines(after) == [start, start, start + 1, start + 1]
    assert after.operations[0].scope == step.graph(x).operations[0].scope


def test_operations_of_the_backward_graph_belong_to_those_of_the_new_forward_graph():
    gradient = wg.compile(wg.grad(lambda x: wg.sum(wg.tanh(wg.negative(-x)) * wg.tanh(x))))
    after = gradient.passes(wg.ones(3)).after
    assert names(after).count("tanh") == 1
    inside = set(after.operations)
    origins = {op.primitive.name: op.origin for op in after.operations if op.origin}
    assert origins["cotangent_mul"] in inside
    assert origins["cotangent_mul"].primitive.name == "tanh"


def test_names_are_taken_over_by_new_variables_alone():
    graph = graph_of(lambda x: (F.negative(-F.sin(x)), F.cos(x) / 2.0), X)
    old, quotient = graph.outputs
    old.name, quotient.name = "y", "half"
    after = simplify(graph)
    assert after.outputs[1].name == "half"
    assert after.outputs[0].name is None, "it is in the old graph too"
    assert after.inputs[0].name is None


def test_outputs_may_become_inputs_constants_or_each_other():
    def f(x):
        y = F.sin(x)
        return (
            x * 1.0,
            F.stop_gradient(y),
            y,
            F.sin(x),
            apply("full", shape=(), dtype=x.dtype, value=3),
        )

    graph = graph_of(f, X)
    after = optimise(graph)
    verify(after)
    assert names(after) == ["sin"]
    x, y, same, again, three = after.outputs
    assert (x, y, y) == (graph.inputs[0], same, again)
    assert three.value == 3


def test_graphs_without_operations_or_outputs():
    graph = graph_of(lambda x: (x,), X)
    assert optimise(graph) is graph
    nothing = Graph(graph.inputs, ())
    assert optimise(nothing) is nothing


def test_where_derivatives_end_is_no_longer_said_and_the_graph_is_valid_all_the_same():
    graph = wg.trace(lambda x: wg.sin(wg.stop_gradient(x)) * x)(wg.tensor(X, requires_grad=True))
    after = simplify(graph)
    verify(after)
    assert names(after) == ["sin", "mul"]


def test_an_output_that_takes_over_the_memory_of_an_input():
    a, b = wg.tensor([1.0, 2.0]), wg.tensor([3.0, 4.0])

    @wg.compile
    def swap():
        old = a * 1.0
        a.copy_(wg.negative(-b))
        b.copy_(old)

    swap()
    assert (a.tolist(), b.tolist()) == ([3, 4], [1, 2])
    swap()
    assert (a.tolist(), b.tolist()) == ([1, 2], [3, 4])


def test_one_of_several_outputs_may_be_replaced_and_remade():
    def f(x):
        value, index = F.max_with_index(F.negative(-x), axis=1)
        return value * 1.0, index

    after = simplify(graph_of(f, X))
    verify(after)
    assert names(after) == ["max_with_index"]
    for found, wanted in zip(after(X), graph_of(f, X)(X), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("run", [simplify, cse])
def test_graphs_inside_an_outer_trace_keep_its_variables_apart(run):
    def outer(x):
        inner = traced(lambda y: (y * 1.0 + F.sin(x)) * (y * 1.0 + F.sin(x)), (3,))
        after = run(inner)
        verify(after)
        assert after is not inner
        assert names(after).count("sin") == 0
        assert set(inner.free) >= set(after.free) > set()
        return x

    traced(outer, (3,))

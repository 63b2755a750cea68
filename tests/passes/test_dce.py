"""Dead code: outputs and inputs of the graphs that operations carry."""

from __future__ import annotations

import numpy as np

import wengert as wg
from tests.passes.shared import F, checked, names, untouched
from wengert.passes.dce import dce

X, Y = np.linspace(-1, 1, 3), np.linspace(1, 2, 3)


def pair(x, y):
    return wg.sin(x) * 2, wg.cos(y)


def inner(graph):
    (op,) = [op for op in graph.operations if "graph" in op.params]
    return op.params["graph"]


def test_what_is_not_read_of_a_checkpoint_is_not_computed():
    graph = wg.trace(lambda x, y: wg.checkpoint(pair)(x * 1.5, wg.exp(y))[0])(X, Y)
    after = checked(dce, graph, X, Y)
    assert names(after) == ["mul", "checkpoint"]
    assert names(inner(after)) == ["sin", "mul"]
    assert len(inner(after).inputs) == 1
    assert names(inner(graph)) == ["sin", "mul", "cos"]


def test_the_last_output_may_be_the_one_that_is_read():
    graph = wg.trace(lambda x, y: wg.checkpoint(pair)(x, y)[1])(X, Y)
    after = checked(dce, graph, X, Y)
    assert names(inner(after)) == ["cos"]
    assert dce(after) is after


def test_residuals_of_custom_rules_go_with_their_derivative():
    @wg.custom_vjp
    def f(x):
        return wg.sin(x)

    f.defvjp(lambda x: (f(x), (wg.cos(x),)), lambda kept, bar: (bar * kept[0],))
    graph = wg.trace(lambda x: f(x) + 1.0)(X)
    after = checked(dce, graph, X)
    assert "cos" not in names(inner(after))


def test_what_is_read_stays():
    graph = wg.trace(wg.checkpoint(pair))(X, Y)
    assert checked(dce, graph, X, Y) is graph
    untouched(dce, lambda x: F.max_with_index(x, axis=0)[1], X)
    untouched(dce, lambda x: F.sin(x) * 2.0, X)

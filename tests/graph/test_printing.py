"""The printed form of a graph: golden text, the same however many graphs were made before."""

from __future__ import annotations

import re

import numpy as np

from tests.graph.shared import F64, constant, here, traced
from wengert.ad.reverse import vjp
from wengert.ad.tape import horizon, isolate
from wengert.graph.bind import bind
from wengert.graph.graph import Graph, drop_aliases
from wengert.graph.mode import scope
from wengert.graph.printing import format_param
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval
from wengert.ops.arithmetic import multiply, relu
from wengert.ops.contraction import matmul
from wengert.ops.creation import full
from wengert.ops.exponential import exp
from wengert.ops.indexing import slice_p
from wengert.ops.reduce import max_with_index, sum

SHAPES = ((4, 3), (3, 2), (2,))
NAMES = ("x", "w", "b")


def loss(x, w, b):
    with scope("net.0"):
        h = matmul(x, w) + b
    m, _ = max_with_index(relu(h))
    part = bind(slice_p, (m,), {"key": (slice(1, None),)})
    return sum(part * 0.5)


def loss_and_gradient(x, w, b):
    since, inner = horizon(), isolate(w)
    y = loss(x, inner, b)
    (w_bar,), _ = vjp([y], [full((), 1.0, F64)], [inner], since)
    return drop_aliases((y, w_bar))


def without_lines(graph: Graph) -> str:
    return re.sub(r" +# test_printing\.py:\d+", "  #", str(graph))


GOLDEN = """\
graph loss(x: f64[4, 3], w: f64[3, 2], b: f64[2]) -> (%7: f64[]):
  %0: f64[4, 2] = contract(x, w; spec='ab,bc->ac')  #  net.0
  %1: f64[4, 2] = add(%0, b)  #  net.0
  %2: f64[4, 2] = relu(%1)  #
  %3: f64[4], %4: i64[4] = max_with_index(%2; axis=1)  #
  %5: f64[3] = slice(%3; key=(1:,))  #
  %6: f64[3] = mul(%5, 0.5)  #
  %7: f64[] = sum(%6; axes=(0,))  #
  return %7"""

GOLDEN_GRADIENT = """\
graph both(x: f64[4, 3], w: f64[3, 2], b: f64[2]) -> (%7: f64[], %17: f64[3, 2]):
  %0: f64[4, 2] = contract(x, w; spec='ab,bc->ac')  #  net.0
  %1: f64[4, 2] = add(%0, b)  #  net.0
  %2: f64[4, 2] = relu(%1)  #
  %3: f64[4], %4: i64[4] = max_with_index(%2; axis=1)  #
  %5: f64[3] = slice(%3; key=(1:,))  #
  %6: f64[3] = mul(%5, 0.5)  #
  %7: f64[] = sum(%6; axes=(0,))  #
  %8: f64[] = full(shape=(), dtype=float64, value=1.0)  #
  %9: f64[3] = broadcast(%8; shape=(3,))  #  ∂%7
  %10: f64[3] = cotangent_mul(%9, 0.5)  #  ∂%6
  %11: f64[4] = full(shape=(4,), dtype=float64, value=0)  #  ∂%5
  %12: f64[4] = slice_add(%11, %10; key=(1:,))  #  ∂%5
  %13: f64[4, 2] = full(shape=(4, 2), dtype=float64, value=0)  #  ∂%3
  %14: f64[4, 2] = scatter_add(%13, %12, %4; axes=(1,), batch_axes=(0,))  #  ∂%3
  %15: bool[4, 2] = greater(%2, 0.0)  #  ∂%2
  %16: f64[4, 2] = cotangent_mul(%14, %15)  #  ∂%2
  %17: f64[3, 2] = contract(x, %16; spec='ab,ac->bc')  #  ∂%0
  return %7, %17"""


def test_golden_text():
    assert without_lines(traced(loss, *SHAPES, name="loss", names=NAMES)) == GOLDEN


def test_golden_text_of_a_backward_graph():
    graph = traced(loss_and_gradient, *SHAPES, name="both", names=NAMES)
    assert without_lines(graph) == GOLDEN_GRADIENT


def test_text_does_not_depend_on_what_was_made_before():
    before = str(traced(loss, *SHAPES, names=NAMES))
    kept = [traced(loss_and_gradient, *SHAPES) for _ in range(7)]
    assert str(traced(loss, *SHAPES, names=NAMES)) == before
    assert len({str(graph) for graph in kept}) == 1


def test_comment_names_the_line():
    line = here(1)
    graph = traced(lambda x: exp(x), (3,))  # noqa: PLW0108
    assert f"  # test_printing.py:{line}" in str(graph)


def test_inputs_without_names_and_names_taken_twice():
    graph = traced(lambda a, b, c: a * b * c, (), (), (), names=("a", "a"))
    head = "graph graph(a: f64[], a_2: f64[], in2: f64[]) -> (%1: f64[]):"
    assert str(graph).splitlines()[0] == head


def test_constants_are_shown_where_they_are_small():
    small, large = constant([1.0, 2.0]), constant(np.ones((3, 2)))
    small.name = "mean"
    lines = str(traced(lambda x: x * small * large * 3.0, (2,))).splitlines()
    assert "  mean: f64[2] = constant [1.0, 2.0]" in lines
    assert "  const1: f64[3, 2] = constant" in lines
    assert lines[-2].startswith("  %2: f64[3, 2] = mul(%1, 3.0) ")


def test_outer_variables_are_told():
    with Trace("outer") as outer:
        x = outer.new_input(Aval((2,), F64), "x")
        with Trace("inner") as inner:
            y = inner.new_input(Aval((2,), F64), "y")
            graph = Graph((y,), (multiply(x, y),), "inner")
    assert str(graph).splitlines()[1] == "  x: f64[2] = outer variable"


def test_parameters():
    graph = traced(loss, *SHAPES, name="loss")
    assert format_param(np.dtype(np.float32)) == "float32"
    assert format_param((slice(None), slice(1, 5, 2), slice(None, None, -1), 3)) == (
        "(:, 1:5:2, ::-1, 3)"
    )
    assert format_param(((0, 1),)) == "((0, 1),)"
    assert format_param(()) == "()"
    assert format_param(graph) == "<loss: 7 operations>"
    assert format_param(loss) == "loss"
    assert format_param("ab") == "'ab'"

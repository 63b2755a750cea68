"""The user's line: of each operation, also through functions of the package."""

from __future__ import annotations

import types

from tests.graph.shared import F64, here, leaf, traced
from wengert.ad.reverse import vjp
from wengert.ad.tape import horizon, isolate
from wengert.graph.source import caller, describe, line_number
from wengert.graph.variable import Variable
from wengert.ops.activations import gelu, log_softmax
from wengert.ops.creation import full
from wengert.ops.einsum import einsum
from wengert.ops.exponential import exp
from wengert.ops.losses import cross_entropy
from wengert.ops.statistics import var
from wengert.ops.windows import conv2d


def line_of(variable: Variable) -> str:
    return describe(variable.op.source)


def lines_of(graph) -> set[str]:
    return {describe(op.source) for op in graph.operations}


def test_line_of_one_operation():
    y = exp(leaf([1.0]))
    assert line_of(y) == f"test_source.py:{here(-1)}"


def test_line_of_an_operator():
    x = leaf([1.0])
    y = x * 2.0 + 1.0
    assert line_of(y) == f"test_source.py:{here(-1)}"
    assert line_of(y.op.inputs[0]) == f"test_source.py:{here(-2)}"


def test_line_in_the_middle_of_a_statement():
    x = leaf([1.0])
    y = (
        exp(x)
        + x
    )  # fmt: skip
    assert line_of(y.op.inputs[0]) == f"test_source.py:{here(-3)}"


def test_line_in_the_users_own_function():
    def square(x):
        return x * x

    y = square(leaf([1.0]))
    assert line_of(y) == f"test_source.py:{here(-3)}"


def test_every_operation_of_a_composite_has_the_line_of_its_call():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    for composite in (
        lambda x: var(x, axis=0),
        lambda x: gelu(x, approximate="tanh"),
        lambda x: log_softmax(x, axis=0),
        lambda x: einsum("ij,kj->", x, x),
        lambda x: cross_entropy(x, [0, 1]),
    ):
        graph = traced(composite, (2, 2))
        assert len(graph.operations) >= 1
        first = composite.__code__.co_firstlineno
        assert lines_of(graph) == {f"test_source.py:{first}"}
        assert line_of(composite(x)) == f"test_source.py:{first}"


def test_composite_of_many_operations():
    graph = traced(lambda x, w: conv2d(x, w, padding=1), (1, 2, 4, 4), (3, 2, 3, 3))
    assert len(graph.operations) > 2
    assert lines_of(graph) == {f"test_source.py:{here(-2)}"}


def test_operations_of_a_backward_graph_have_the_forward_line():
    def gradient(x):
        since, inner = horizon(), isolate(x)
        y = exp(inner * inner)
        forward = here(-1)
        (x_bar,), _ = vjp([y], [full((3,), 1.0, F64)], [inner], since)
        lines.add(f"test_source.py:{forward}")
        return x_bar

    lines: set[str] = set()
    graph = traced(gradient, (3,))
    backward = [op for op in graph.operations if op.origin is not None]
    assert backward
    assert {describe(op.source) for op in backward} == lines


def test_equal_code_of_two_files_stands_in_both():
    one, other = (compile("x = 1\n", f"{name}.py", "exec") for name in ("one", "other"))
    assert one == other
    assert [describe((code, 10_000)) for code in (one, other)] == ["one.py:1", "other.py:1"]


def test_unknown_line_is_empty():
    assert describe(None) == ""


def test_line_is_found_whatever_the_offset():
    source = caller.__code__
    assert line_number((source, 10_000_000)) == source.co_firstlineno
    assert isinstance(source, types.CodeType)

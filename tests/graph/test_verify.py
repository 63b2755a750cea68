"""verify: each rule of the grammar, broken once."""

from __future__ import annotations

import dataclasses

import pytest

from tests.graph.shared import F32, F64, traced
from wengert.graph.bind import bind
from wengert.graph.errors import InvalidGraphError
from wengert.graph.graph import Graph
from wengert.graph.mode import recording
from wengert.graph.primitive import registry
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval
from wengert.graph.verify import verify
from wengert.ops.arithmetic import mul_p, sub_p
from wengert.ops.exponential import exp, exp_p, sin
from wengert.ops.reduce import max_with_index


def graph():
    return traced(lambda x, y: sin(exp(x) * y), (3,), (3,), name="loss")


def test_valid_graph_passes():
    verify(graph())
    verify(traced(lambda x: (x, *max_with_index(x)), (2, 3)))
    verify(traced(lambda x: x, (2, 3)))
    verify(traced(tuple))


def test_inputs_are_distinct():
    g = graph()
    g.inputs = (g.inputs[0], g.inputs[0])
    with pytest.raises(InvalidGraphError, match="loss: two inputs are the same variable"):
        verify(g)


def test_operations_are_in_order():
    g = traced(lambda x, y: (exp(x), sin(y)), (3,), (3,), name="loss")
    g.operations = g.operations[::-1]
    with pytest.raises(InvalidGraphError, match=r"exp at test_verify\.py:\d+> stands out of order"):
        verify(g)


def test_an_operation_stands_once():
    g = graph()
    g.operations = (*g.operations[:2], *g.operations[1:])
    with pytest.raises(InvalidGraphError, match=r"mul .* stands out of order"):
        verify(g)


def test_primitives_are_registered():
    stranger = dataclasses.replace(exp_p)
    g = traced(lambda x: bind(stranger, (x,)), (3,), name="loss")
    with pytest.raises(InvalidGraphError, match=r"exp .* applies a primitive not in the registry"):
        verify(g)
    assert registry["exp"] is exp_p


def test_operands_are_made_before_they_are_used():
    g = graph()
    g.operations[1].inputs = (g.outputs[0], g.inputs[1])
    with pytest.raises(InvalidGraphError, match=r"mul .* uses <Variable .*> before it is made"):
        verify(g)


def test_operands_of_another_graph_are_refused():
    g, other = graph(), graph()
    g.operations[1].inputs = (other.inputs[0], g.inputs[1])
    with pytest.raises(InvalidGraphError, match=r"uses .* before it is made"):
        verify(g)


def test_each_operation_with_its_operands_is_in_the_list():
    g = graph()
    g.operations = g.operations[1:]
    with pytest.raises(InvalidGraphError, match=r"mul .* uses .* made by exp .* before it is made"):
        verify(g)


@pytest.mark.parametrize("wrong", [Aval((4,), F64), Aval((3,), F32), Aval((), F64)])
def test_outputs_are_what_the_rule_gives(wrong):
    g = graph()
    (v,) = g.results(g.operations[0])
    v._aval = wrong
    with pytest.raises(InvalidGraphError, match=r"output 0 of <Operation exp .*its rule gives f64"):
        verify(g)


def test_every_output_of_several_is_checked():
    g = traced(max_with_index, (2, 3))
    g.outputs[1]._aval = Aval((2,), F64)
    with pytest.raises(InvalidGraphError, match=r"output 1 of .*is f64\[2\], its rule gives i64"):
        verify(g)


def test_number_of_outputs_is_what_the_rule_gives():
    g = traced(max_with_index, (2, 3))
    (op,) = g.operations
    g._results[op] = g._results[op][:1]
    with pytest.raises(InvalidGraphError, match="has 1 outputs, its rule gives 2"):
        verify(g)


def test_variables_know_their_maker():
    g = graph()
    (v,) = g.results(g.operations[0])
    v.op = g.operations[1]
    with pytest.raises(InvalidGraphError, match=r"does not name <Operation exp .* as its maker"):
        verify(g)


def test_outputs_know_their_place():
    g = traced(max_with_index, (2, 3))
    g.outputs[1].index = 0
    with pytest.raises(InvalidGraphError, match=r"does not name .* as its maker"):
        verify(g)


def test_outputs_are_made():
    g = graph()
    g.outputs = (graph().outputs[0],)
    with pytest.raises(InvalidGraphError, match=r"the output .* is made by no operation"):
        verify(g)


def test_another_primitive_of_the_same_shapes_is_no_error_of_the_grammar():
    g = graph()
    assert g.operations[1].primitive is mul_p
    g.operations[1].primitive = sub_p
    verify(g)


def test_only_stop_gradient_stops_a_derivative():
    with Trace("loss") as trace:
        x = trace.new_input(Aval((3,), F64), requires_grad=True)
        with recording(False):
            y = exp(x)
        g = Graph((x,), (sin(y) * x,), "loss")
    verify(g)
    (_, made, _, _) = g.operations
    made.inputs = (x,)
    with pytest.raises(InvalidGraphError, match=r"output 0 of <Operation exp .*an operand does"):
        verify(g)

"""bind: evaluates, records, or both."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest

from tests.graph.shared import F32, F64, I64, constant, leaf, traced
from wengert.graph.bind import bind, bind_inplace
from wengert.graph.errors import TracerError
from wengert.graph.mode import THREAD, recording, scope
from wengert.graph.primitive import registry
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval, Variable
from wengert.ops.arithmetic import add, add_p, multiply
from wengert.ops.cast import cast_p
from wengert.ops.compare import greater
from wengert.ops.creation import full
from wengert.ops.exponential import exp, exp_p, log, sin
from wengert.ops.random import random_bits_p
from wengert.ops.reduce import argmax, max_with_index, max_with_index_p

X = [1.0, 2.0, 3.0]


# --- eager ----------------------------------------------------------------------------------------


def test_evaluates_without_recording_what_nobody_differentiates():
    y = exp(constant(X))
    np.testing.assert_array_equal(y.value, np.exp(X))
    assert y.op is None
    assert not y.requires_grad


def test_records_where_a_derivative_may_be_asked_for():
    x = leaf(X)
    y = multiply(x, constant(X))
    np.testing.assert_array_equal(y.value, np.square(X))
    assert y.requires_grad
    assert y.op.primitive is registry["mul"]
    assert y.op.inputs[0] is x
    assert not y.op.freed


def test_serial_numbers_order_the_list():
    x = leaf(X)
    y = sin(x)
    z = add(exp(y), y)
    assert x.op is None
    assert y.op.serial < z.op.inputs[0].op.serial < z.op.serial


def test_records_nothing_where_recording_is_off():
    x = leaf(X)
    with recording(False):
        y = exp(x)
    assert y.op is None
    assert not y.requires_grad
    assert exp(x).op is not None


def test_recording_is_switched_back_after_an_exception():
    with pytest.raises(KeyError), recording(False):
        raise KeyError
    assert THREAD.now.recording


@pytest.mark.parametrize("function", [argmax, lambda x: greater(x, 1.0)])
def test_records_nothing_without_a_derivative(function):
    y = function(leaf(X))
    assert y.op is None
    assert not y.requires_grad


def test_integers_carry_no_derivative():
    y = bind(cast_p, (leaf(X),), {"dtype": I64})
    assert y.dtype == I64
    assert not y.requires_grad


def test_several_outputs_come_as_a_tuple():
    values, indices = max_with_index(leaf([[1.0, 3.0], [5.0, 4.0]]))
    np.testing.assert_array_equal(values.value, [3, 5])
    np.testing.assert_array_equal(indices.value, [1, 0])
    assert values.op is indices.op
    assert (values.index, indices.index) == (0, 1)
    assert values.requires_grad
    assert not indices.requires_grad


def test_dropped_output_is_made_anew():
    values, indices = max_with_index(leaf([[1.0, 3.0], [5.0, 4.0]]))
    op = values.op
    assert op.output(1) is indices
    del indices
    again = op.output(1)
    np.testing.assert_array_equal(again.value, [1, 0])
    assert again.op is op
    assert again.index == 1
    assert op.output(1) is again
    assert op.all_outputs() == (values, again)


def test_scope_and_origin_are_recorded():
    x = leaf(X)
    with scope("net"), scope("0"):
        y = exp(x)
    assert y.op.scope == "net.0"
    assert exp(x).op.scope == ""
    assert y.op.origin is None


def test_floating_point_warnings_are_silent_and_the_users_setting_stays():
    zero = constant(0.0)
    assert log(zero).value == -np.inf
    with np.errstate(divide="raise"):
        assert log(zero).value == -np.inf
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(1))


def test_graph_is_freed_by_reference_counting():
    gc.collect()
    gc.disable()
    try:
        x = leaf(X)
        y = sin(exp(x))
        op = weakref.ref(y.op)
        middle = weakref.ref(y.op.inputs[0])
        del y
        assert op() is None
        assert middle() is None
        pair = max_with_index(exp(x))
        op = weakref.ref(pair[0].op)
        del pair
        assert op() is None
    finally:
        gc.enable()


# --- in place -------------------------------------------------------------------------------------


def test_in_place_writes_into_the_first_operand():
    buffer = np.array(X)
    y = bind_inplace(add_p, (Variable(buffer), constant([1.0, 1.0, 1.0])))
    assert y.value is buffer
    np.testing.assert_array_equal(buffer, [2, 3, 4])


def test_in_place_and_recorded_takes_the_value_of_the_operand_away():
    first, second = Variable(np.array(X)), leaf([1.0, 1.0, 1.0])
    array = first.value
    y = bind_inplace(add_p, (first, second))
    assert y.value is array
    assert y.op.inputs == (first, second)
    assert first.value is None
    assert (first.shape, first.dtype) == ((3,), F64)
    with pytest.raises(TracerError, match="add: an operand's buffer was given away"):
        add(first, second)


def test_without_an_in_place_rule_nothing_is_written():
    x = constant(X)
    y = bind_inplace(exp_p, (x,))
    np.testing.assert_array_equal(x.value, X)
    np.testing.assert_array_equal(y.value, np.exp(X))


def test_in_place_in_a_trace_only_records():
    graph = traced(lambda x, y: bind_inplace(add_p, (x, y)), (3,), (3,))
    assert [op.primitive for op in graph.operations] == [add_p]


# --- traced ---------------------------------------------------------------------------------------


def test_traced_only_records():
    calls = []
    spy = dataclasses.replace(exp_p, evaluate=lambda x: calls.append(x) or np.exp(x))
    graph = traced(lambda x: bind(spy, (x,)), (3,))
    assert not calls
    (y,) = graph.outputs
    assert y.value is None
    assert (y.shape, y.dtype) == ((3,), F64)
    graph(np.array(X))
    assert len(calls) == 1


def test_values_that_meet_a_trace_stay_constants():
    known = exp(constant(X))
    graph = traced(lambda x: x * known, (3,))
    assert graph.free == (known,)
    np.testing.assert_array_equal(graph(np.ones(3))[0], np.exp(X))


def test_creation_in_a_trace_is_an_operation():
    graph = traced(lambda x: x + full((3,), 2.0, F64), (3,))
    assert [op.primitive.name for op in graph.operations] == ["full", "add"]
    assert graph.free == ()


def test_random_draw_in_a_trace_is_an_operation():
    state = Variable(np.array([1, 2, 3], np.uint64))
    params = {"shape": (2,), "dtype": np.dtype(np.uint64)}
    graph = traced(lambda: bind(random_bits_p, (state,), params)[0])
    assert [op.primitive.name for op in graph.operations] == ["random_bits"]


def test_several_outputs_in_a_trace():
    graph = traced(lambda x: bind(max_with_index_p, (x,), {"axis": 1}), (2, 3))
    values, indices = graph.outputs
    assert (values.aval, indices.aval) == (Aval((2,), F64), Aval((2,), I64))
    assert graph.results(graph.operations[0]) == (values, indices)


def test_operation_belongs_to_the_innermost_trace():
    with Trace("outer") as outer:
        x = outer.new_input(Aval((3,), F64))
        with Trace("inner") as inner:
            y = inner.new_input(Aval((3,), F64))
            assert (x * y).trace is inner
            assert (x * x).trace is outer
            assert full((), 1.0, F64).trace is inner


def test_variable_used_after_its_trace_names_operation_and_line():
    with Trace("step") as trace:
        leaked = sin(trace.new_input(Aval((3,), F32)))
    with pytest.raises(
        TracerError,
        match=r"exp: a traced variable \(f32\[3\], made by sin at test_bind\.py:\d+\) was used "
        r"after its trace \(step\) had ended.*\(test_bind\.py:\d+\)\.",
    ):
        exp(leaked)


def test_value_of_a_traced_variable_cannot_be_had():
    with Trace("step") as trace:
        x = trace.new_input(Aval((3,), F32), "weights")
        with pytest.raises(
            TracerError, match=r"\.item\(\) needs the value of a traced variable \(f32\[3\], input"
        ):
            x.concrete(".item()")


def test_trace_ends_after_an_exception():
    trace = Trace("step")
    with pytest.raises(KeyError), trace:
        raise KeyError
    assert THREAD.now.trace is None
    assert not trace.active


@pytest.mark.parametrize(
    ("other", "weak"),
    [
        (Aval((), F64, weak=True), True),
        (Aval((3,), F64), False),
    ],
)
def test_weakness_survives_only_among_weak_variables(other, weak):
    with Trace("step") as trace:
        lr = trace.new_input(Aval((), F64, weak=True))
        x = trace.new_input(other)
        assert multiply(lr, x).aval.weak is weak
        assert (1.0 - lr).aval.weak
        assert not bind(cast_p, (lr,), {"dtype": F32}).aval.weak


def test_weak_variable_takes_the_dtype_that_it_meets():
    with Trace("step") as trace:
        lr = trace.new_input(Aval((), F64, weak=True))
        x = trace.new_input(Aval((3,), F32))
        assert (lr * x).aval == Aval((3,), F32)
        assert (x - lr).aval == Aval((3,), F32)


def test_printed_forms():
    x = leaf(X)
    assert repr(x) == "<Variable f64[3]>"
    x.name = "w"
    assert repr(x) == "<Variable w f64[3], input 'w'>"
    y = exp(x)
    assert "made by exp at test_bind.py:" in repr(y)
    assert repr(y.op).startswith("<Operation exp at test_bind.py:")
    assert str(Aval((64, 10), F32)) == "f32[64, 10]"
    assert str(Aval((), F64, weak=True)) == "~f64[]"

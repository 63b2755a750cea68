"""Wrong shapes and dtypes: what is at fault, the numbers, the way out, and the user's line."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.graph.shared import F32, F64, constant, here, traced
from tests.ops.running import public_functions
from wengert.graph.bind import bind
from wengert.graph.dtypes import check_dtype, promote
from wengert.graph.errors import (
    DTypeError,
    GraphFreedError,
    InvalidGraphError,
    MutationError,
    ShapeError,
    TracerError,
)
from wengert.graph.mode import scope
from wengert.graph.primitive import register, registry
from wengert.graph.variable import Variable

ops = public_functions()
INTEGERS = (np.int64, np.int32)


def zeros(*shape: int, dtype=np.float64) -> Variable:
    return Variable(np.zeros(shape, dtype))


SHAPE_ERRORS = {
    "broadcast": (
        lambda x, y: x + y,
        ((4, 3), (4, 2)),
        r"add: shapes \(4, 3\) and \(4, 2\) do not broadcast: axis -1 has 2 against 3",
    ),
    "broadcast of different ranks": (
        lambda x, y: x * y,
        ((2, 5, 3), (4, 3)),
        r"mul: shapes \(2, 5, 3\) and \(4, 3\) do not broadcast: axis -2 has 4 against 5",
    ),
    "matmul, inner lengths": (
        ops.matmul,
        ((3, 4), (5, 4)),
        r"matmul: inner dimensions must agree, got \(3, 4\) @ \(5, 4\) \(4 against 5\)\. "
        r"Did you mean x @ y\.mT\?",
    ),
    "matmul, other way out": (
        ops.matmul,
        ((4, 3), (4, 5)),
        r"\(4, 3\) @ \(4, 5\) \(3 against 4\)\. Did you mean x\.mT @ y\?",
    ),
    "matmul, no way out": (
        ops.matmul,
        ((2, 3), (4, 5)),
        r"\(2, 3\) @ \(4, 5\) \(3 against 4\) \(",
    ),
    "matmul of a scalar": (ops.matmul, ((), (3,)), r"at least one axis, got \(\) @ \(3,\); use \*"),
    "matmul, leading axes": (
        ops.matmul,
        ((2, 3, 4), (5, 4, 3)),
        r"matmul: the leading axes of \(2, 3, 4\) and \(5, 4, 3\) do not broadcast",
    ),
    "reshape": (
        lambda x: ops.reshape(x, (4, 2)),
        ((3, 3),),
        r"reshape: 9 elements of shape \(3, 3\) do not fit \(4, 2\)",
    ),
    "reshape, computed": (
        lambda x: ops.reshape(x, (2, -1)),
        ((3, 3),),
        r"reshape: shape \(3, 3\) does not fit \(2, -1\)",
    ),
    "permute": (
        lambda x: ops.permute_dims(x, (0, 0)),
        ((2, 3),),
        r"permute_dims: \(0, 0\) is no permutation of 2 axes",
    ),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x, (2,)),
        ((3,),),
        r"broadcast_to: shapes \(3,\) and \(2,\) do not broadcast: axis -1 has 2 against 3",
    ),
    "broadcast_to fewer axes": (
        lambda x: ops.broadcast_to(x, (3,)),
        ((2, 3),),
        r"broadcast_to: shape \(2, 3\) cannot be repeated to \(3,\)",
    ),
    "broadcast_to a shorter axis": (
        lambda x: ops.broadcast_to(x, (2, 1)),
        ((2, 3),),
        r"broadcast_to: shape \(2, 3\) cannot be repeated to \(2, 1\)",
    ),
    "concat": (
        lambda x, y: ops.concat((x, y), 0),
        ((2, 3), (2, 4)),
        r"concat: operand 0 has shape \(2, 3\), operand 1 has \(2, 4\); they must agree except "
        r"along axis 0",
    ),
    "stack": (
        lambda x, y: ops.stack((x, y)),
        ((2, 3), (3, 2)),
        r"stack: operand 0 has shape \(2, 3\), operand 1 \(3, 2\)",
    ),
    "squeeze": (
        lambda x: ops.squeeze(x, 1),
        ((1, 3),),
        r"squeeze: axis 1 of shape \(1, 3\) has length 3, not 1",
    ),
    "axis out of range": (
        lambda x: ops.sum(x, axis=2),
        ((2, 3),),
        r"sum: axis 2 is out of range for an array of 2 axes",
    ),
    "axis named twice": (
        lambda x: ops.sum(x, axis=(0, -2)),
        ((2, 3),),
        r"sum: axis \(0, -2\) names one axis twice",
    ),
    "maximum of nothing": (
        lambda x: ops.max(x, axis=0),
        ((0, 3),),
        r"max: axis 0 of shape \(0, 3\) is empty and has no max",
    ),
    "index of the maximum of nothing": (
        lambda x: ops.argmax(x, axis=1),
        ((3, 0),),
        r"argmax: axis 1 of shape \(3, 0\) is empty",
    ),
    "einsum, lengths": (
        lambda x, y: ops.einsum("ij,jk->ik", x, y),
        ((2, 3), (4, 5)),
        r"einsum: in 'ij,jk->ik' the label 'j' has length 3 in one place and 4 in another, "
        r"got \(2, 3\) and \(4, 5\)",
    ),
    "outer": (
        ops.outer,
        ((2,), (2, 3)),
        r"outer: needs two vectors, got shapes \(2,\) and \(2, 3\)",
    ),
    "any": (
        lambda x: ops.any(x, 1),
        ((2,),),
        r"any: axis 1 is out of range for an array of 1",
    ),
    "all": (lambda x: ops.all(x, -2), ((2,),), r"all: axis -2 is out of range for an array of 1"),
    "einsum, rank": (
        lambda x, y: ops.einsum("ij,jk->ik", x, y),
        ((2, 3, 1), (3, 5)),
        r"einsum: 'ij' in 'ij,jk->ik' names 2 axes of an operand that has 3",
    ),
    "einsum, an axis twice in the result": (
        lambda x: ops.einsum("ij->ii", x),
        ((2, 3),),
        r"einsum: the result of 'ij->ii' must be letters, each at most once, and '...'",
    ),
    "einsum, a result from nowhere": (
        lambda x: ops.einsum("ij->ik", x),
        ((2, 3),),
        r"einsum: 'ij->ik' has no operand with \['k'\]",
    ),
    "einsum, no letters": (
        lambda x: ops.einsum("i1", x),
        ((2, 3),),
        r"einsum: 'i1' in 'i1' must be letters, and '...' at most once",
    ),
    "einsum, axes of the ellipsis": (
        lambda x: ops.einsum("...i->i", x),
        ((2, 3),),
        r"einsum: the result of '...i->i' must name the axes of '...' too",
    ),
    "einsum, number of operands": (
        lambda x: ops.einsum("i,i", x),
        ((2,),),
        r"einsum: 'i,i' names 2 operands, got 1",
    ),
    "tensordot": (
        lambda x, y: ops.tensordot(x, y, 1),
        ((2, 3), (4, 5)),
        r"has length 3 in one operand and 4 in the other",
    ),
    "index out of range": (
        lambda x: ops.getitem(x, (1, 3)),
        ((2, 3),),
        r"slice: index 3 is out of range for axis 1 of shape \(2, 3\)",
    ),
    "too many indices": (
        lambda x: ops.getitem(x, (0, 0, 0)),
        ((2, 3),),
        r"slice: 3 indices for an array of shape \(2, 3\)",
    ),
    "index arrays that do not broadcast": (
        lambda x: ops.getitem(x, (np.zeros(2, int), np.zeros(3, int))),
        ((3, 4),),
        r"slice: shapes \(2,\) and \(3,\) do not broadcast: axis -1 has 2 against 3",
    ),
    "take_along_axis": (
        lambda x: ops.take_along_axis(x, np.zeros((2, 2), int), 1),
        ((3, 4),),
        r"take_along_axis: shapes \(3, 1\) and \(2, 1\) do not broadcast: axis -2 has 2 against 3",
    ),
    "bias": (
        ops.linear,
        ((2, 3), (4, 3), (1,)),
        r"linear: weight \(4, 3\) and bias \(1,\) must be \(m, k\) and \(m,\)",
    ),
    "windows": (
        lambda x, w: ops.conv2d(x, w),  # noqa: PLW0108
        ((1, 1, 3, 3), (1, 1, 5, 5)),
        r"conv2d: a window of \(5, 5\) spans 5 in height, but the input of shape "
        r"\(1, 1, 3, 3\) has 3\. Add padding or take a smaller window",
    ),
    "channels": (
        lambda x, w: ops.conv2d(x, w),  # noqa: PLW0108
        ((1, 2, 3, 3), (4, 3, 2, 2)),
        r"conv2d: x of shape \(1, 2, 3, 3\) has 2 channels \(axis 1\), weight of shape "
        r"\(4, 3, 2, 2\) wants 3",
    ),
}


@pytest.mark.parametrize("name", SHAPE_ERRORS)
def test_shape_error_eager(name):
    function, shapes, message = SHAPE_ERRORS[name]
    with pytest.raises(ShapeError, match=message):
        function(*(zeros(*shape) for shape in shapes))


@pytest.mark.parametrize("name", SHAPE_ERRORS)
def test_shape_error_traced_says_the_same(name):
    function, shapes, message = SHAPE_ERRORS[name]
    with pytest.raises(ShapeError, match=message):
        traced(function, *shapes)


DTYPE_ERRORS = {
    "two float dtypes at a bind": (
        lambda: traced(lambda x: bind(registry["mul"], (x, zeros(2, dtype=F32))), (2,)),
        r"mul: operands have dtypes float64 and float32; cast one",
    ),
    "a float as a mask": (
        lambda: traced(lambda x: bind(registry["logical_and"], (x, x)), (2,)),
        r"logical_and: needs bool operands, got float64; compare first",
    ),
    "difference of bools": (
        lambda: ops.subtract(_mask(), _mask()),
        r"sub: is not defined for bool",
    ),
    "negative of a bool": (lambda: ops.negative(_mask()), r"neg: is not defined for bool; cast"),
    "integers to a negative power": (
        lambda: ops.power(zeros(2, dtype=np.int64), -1),
        r"pow: integers to a negative power are not integers; cast the base to a float",
    ),
    "float indices": (
        lambda: ops.take(zeros(3), zeros(2)),
        r"gather: indices must be integers, got float64",
    ),
    "ragged list": (lambda: ops.as_variable([[1, 2], [3]]), r"a list of unequal rows is no array"),
    "text": (lambda: ops.as_variable("seven"), r"cannot make a variable of str"),
    "number too large": (
        lambda: zeros(2, dtype=np.int8) + 1000,
        r"the number 1000 does not fit int8",
    ),
}


def _mask() -> Variable:
    return Variable(np.array([True, False]))


@pytest.mark.parametrize("name", DTYPE_ERRORS)
def test_dtype_error(name):
    function, message = DTYPE_ERRORS[name]
    with pytest.raises(DTypeError, match=message):
        function()


def test_error_names_the_line():
    x, y = zeros(4, 3), zeros(4, 2)
    with pytest.raises(ShapeError, match=rf"length 1 \(test_errors\.py:{here(1)}\)\.$"):
        x + y


def test_error_names_the_line_in_a_trace():
    def f(x, y):
        lines.append(here(1))
        return ops.matmul(x, y)

    lines: list[int] = []
    with pytest.raises(ShapeError) as caught:
        traced(f, (3, 4), (5, 4))
    assert f"(test_errors.py:{lines[0]})." in str(caught.value)


def test_error_names_the_line_through_composites():
    logits, classes = zeros(4, 3), Variable(np.zeros(5, np.int64))
    with pytest.raises(ShapeError) as caught:
        ops.cross_entropy(logits, classes)
    assert re.search(rf"test_errors\.py:{here(-1)}\b", str(caught.value)), str(caught.value)


def test_error_names_the_layer():
    with (
        scope("net"),
        scope("2"),
        pytest.raises(ShapeError, match=r"\(in layer net\.2, test_errors\.py:\d+\)\.$"),
    ):
        zeros(4, 3) + zeros(2, 3)


def test_dtypes_that_are_not_supported():
    with pytest.raises(TypeError, match=r"dtype complex128 is not supported; use bool, an integer"):
        check_dtype(np.complex128)
    with pytest.raises(DTypeError, match="not supported"):
        ops.as_variable(np.zeros(2, np.float16))
    with pytest.raises(TypeError, match="int64 and uint64 have no common integer dtype"):
        promote(np.dtype(np.int64), np.dtype(np.uint64))


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ("float32", "int64", "float32"),
        ("bool", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("int8", "uint8", "int16"),
        ("int32", "int64", "int64"),
        ("bool", "int8", "int8"),
        ("uint64", "float32", "float32"),
    ],
)
def test_promotion(a, b, wanted):
    x, y = zeros(2, dtype=a), zeros(2, dtype=b)
    assert (x + y).dtype == (y + x).dtype == np.dtype(wanted)
    graph = traced(lambda v: v + y, (2,), dtype=np.dtype(a))
    assert graph.outputs[0].dtype == np.dtype(wanted)


@pytest.mark.parametrize(
    ("dtype", "number", "wanted"),
    [
        ("float32", 2, "float32"),
        ("float32", 2.5, "float32"),
        ("float64", 2.5, "float64"),
        ("int64", 2, "int64"),
        ("int8", 2, "int8"),
        ("int64", 2.5, "float32"),
        ("int64", True, "int64"),
        ("bool", 2, "int64"),
        ("bool", 2.5, "float32"),
    ],
)
def test_python_numbers_are_weak(dtype, number, wanted):
    assert (zeros(2, dtype=dtype) + number).dtype == np.dtype(wanted)
    assert (number + zeros(2, dtype=dtype)).dtype == np.dtype(wanted)


def test_numbers_are_masks_where_they_are_not_zero():
    x = constant([0.0, 2.0, -1.0])
    np.testing.assert_array_equal(ops.logical_not(x).value, [True, False, False])
    np.testing.assert_array_equal(ops.logical_and(x, 1).value, [False, True, True])
    graph = traced(lambda v: ops.logical_or(v, 0), (3,))
    np.testing.assert_array_equal(graph(x.value)[0], [False, True, True])


def test_numpy_scalars_are_strong():
    assert (zeros(2, dtype=np.float32) + np.float64(2)).dtype == F64
    assert (zeros(2, dtype=np.float32) + np.float32(2)).dtype == F32


def test_names_of_primitives_are_unique():
    with pytest.raises(ValueError, match="a primitive named 'exp' exists already"):
        register(registry["exp"])


def test_errors_are_of_the_classes_that_users_catch():
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DTypeError, TypeError)
    assert issubclass(TracerError, RuntimeError)
    assert issubclass(GraphFreedError, RuntimeError)
    assert issubclass(MutationError, RuntimeError)
    assert issubclass(InvalidGraphError, AssertionError)


def test_good_calls_do_not_raise():
    np.testing.assert_array_equal((constant([1.0]) + constant([[2.0]])).value, [[3.0]])

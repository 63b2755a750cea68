"""Turning what users pass (numbers, lists, arrays) into variables of the right dtype."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from wengert.graph.bind import bind
from wengert.graph.dtypes import (
    FLOAT64,
    INT64,
    UINT64,
    DType,
    check_dtype,
    default_float,
    promote,
    scalar_dtype,
    weak_dtype,
)
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import Primitive
from wengert.graph.variable import Variable

VariableLike: TypeAlias = Variable | npt.ArrayLike

_SCALARS = {bool, int, float}  # exactly these: a NumPy scalar is strong, though float64 is a float


def is_number(x: object) -> TypeGuard[bool | int | float]:
    """Tell whether `x` is a Python number, whose dtype is weak."""
    return type(x) in _SCALARS


def as_variable(x: VariableLike, dtype: DType | None = None) -> Variable:
    """Return `x` as a variable: itself, or a constant.

    Python numbers, and lists of them, get the default dtypes (`dtype` if given), and so do the
    variables that stand for numbers in a trace; NumPy arrays and scalars keep theirs.

    Raises
    ------
    DTypeError
        If `x` cannot be an array of a supported dtype.
    """
    if isinstance(x, Variable):
        return cast(x, dtype or default_float()) if x.value is None and x.aval.weak else x
    if is_number(x):
        return constant(x, dtype or scalar_dtype(x))
    return Variable(array_of(x, dtype))


def constant(value: bool | float, dtype: DType) -> Variable:
    """Return a number as a 0-d variable; the same variable for the same number."""
    if math.isnan(value) or (value == 0 and math.copysign(1.0, value) < 0):
        return Variable(_scalar_array(value, dtype))  # equal to no key, or to that of 0.0
    known = _constants.get((value, dtype))
    if known is None:
        known = Variable(_scalar_array(value, dtype))
        known.value.flags.writeable = False  # type: ignore[union-attr]
        if len(_constants) < _MANY:
            _constants[value, dtype] = known
    return known


_constants: dict[tuple[bool | float, DType], Variable] = {}
_MANY = 1000


def array_of(x: npt.ArrayLike, dtype: DType | None = None) -> npt.NDArray[Any]:
    """Return `x` as a C-contiguous array of a supported dtype, sharing memory where possible."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise DTypeError(f"a list of unequal rows is no array: {error}") from None
    _refuse_no_numbers(x, array)
    strong = _strong_dtypes(x)
    if dtype is None:
        dtype = functools.reduce(promote, strong) if strong else _default_for(array)
        if array.dtype.kind == "f" and dtype.kind != "f":
            dtype = default_float()
    try:
        if array.dtype.kind in "iu" and not strong:
            return np.array(x, check_dtype(dtype), order="C")  # refuses what does not fit
        return np.require(array, check_dtype(dtype), "C")
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(f"cannot make a variable of {type(x).__name__}: {error}") from None


def _refuse_no_numbers(x: Any, array: npt.NDArray[Any]) -> None:
    """Raise DTypeError for what NumPy would read as numbers: None as NaN, and texts."""
    if array.dtype.kind not in "OSU":
        return
    strange = next((each for each in array.flat if not isinstance(each, numbers.Real)), None)
    if isinstance(strange, str | bytes):
        reason = f"the text {str(strange)!r:.40} is no number; convert it first, as with float()"
    elif any(each is None for each in array.flat):
        reason = "None is no number; leave it out, or write nan"
    elif strange is not None:
        kind = type(strange).__name__
        reason = f"{kind} is no number; give a number, nested lists of numbers or an array"
    else:
        return
    raise DTypeError(f"cannot make a variable of {type(x).__name__}: {reason}.")


def _strong_dtypes(x: Any) -> list[DType]:
    """Return the dtypes of the arrays and NumPy scalars in nested lists; numbers are weak."""
    if isinstance(x, list | tuple):
        return [dtype for item in x for dtype in _strong_dtypes(item)] if _is_nested(x) else []
    return [np.asarray(x).dtype] if hasattr(x, "__array__") else []


def _is_nested(x: Sequence[Any]) -> bool:
    return any(not is_number(item) for item in x)


def _default_for(array: npt.NDArray[Any]) -> DType:
    return default_float() if array.dtype == FLOAT64 else array.dtype


def _scalar_array(value: bool | float, dtype: DType) -> npt.NDArray[Any]:
    if dtype.kind in "iu" and isinstance(value, int):
        info: Any = np.iinfo(str(dtype))
        if not info.min <= value <= info.max:
            raise DTypeError(f"the number {value} does not fit {dtype}.")
    return np.array(value, dtype)


def cast(x: Variable, dtype: DType) -> Variable:
    """Return `x` as `dtype`; itself if it has that dtype already."""
    from wengert.ops.cast import cast_p

    value = x.value
    if value is not None:
        if value.dtype == dtype:
            return x
    elif x.aval == (x.shape, dtype, False):
        return x
    result: Variable = bind(cast_p, (x,), {"dtype": dtype})
    return result


def promoted(x: VariableLike, y: VariableLike) -> tuple[Variable, Variable]:
    """Return `x` and `y` as variables of their common dtype."""
    weak_x, weak_y = weak_value(x), weak_value(y)
    if weak_x is not None and weak_y is None:
        y = as_variable(y)
        dtype = weak_dtype(weak_x, y.dtype)
    elif weak_y is not None and weak_x is None:
        x = as_variable(x)
        dtype = weak_dtype(weak_y, x.dtype)
    elif weak_x is not None:
        if isinstance(x, Variable) or isinstance(y, Variable):
            return _as_number(x), _as_number(y)
        x, y = as_variable(x), as_variable(y)
        dtype = promote(x.dtype, y.dtype)
    else:
        x, y = as_variable(x), as_variable(y)
        dtype = promote(x.dtype, y.dtype)
    return _to(x, dtype), _to(y, dtype)


def counted(x: VariableLike, y: VariableLike) -> tuple[Variable, Variable]:
    """Return `x` and `y` as variables of their common dtype; bool becomes int64.

    For arithmetic whose results are numbers even of two bools.
    """
    first, second = promoted(x, y)
    if first.dtype.kind == "b":
        return cast(first, INT64), cast(second, INT64)
    return first, second


def _to(x: VariableLike, dtype: DType) -> Variable:
    return cast(x, dtype) if isinstance(x, Variable) else as_variable(x, dtype)


def _as_number(x: VariableLike) -> Variable:
    """Return a number as a variable that still is one: traced, numbers compute as Python's do."""
    return x if isinstance(x, Variable) else as_variable(x, FLOAT64)


def weak_value(x: object) -> bool | int | float | None:
    """Return a number of the kind of `x` if it is weak, else None."""
    if isinstance(x, Variable):
        return 0.0 if x.value is None and x.aval.weak else None
    return x if is_number(x) else None


def settled(operands: Sequence[Any]) -> Sequence[Any]:
    """Return the operands of a function that makes a tensor, which it does of numbers alone too.

    Numbers that meet arrays wait for their dtype, traced ones as well; among numbers alone the
    traced ones get the default dtype here, as Python's do.
    """
    traced = [x for x in operands if isinstance(x, Variable) and weak_value(x) is not None]
    if not traced or len(traced) < sum(isinstance(x, Variable | np.ndarray) for x in operands):
        return operands
    return [as_variable(x) if isinstance(x, Variable) else x for x in operands]


def floating(x: VariableLike) -> Variable:
    """Return `x` as a variable of a floating-point dtype (integers become the default float)."""
    variable = as_variable(x)
    return variable if variable.dtype.kind == "f" else cast(variable, default_float())


def apply_binary(primitive: Primitive, x: VariableLike, y: VariableLike) -> Variable:
    """Bind a binary primitive after promotion; quick where both dtypes are one."""
    try:
        if type(y) is float:
            if x.value.dtype.kind == "f":
                return bind(primitive, (x, constant(y, x.value.dtype)))
        elif x.value.dtype is y.value.dtype:  # type: ignore[union-attr]
            return bind(primitive, (x, y))  # type: ignore[no-any-return, arg-type]
    except AttributeError:
        pass
    return bind(primitive, promoted(x, y))  # type: ignore[no-any-return]


def apply_unary_float(primitive: Primitive, x: VariableLike) -> Variable:
    """Bind a unary primitive of floating-point functions."""
    try:
        if x.value.dtype.kind == "f":  # type: ignore[union-attr]
            return bind(primitive, (x,))  # type: ignore[no-any-return, arg-type]
    except AttributeError:
        pass
    return bind(primitive, (floating(x),))  # type: ignore[no-any-return]


def widened(x: Variable) -> Variable:
    """Return bool and narrow integers as 64-bit integers, so that sums do not overflow."""
    if x.dtype.kind in "bi":
        return cast(x, INT64)
    return cast(x, UINT64) if x.dtype.kind == "u" else x

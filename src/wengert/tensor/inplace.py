"""In-place changes: they rebind a cell, and write into its buffer only if nobody else sees it.

A value that a recorded operation, a view or another tensor still refers to is left alone and the
cell gets a new one, so that a backward pass is right whatever was changed in between. A value
exported to NumPy is written in place, since its user expects to see the change; the backward pass
notices through its fingerprint (`wengert.graph.sharing`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.graph import sharing
from wengert.graph.bind import bind
from wengert.graph.dtypes import Array, weak_dtype
from wengert.graph.errors import ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.graph.variable import Leaf, Variable
from wengert.ops import arithmetic, cast, convert, shape, subscript

if TYPE_CHECKING:
    from wengert.tensor.tensor import Tensor


def update(
    cell: Tensor, ufunc: np.ufunc, function: Callable[..., Variable], other: Any, alpha: Any = None
) -> None:
    """Change `cell` to ``function(cell, alpha * other)``."""
    current = cell._read()
    if not isinstance(other, Variable):
        weak = weak_dtype(other, current.dtype) if convert.is_number(other) else None
        other = convert.as_variable(other, weak)
    if _writes_into_buffer(cell, current, other):
        value = current.value
        assert value is not None
        term = other.value
        assert term is not None
        if alpha is None:
            THREAD.now.run(ufunc, value, term, out=value)
            return
        if not convert.is_number(alpha):
            alpha = convert.cast(convert.as_variable(alpha, other.dtype), other.dtype).value
        THREAD.now.run(_add_scaled, ufunc, value, term, alpha)
        return
    result = function(current, other if alpha is None else arithmetic.multiply(other, alpha))
    if result.dtype != current.dtype:
        raise TypeError(
            f"an in-place operation cannot change {current.dtype} to {result.dtype}; "
            "convert the operand, or write x = x + y instead of x += y."
        )
    assign(cell, result)


_BLOCK = 1 << 15


def _add_scaled(ufunc: np.ufunc, value: Array, term: Array, alpha: Any) -> None:
    """Set `value` to ``ufunc(value, alpha * term)``, large arrays piece by piece.

    A piece of the product stays in the cache; memory for all of it would be fetched anew at each
    call, which costs more than the arithmetic.
    """
    whole = value.size <= 4 * _BLOCK or value.shape != term.shape
    if whole or not (value.flags.c_contiguous and term.flags.c_contiguous):
        ufunc(value, np.multiply(term, alpha), out=value)
        return
    values, terms = value.reshape(-1), term.reshape(-1)
    product = np.empty(_BLOCK, value.dtype)
    for start in range(0, value.size, _BLOCK):
        part = values[start : start + _BLOCK]
        piece = product[: part.size]
        np.multiply(terms[start : start + _BLOCK], alpha, out=piece)
        ufunc(part, piece, out=part)


def assign(cell: Tensor, variable: Any) -> None:
    """Bind `cell` to a value of its own shape and dtype, keeping it a leaf if it is one."""
    current = cell._read()
    made = cast.astype(convert.as_variable(variable, current.dtype), current.dtype)
    if made.shape != current.shape:
        try:
            made = shape.broadcast_to(made, current.shape)
        except ShapeError:
            raise ShapeError(
                f"an in-place operation cannot change the shape {current.shape} "
                f"to {made.shape}; write x = x + y instead of x += y."
            ) from None
    if made.value is None and made.trace is not None and not made.trace.active:
        raise TracerError(f"in-place change: the new value's trace ({made.trace.what}) has ended.")
    if made.requires_grad and (isinstance(made, Leaf) or not THREAD.now.recording):
        made = bind(shape.alias_p, (made,))  # the leaf of another cell stays that cell's
    made = _apart(made)
    if current.value is not None and made.value is not None and sharing.is_shared(current.value):
        np.copyto(current.value, made.value)
        made = bind(shape.alias_p, (made,)) if made.requires_grad else Variable(None)
        made.value = current.value  # its user expects to see the change
    if _is_leaf(current):
        _check_leaf_change()
        made = _as_leaf(cell, made)
    cell._bind(made)


def set_part(cell: Tensor, key: Any, value: Any) -> None:
    """Replace the part of `cell` at `key`."""
    assign(cell, subscript.setitem(cell._read(), key, value))


def rebind(cell: Tensor, value: Array) -> None:
    """Bind `cell` to an array that nobody else holds, keeping it a leaf if it is one."""
    current = cell._variable.value
    if current is not None and sharing.is_shared(current):
        np.copyto(current, value)
        return
    variable = Variable(value)
    cell._variable = _as_leaf(cell, variable) if _is_leaf(cell._variable) else variable


def own(cell: Tensor) -> Array:
    """Return the value of `cell` in a buffer that may be written: exported, or its own alone."""
    if not sharing.is_shared(cell._value("in-place change")) and not _is_exclusive_cell(cell):
        rebind(cell, np.array(cell._value("in-place change"), order="C"))
    return cell._value("in-place change")


def _is_exclusive_cell(cell: Tensor) -> bool:
    current = cell._read()
    return _holds_alone(cell, current)


def _holds_alone(cell: Tensor, current: Variable) -> bool:
    value = current.value
    assert value is not None
    del cell
    return _is_exclusive(current, value)


def _is_leaf(variable: Variable) -> bool:
    return isinstance(variable, Leaf) and variable.requires_grad


def _check_leaf_change() -> None:
    if THREAD.now.recording:
        raise RuntimeError(
            "a leaf tensor that requires gradients was changed in place while operations are "
            "recorded; wrap the change in `with wg.no_grad():`."
        )


def _as_leaf(cell: Tensor, variable: Variable) -> Variable:
    from wengert.tensor.creation import leaf

    made, name = leaf(cell, variable), cell.name
    if name:
        made.name = name
    return made


def _apart(variable: Variable) -> Variable:
    """Return a variable of the same value in memory that nobody else can write."""
    value = variable.value
    if value is None:
        return variable
    if value.base is None and value.flags.writeable and not sharing.is_shared(value):
        return variable
    made = bind(shape.alias_p, (variable,)) if variable.requires_grad else Variable(value)
    made.value = np.array(value, order="C")
    return made


def _writes_into_buffer(cell: Tensor, current: Variable, term: Variable) -> bool:
    """Tell whether the change may be made in the buffer of `cell`."""
    del cell
    value, added, mode = current.value, term.value, THREAD.now
    if value is None or added is None or mode.trace is not None:
        return False
    if added.dtype != value.dtype or value.dtype.kind != "f":
        return False
    if mode.recording and (current.requires_grad or term.requires_grad):
        if _is_leaf(current):
            _check_leaf_change()
        return False
    if added.shape not in {value.shape, ()}:
        return False
    return sharing.is_shared(value) or _is_exclusive(current, value)


def _references(variable: Variable, value: Array) -> tuple[int, int]:
    return sys.getrefcount(variable), sys.getrefcount(value)


def _is_exclusive(variable: Variable, value: Array) -> bool:
    """Tell whether nobody but one cell refers to `variable` and nobody but it to `value`."""
    if not (value.flags.owndata and value.flags.writeable and value.flags.c_contiguous):
        return False
    of_variable, of_value = _references(variable, value)
    return of_variable <= _OWN_VARIABLE and of_value <= _OWN_VALUE


class _Holder:
    """Stands for a tensor while the counts of an exclusive value are measured."""

    def __init__(self) -> None:
        self._variable: Variable = Leaf(np.zeros(1), None, True)

    def _read(self) -> Variable:
        return self._variable


def _measure() -> tuple[int, int]:
    """Return the reference counts that `_is_exclusive` sees for an exclusive value.

    They are measured through calls as deep as those of `update`, since how many references a call
    holds is a matter of the interpreter's version.
    """

    def outer(cell: _Holder) -> tuple[int, int]:
        current = cell._read()
        return inner(cell, current)

    def inner(cell: _Holder, current: Variable) -> tuple[int, int]:
        value = current.value
        assert value is not None
        del cell
        return innermost(current, value)

    def innermost(variable: Variable, value: Array) -> tuple[int, int]:
        return _references(variable, value)

    return outer(_Holder())


def _measure_untraced() -> tuple[int, int]:
    """Measure while no debugger holds references of its own to the variables of a call."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return _measure()
    finally:
        sys.settrace(tracer)


_OWN_VARIABLE, _OWN_VALUE = _measure_untraced()

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
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError
from wengert.graph.mode import MODE
from wengert.graph.variable import Leaf, Variable
from wengert.ops import arithmetic, cast, convert, indexing, shape

if TYPE_CHECKING:
    from wengert.tensor.tensor import Tensor


def update(
    cell: Tensor, ufunc: np.ufunc, function: Callable[..., Variable], other: Any, alpha: Any = 1
) -> None:
    """Change `cell` to ``function(cell, alpha * other)``."""
    term = other if _is_one(alpha) else arithmetic.multiply(other, alpha)
    current = cell._read()
    if not isinstance(term, Variable):
        term = convert.as_variable(term, current.dtype if isinstance(term, int | float) else None)
    if _writes_into_buffer(cell, current, term):
        value = current.value
        assert value is not None
        MODE.run(ufunc, value, term.value, out=value)
        return
    result = function(current, term)
    if result.dtype != current.dtype:
        raise TypeError(
            f"an in-place operation cannot change {current.dtype} to {result.dtype}; "
            "convert the operand, or write x = x + y instead of x += y."
        )
    assign(cell, result)


def _is_one(alpha: Any) -> bool:
    return isinstance(alpha, int | float) and alpha == 1


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
    if _is_leaf(current):
        _check_leaf_change()
        made = _as_leaf(cell, made)
    if current.value is not None and made.value is not None and sharing.is_shared(current.value):
        np.copyto(current.value, made.value)
        return
    cell._bind(made)


def set_part(cell: Tensor, key: Any, value: Any) -> None:
    """Replace the part of `cell` at `key`."""
    assign(cell, indexing.setitem(cell._read(), key, value))


def _is_leaf(variable: Variable) -> bool:
    return variable.requires_grad and variable.op is None


def _check_leaf_change() -> None:
    if MODE.recording:
        raise RuntimeError(
            "a leaf tensor that requires gradients was changed in place while operations are "
            "recorded; wrap the change in `with wg.no_grad():`."
        )


def _as_leaf(cell: Tensor, variable: Variable) -> Variable:
    from wengert.tensor.creation import leaf

    return leaf(cell, variable)


def _writes_into_buffer(cell: Tensor, current: Variable, term: Variable) -> bool:
    """Tell whether the change may be made in the buffer of `cell`."""
    value = current.value
    if value is None or term.value is None or MODE.trace is not None:
        return False
    if term.dtype != value.dtype or value.dtype.kind != "f":
        return False
    if MODE.recording and (current.requires_grad or term.requires_grad):
        if _is_leaf(current):
            _check_leaf_change()
        return False
    if len(term.shape) > value.ndim or any(
        n not in {1, m} for n, m in zip(term.shape[::-1], value.shape[::-1], strict=False)
    ):
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


_OWN_VARIABLE, _OWN_VALUE = _measure()

"""In-place changes: they rebind a cell, and write into its buffer only if nobody else sees it.

A value that a recorded operation, a view or another tensor still refers to is left alone and the
cell gets a new one, so that a backward pass is right whatever was changed in between. Memory lent
to NumPy is written in place, since its user expects to see the change; whoever else uses it is
given a copy first (`wengert.graph.sharing`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.graph import memory, sharing
from wengert.graph.bind import bind, bind_inplace
from wengert.graph.dtypes import Array, DType, weak_dtype
from wengert.graph.errors import ShapeError, TracerError
from wengert.graph.mode import THREAD, recording
from wengert.graph.variable import Detached, Leaf, Variable
from wengert.ops import arithmetic, cast, convert, shape, subscript

if TYPE_CHECKING:
    from wengert.tensor.tensor import Tensor


def update(
    cell: Tensor, ufunc: np.ufunc, function: Callable[..., Variable], other: Any, alpha: Any = None
) -> None:
    """Change `cell` to ``function(cell, alpha * other)``."""
    current, mode = cell._read(), THREAD.now
    if not isinstance(other, Variable):
        weak = weak_dtype(other, current.dtype) if convert.is_number(other) else None
        other = convert.as_variable(other, weak)
    value, term = current.value, other.value
    if (
        value is not None
        and term is not None
        and mode.trace is None
        and (term.shape == value.shape or not term.shape)
        and (dtype := value.dtype) is term.dtype
        and dtype.kind == "f"
    ):
        if mode.recording and (current.requires_grad or other.requires_grad):
            if _is_leaf(current):
                _check_leaf_change()
        elif sharing.noted and sharing.shows(cell, value):
            del current, value
            mode.run(_add_scaled, ufunc, own(cell), term, _factor(alpha, dtype))
            return
        elif (
            _is_plain(value)
            and sys.getrefcount(current) <= _OWN_VARIABLE
            and sys.getrefcount(value) <= _OWN_VALUE
        ):
            if current.op is not None:
                value = _spare_graph(cell)
            mode.run(_add_scaled, ufunc, value, term, _factor(alpha, dtype))
            return
    assign_result(
        cell, function(current, other if alpha is None else arithmetic.multiply(other, alpha))
    )


def subtract_all(pairs: Sequence[tuple[Tensor, Tensor]], alpha: Any) -> None:
    """Subtract ``alpha * term`` from each cell, of pairs (cell, term), while nothing is recorded.

    A step of an optimiser over many small parameters costs more in calls than in arithmetic: this
    is `Tensor.sub_` with all of them in one loop.
    """
    mode = THREAD.now
    if mode.trace is None and not sharing.noted and type(alpha) is float:
        pairs = mode.run(_subtract_plain, pairs, alpha)
    for cell, term in pairs:
        cell.sub_(term, alpha=alpha)


def _subtract_plain(
    pairs: Sequence[tuple[Tensor, Tensor]], alpha: float
) -> list[tuple[Tensor, Tensor]]:
    """Write into the buffers that only their cells have; return the other pairs."""
    others = []
    for cell, term in pairs:
        current = cell._variable
        value, subtrahend = current.value, term._variable.value
        if (
            value is not None
            and subtrahend is not None
            and current.op is None
            and value.dtype is subtrahend.dtype
            and value.shape == subtrahend.shape
            and value.dtype.kind == "f"
            and _is_plain(value)
            and sys.getrefcount(current) <= _OWN_VARIABLE
            and sys.getrefcount(value) <= _OWN_VALUE
        ):
            _add_scaled(np.subtract, value, subtrahend, alpha)
        else:
            others.append((cell, term))
    return others


def assign_result(cell: Tensor, result: Variable) -> None:
    """Bind `cell` to the result of an operation, which must have its dtype."""
    current = cell._read()
    if result.dtype != current.dtype:
        raise TypeError(
            f"an in-place operation cannot change {current.dtype} to {result.dtype}; "
            "convert the operand, or write x = x + y instead of x += y."
        )
    assign(cell, result)


def _factor(alpha: Any, dtype: DType) -> Any:
    """Return a factor as NumPy takes it, so that it does not widen a product of `dtype`."""
    if alpha is None or convert.is_number(alpha):
        return alpha
    return convert.cast(convert.as_variable(alpha, dtype), dtype).value


_BLOCK = 1 << 15


def _add_scaled(ufunc: np.ufunc, value: Array, term: Array, alpha: Any) -> None:
    """Set `value` to ``ufunc(value, alpha * term)``, or ``ufunc(value, term)`` without `alpha`.

    Large arrays are scaled piece by piece: a piece of the product stays in the cache, and memory
    for all of it would be fetched anew at each call, which costs more than the arithmetic.
    """
    if alpha is None:
        ufunc(value, term, out=value)
        return
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
    is_leaf = _is_leaf(current)
    if is_leaf:
        _check_leaf_change()
        if made.value is not None and not memory.well_placed(made.value):
            made = Variable(memory.copied(made.value))
    if made.value is not None and sharing.shows(cell, current.value):
        del current
        buffer = own(cell)
        np.copyto(buffer, made.value)
        made = bind(shape.alias_p, (made,)) if made.requires_grad else Variable(None)
        made.value = buffer
    _rebind(cell, made, is_leaf)


def set_part(cell: Tensor, key: Any, value: Any) -> None:
    """Replace the part of `cell` at `key`, in its buffer if nobody else sees it."""
    strangers = _strangers(cell)
    current = cell._read()
    term = convert.cast(convert.as_variable(value, current.dtype), current.dtype)
    recorded = THREAD.now.recording and (current.requires_grad or term.requires_grad)
    if recorded and _is_leaf(current):
        _check_leaf_change()
    parts = subscript.parts_of(current, key)
    if not _takes_part(cell, strangers, parts, term):
        assign(cell, subscript.setitem(current, key, term))
    elif not recorded:
        if sharing.noted and sharing.shows(cell, current.value):
            del current
            own(cell)
        else:
            _spare_graph(cell)
        subscript.write(cell._value("assignment to a part"), parts, term)
    elif subscript.is_basic(parts) and not _is_needed(current):
        cell._bind(subscript.setitem(current, key, term, bind_inplace))
    else:
        assign(cell, subscript.setitem(current, key, term))


def _takes_part(cell: Tensor, strangers: float, parts: Sequence[Any], term: Variable) -> bool:
    """Tell whether the part may be replaced by `term` in the buffer of `cell`."""
    value, replacement = cell._read().value, term.value
    if value is None or replacement is None or THREAD.now.trace is not None:
        return False
    if not subscript.fits(value, parts, replacement.shape):
        return False  # to be explained where shapes are
    if sharing.shows(cell, value):
        return True
    if replacement.base is value:  # as in x[1] = x[0]: a view that stays as it is
        strangers -= not subscript.overlaps(value, parts, replacement)
    return strangers <= 0


def _is_needed(variable: Variable) -> bool:
    """Tell whether the derivative of the operation that made `variable` may need its value."""
    op = variable.op
    if op is None:
        return False
    return op.primitive.several or getattr(op.primitive.derivative, "needs_values", True)


def rebind(cell: Tensor, value: Array) -> None:
    """Bind `cell` to an array that nobody else holds, keeping it a leaf if it is one."""
    current = cell._variable
    alike = current.shape == value.shape and current.dtype == value.dtype
    if alike and sharing.shows(cell, current.value):
        del current
        np.copyto(own(cell), value)
        return
    _bind_value(cell, value)


def _bind_value(cell: Tensor, value: Array) -> None:
    _rebind(cell, Variable(value), _is_leaf(cell._read()))


def _rebind(cell: Tensor, variable: Variable, is_leaf: bool) -> None:
    """Bind `cell` to a new variable, which keeps its name and, if it is one, that it is a leaf."""
    if is_leaf:
        variable = _as_leaf(cell, variable)
    elif cell.name and variable.value is not None:
        variable.name = cell.name
    cell._bind(variable)
    if sharing.noted:
        sharing.watch(variable)


def own(cell: Tensor) -> Array:
    """Return the value of `cell` in a buffer that may be written: its own alone, or lent by it.

    The caller holds no reference to the variable that the cell is bound to.
    """
    value = cell._value("in-place change")
    if sharing.shows(cell, value):
        _bind_value(cell, value)  # a variable that is used is left behind, and spared
        sharing.spare(value, cell._read())
        return value
    del value
    if _strangers(cell) > 0:
        _bind_value(cell, memory.copied(cell._value("in-place change")))
    return _spare_graph(cell)


def _spare_graph(cell: Tensor) -> Array:
    """Return the buffer of `cell`: a new one if the derivative of what made its value may need it.

    Gradients pass through what is written there as through the value before.
    """
    current = cell._read()
    if _is_needed(current):
        with recording(True):
            made: Variable = bind(shape.alias_p, (current,))
        made.value = memory.copied(cell._value("in-place change"))
        cell._bind(made)
    return cell._value("in-place change")


def export(cell: Tensor) -> Array:
    """Return an array in the memory of `cell`, which must not require gradients.

    It is also that of the tensor that `cell` was detached from. Whoever else refers to the value
    keeps it: the cells are given a copy of their own first.
    """
    with sharing.lock:
        source = detached_from(cell)
        if not sharing.lent_by(source, source._value("conversion to NumPy")):
            if _strangers(source) > (source is not cell):  # a cell that was detached is known
                _bind_value(source, memory.copied(source._value("conversion to NumPy")))
            if source is not cell:
                cell._bind(source.detach()._read())
        return sharing.lend(source._value("conversion to NumPy"), source, cell)


def detached_from(cell: Tensor) -> Tensor:
    """Return the tensor that `cell` was detached from if it has the same value still, or `cell`."""
    variable = cell._read()
    while isinstance(variable, Detached):
        source: Tensor | None = variable.cell()
        if source is None or (found := source._read()).value is not variable.value:
            break
        if found.requires_grad and not (isinstance(found, Leaf) and found.cell() is source):
            break
        cell, variable = source, found
    return cell


def _strangers(cell: Tensor) -> float:
    """Return how many references to the value of `cell` there are besides its own.

    Infinitely many if the value cannot be written to, or others have the variable itself.
    """
    current = cell._read()
    value = current.value
    if value is None or not _is_plain(value) or sys.getrefcount(current) > _OWN_VARIABLE:
        return math.inf
    return sys.getrefcount(value) - _OWN_VALUE


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
    if memory.owns(value) and value.flags.writeable and not sharing.is_shared(value):
        return variable
    made = bind(shape.alias_p, (variable,)) if variable.requires_grad else Variable(value)
    made.value = memory.copied(value)
    return made


def _is_plain(value: Array) -> bool:
    """Tell whether an array may be written to and holds its own memory, in order."""
    return memory.owns(value) and value.flags.carray


class _Holder:
    """Stands for a tensor while the counts of an exclusive value are measured."""

    def __init__(self) -> None:
        self._variable: Variable = Leaf(np.zeros(1), None, True)

    def _read(self) -> Variable:
        return self._variable


def _measure() -> tuple[int, int]:
    """Return the reference counts of a variable that one cell holds, and of its value.

    They are measured as `update` and `_strangers` see them, since how many references a function
    holds is a matter of the interpreter's version.
    """

    def as_seen(cell: _Holder) -> tuple[int, int]:
        current = cell._read()
        value = current.value
        assert value is not None
        return sys.getrefcount(current), sys.getrefcount(value)

    return as_seen(_Holder())


def _measure_untraced() -> tuple[int, int]:
    """Measure while no debugger holds references of its own to the variables of a call."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return _measure()
    finally:
        sys.settrace(tracer)


_OWN_VARIABLE, _OWN_VALUE = _measure_untraced()

"""Shape arithmetic shared by the shape rules, with messages that name the dimension at fault."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.variable import Aval

Shape = tuple[int, ...]


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """Return the common shape of `shapes` under NumPy's broadcasting rules.

    Raises
    ------
    ShapeError
        Naming `op`, the shapes and the first axis that disagrees.
    """
    rank = max(map(len, shapes), default=0)
    result: list[int] = []
    for axis in range(-rank, 0):
        lengths = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(lengths) > 1:
            listed = " and ".join(map(str, shapes))
            sizes = " against ".join(map(str, sorted(lengths)))
            raise ShapeError(
                f"{op}: shapes {listed} do not broadcast: axis {axis} has {sizes}. "
                "Reshape one operand so that the axis agrees or has length 1"
            )
        result.append(lengths.pop() if lengths else 1)
    return tuple(result)


def lengths_of(op: str, shape: int | Sequence[int]) -> Shape:
    """Return a shape given as one length or as a sequence of lengths, NumPy's integers too."""
    try:
        given = (shape,) if hasattr(shape, "__index__") else tuple(shape)
        return tuple(operator.index(n) for n in given)
    except TypeError:
        raise TypeError(
            f"{op}: a shape must be an integer or a sequence of integers, got {shape!r}."
        ) from None


def normalize_axis(op: str, axis: int, ndim: int) -> int:
    """Return `axis` counted from the front, or raise ShapeError."""
    try:
        position = operator.index(axis)
    except TypeError:
        raise TypeError(f"{op}: an axis must be an integer, got {axis!r}.") from None
    if not -ndim <= position < ndim:
        raise ShapeError(f"{op}: axis {position} is out of range for an array of {ndim} axes")
    return position % ndim


def normalize_axes(op: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Return `axis` (None: all) as a sorted tuple of distinct axes counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes: tuple[int, ...]
    axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    result = tuple(sorted(normalize_axis(op, a, ndim) for a in axes))
    if len(set(result)) != len(result):
        raise ShapeError(f"{op}: axis {axis} names one axis twice")
    return result


def without_axes(shape: Shape, axes: Sequence[int]) -> Shape:
    """Return `shape` with `axes` removed."""
    dropped = set(axes)
    return tuple(n for i, n in enumerate(shape) if i not in dropped)


def with_ones(shape: Shape, axes: Sequence[int]) -> Shape:
    """Return `shape` with length 1 along `axes`."""
    kept = set(axes)
    return tuple(1 if i in kept else n for i, n in enumerate(shape))


def same_dtype(op: str, *avals: Aval) -> None:
    """Raise DTypeError unless all `avals` have one dtype (promotion happens before binding)."""
    first = avals[0].dtype
    for aval in avals[1:]:
        if aval.dtype != first:
            raise DTypeError(f"{op}: operands have dtypes {first} and {aval.dtype}; cast one")


def need_float(op: str, aval: Aval) -> None:
    """Raise DTypeError unless `aval` is floating point."""
    if aval.dtype.kind != "f":
        raise DTypeError(f"{op}: needs a floating-point operand, got {aval.dtype}; cast it first")


def need_integer(op: str, what: str, aval: Aval) -> None:
    """Raise DTypeError unless `aval` is of an integer dtype."""
    if aval.dtype.kind not in "iu":
        raise DTypeError(f"{op}: {what} must be integers, got {aval.dtype}")

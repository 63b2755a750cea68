"""What ``x[key]`` and ``x[key] = value`` mean, in terms of slices, gathers and choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import IndexRangeError, ShapeError
from wengert.graph.variable import Variable
from wengert.ops.convert import VariableLike, as_variable, cast
from wengert.ops.derivatives import emit
from wengert.ops.indexing import gather_p, slice_p, slice_set_p, sliced_shape
from wengert.ops.shapes import Shape, broadcast_shapes


def getitem(x: Variable, key: Any) -> Variable:
    """Return ``x[key]`` with NumPy's meaning: integers, slices, None, Ellipsis, integer arrays.

    A boolean mask is read as the integer arrays of its true places, which needs its values.
    """
    parts = parts_of(x, key)
    if not is_basic(parts):
        return _advanced(x, parts)
    basic = tuple(part for part in parts if part is not None)
    full = all(isinstance(part, slice) and part == slice(None) for part in basic)
    y: Variable = x if full else bind(slice_p, (x,), {"key": basic})
    if len(basic) == len(parts):
        return y
    return emit("reshape", y, shape=_with_new_axes(parts, y.shape))  # type: ignore[no-any-return]


def _with_new_axes(parts: Sequence[Any], shape: Shape) -> Shape:
    lengths = list(shape)
    result: list[int] = []
    for part in parts:
        if part is None:
            result.append(1)
        elif isinstance(part, slice):
            result.append(lengths.pop(0))
    return (*result, *lengths)


def parts_of(x: Variable, key: Any) -> list[Any]:
    """Return `key` as a list of int, slice, None and integer variables, without Ellipsis."""
    parts: list[Any] = []
    given = key if isinstance(key, tuple) else (key,)
    _check_masks(x, given)
    for part in given:
        parts.extend(_index_part(part))
    used = sum(part is not None and part is not Ellipsis for part in parts)
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise ShapeError("slice: an index can have only one '...'")
    if used > x.ndim:
        raise ShapeError(f"slice: {used} indices for an array of shape {x.shape}")
    if dots:
        parts[dots[0] : dots[0] + 1] = [slice(None)] * (x.ndim - used)
    return parts


def _is_mask(part: Any) -> bool:
    kind = getattr(getattr(part, "dtype", None), "kind", None)
    return kind == "b" or (isinstance(part, list) and bool(part) and np.asarray(part).dtype == bool)


def _shape_of(part: Any) -> Shape:
    return tuple(part.shape) if hasattr(part, "shape") else np.shape(part)


def _check_masks(x: Variable, key: tuple[Any, ...]) -> None:
    """Raise ShapeError unless each mask has the lengths of the axes that it stands for."""
    masks = {id(part): _shape_of(part) for part in key if _is_mask(part)}
    if not masks:
        return
    axes = [0 if part is None else len(masks[id(part)]) if id(part) in masks else 1 for part in key]
    axis = 0
    for part, count in zip(key, axes, strict=True):
        if part is Ellipsis:
            axis += x.ndim - (sum(axes) - 1)
            continue
        shape = masks.get(id(part))
        if shape is not None and x.shape[axis : axis + count] != shape:
            raise ShapeError(
                f"slice: a mask of shape {shape} does not fit axis {axis} of shape {x.shape}"
            )
        axis += count


def _index_part(part: Any) -> list[Any]:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return [part]
    integer = hasattr(part, "__index__") and not isinstance(part, bool | Variable)
    if integer and getattr(part, "ndim", 0) == 0:
        return [part.__index__()]
    index = as_variable(part)
    if index.dtype.kind == "b":
        mask = index.concrete("indexing by a boolean mask")
        if mask.ndim == 0:
            if not mask:
                raise TypeError("slice: a 0-d mask that is False selects nothing; slice with 0:0.")
            return [None]
        return [Variable(places) for places in np.nonzero(mask)]
    if index.dtype.kind not in "iu":
        raise TypeError(f"slice: an index must be an integer or a mask, got {index.dtype}.")
    return [index]


def _advanced(x: Variable, parts: list[Any]) -> Variable:
    """Index by integer arrays, after the slices beside them have been taken.

    As in NumPy, an integer beside index arrays counts as one of them.
    """
    x, parts = _new_axes_first(x, parts)
    parts = [Variable(np.array(part)) if isinstance(part, int) else part for part in parts]
    key = tuple(slice(None) if isinstance(part, Variable) else part for part in parts)
    indices = [part for part in parts if isinstance(part, Variable)]
    axes: list[int] = []
    axis = 0
    for part in parts:
        if isinstance(part, Variable):
            axes.append(axis)
        axis += not isinstance(part, int)
    y = x if all(part == slice(None) for part in key) else getitem(x, key)
    shape = broadcast_shapes("slice", *(index.shape for index in indices))
    wide = tuple(
        index if index.shape == shape else emit("broadcast", index, shape=shape)
        for index in indices
    )
    z: Variable = bind(gather_p, (y, *wide), {"axes": tuple(axes), "batch_axes": ()})
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    if not adjacent or axes[0] == 0:
        return z
    rank = len(shape)
    rest = range(rank, z.ndim)
    return emit("permute", z, axes=(*rest[: axes[0]], *range(rank), *rest[axes[0] :]))  # type: ignore[no-any-return]


def _new_axes_first(x: Variable, parts: list[Any]) -> tuple[Variable, list[Any]]:
    """Give `x` an axis of length 1 for each None, which then is a slice of it."""
    if not any(part is None for part in parts):
        return x, parts
    lengths = list(x.shape)
    shape = [1 if part is None else lengths.pop(0) for part in parts]
    x = emit("reshape", x, shape=(*shape, *lengths))
    return x, [slice(None) if part is None else part for part in parts]


def setitem(
    x: Variable, key: Any, value: VariableLike, apply: Callable[..., Variable] = bind
) -> Variable:
    """Return `x` with the part at `key` (integers, slices, masks, index arrays) set to `value`.

    With `bind_inplace` for `apply`, a part given by integers and slices is set in the buffer of
    `x`.
    """
    replacement = cast(as_variable(value, x.dtype), x.dtype)
    mask = as_variable(key) if getattr(key, "dtype", None) == np.bool_ else None
    if mask is not None and replacement.ndim == 0:
        return emit("where", _mask_like(mask, x), replacement, x)  # type: ignore[no-any-return]
    parts = parts_of(x, key)
    if not is_basic(parts):
        return _set_at(x, parts, replacement)
    basic = tuple(part for part in parts if part is not None)
    shape = sliced_shape("slice_set", x.shape, basic)
    replacement = _repeated(replacement, _with_new_axes(parts, shape))
    if replacement.shape != shape:
        replacement = emit("reshape", replacement, shape=shape)
    return apply(slice_set_p, (x, replacement), {"key": basic})


def _repeated(replacement: Variable, shape: Shape) -> Variable:
    """Return `replacement` broadcast to the shape of a part; further axes of length 1 in front go.

    As in NumPy and PyTorch, a row can be set to an array of shape (1, n).
    """
    extra = replacement.ndim - len(shape)
    if extra > 0 and math.prod(replacement.shape[:extra]) == 1:
        replacement = emit("reshape", replacement, shape=replacement.shape[extra:])
    if replacement.shape != shape:
        if broadcast_shapes("assignment", shape, replacement.shape) != shape:
            raise ShapeError(
                f"assignment: an array of shape {replacement.shape} does not fit a part of shape "
                f"{shape}"
            )
        replacement = emit("broadcast", replacement, shape=shape)
    return replacement


def is_basic(parts: Sequence[Any]) -> bool:
    """Tell whether a key, as `parts_of` returns it, has no index arrays."""
    return not any(isinstance(part, Variable) for part in parts)


def fits(buffer: Array, parts: Sequence[Any], replacement: Shape) -> bool:
    """Tell whether the part of `buffer` can be set to an array of shape `replacement`."""
    try:
        part = buffer[_plain_key(parts)].shape
    except IndexError:
        return False
    extra = max(len(replacement) - len(part), 0)
    if math.prod(replacement[:extra]) != 1:
        return False
    lengths = zip(reversed(replacement[extra:]), reversed(part), strict=False)
    return all(given in (1, wanted) for given, wanted in lengths)


def overlaps(buffer: Array, parts: Sequence[Any], other: Array) -> bool:
    """Tell whether the part of `buffer` may use memory that `other` uses."""
    return not is_basic(parts) or np.may_share_memory(buffer[_plain_key(parts)], other)


def write(buffer: Array, parts: Sequence[Any], replacement: Variable) -> None:
    """Set a part of `buffer`, in place, to a replacement that `fits`."""
    value = replacement.concrete("assignment to a part")
    if np.may_share_memory(buffer, value):
        value = value.copy()
    buffer[_plain_key(parts)] = value


def _plain_key(parts: Sequence[Any]) -> tuple[Any, ...]:
    """Return a key for NumPy; it ends in '...', which makes a single element a 0-d array too."""
    return (*(part.value if isinstance(part, Variable) else part for part in parts), ...)


def _set_at(x: Variable, parts: list[Any], replacement: Variable) -> Variable:
    """Assign through integer arrays; where an element is named twice, the last one counts."""
    key = tuple(
        part.concrete("assignment through integer arrays") if isinstance(part, Variable) else part
        for part in parts
    )
    winners: Array = np.full(x.shape, -1)
    try:
        shape = winners[key].shape
    except IndexError as error:
        raise IndexRangeError(f"slice_set: {error}") from None
    winners[key] = np.arange(math.prod(shape)).reshape(shape)
    replacement = _repeated(replacement, shape)
    flat: Variable = emit("reshape", replacement, shape=(math.prod(shape),))
    if not math.prod(shape):
        return x
    chosen: Variable = emit(
        "gather", flat, Variable(np.maximum(winners, 0)), axes=(0,), batch_axes=()
    )
    return emit("where", Variable(winners >= 0), chosen, x)  # type: ignore[no-any-return]


def _mask_like(mask: Variable, x: Variable) -> Variable:
    missing = x.ndim - mask.ndim
    if missing < 0 or mask.shape != x.shape[: mask.ndim]:
        raise ShapeError(f"slice_set: mask of shape {mask.shape} does not fit {x.shape}")
    return mask if not missing else emit("reshape", mask, shape=mask.shape + (1,) * missing)

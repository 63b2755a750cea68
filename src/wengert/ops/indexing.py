"""Reading and writing parts of arrays: slices by static keys, gathers by integer arrays.

The cotangent of a slice or a gather touches a part of its array only. It stays in that form
(`Indexed`) and is added into the accumulation buffer by the matching scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import IndexRangeError, ShapeError
from wengert.graph.primitive import (
    MOVES,
    Contribution,
    Indexed,
    Outputs,
    Params,
    Primitive,
    Sample,
    Updated,
    register,
)
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_indexing, lower_views
from wengert.ops.batching import shift, with_batch
from wengert.ops.convert import VariableLike, as_variable
from wengert.ops.define import normal, strided
from wengert.ops.derivatives import Linear, emit, zeros_like
from wengert.ops.shapes import (
    Shape,
    broadcast_shapes,
    need_integer,
    normalize_axis,
    same_dtype,
    with_ones,
    without_axes,
)

Key = tuple[int | slice, ...]

_KEY_CASES: tuple[tuple[Shape, Key], ...] = (
    ((4,), (1,)),
    ((4,), (slice(1, 3),)),
    ((4, 3), (slice(None, None, 2), -1)),
    ((3, 4), (slice(None), slice(None, None, -1))),
    ((0, 3), (slice(0, 0), 1)),
    ((2, 3), ()),
)


def sliced_shape(name: str, shape: Shape, key: Key) -> Shape:
    """Return the shape of ``x[key]`` for an array of `shape`."""
    if len(key) > len(shape):
        raise ShapeError(f"{name}: {len(key)} indices for an array of shape {shape}")
    result: list[int] = []
    for axis, (part, n) in enumerate(zip(key, shape, strict=False)):
        if isinstance(part, slice):
            result.append(len(range(*part.indices(n))))
        elif not -n <= part < n:
            raise IndexRangeError(
                f"{name}: index {part} is out of range for axis {axis} of shape {shape}"
            )
    return (*result, *shape[len(key) :])


def _infer_slice(x: Aval, key: Key) -> Aval:
    return Aval(sliced_shape("slice", x.shape, key), x.dtype)


def _evaluate_slice(x: Array, key: Key) -> Any:
    return x[key]


def _transpose_slice(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], key: Key
) -> list[Indexed]:
    del xs, needed
    return [Indexed(slice_add_p, (y_bar,), {"key": key})]


def _batch_key(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    return bind(primitive, full, {"key": (slice(None), *params["key"])}), True


def _slice_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for shape, key in _KEY_CASES:
        x = normal(rng, shape).astype(dtype)
        yield Sample((x,), {"key": key})
        yield Sample((strided(x),), {"key": key})


slice_p = register(
    Primitive(
        name="slice",
        notation="{0}[…]",
        infer=_infer_slice,
        evaluate=_evaluate_slice,
        derivative=Linear(_transpose_slice),
        batch=_batch_key,
        samples=_slice_samples,
        lower=lower_views.part,
        laws=MOVES,
    )
)


def _infer_slice_update(name: str) -> Any:
    def infer(buffer: Aval, update: Aval, key: Key) -> Aval:
        same_dtype(name, buffer, update)
        part = sliced_shape(name, buffer.shape, key)
        if part != update.shape:
            raise ShapeError(
                f"{name}: the part of shape {part} cannot take an update of shape {update.shape}"
            )
        return Aval(buffer.shape, buffer.dtype)

    return infer


def _slice_add_inplace(buffer: Array, update: Array, key: Key) -> Array:
    buffer[key] += update
    return buffer


def _slice_set_inplace(buffer: Array, update: Array, key: Key) -> Array:
    buffer[key] = update
    return buffer


def _transpose_slice_set(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], key: Key
) -> list[Contribution]:
    part: Variable | None = emit("slice", y_bar, key=key) if needed[1] else None
    if not needed[0]:
        return [None, part]
    if part is not None and part.value is not None:
        part.value = part.value.copy()  # no view: the buffer may be changed
    return [Updated(y_bar, slice_set_p, (zeros_like(xs[1]),), {"key": key}), part]


def _slice_update_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for shape, key in _KEY_CASES:
        buffer = normal(rng, shape).astype(dtype)
        update = normal(rng, sliced_shape("slice", shape, key)).astype(dtype)
        yield Sample((buffer, update), {"key": key}, (0, 1))


slice_add_p = register(
    Primitive(
        name="slice_add",
        notation="{0}[…] + {1}",
        infer=_infer_slice_update("slice_add"),
        evaluate=lambda buffer, update, key: _slice_add_inplace(buffer.copy(), update, key),
        inplace=_slice_add_inplace,
        derivative=Linear(
            lambda y_bar, xs, needed, key: [
                y_bar,
                emit("slice", y_bar, key=key) if needed[1] else None,
            ],
            arity=2,
        ),
        batch=_batch_key,
        samples=_slice_update_samples,
        lower=lower_views.part_add,
    )
)

slice_set_p = register(
    Primitive(
        name="slice_set",
        notation="{0}[…] = {1}",
        infer=_infer_slice_update("slice_set"),
        evaluate=lambda buffer, update, key: _slice_set_inplace(buffer.copy(), update, key),
        inplace=_slice_set_inplace,
        derivative=Linear(_transpose_slice_set, arity=2),
        batch=_batch_key,
        samples=_slice_update_samples,
        lower=lower_views.part_set,
    )
)

Axes = tuple[int, ...]


def _gathered_shape(name: str, x: Aval, index: Shape, axes: Axes, batch_axes: Axes) -> Shape:
    paired = index[: len(batch_axes)]
    if paired != tuple(x.shape[axis] for axis in batch_axes):
        raise ShapeError(
            f"{name}: indices of shape {index} do not match axes {batch_axes} of shape {x.shape}"
        )
    return index + without_axes(x.shape, (*axes, *batch_axes))


def _check_indices(name: str, indices: tuple[Aval, ...], axes: Axes) -> Shape:
    if len(indices) != len(axes) or not indices:
        raise ShapeError(f"{name}: {len(indices)} index arrays for axes {axes}")
    for index in indices:
        need_integer(name, "indices", index)
        if index.shape != indices[0].shape:
            raise ShapeError(
                f"{name}: index arrays of shapes {indices[0].shape} and {index.shape} differ"
            )
    return indices[0].shape


def _infer_gather(x: Aval, *indices: Aval, axes: Axes, batch_axes: Axes) -> Aval:
    shape = _check_indices("gather", indices, axes)
    return Aval(_gathered_shape("gather", x, shape, axes, batch_axes), x.dtype)


@lru_cache(maxsize=256)
def _grids(lengths: tuple[int, ...], rank: int) -> tuple[Array, ...]:
    """Return, for each of the first axes of an array of `rank`, its indices along that axis."""
    return tuple(
        np.arange(n).reshape((n,) + (1,) * (rank - 1 - place)) for place, n in enumerate(lengths)
    )


@lru_cache(maxsize=256)
def _indexed_first(rank: int, axes: Axes, batch_axes: Axes) -> Axes | None:
    """Return the order that puts the indexed axes first; None if they stand there already."""
    rest = tuple(i for i in range(rank) if i not in axes and i not in batch_axes)
    order = (*batch_axes, *axes, *rest)
    return None if order == tuple(range(rank)) else order


def locations(
    x: Array, indices: tuple[Array, ...], axes: Axes, batch_axes: Axes
) -> tuple[Array, tuple[Array, ...]]:
    """Return a view of `x` with the indexed axes in front, and the key into it."""
    order = _indexed_first(x.ndim, axes, batch_axes)
    view = x if order is None else x.transpose(order)
    if not batch_axes:
        return view, indices
    count = len(batch_axes)
    paired = indices[0].shape[:count]
    if paired != view.shape[:count]:
        raise ValueError("the indices do not fit")  # the shape rule says it better
    return view, _grids(paired, indices[0].ndim) + indices


def evaluate_gather(x: Array, *indices: Array, axes: Axes, batch_axes: Axes) -> Any:
    """Evaluate a gather with NumPy."""
    view, key = locations(x, indices, axes, batch_axes)
    return view[key]


def _transpose_gather(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], axes: Axes, batch_axes: Axes
) -> list[Indexed]:
    del needed
    params = {"axes": axes, "batch_axes": batch_axes}
    return [Indexed(scatter_add_p, (y_bar, *xs[1:]), params)]


def _batch_gather(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    axes, batch_axes = params["axes"], params["batch_axes"]
    if not batched[0] and not batch_axes:
        indices = tuple(with_batch(x, b, size) for x, b in zip(xs[1:], batched[1:], strict=True))
        return bind(primitive, (xs[0], *indices), params), True
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    wider = {"axes": shift(axes), "batch_axes": (0, *shift(batch_axes))}
    return bind(primitive, full, wider), True


_GATHER_CASES: tuple[tuple[Shape, Shape, Axes, Axes], ...] = (
    ((5,), (3,), (0,), ()),
    ((5, 2), (2, 3), (0,), ()),
    ((2, 5), (4,), (1,), ()),
    ((3, 4), (3,), (1,), (0,)),
    ((4, 3), (3, 2), (0,), (1,)),
    ((3, 4, 2), (2,), (0, 2), ()),
    ((3, 2), (0,), (0,), ()),
    ((3,), (), (0,), ()),
)


def _gather_samples(updating: bool) -> Any:
    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
        for shape, index_shape, axes, batch_axes in _GATHER_CASES:
            x = normal(rng, shape).astype(dtype)
            indices = tuple(
                np.asarray(rng.integers(-shape[axis], shape[axis], index_shape)) for axis in axes
            )
            params = {"axes": axes, "batch_axes": batch_axes}
            if updating:
                rest = without_axes(shape, (*axes, *batch_axes))
                update = normal(rng, index_shape + rest).astype(dtype)
                yield Sample((x, update, *indices), params, (0, 1))
            else:
                yield Sample((x, *indices), params)
                yield Sample((strided(x), *indices), params)

    return samples


gather_p = register(
    Primitive(
        name="gather",
        notation="{0}[{1}]",
        infer=_infer_gather,
        evaluate=evaluate_gather,
        derivative=Linear(_transpose_gather),
        batch=_batch_gather,
        samples=_gather_samples(updating=False),
        lower=lower_indexing.gather,
    )
)


def _infer_scatter_add(
    buffer: Aval, update: Aval, *indices: Aval, axes: Axes, batch_axes: Axes
) -> Aval:
    same_dtype("scatter_add", buffer, update)
    shape = _check_indices("scatter_add", indices, axes)
    part = _gathered_shape("scatter_add", buffer, shape, axes, batch_axes)
    if part != update.shape:
        raise ShapeError(
            f"scatter_add: the places of shape {part} cannot take updates of shape {update.shape}"
        )
    return Aval(buffer.shape, buffer.dtype)


def _scatter_add_inplace(
    buffer: Array, update: Array, *indices: Array, axes: Axes, batch_axes: Axes
) -> Array:
    view, key = locations(buffer, indices, axes, batch_axes)
    if indices[0].ndim == len(batch_axes):
        view[key] += update  # each place is named once; `numpy.add.at` takes several times as long
    else:
        np.add.at(view, key, update)
    return buffer


def _transpose_scatter_add(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], axes: Axes, batch_axes: Axes
) -> list[Variable | None]:
    if not needed[1]:
        return [y_bar, None]
    params = {"axes": axes, "batch_axes": batch_axes}
    return [y_bar, bind(gather_p, (y_bar, *xs[2:]), params)]


def _batch_scatter_add(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    wider = {"axes": shift(params["axes"]), "batch_axes": (0, *shift(params["batch_axes"]))}
    return bind(primitive, full, wider), True


scatter_add_p = register(
    Primitive(
        name="scatter_add",
        notation="{0}[{2}] + {1}",
        infer=_infer_scatter_add,
        evaluate=lambda buffer, update, *indices, axes, batch_axes: _scatter_add_inplace(
            buffer.copy(), update, *indices, axes=axes, batch_axes=batch_axes
        ),
        inplace=_scatter_add_inplace,
        derivative=Linear(_transpose_scatter_add, arity=2),
        batch=_batch_scatter_add,
        samples=_gather_samples(updating=True),
        lower=lower_indexing.scatter_add,
    )
)


def _others(x: Variable, axis: int) -> Axes:
    return tuple(i for i in range(x.ndim) if i != axis)


def take_at(x: Variable, index: Variable, axis: int) -> Variable:
    """Return ``x[..., index[...], ...]``: one element along `axis` for each other position."""
    return emit("gather", x, index, axes=(axis,), batch_axes=_others(x, axis))  # type: ignore[no-any-return]


def scatter_along_axis(update: Variable, index: Variable, axis: int, x: Variable) -> Indexed:
    """Return the contribution to the cotangent of `x` whose `take_at` has the one `update`."""
    params = {"axes": (axis,), "batch_axes": _others(x, axis)}
    return Indexed(scatter_add_p, (update, index), params)


def take(x: VariableLike, indices: VariableLike, axis: int | None = None) -> Variable:
    """Return the elements of `x` at `indices` along `axis` (None: of the flat array).

    Parameters
    ----------
    x : Tensor or array_like
        Where to take from.
    indices : Tensor or array_like of integers
        Which; negative ones count from the end. Any shape: it replaces the axis.
    axis : int, optional
        Along which axis.

    Raises
    ------
    DTypeError
        If the indices are no integers.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.take(wg.tensor([10, 20, 30]), [2, 0])
    tensor([30, 10])
    """
    x, index = as_variable(x), as_variable(indices)
    if axis is None:
        x = emit("reshape", x, shape=(math.prod(x.shape),)) if x.ndim != 1 else x
        axis = 0
    place = normalize_axis("take", axis, x.ndim)
    y: Variable = emit("gather", x, index, axes=(place,), batch_axes=())
    if place == 0:
        return y
    moved = range(index.ndim)
    rest = range(index.ndim, y.ndim)
    return emit("permute", y, axes=(*rest[:place], *moved, *rest[place:]))  # type: ignore[no-any-return]


def take_along_axis(x: VariableLike, indices: VariableLike, axis: int = -1) -> Variable:
    """Return elements of `x` along `axis`, with indices for each other position.

    Parameters
    ----------
    x : Tensor or array_like
        Where to take from.
    indices : Tensor or array_like of integers
        Of the rank of `x`; except along `axis`, both broadcast.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.take_along_axis(wg.tensor([[1, 2], [3, 4]]), wg.tensor([[1], [0]]), axis=1)
    tensor([[2],
            [3]])
    """
    from wengert.ops.shape import broadcast_to, moveaxis

    x, index = as_variable(x), as_variable(indices)
    if index.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: indices {index.shape} and x {x.shape} differ in rank")
    place = normalize_axis("take_along_axis", axis, x.ndim)
    beside = [with_ones(v.shape, (place,)) for v in (x, index)]
    if beside[0] != beside[1]:
        common = list(broadcast_shapes("take_along_axis", *beside))
        common[place] = x.shape[place]
        x = broadcast_to(x, common)
        common[place] = index.shape[place]
        index = broadcast_to(index, common)
    last = moveaxis(index, place, -1)
    y: Variable = emit("gather", x, last, axes=(place,), batch_axes=_others(x, place))
    return moveaxis(y, -1, place)

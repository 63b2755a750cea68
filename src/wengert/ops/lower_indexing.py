"""Lowerings of gather and scatter: places that are known only when the code runs."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.graph.dtypes import INT64
from wengert.ops.lowering import Expressions, Kernels, Scalar, View

Axes = Sequence[int]

_FEW = 16
"""The longest axis whose elements all ask whether an index means them."""


class _Places:
    """Where the elements of a gather stand: indices first, then the axes that are not indexed."""

    def __init__(self, x: View, axes: Axes, batch_axes: Axes, rank: int) -> None:
        self.x = x
        self.axes = tuple(axes)
        self.batch_axes = tuple(batch_axes)
        self.rest = [
            i for i in range(len(x.shape)) if i not in self.axes and i not in self.batch_axes
        ]
        self._rank = rank

    def location(
        self, e: Expressions, indices: Sequence[Scalar], position: Sequence[Scalar]
    ) -> list[Scalar]:
        """Return the index into `x` of the element of the result at `position`."""
        place = dict(zip(self.batch_axes, position, strict=False))
        place.update(zip(self.rest, position[self._rank :], strict=True))
        for axis, index in zip(self.axes, indices, strict=True):
            place[axis] = self.inside(e, index, axis)
        return [place[axis] for axis in range(len(self.x.shape))]

    def inside(self, e: Expressions, index: Scalar, axis: int) -> Scalar:
        """Return an index counted from the front, and 0 for one that is out of range."""
        n = self.x.shape[axis]
        at = e.cast(index, INT64)
        at = e.where(e.compare("<", at, 0), e.add(at, n), at)
        return e.where(e.both(e.compare(">=", at, 0), e.compare("<", at, n)), at, 0)

    @property
    def nowhere(self) -> bool:
        """Whether there is no element that an index could mean."""
        return 0 in self.x.shape


def _require_range(
    kernels: Kernels, name: str, x: View, axes: Axes, indices: Sequence[View]
) -> None:
    """Let the call fail if an index means no element."""
    for axis, index in zip(axes, indices, strict=True):
        n = x.shape[axis]
        failure = f"{name}: an index is out of range for axis {axis} of length {n}{kernels.where}."
        kernels.require(index, (">=", -n), ("<", n), failure=failure)


def gather(kernels: Kernels, x: View, *indices: View, axes: Axes, batch_axes: Axes) -> View:
    """Lower the reading of elements at indices."""
    rank = len(indices[0].shape)
    places = _Places(x, axes, batch_axes, rank)
    _require_range(kernels, "gather", x, axes, indices)
    shape = (*indices[0].shape, *(x.shape[axis] for axis in places.rest))
    extra = len(shape) - rank
    wide = [kernels.view(i, shape, (*i.strides, *[0] * extra)) for i in indices]
    position = [kernels.counter(shape, axis) for axis in range(len(shape))]
    count = len(indices)

    def element(e: Expressions, *scalars: Scalar) -> Scalar:
        location = places.location(e, scalars[:count], scalars[count:])
        return e.constant(0, x.dtype) if places.nowhere else e.load(x, *location)

    return kernels.map(element, *wide, *position, shape=shape, dtype=x.dtype, reads=(x,))


def scatter_add(
    kernels: Kernels, buffer: View, update: View, *indices: View, axes: Axes, batch_axes: Axes
) -> View:
    """Lower the addition of elements at indices, one after the other in the order of `update`."""
    _require_range(kernels, "scatter_add", buffer, axes, indices)
    lone = len(axes) == 1 and len(indices[0].shape) == len(batch_axes) == len(buffer.shape) - 1
    if lone and buffer.shape[axes[0]] <= _FEW:
        return _added_once(kernels, buffer, update, indices[0], axes, batch_axes)
    result = kernels.copy(buffer)
    rank = len(indices[0].shape)
    places = _Places(result, axes, batch_axes, rank)

    def body(e: Expressions, *position: Scalar) -> None:
        found = [e.load(index, *position[:rank]) for index in indices]
        location = places.location(e, found, position)
        if not places.nowhere:
            total = e.add(e.load(result, *location), e.load(update, *position))
            e.store(total, result, *location)

    reads = (update, *indices, result)
    kernels.each(update.shape, body, reads=reads, writes=(result,))
    return result


def _added_once(
    kernels: Kernels, buffer: View, update: View, index: View, axes: Axes, batch_axes: Axes
) -> View:
    """Lower an addition of one element along an axis: each element asks whether it is the one."""
    places = _Places(buffer, axes, batch_axes, len(index.shape))
    order = {axis: i for i, axis in enumerate(batch_axes)}
    new, at = (
        kernels.view(
            v,
            buffer.shape,
            [v.strides[order[a]] if a in order else 0 for a in range(len(buffer.shape))],
        )
        for v in (update, index)
    )

    def element(e: Expressions, old: Scalar, new: Scalar, at: Scalar, here: Scalar) -> Scalar:
        found = places.inside(e, at, axes[0])
        return e.where(e.compare("==", found, here), e.add(old, new), old)

    here = kernels.counter(buffer.shape, axes[0])
    return kernels.map(element, buffer, new, at, here, shape=buffer.shape, dtype=buffer.dtype)

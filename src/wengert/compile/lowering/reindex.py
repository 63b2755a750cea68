"""Index spaces expressed in one another, through an array that two kernels see differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wengert.compile.emit.arrays import Buffer, Immediate, Shape, Strided


class Part(NamedTuple):
    """`length` steps along an axis of another space, each of `step` places."""

    axis: int
    step: int
    length: int


class Reindex(NamedTuple):
    """How each index of one space leads to an index of another.

    Attributes
    ----------
    shape : tuple of int
        The space in which views are to be expressed.
    parts : list of tuple of Part
        For each of its axes, the walk in the other space, outermost part first.
    origin : tuple of int
        Where the walk begins.
    """

    shape: Shape
    parts: Sequence[tuple[Part, ...]]
    origin: Shape

    def __call__(self, x: Strided) -> Strided | None:
        """Return a view over the other space as one over this, or None if it is none."""
        if isinstance(x.base, Immediate):
            return Strided(x.base, x.dtype, self.shape, (0,) * len(self.shape))
        strides = []
        for parts in self.parts:
            step = _merged([(p.length, p.step * x.strides[p.axis]) for p in parts])
            if step is None:
                return None
            strides.append(step)
        start = sum(i * s for i, s in zip(self.origin, x.strides, strict=True))
        return Strided(x.base, x.dtype, self.shape, tuple(strides), x.offset + start)

    @property
    def bounds(self) -> tuple[Shape, Shape]:
        """The least and the greatest index that it leads to, along each axis."""
        low, high = list(self.origin), list(self.origin)
        for parts in self.parts:
            for axis, step, length in parts:
                reach = step * (length - 1)
                low[axis] += min(reach, 0)
                high[axis] += max(reach, 0)
        return tuple(low), tuple(high)


def _merged(walk: Sequence[tuple[int, int]]) -> int | None:
    """Return the stride of a walk of several parts if it is that of one."""
    step = 0
    for place, (_, outer) in enumerate(walk):
        if place + 1 < len(walk):
            length, inner = walk[place + 1]
            if outer != length * inner:
                return None
        step = outer
    return step


def reindex(view: Strided, target: Strided) -> Reindex | None:
    """Return how the space of `view` is expressed in that of `target`, which it looks at.

    Parameters
    ----------
    view : Strided
        Some elements of a buffer.
    target : Strided
        The same buffer, each element at one index.

    Returns
    -------
    Reindex or None
        None if an index of `view` does not always lead to an index of `target` in the same way.
    """
    if not isinstance(view.base, Buffer) or 0 in view.shape or 0 in target.shape:
        return None
    order = sorted(
        (i for i, n in enumerate(target.shape) if n > 1), key=lambda i: target.strides[i]
    )
    if not _distinct(target, order):
        return None
    origin = _digits(view.offset - target.offset, target, order)
    if origin is None:
        return None
    parts = []
    for n, step in zip(view.shape, view.strides, strict=True):
        found = _walk(n, step, target, order) if n > 1 and step else ()
        if found is None:
            return None
        parts.append(found)
    made = Reindex(view.shape, parts, tuple(origin))
    return made if _inside(made, target) else None


def _distinct(target: Strided, order: Sequence[int]) -> bool:
    """Tell whether each index of `target` has an element of its own, found digit by digit."""
    reach = 0
    for axis in order:
        if target.strides[axis] <= reach:
            return False
        reach += target.strides[axis] * (target.shape[axis] - 1)
    return True


def _digits(offset: int, target: Strided, order: Sequence[int]) -> list[int] | None:
    """Return the index in `target` of the element at an offset."""
    digits = [0] * len(target.shape)
    for axis in reversed(order):
        digits[axis], offset = divmod(offset, target.strides[axis])
    return None if offset else digits


def _walk(n: int, step: int, target: Strided, order: Sequence[int]) -> tuple[Part, ...] | None:
    """Return n steps in memory as steps along axes of `target`, outermost first."""
    parts: list[Part] = []
    for place, axis in enumerate(order):
        stride, length = target.strides[axis], target.shape[axis]
        following = order[place + 1] if place + 1 < len(order) else None
        if following is not None and abs(step) >= target.strides[following]:
            continue
        if step % stride:
            return None
        by = step // stride
        if following is None or abs(by) * (n - 1) < length:
            parts.insert(0, Part(axis, by, n))
            return tuple(parts)
        inner = length // abs(by)
        if length % by or n % inner or target.strides[following] != stride * length:
            return None
        parts.insert(0, Part(axis, by, inner))
        n, step = n // inner, inner * step
    return None


def _inside(made: Reindex, target: Strided) -> bool:
    """Tell whether every index leads to one that exists."""
    low, high = made.bounds
    return min(low, default=0) >= 0 and all(
        top < n for top, n in zip(high, target.shape, strict=True)
    )

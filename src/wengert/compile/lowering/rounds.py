"""Long sums in rounds: sums of blocks of terms, which are then added."""

from __future__ import annotations

import math

from wengert.compile.emit.arrays import Strided

LONGEST = 1024
"""The most terms that one kernel reduces; more are reduced in several rounds."""

BLOCKS = 8
"""The fewest blocks of so many terms for which a product is one of blocks, which are then added."""

_EVEN = 16
"""Blocks differ by so many places: chunks have multiples of it, and should hold whole blocks."""


def block(length: int, size: int = 1) -> int:
    """Return how many places of an axis are a block: a length of which little is left over.

    What is left over is read by a kernel of its own, which goes through memory once more.

    Parameters
    ----------
    length : int
        Places of the axis.
    size : int
        Terms at each place.
    """
    longest = max(1, LONGEST // size)
    lengths = range(longest, longest // 2, -_EVEN)
    return min(lengths, key=lambda step: length % step)


def worth_blocks(x: Strided, y: Strided, rank: int) -> bool:
    """Tell whether a product has so many terms that blocks of them are multiplied and added.

    They are then near when they are used, in several chunks, and summed as exactly as sums are.
    Adding the products of blocks must be little beside reading the factors.
    """
    if len(x.shape) != rank + 1 or x.shape[rank] < BLOCKS * LONGEST:
        return False
    sizes = [
        math.prod(n for n, step in zip(v.shape[:rank], v.strides[:rank], strict=True) if step)
        for v in (x, y)
    ]
    return math.prod(x.shape[:rank]) * BLOCKS <= LONGEST * sum(sizes)


def whole_blocks(x: Strided, rank: int) -> Strided:
    """Return the whole blocks of the axis number `rank`, the last; their number is the first."""
    step = block(x.shape[rank])
    shape = (x.shape[rank] // step, *x.shape[:rank], step)
    return x.with_axes(shape, (x.strides[rank] * step, *x.strides))


def left_over(x: Strided, rank: int) -> Strided:
    """Return what whole blocks leave over of the axis number `rank`, the last."""
    step = block(x.shape[rank])
    first, count = divmod(x.shape[rank], step)
    shape = (*x.shape[:rank], count)
    return x.with_axes(shape, x.strides, first * step * x.strides[rank])

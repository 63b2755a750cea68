"""Elementwise kernels that read along one axis and write along another: square blocks, turned.

A block of n by n elements (n lanes in a register) is read as n vectors along one axis, turned in
registers, and computed and written as n vectors along the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import scalar_type, vector
from wengert.compile.emit.vectors import load_lanes, store_lanes
from wengert.compile.kernels.kernel import Index, Store
from wengert.compile.kernels.nest import Evaluation, Offsets, Space, masked

LEAST = 8
"""The shortest axes for which blocks are worth it."""


class Turned(NamedTuple):
    """The axis along which some views are contiguous, other than the last, and those views."""

    axis: int
    views: tuple[Strided, ...]


def turned_views(space: Space, reads: Sequence[Strided]) -> Turned | None:
    """Return what is read along another axis than the last, if that is worth blocks."""
    last = len(space.lengths) - 1
    if last < 1 or space.lengths[last] < LEAST:
        return None
    for axis in range(last):
        views = tuple(
            x
            for x in reads
            if isinstance(x.base, Buffer)
            and space.strides[x][axis] == 1
            and space.strides[x][last] not in {0, 1}
        )
        if views and space.lengths[axis] >= LEAST:
            return Turned(axis, views)
    return None


class Blocks:
    """Emits the loops over the blocks of a kernel, whose space ends with the two axes."""

    def __init__(
        self,
        function: Function,
        space: Space,
        values: Evaluation,
        stores: Sequence[Store],
        turned: Sequence[Strided],
    ) -> None:
        self.function = function
        self.space = space
        self.values = values
        self.stores = stores
        self.turned = turned
        self.lanes = function.module.machine.lanes(turned[0].dtype)

    def emit(self, offsets: Offsets, bounds: tuple[Index, Index]) -> None:
        """Emit the loops over both axes; `bounds` are those of the first."""
        length, lanes = self.space.lengths[-2], self.lanes
        start, stop = bounds
        if isinstance(start, int) and isinstance(stop, int):
            rest: Index = start + (stop - start) // lanes * lanes
        else:
            rest = self.function.value(f"and i64 {stop}, {-lanes}")
        self.function.loop(start, rest, lanes, lambda i, _: self._row(offsets, i, lanes))
        left = length % lanes
        if not left:
            return
        if isinstance(stop, int):
            self._row(offsets, length - left, left)
            return
        ends = self.function.value(f"icmp eq i64 {stop}, {length}")
        self.function.when(ends, lambda: self._row(offsets, length - left, left))

    def _row(self, offsets: Offsets, i: Index, rows: int) -> None:
        """Emit the blocks of some rows."""
        here = self.space.advance(self.function, offsets, self.space.rank - 2, i)
        length, lanes = self.space.lengths[-1], self.lanes
        whole = length // lanes * lanes
        self.function.loop(0, whole, lanes, lambda j, _: self._block(here, j, rows, lanes))
        if whole < length:
            self._block(here, whole, rows, length - whole)

    def _block(self, offsets: Offsets, j: Index, rows: int, columns: int) -> None:
        space, function, lanes = self.space, self.function, self.lanes
        here = space.advance(function, offsets, space.rank - 1, j)
        read = {x: self._read(x, here, rows, columns) for x in self.turned}
        wide = Lanes(function, lanes)
        if columns < lanes:
            wide = masked(function, lanes, columns, 0)
        for row in range(rows):
            at = space.advance(function, here, space.rank - 2, row)
            self.values.given = {x: found[row] for x, found in read.items()}
            self.values.enter(space.rank - 1, Lanes(function), at)
            self.values.enter(space.rank, wide, at)
            made = [self.values.value(store.value, wide) for store in self.stores]
            for value, (target, _) in zip(made, self.stores, strict=True):
                steps = space.strides[target]
                store_lanes(wide, value, target, at[steps], steps[-1])

    def _read(self, x: Strided, offsets: Offsets, rows: int, columns: int) -> list[Lane]:
        """Return the rows of a block of `x`, which is read column by column."""
        function, lanes = self.function, self.lanes
        steps = self.space.strides[x]
        some = Lanes(function, lanes) if rows == lanes else masked(function, lanes, rows, 0)
        found = [
            load_lanes(some, x, function.add(offsets[steps], column * steps[-1]), 1)
            for column in range(columns)
        ]
        zero = some.constant(0, x.dtype)
        return _transposed(function, [*found, *[zero] * (lanes - columns)])


def _transposed(function: Function, rows: list[Lane]) -> list[Lane]:
    """Return the columns of a square block: blocks of 1, 2, 4, … elements change places."""
    lanes, dtype = len(rows), rows[0].dtype
    kind = vector(scalar_type(dtype), lanes)
    distance = 1
    while distance < lanes:
        after = list(rows)
        for i in range(lanes):
            if i & distance:
                continue
            x, y = rows[i].text, rows[i + distance].text
            for place, shift in ((i, 0), (i + distance, distance)):
                picks = ", ".join(
                    f"i32 {(lanes + k - distance if k & distance else k) + shift}"
                    for k in range(lanes)
                )
                text = function.value(
                    f"shufflevector {kind} {x}, {kind} {y}, <{lanes} x i32> <{picks}>"
                )
                after[place] = Lane(text, dtype)
        rows = after
        distance *= 2
    return rows

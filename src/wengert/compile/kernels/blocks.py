"""Elementwise kernels that read along one axis and write along another: square blocks, turned.

A block of n by n elements (n lanes in a register) is read as n vectors along one axis and turned,
and what is made of it is computed and written as n vectors along the other. What is left over at
the edges is done under masks, or as it would be without blocks where the machine has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from wengert.compile.emit.access import element_address, from_memory
from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function
from wengert.compile.emit.machine import Machine
from wengert.compile.emit.types import memory_type, vector
from wengert.compile.emit.vectors import WIDTH, store_lanes
from wengert.compile.kernels.kernel import Index, Store
from wengert.compile.kernels.nest import Evaluation, Offsets, Space, along, masked
from wengert.compile.kernels.turn import turning
from wengert.graph.dtypes import DType

SIDE = 64
"""Rows and columns of the square whose blocks are turned one after the other: what is read of a row
is then several lines of the cache, and few pages of memory are in use at a time."""

TOGETHER = 4
"""Rows of a whole block that are computed in one turn of the loop."""

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


def block_lanes(machine: Machine, dtype: DType) -> int:
    """Return how many elements a side of a block has; chunks begin at multiples of it."""
    return min(WIDTH, machine.lanes(dtype))


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
        self.lanes = block_lanes(function.module.machine, turned[0].dtype)
        sizes = [self.lanes**2 * x.dtype.itemsize for x in turned]
        self.places = dict(zip(turned, accumulate(sizes, initial=0), strict=False))
        self.memory = function.once(f"alloca [{sum(sizes)} x i8], align 64")

    def emit(self, offsets: Offsets, bounds: tuple[Index, Index]) -> None:
        """Emit the loops over both axes; `bounds` are those of the first."""
        length, lanes = self.space.lengths[-2], self.lanes
        start, stop = bounds
        if isinstance(start, int) and isinstance(stop, int):
            rest: Index = start + (stop - start) // lanes * lanes
        else:
            rest = self.function.value(f"and i64 {stop}, {-lanes}")
        self._whole_blocks(offsets, (start, rest))
        left = length % lanes
        if not left:
            return
        if isinstance(stop, int):
            self._last_rows(offsets, left)
            return
        ends = self.function.value(f"icmp eq i64 {stop}, {length}")
        self.function.when(ends, lambda: self._last_rows(offsets, left))

    def _whole_blocks(self, offsets: Offsets, rows: tuple[Index, Index]) -> None:
        """Emit the blocks of whole rows, those near each other together, then the last columns."""
        function, lanes, length = self.function, self.lanes, self.space.lengths[-1]
        (start, stop), whole = rows, length // lanes * lanes

        def around(top: Index, left: Index) -> None:
            bottom = function.min(function.add(top, SIDE), stop)
            right = function.min(function.add(left, SIDE), whole)

            def row(i: Index, _: list[str]) -> None:
                here = self._at_row(offsets, i)
                function.loop(left, right, lanes, lambda j, _: self._block(here, j, lanes, lanes))

            function.loop(top, bottom, lanes, row)

        function.loop(
            start,
            stop,
            SIDE,
            lambda top, _: function.loop(0, whole, SIDE, lambda left, _: around(top, left)),
        )
        if whole < length:
            last = length - whole
            function.loop(
                start,
                stop,
                lanes,
                lambda i, _: self._block(self._at_row(offsets, i), whole, lanes, last),
            )

    def _last_rows(self, offsets: Offsets, rows: int) -> None:
        """Emit the blocks of the last rows, fewer than a block has."""
        length, lanes = self.space.lengths[-1], self.lanes
        here, whole = self._at_row(offsets, self.space.lengths[-2] - rows), length // lanes * lanes
        self.function.loop(0, whole, lanes, lambda j, _: self._block(here, j, rows, lanes))
        if whole < length:
            self._block(here, whole, rows, length - whole)

    def _at_row(self, offsets: Offsets, i: Index) -> Offsets:
        return self.space.advance(self.function, offsets, self.space.rank - 2, i)

    def _block(self, offsets: Offsets, j: Index, rows: int, columns: int) -> None:
        space, function, lanes = self.space, self.function, self.lanes
        here = space.advance(function, offsets, space.rank - 1, j)
        whole = rows == columns == lanes
        if whole and self._copies:
            self._copy(here)
            return
        if not (whole or function.module.machine.masks):
            self._edge(here, rows, columns)
            return
        turned = {x: self._turned(x, here, rows, columns) for x in self.turned}
        wide = Lanes(function, lanes)
        if columns < lanes:
            wide = masked(function, lanes, columns, 0)

        def row(i: Index, _: list[str]) -> None:
            at = space.advance(function, here, space.rank - 2, i)
            self.values.given = {x: self._row_of(x, home, i) for x, home in turned.items()}
            self.values.enter(space.rank - 1, Lanes(function), at)
            self._store(wide, at)

        together = min(TOGETHER, lanes) if whole else 1

        def several(i: Index, _: list[str]) -> None:
            for k in range(together):
                row(function.add(i, k), [])

        function.loop(0, rows, together, several)

    def _edge(self, offsets: Offsets, rows: int, columns: int) -> None:
        """Emit the loops over a block that is not whole: nothing is turned."""
        function, space = self.function, self.space
        self.values.given = {}

        def row(i: Index, _: list[str]) -> None:
            here = space.advance(function, offsets, space.rank - 2, i)
            self.values.enter(space.rank - 1, Lanes(function), here)

            def store(lanes: Lanes, j: Index) -> None:
                self._store(lanes, space.advance(function, here, space.rank - 1, j))

            along(function, (0, columns), self.lanes, store)

        function.loop(0, rows, 1, row)

    def _store(self, lanes: Lanes, at: Offsets) -> None:
        """Evaluate and store what the kernel makes at some places of a row."""
        self.values.enter(self.space.rank, lanes, at)
        made = [self.values.value(store.value, lanes) for store in self.stores]
        for value, store in zip(made, self.stores, strict=True):
            target, steps = store.target, self.space.strides[store.target]
            store_lanes(lanes, value, target, at[steps], steps[-1])

    @property
    def _copies(self) -> bool:
        """Whether all that the kernel does is to turn one array."""
        ((target, value), *more) = self.stores
        return not more and value in self.turned and self.space.strides[target][-1] == 1

    def _copy(self, offsets: Offsets) -> None:
        """Turn a whole block to where the kernel stores it."""
        ((target, value),) = self.stores
        assert isinstance(value, Strided)
        steps = self.space.strides[target]
        address = element_address(self.function, target, offsets[steps])
        self._turn(value, offsets, address, steps[-2], self.lanes, self.lanes)

    def _turned(self, x: Strided, offsets: Offsets, rows: int, columns: int) -> str:
        """Turn a block of `x`, which is read column by column; return the address of its rows."""
        turned = self.function.element(self.memory, "i8", self.places[x])
        self._turn(x, offsets, turned, self.lanes, rows, columns)
        return turned

    def _turn(
        self, x: Strided, offsets: Offsets, turned: str, pitch: int, rows: int, columns: int
    ) -> None:
        """Turn a block of `x` to an address, with rows so many elements apart."""
        function, steps = self.function, self.space.strides[x]
        name = turning(function.module, x.dtype, self.lanes, rows == columns == self.lanes)
        source = element_address(function, x, offsets[steps])
        function.invoke(name, (source, turned), steps[-1], pitch, rows, columns)

    def _row_of(self, x: Strided, turned: str, row: Index) -> Lane:
        """Return a row of a turned block."""
        function, lanes = self.function, self.lanes
        kind = vector(memory_type(x.dtype), lanes)
        address = function.element(turned, kind, row)
        text = function.value(f"load {kind}, ptr {address}, align {x.dtype.itemsize}")
        return Lane(from_memory(function, text, x.dtype, f"<{lanes} x {{}}>"), x.dtype)

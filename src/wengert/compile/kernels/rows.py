"""Reductions whose lanes are terms of one result: sums along what is neighbours in memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from wengert.compile.emit.access import (
    element_address,
    from_memory,
    prefetch_line,
    to_memory,
)
from wengert.compile.emit.arrays import Buffer
from wengert.compile.emit.expression import Lane, Lanes, State
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import memory_type
from wengert.compile.emit.vectors import WIDTH, width_for
from wengert.compile.kernels.epilogue import FAR
from wengert.compile.kernels.fold import folding
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import Evaluation, Offsets, Space, along, masked
from wengert.compile.kernels.reduction import LANES, Reduction, carried
from wengert.graph.dtypes import BOOL, DType

if TYPE_CHECKING:
    from wengert.compile.kernels.reduce import Reduce

LONG = 256
"""The length from which on a sum is long."""

LINE, SHORT, AHEAD = 64, 512, 4096
"""Bytes of a line of the cache, of the longest of short rows, and how far ahead is asked for them.
"""

DEAR = 3
"""The cost of combining two states from which on several rows combine their lanes together."""

FEW = 4
"""The fewest rows that do so."""


class Rows(Reduction):
    """Emits a reduction, result by result, or that of several results before they are stored."""

    def __init__(self, kernel: Reduce, function: Function, space: Space) -> None:
        last = len(space.lengths) - 1
        super().__init__(kernel, function, space, last)
        self.rows = self._rows_at_once()
        if self.rows > 1:
            self.terms = Evaluation(function, space, kernel.before.nodes, last)
            self.values = Evaluation(function, space, kernel.under.nodes, self.rank - 1)

    def _rows_at_once(self) -> int:
        """Return how many rows are reduced before their results are made, a lane for each.

        That is worth it where combining states is dear, or the lanes of a row are one register.
        """
        if not self.rank or not self.inner:
            return 1
        rows = min(WIDTH, *map(self.function.module.machine.lanes, self.kernel.dtypes))
        worth = self.kernel.combining >= DEAR or self._lanes_of_a_row == rows
        return rows if worth and FEW <= rows <= self.space.lengths[self.rank - 1] else 1

    def run(self, chunk: Index | None) -> None:
        """Emit the loops over the results of one chunk."""
        function, last, grid = self.function, self.rank - 1, self.kernel.grid
        if self.rows > 1:
            self._run_by_rows(grid.bounds(function, chunk, self.rows if last == 0 else 1))
        else:
            self.values.loops(
                self.rank, grid.bounds(function, chunk), lambda at, _: self._result(at)
            )

    def _result(self, offsets: Offsets) -> None:
        """Emit the reduction of one result, and what is stored of it."""
        self.store(Lanes(self.function), offsets, self._halved(*self._row(offsets), 1))

    def _run_by_rows(self, bounds: tuple[Index, Index]) -> None:
        """Emit the loops over the results, some rows at a time."""
        function, space, last = self.function, self.space, self.rank - 1
        plain = all(space.strides[x][last] in {0, 1} for x in self.kernel.views)

        def row(offsets: Offsets, limits: tuple[Index, Index]) -> None:
            def body(lanes: Lanes, index: Index) -> None:
                here = space.advance(function, offsets, last, index)
                self.values.enter(last + 1, lanes, here)
                if lanes.width == 1:
                    state = self._halved(*self._entered_row(here), 1)
                else:
                    left = function.add(limits[1], function.mul(index, -1))
                    state = self._several_rows(here, left if lanes.mask else lanes.width)
                self.store(lanes, here, state)

            along(function, limits, self.rows, body, plain)

        self.values.loops(last, bounds, row)

    def _several_rows(self, offsets: Offsets, count: Index) -> State:
        """Emit the reduction of so many rows, up to `rows`; return a state with a lane for each."""
        function, kernel = self.function, self.kernel
        lanes = min(self._lanes_of_a_row, self.rows)
        sizes = [self.rows * lanes * dtype.itemsize for dtype in kernel.dtypes]
        memory = function.once(f"alloca [{sum(sizes)} x i8], align 64")
        aside = [function.element(memory, "i8", n) for n in accumulate(sizes[:-1], initial=0)]

        def row(i: Index, _: list[str]) -> None:
            here = self.space.advance(function, offsets, self.rank - 1, i)
            state = self._halved(*self._entered_row(here), lanes)
            for place, value in zip(aside, state, strict=True):
                kind, text = to_memory(function, value.text, value.dtype, f"<{lanes} x {{}}>")
                at = function.element(place, kind, i)
                function.do(f"store {kind} {text}, ptr {at}, align {value.dtype.itemsize}")

        function.loop(0, count, 1, row)
        name = folding(function.module, kernel.combine, kernel.dtypes, self.rows, lanes)
        function.invoke(name, aside)
        return tuple(self._read(place, d) for place, d in zip(aside, kernel.dtypes, strict=True))

    def _read(self, place: str, dtype: DType) -> Lane:
        """Return a lane for each row from memory."""
        shape = f"<{self.rows} x {{}}>"
        kind = shape.format(memory_type(dtype))
        text = self.function.value(f"load {kind}, ptr {place}, align {dtype.itemsize}")
        return Lane(from_memory(self.function, text, dtype, shape), dtype)

    def _entered_row(self, offsets: Offsets) -> tuple[Lanes, State]:
        """Emit one of several rows, with all that its terms need."""
        for level in range(self.rank + 1):
            self.terms.enter(level, Lanes(self.function), offsets)
        return self._row(offsets)

    @property
    def _lanes_of_a_row(self) -> int:
        length = self.inner[-1] if self.inner else 1
        return width_for(length, LANES if length >= LONG else WIDTH)

    def _ask_ahead(self, offsets: Offsets) -> None:
        """Ask for rows that come later, if they are far and so short that processors do not ask."""
        for x in self.kernel.before.leaves:
            steps, size = self.space.strides[x], x.dtype.itemsize
            pitch = steps[self.rank - 1] * size if self.rank else 0
            far = isinstance(x.base, Buffer) and x.size * size >= FAR
            if not far or steps[-1] != 1 or not LINE <= pitch <= SHORT:
                continue
            for byte in range(AHEAD, AHEAD + pitch, LINE):
                place = self.function.add(offsets[steps], byte // size)
                prefetch_line(self.function, element_address(self.function, x, place))

    def _row(self, offsets: Offsets) -> tuple[Lanes, State]:
        """Emit the reduction of one row; return lanes and the state in each, of all or of some.

        Lanes come in parts, each with statements of its own: what is read then is read in order.
        """
        count = max(1, self._lanes_of_a_row // WIDTH)
        lanes = Lanes(self.function, self._lanes_of_a_row // count)
        first = self.first(lanes)
        if not self.inner:
            return lanes, self.state(self._stepped(lanes, [x.text for x in first]))
        self._ask_ahead(offsets)
        size = len(first)

        def turn(here: Offsets, index: Index, values: list[str], left: int) -> list[str]:
            after = list(values)
            for part in range(count):
                some, used = lanes, left - part * lanes.width
                if used <= 0:
                    break
                if used < lanes.width:
                    some = masked(self.function, lanes.width, used, 0)
                at = self.function.add(index, part * lanes.width)
                place = self.space.advance(self.function, here, len(self.space.lengths) - 1, at)
                self.terms.enter(len(self.space.lengths), some, place)
                own = slice(part * size, (part + 1) * size)
                after[own] = self._stepped(some, values[own])
            return after

        def ends(here: Offsets, values: list[str]) -> list[str]:
            length, step = self.inner[-1], count * lanes.width
            whole = length // step * step
            carried = [(kind, v) for (kind, _), v in zip(given, values, strict=True)]
            sums = self.function.loop(0, whole, step, lambda i, v: turn(here, i, v, step), carried)
            return turn(here, whole, sums, length - whole)

        given = carried(lanes, first) * count
        values = self._around(self.rank, offsets, given, ends)
        parts = [self.state(values[i : i + size]) for i in range(0, len(values), size)]
        while len(parts) > 1:
            halves = zip(parts[: len(parts) // 2], parts[len(parts) // 2 :], strict=True)
            parts = [tuple(self.kernel.combine(lanes, x, y)) for x, y in halves]
        return lanes, parts[0]

    def _around(
        self,
        depth: int,
        offsets: Offsets,
        carried: list[tuple[str, str]],
        ends: Callable[[Offsets, list[str]], list[str]],
    ) -> list[str]:
        """Emit the loops over all reduced axes but the last."""
        if depth == len(self.space.lengths) - 1:
            return ends(offsets, [value for _, value in carried])

        def turn(index: Index, values: list[str]) -> list[str]:
            here = self.space.advance(self.function, offsets, depth, index)
            self.terms.enter(depth + 1, Lanes(self.function), here)
            passed = [(kind, v) for (kind, _), v in zip(carried, values, strict=True)]
            return self._around(depth + 1, here, passed, ends)

        return self.function.loop(0, self.space.lengths[depth], 1, turn, carried)

    def _halved(self, wide: Lanes, state: State, lanes: int) -> State:
        """Combine the lanes by halves until so many are left."""
        while wide.width > lanes:
            half = wide.width // 2
            narrow = Lanes(self.function, half)
            parts = [tuple(wide.some(x, first, half) for x in state) for first in (0, half)]
            state = tuple(self.kernel.combine(narrow, *parts))
            wide = narrow
        return state

    def step(self, lanes: Lanes, state: State) -> State:
        """Combine the state so far with the terms here, in the lanes that are in use."""
        after = super().step(lanes, state)
        if lanes.mask is None:
            return after
        used = Lane(lanes.mask, BOOL)
        return tuple(lanes.where(used, x, y) for x, y in zip(after, state, strict=True))

    def _stepped(self, lanes: Lanes, values: list[str]) -> list[str]:
        return [x.text for x in self.step(lanes, self.state(values))]

"""Sums over rows that are far apart in memory: some rows at a time, in strips of columns.

Column by column, a line or a few of each row would be read, all of them on pages of their own. Here
several rows at a time are read from their beginning to their end, or to that of a strip of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from wengert.compile.emit.access import from_memory, to_memory
from wengert.compile.emit.expression import Lane, State
from wengert.compile.emit.ir import Function
from wengert.compile.emit.layout import ALIGNMENT
from wengert.compile.emit.types import memory_type
from wengert.compile.kernels.columns import Columns, Part
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import Offsets, Space

if TYPE_CHECKING:
    from wengert.compile.kernels.reduce import Reduce

STRIP = 1 << 13
"""Bytes of the sums of a strip: the nearest cache keeps them."""

TOGETHER = 8
"""Rows that are added to them at a time: so many streams come from memory, each in order."""


class Strips(Columns):
    """Emits a reduction, one strip of results after the other; terms keep their order."""

    def __init__(self, kernel: Reduce, function: Function, space: Space) -> None:
        super().__init__(kernel, function, space)
        size = sum(dtype.itemsize for dtype in kernel.dtypes)
        self._columns = max(1, STRIP // (size * self.width)) * self.width
        sizes = [-(-self._columns * d.itemsize // ALIGNMENT) * ALIGNMENT for d in kernel.dtypes]
        memory = function.scratch(sum(sizes))
        starts = accumulate(sizes[:-1], initial=0)
        self._sums = [function.element(memory, "i8", start) for start in starts]

    def vectors(self, offsets: Offsets, bounds: tuple[Index, Index]) -> None:
        """Emit the results within `bounds`, whole vectors."""
        function = self.function

        def strip(start: Index, _: list[str]) -> None:
            stop = function.min(function.add(start, self._columns), bounds[1])
            self._strip(offsets, start, function.add(stop, function.mul(start, -1)))

        function.loop(*bounds, self._columns, strip)

    def _strip(self, offsets: Offsets, start: Index, length: Index) -> None:
        """Emit so many results, from `start` on."""
        function, rows = self.function, self.inner[0]

        def parts(at: Index) -> list[Part]:
            return self.parts(offsets, function.add(start, at), self.width)

        def begin(at: Index, _: list[str]) -> None:
            here = parts(at)
            self._keep(at, here, [self.first(part.lanes) for part in here])

        def add(row: Index, count: int) -> None:
            def some(at: Index, _: list[str]) -> None:
                here, limits = parts(at), (row, function.add(row, count))
                self._keep(at, here, self.reduced(here, limits, self._kept(at, here)))

            function.loop(0, length, self.width, some)

        def end(at: Index, _: list[str]) -> None:
            here = parts(at)
            self.stored(here, self._kept(at, here))

        whole = rows // TOGETHER * TOGETHER
        function.loop(0, length, self.width, begin)
        function.loop(0, whole, TOGETHER, lambda row, _: add(row, TOGETHER))
        if rows > whole:
            add(whole, rows - whole)
        function.loop(0, length, self.width, end)

    def _kept(self, at: Index, parts: Sequence[Part]) -> list[State]:
        """Return the sums so far of results, the first of which is `at` places from the strip's."""
        found = []
        for part, places in zip(parts, self._places(at, parts), strict=True):
            shape, state = _shape(part), []
            for place, dtype in zip(places, self.kernel.dtypes, strict=True):
                kind = shape.format(memory_type(dtype))
                text = self.function.value(f"load {kind}, ptr {place}, align {dtype.itemsize}")
                state.append(Lane(from_memory(self.function, text, dtype, shape), dtype))
            found.append(tuple(state))
        return found

    def _keep(self, at: Index, parts: Sequence[Part], states: Sequence[State]) -> None:
        """Put the sums so far of results aside."""
        for part, places, state in zip(parts, self._places(at, parts), states, strict=True):
            for place, x in zip(places, state, strict=True):
                kind, text = to_memory(self.function, x.text, x.dtype, _shape(part))
                self.function.do(f"store {kind} {text}, ptr {place}, align {x.dtype.itemsize}")

    def _places(self, at: Index, parts: Sequence[Part]) -> list[list[str]]:
        """Return where the scalars of the states of results are."""
        starts = accumulate((part.lanes.width for part in parts[:-1]), initial=0)
        return [
            [
                self.function.element(sums, memory_type(dtype), self.function.add(at, start))
                for sums, dtype in zip(self._sums, self.kernel.dtypes, strict=True)
            ]
            for start in starts
        ]


def _shape(part: Part) -> str:
    return f"<{part.lanes.width} x {{}}>" if part.lanes.width > 1 else "{}"

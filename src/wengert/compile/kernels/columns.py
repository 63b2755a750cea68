"""Reductions whose lanes are results: sums over rows, for results that are neighbours in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from wengert.compile.emit.expression import Lanes, State
from wengert.compile.emit.ir import Function
from wengert.compile.emit.vectors import WIDTH, width_for
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import Known, Offsets, Space, masked
from wengert.compile.kernels.reduction import LANES, Reduction, carried

if TYPE_CHECKING:
    from wengert.compile.kernels.reduce import Reduce

LIGHT = 2
"""The most additions a term may cost for so many lanes: there must be registers for all."""


class Part(NamedTuple):
    """Some neighbouring results.

    Attributes
    ----------
    lanes : Lanes
        One for each.
    offsets : offsets
        Where the first of them is.
    known : Known
        The values of nodes there.
    """

    lanes: Lanes
    offsets: Offsets
    known: Known


class Columns(Reduction):
    """Emits a reduction, the results by vectors.

    Several vectors are in parts, each with statements of its own: what is read then is read in
    order.
    """

    def __init__(self, kernel: Reduce, function: Function, space: Space) -> None:
        super().__init__(kernel, function, space, space.rank - 1)
        most = LANES if kernel.before.cost <= LIGHT else WIDTH
        self.length = space.lengths[self.rank - 1] if self.rank else 1
        self.width = width_for(self.length, most)
        walks = space.strides.values()
        self._plain = all(steps[self.rank - 1] in {0, 1} for steps in walks if self.rank)

    def run(self, chunk: Index | None) -> None:
        """Emit the loops over the results of one chunk."""
        width = self.width if self.rank == 1 else 1
        bounds = self.kernel.grid.bounds(self.function, chunk, width)
        self.values.loops(max(0, self.rank - 1), bounds, self._along)

    def _along(self, offsets: Offsets, limits: tuple[Index, Index]) -> None:
        """Emit the loop over the last axis of the results: whole vectors, then what is left."""
        function, whole = self.function, self.length // self.width * self.width
        self.vectors(offsets, (limits[0], function.min(limits[1], whole)))
        rest = self.length - whole
        if rest and isinstance(limits[1], int):
            self._results(offsets, whole, rest)
        elif rest:
            last = function.value(f"icmp eq i64 {limits[1]}, {self.length}")
            function.when(last, lambda: self._results(offsets, whole, rest))

    def vectors(self, offsets: Offsets, bounds: tuple[Index, Index]) -> None:
        """Emit the results within `bounds`, whole vectors."""
        self.function.loop(*bounds, self.width, lambda i, _: self._results(offsets, i, self.width))

    def _results(self, offsets: Offsets, index: Index, count: int) -> None:
        """Emit the reduction of so many results, from `index` on, and what is stored of them."""
        parts = self.parts(offsets, index, count)
        states = [self.first(part.lanes) for part in parts]
        if self.inner:
            states = self.reduced(parts, (0, self.inner[0]), states)
        else:
            states = [self._stepped(part, s) for part, s in zip(parts, states, strict=True)]
        self.stored(parts, states)

    def _stepped(self, part: Part, state: State) -> State:
        self.values.recall(part.known)
        return self.step(part.lanes, state)

    def parts(self, offsets: Offsets, index: Index, count: int) -> list[Part]:
        """Return so many results, from `index` on."""
        found, done = [], 0
        for lanes in self._lanes(count):
            part = Part(lanes, offsets, self.values.known())
            if self.rank:  # otherwise it is a chunk of one result
                part = self._entered(part, self.rank - 1, self.function.add(index, done))
            found.append(part)
            done += lanes.width
        return found

    def _lanes(self, count: int) -> list[Lanes]:
        """Return lanes for so many results: whole vectors, then a mask or ever fewer lanes."""
        found = [Lanes(self.function, WIDTH)] * (count // WIDTH)
        rest = count % WIDTH
        if rest and self._plain and self.function.module.machine.masks and count < self.width:
            return [*found, masked(self.function, min(WIDTH, self.width), rest, 0)]
        while rest:
            width = 1 << rest.bit_length() - 1
            found.append(Lanes(self.function, width))
            rest -= width
        return found

    def _entered(self, part: Part, depth: int, index: Index) -> Part:
        """Return a part at an index of the loop over axis `depth`, with what is known there."""
        here = self.space.advance(self.function, part.offsets, depth, index)
        self.values.recall(part.known)
        self.values.enter(depth + 1, part.lanes, here)
        return Part(part.lanes, here, self.values.known())

    def reduced(
        self, parts: Sequence[Part], rows: tuple[Index, Index], states: Sequence[State]
    ) -> list[State]:
        """Emit the loops over terms, one at a time, and return the states after them.

        Parameters
        ----------
        parts, states : sequence of Part, of State
            The results, and their states before.
        rows : tuple of index
            The bounds of the first reduced axis; the others are walked as a whole.
        """
        return self._walk(self.rank, parts, rows, states)

    def _walk(
        self,
        depth: int,
        parts: Sequence[Part],
        bounds: tuple[Index, Index],
        states: Sequence[State],
    ) -> list[State]:
        """Emit the loop over axis `depth`, and those after it."""
        size, after = len(self.kernel.dtypes), self.space.lengths[depth + 1 :]

        def grouped(values: Sequence[str]) -> list[State]:
            return [self.state(values[i : i + size]) for i in range(0, len(values), size)]

        def turn(index: Index, values: list[str]) -> list[str]:
            before = grouped(values)
            if after:
                here = [self._entered(part, depth, index) for part in parts]
                found = self._walk(depth + 1, here, (0, after[0]), before)
            else:
                found = [
                    self._stepped(self._entered(part, depth, index), state)
                    for part, state in zip(parts, before, strict=True)
                ]
            return [x.text for state in found for x in state]

        pairs = zip(parts, states, strict=True)
        given = [value for part, state in pairs for value in carried(part.lanes, state)]
        return grouped(self.function.loop(*bounds, 1, turn, given))

    def stored(self, parts: Sequence[Part], states: Sequence[State]) -> None:
        """Emit what is stored of results."""
        for part, state in zip(parts, states, strict=True):
            self.values.recall(part.known)
            self.store(part.lanes, part.offsets, state)

"""The tiles of a sum of products: pieces of the result that live in registers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from wengert.compile.emit.access import element_address, load_at
from wengert.compile.emit.arrays import Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.types import memory_type, scalar_type, vector
from wengert.compile.emit.vectors import load_lanes, store_lanes
from wengert.compile.kernels.epilogue import DONE, prefetch, store_results
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import masked

if TYPE_CHECKING:
    from wengert.compile.kernels.product import Product


MANY = 64
"""Terms during which there is time to fetch what the results go to."""


PAIRING = 12
"""The most vectors of a tile that adds two terms in a turn: who shares a processor with another
program has half of its instructions, too few to spend on counting."""

PAIRED = 8
"""The fewest terms that are added so."""


class Piece(NamedTuple):
    """Some of the terms of a sum of products, all unless it is cut into blocks of terms.

    Attributes
    ----------
    x, y : Strided
        The factors, with pointers of their own even if they are one array.
    sums : Strided or None
        Where the sums of earlier terms are, and those so far are to be put; None: from zero.
    ends : bool
        Whether these are the last terms, so that the kernel's stores can be made.
    """

    x: Strided
    y: Strided
    sums: Strided | None = None
    ends: bool = True


def address_at(function: Function, array: Strided, place: Sequence[Index]) -> str:
    """Return the address of the element of an array at a place of its first axes."""
    offset = function.dot(place, array.strides[: len(place)])
    return element_address(function, array, offset)


class Tile:
    """A tile of some rows and columns, as a function that is told where it begins."""

    def __init__(
        self, kernel: Product, module: Module, rows: int, columns: int, piece: Piece
    ) -> None:
        self.kernel = kernel
        self.piece = piece
        self.x, self.y = piece.x, piece.y
        self.rows = rows
        self.overlap = kernel.tiling.rows.overlap
        self.lanes = kernel.tiling.lanes
        self.columns = columns
        self.function = Function(module, (DONE,))
        self.kind = vector(scalar_type(kernel.x.dtype), self.lanes)
        self.vectors = -(-columns // self.lanes)
        self.places = [(i, j) for i in range(rows) for j in range(self.vectors)]
        if piece.ends and math.prod(piece.x.shape[len(kernel.shape) :]) >= MANY:
            prefetch(self)
        sums = self._sum(len(kernel.shape), 0, 0, self._before())
        self._store(sums)
        self.name = module.define(self.function)

    def call(
        self,
        function: Function,
        place: Sequence[Index],
        known: Mapping[Strided, str],
        done: Index,
    ) -> None:
        """Emit a call for the tile at a place of the space.

        Parameters
        ----------
        function : Function
            Where the code goes.
        place : sequence of index
            Where the tile begins.
        known : mapping
            Addresses in the tile of some arrays.
        done : index
            How many rows have been stored already: none, or the overlap.
        """
        pointers = [
            known[array] if array in known else address_at(function, array, place)
            for array in self.function.arrays
        ]
        function.invoke(self.name, pointers, done)

    def _before(self) -> list[str]:
        """Return the sums of earlier terms."""
        array = self.piece.sums
        if array is None:
            return ["zeroinitializer"] * len(self.places)
        return [
            load_lanes(self.vector(j), array, self.place(array, i, j), 1).text
            for i, j in self.places
        ]

    def place(self, array: Strided, i: int, j: int) -> int:
        """Return where vector `j` of row `i` begins."""
        return i * array.strides[-2] + j * self.lanes * array.strides[-1]

    def vector(self, j: int) -> Lanes:
        """Return the lanes of the vector number `j`: the last may be in use in part."""
        used = min(self.lanes, self.columns - j * self.lanes)
        if used == self.lanes:
            return Lanes(self.function, self.lanes)
        return masked(self.function, self.lanes, used, 0)

    def _sum(self, axis: int, at_x: Index, at_y: Index, sums: list[str]) -> list[str]:
        """Add all terms along the inner axes from number `axis` on."""
        if axis == len(self.x.shape):
            return self._term(at_x, at_y, sums)
        length, loop = self.x.shape[axis], self.function.loop

        def turn(k: Index, sums: list[str]) -> list[str]:
            function, places = self.function, (at_x, at_y)
            x, y = (
                function.add(at, function.mul(k, v.strides[axis]))
                for at, v in zip(places, (self.x, self.y), strict=True)
            )
            return self._sum(axis + 1, x, y, sums)

        def turns(k: Index, sums: list[str]) -> list[str]:
            return turn(self.function.add(k, 1), turn(k, sums))

        carried = [(self.kind, value) for value in sums]
        innermost = axis == len(self.x.shape) - 1
        if not innermost or len(self.places) > PAIRING or length < PAIRED:
            return loop(0, length, 1, turn, carried)
        even = length // 2 * 2
        sums = loop(0, even, 2, turns, carried)
        return turn(even, sums) if even < length else sums

    def _term(self, at_x: Index, at_y: Index, sums: list[str]) -> list[str]:
        """Add one term to each element of the tile."""
        x, y, function = self.x, self.y, self.function
        step = y.strides[len(self.kernel.shape) - 1]
        ys = [
            load_lanes(self.vector(j), y, function.add(at_y, j * self.lanes * step), step)
            for j in range(self.vectors)
        ]
        after = []
        down, kind = x.strides[len(self.kernel.shape) - 2], memory_type(x.dtype)
        first, wide = element_address(function, x, at_x), Lanes(function, self.lanes)
        for i in range(self.rows):
            one = load_at(function, function.element(first, kind, i * down), x.dtype)
            factor = wide.splat(one, x.dtype)
            for j in range(self.vectors):
                total = Lane(sums[i * self.vectors + j], x.dtype)
                after.append(self._multiply_add(wide, factor, ys[j], total).text)
        return after

    def _multiply_add(self, lanes: Lanes, x: Lane, y: Lane, total: Lane) -> Lane:
        if self.function.module.machine.fma:
            return lanes.fma(x, y, total)
        return lanes.add(lanes.mul(x, y), total)

    def _store(self, sums: Sequence[str]) -> None:
        """Evaluate and store what the kernel stores, or the sums so far."""
        array = self.piece.sums
        if array is not None and not self.piece.ends:
            for (i, j), value in zip(self.places, sums, strict=True):
                lane = Lane(value, array.dtype)
                store_lanes(self.vector(j), lane, array, self.place(array, i, j), 1)
            return
        store_results(self, sums)

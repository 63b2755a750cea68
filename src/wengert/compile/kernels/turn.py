"""Turning square blocks: one function for all kernels, since LLVM takes long over each shuffle.

A block of n by n elements is read in pieces of 16 bytes, p elements, each of which goes at once to
where its square of p by p elements belongs. These are turned by exchanging blocks of 1, 2, 4, …
elements beside their diagonals. Two such steps at a time are made on four rows in registers, in a
loop over the rows; in between they are in memory that the nearest cache holds.

Loads put pieces together for less than half of what exchanging them between registers costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wengert.compile.emit.access import element_address
from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.expression import Lanes
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.types import memory_type, vector
from wengert.compile.emit.vectors import load_lanes
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import masked
from wengert.graph.dtypes import BOOL, DType

_PIECE = 16
"""Bytes of what is put together by loads."""


def turning(module: Module, dtype: DType, lanes: int, whole: bool) -> str:
    """Return the name of the function that turns blocks of `lanes` by `lanes` elements.

    Its parameters, after the control block, are the addresses of the first column and of the turned
    block, the elements from one column to the next and from one turned row to the next, and how
    many rows and columns are in use: the elements of others become anything. All of them are, if it
    is for `whole` blocks.
    """
    numbers = ("step", "pitch", "rows", "columns")
    turn = _Turn(Function(module, numbers), dtype, lanes, whole)
    distance = 1
    while distance < turn.piece:
        distances = [d for d in (distance, 2 * distance) if d < turn.piece]
        turn.exchange(distances)
        distance = 2 * distances[-1]
    return module.define(turn.function)


class _Turn:
    """Emits the steps of turning a block."""

    def __init__(self, function: Function, dtype: DType, lanes: int, whole: bool) -> None:
        self.function = function
        self.lanes = lanes
        self.whole = whole
        self.piece = min(lanes, _PIECE // dtype.itemsize)
        raw = np.dtype(np.uint8) if dtype == BOOL else dtype
        self.kind = vector(memory_type(raw), lanes)
        self.align = f"align {raw.itemsize}"
        self.source = Strided(Buffer(0), raw, (lanes,), (1,))
        self.turned = Strided(Buffer(0), raw, (lanes, lanes), (lanes, 1))
        for array in (self.source, self.turned):
            function.pointer(array)

    def exchange(self, distances: Sequence[int]) -> None:
        """Exchange blocks of one size, and then of the double if there are two distances."""
        first, loop = distances[0], self.function.loop

        def group(start: Index) -> None:
            places = [start]
            for distance in distances:
                places += [self.function.add(place, distance) for place in places]
            rows = [self._row(place, read=first == 1) for place in places]
            for bit, distance in enumerate(distances):
                rows = self._exchanged(rows, 1 << bit, distance)
            for place, row in zip(places, rows, strict=True):
                self.function.do(
                    f"store {self.kind} {row}, ptr {self._address(place)}, {self.align}"
                )

        def groups(above: Index, _: list[str]) -> None:
            loop(0, first, 1, lambda below, _: group(self.function.add(above, below)))

        loop(0, self.lanes, 2 * distances[-1], groups)

    def _address(self, place: Index) -> str:
        """Return where a row of the turned block is."""
        offset = self.function.value(f"mul nsw i64 {place}, %pitch")
        return element_address(self.function, self.turned, offset)

    def _row(self, place: Index, read: bool) -> str:
        """Return a row, of what is read, in pieces of columns, or of the block as it is by now."""
        function = self.function
        if not read:
            return function.value(f"load {self.kind}, ptr {self._address(place)}, {self.align}")
        within = function.value(f"and i64 {place}, {self.piece - 1}")
        row = function.value(f"and i64 {place}, {-self.piece}")
        used = Lanes(function, self.piece)
        if not self.whole:
            used = masked(function, self.piece, "%rows", row)
        pieces = []
        for first in range(0, self.lanes, self.piece):
            column = function.add(within, first)
            if not self.whole:
                column = function.min(column, function.once("sub i64 %columns, 1"))
            offset = function.value(f"mul nsw i64 {column}, %step")
            pieces.append(load_lanes(used, self.source, function.add(offset, row), 1).text)
        return self._joined(pieces)

    def _joined(self, pieces: Sequence[str]) -> str:
        """Return a vector of all pieces."""
        width = self.piece
        while len(pieces) > 1:
            kind = vector(memory_type(self.source.dtype), width)
            width *= 2
            pieces = [
                self.function.shuffle(kind, one, other, range(width))
                for one, other in zip(pieces[::2], pieces[1::2], strict=True)
            ]
        return pieces[0]

    def _exchanged(self, rows: Sequence[str], apart: int, distance: int) -> list[str]:
        """Exchange elements `distance` apart between rows that are `apart` in the list."""
        after = list(rows)
        for i in range(len(rows)):
            if i & apart:
                continue
            for place, shift in ((i, 0), (i + apart, distance)):
                picks = [
                    (self.lanes + k - distance if k & distance else k) + shift
                    for k in range(self.lanes)
                ]
                pair = rows[i], rows[i + apart]
                after[place] = self.function.shuffle(self.kind, *pair, picks)
        return after

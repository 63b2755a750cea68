"""Turning square blocks: one function for all kernels, since LLVM takes long over each shuffle.

A block of n by n elements is turned by exchanging blocks of 1, 2, 4, … elements beside the
diagonal. Two such steps at a time are made on four rows in registers, in a loop over the rows; in
between they are in memory that the nearest cache holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wengert.compile.emit.access import element_address
from wengert.compile.emit.arrays import Buffer, Strided, dense
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.types import memory_type, vector
from wengert.compile.emit.vectors import load_lanes
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import masked
from wengert.graph.dtypes import BOOL, DType


def turning(module: Module, dtype: DType, lanes: int) -> str:
    """Return the name of the function that turns blocks of `lanes` by `lanes` elements.

    Its parameters, after the control block, are the addresses of the first column and of the turned
    block, the elements from one column to the next, and how many rows and columns are in use: the
    elements of others become anything.
    """
    turn = _Turn(Function(module, ("step", "rows", "columns")), dtype, lanes)
    distance = 1
    while distance < lanes:
        distances = [d for d in (distance, 2 * distance) if d < lanes]
        turn.exchange(distances)
        distance = 2 * distances[-1]
    return module.define(turn.function)


class _Turn:
    """Emits the steps of turning a block."""

    def __init__(self, function: Function, dtype: DType, lanes: int) -> None:
        self.function = function
        self.lanes = lanes
        raw = np.dtype(np.uint8) if dtype == BOOL else dtype
        self.kind = vector(memory_type(raw), lanes)
        self.source = Strided(Buffer(0), raw, (lanes,), (1,))
        self.turned = dense(Buffer(0), (lanes, lanes), raw)
        for array in (self.source, self.turned):
            function.pointer(array)
        self.used = masked(function, lanes, "%rows", 0)
        self.last = function.value("sub i64 %columns, 1")

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
                self.function.do(f"store {self.kind} {row}, ptr {self._address(place)}")

        def groups(above: Index, _: list[str]) -> None:
            loop(0, first, 1, lambda below, _: group(self.function.add(above, below)))

        loop(0, self.lanes, 2 * distances[-1], groups)

    def _address(self, place: Index) -> str:
        """Return where a row of the turned block is."""
        return element_address(self.function, self.turned, self.function.mul(place, self.lanes))

    def _row(self, place: Index, read: bool) -> str:
        """Return a row, of what is read (then it is a column there) or of the turned block."""
        if not read:
            return self.function.value(f"load {self.kind}, ptr {self._address(place)}")
        column = self.function.min(place, self.last)
        offset = self.function.value(f"mul nsw i64 {column}, %step")
        return load_lanes(self.used, self.source, offset, 1).text

    def _exchanged(self, rows: Sequence[str], apart: int, distance: int) -> list[str]:
        """Exchange elements `distance` apart between rows that are `apart` in the list."""
        after = list(rows)
        for i in range(len(rows)):
            if i & apart:
                continue
            for place, shift in ((i, 0), (i + apart, distance)):
                picks = ", ".join(
                    f"i32 {(self.lanes + k - distance if k & distance else k) + shift}"
                    for k in range(self.lanes)
                )
                after[place] = self.function.value(
                    f"shufflevector {self.kind} {rows[i]}, {self.kind} {rows[i + apart]}, "
                    f"<{self.lanes} x i32> <{picks}>"
                )
        return after

"""Large products: blocks of the second factor are copied side by side, and used for many rows.

Rows of a matrix whose length is a multiple of a large power of two compete for the same places of
the cache, and long columns do not fit into it. A panel (some hundred terms of one group of columns)
does. Sums are kept aside between panels, so that the chain of each element is the same as without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wengert.compile.emit.access import element_address
from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import memory_type, scalar_type, vector
from wengert.compile.kernels.kernel import Index, Store
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.registers import Piece, Tile
from wengert.compile.kernels.tiling import Split

if TYPE_CHECKING:
    from wengert.compile.kernels.product import Product

PANEL = 131072
"""Bytes of a panel: it stays in the second cache, whence tiles read it row by row."""

SUMS = 65536
"""Most bytes of the sums that are kept aside."""

ROWS = 64
"""The fewest rows for which a panel is worth its copying."""

FAR = 1 << 20
"""Bytes over which a factor must reach to be read from far away again and again."""


class Region(NamedTuple):
    """Some tiles: all those of a group of rows, in one group of columns.

    Attributes
    ----------
    place : tuple of index
        Where it is along the axes before rows and columns.
    rows : pair of index
        The first and the last tile + 1.
    column : index
        The first column.
    """

    place: tuple[Index, ...]
    rows: tuple[Index, Index]
    column: Index

    def tiles(
        self,
        kernel: Product,
        function: Function,
        columns: int,
        piece: Piece,
        known: Mapping[Strided, str],
    ) -> None:
        """Emit the tiles, one below the other."""
        rows = kernel.tiling.rows
        for first, last, count in rows.runs():
            code = Tile(kernel, function.module, count, columns, piece)

            def turn(index: Index, _: list[str], code: Tile = code) -> None:
                code.call(function, (*self.place, start(function, rows, index), self.column), known)

            limits = function.max(self.rows[0], first), function.min(self.rows[1], last)
            function.loop(*limits, 1, turn)


def start(function: Function, parts: Split, part: Index) -> Index:
    """Return where a part begins."""
    return function.add(function.mul(part, parts.size), function.min(part, parts.longer))


def worth_panels(kernel: Product) -> bool:
    """Tell whether the second factor of a product over one inner axis should be copied so.

    It should be if its columns are not side by side, or if it is too large for the second cache.
    """
    y, last = kernel.y, len(kernel.shape) - 1
    if kernel.shape[-2] < ROWS or not all(y.strides[:-3]):
        return False
    far = kernel.inner[0] * abs(y.strides[-1]) * y.dtype.itemsize >= FAR
    return y.strides[last] != 1 or far


def _width(kernel: Product) -> int:
    """Return the most columns of a tile."""
    _, _, vectors = next(kernel.tiling.vectors.runs())
    return vectors * kernel.tiling.lanes


class Panels:
    """Emits one region of a product, panel by panel."""

    def __init__(self, kernel: Product, function: Function, where: Region, columns: int) -> None:
        self.kernel = kernel
        self.function = function
        self.where = where
        self.columns = columns
        self.width = _width(kernel)
        self.row = self.width * kernel.x.dtype.itemsize
        terms = kernel.inner[0]
        self.terms = -(-terms // -(-terms * self.row // PANEL))
        rows = kernel.tiling.rows
        self.tiles = min(rows.parts, SUMS // self.row // (rows.size + (rows.longer > 0)))
        nbytes = self.terms * self.row + (SUMS if self.terms < terms else 0)
        self.panel = function.once(f"alloca [{nbytes} x i8], align 64")

    def emit(self) -> None:
        """Emit the tiles in groups whose sums can be kept aside."""
        (first, last), function = self.where.rows, self.function
        if self.terms == self.kernel.inner[0]:
            self._block(self.where, 0, self.terms, None, True)
            return

        def group(index: Index, _: list[str]) -> None:
            end = function.min(function.add(index, self.tiles), last)
            self._group(self.where._replace(rows=(index, end)))

        function.loop(first, last, self.tiles, group)

    def _group(self, where: Region) -> None:
        """Emit some tiles: all terms but the last panel's in a loop."""
        terms = self.kernel.inner[0]
        place = self.function.element(self.panel, "i8", self.terms * self.row)
        self._clear(place)
        above = start(self.function, self.kernel.tiling.rows, where.rows[0])
        before = self.function.add(self.function.mul(above, self.width), where.column)
        sums = self._moved(place, before)
        whole = (terms - 1) // self.terms * self.terms
        self.function.loop(
            0, whole, self.terms, lambda k, _: self._block(where, k, self.terms, sums, False)
        )
        self._block(where, whole, terms - whole, sums, True)

    def _block(self, where: Region, first: Index, terms: int, sums: str | None, ends: bool) -> None:
        """Copy a panel and add its terms."""
        kernel, function = self.kernel, self.function
        rank, dtype = len(kernel.shape), kernel.x.dtype
        flat = (0,) * (rank - 2)
        shape = (*kernel.shape, terms)
        x = replace(kernel.x, base=Buffer(0), shape=shape)
        panel = Strided(Buffer(0), dtype, shape, (*flat, 0, 1, self.width))
        kept = Strided(Buffer(0), dtype, kernel.shape, (*flat, self.width, 1))
        self._copy(where, first, terms)
        at_x = function.mul(first, kernel.x.strides[-1])
        known = {
            x: element_address(function, kernel.x, at_x),
            panel: self._moved(self.panel, where.column),
        }
        if sums is not None:
            known[kept] = sums
        piece = Piece(x, panel, None if sums is None else kept, ends)
        where.tiles(kernel, function, self.columns, piece, known)

    def _copy(self, where: Region, first: Index, terms: int) -> None:
        """Copy a block of the second factor into the panel."""
        kernel, function = self.kernel, self.function
        y, rank = kernel.y, len(kernel.shape)
        shape = terms, self.columns
        block = Strided(Buffer(0), y.dtype, shape, (y.strides[rank], y.strides[rank - 1]))
        panel = Strided(Buffer(0), y.dtype, shape, (self.width, 1))
        code = Function(function.module)
        Map(shape, [Store(panel, block)]).emit(code, None)
        offset = function.mul(first, y.strides[rank])
        for index, step in zip((*where.place, 0, where.column), y.strides, strict=False):
            offset = function.add(offset, function.mul(index, step))
        known = {block: element_address(function, y, offset), panel: self.panel}
        pointers = [f"ptr {known[array]}" for array in code.arrays]
        name = function.module.define(code)
        function.do(f"call void @{name}({', '.join(('ptr %control', *pointers, 'i64 0'))})")

    def _clear(self, place: str) -> None:
        """Set the sums to zero."""
        kind = vector(scalar_type(self.kernel.x.dtype), self.kernel.tiling.lanes)

        def clear(at: Index, _: list[str]) -> None:
            address = self.function.element(place, "i8", at)
            self.function.do(f"store {kind} zeroinitializer, ptr {address}, align 16")

        step = self.kernel.machine.vector_bytes
        self.function.loop(0, SUMS // step * step, step, clear)

    def _moved(self, address: str, elements: Index) -> str:
        """Return the address from which so many elements lead to `address`."""
        back = self.function.mul(elements, -1)
        return self.function.element(address, memory_type(self.kernel.x.dtype), back)

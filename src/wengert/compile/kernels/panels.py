"""Large products: blocks of the second factor are copied side by side, and used for many rows.

Rows of a matrix whose length is a multiple of a large power of two compete for the same places of
the cache, and long columns do not fit into it. Panels (the terms of one part of the columns) do.
Some panels are copied at once, so that each row of tiles is read from far away once for all of
them; rows are copied, too, if their terms are far apart. This is the blocking of Goto and van de
Geijn (ACM TOMS 34, 2008), with the roles of the factors exchanged.

Where the terms of a panel are too many for the cache, sums are kept aside between blocks of terms,
so that the chain of each element is the same as without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.ir import Function
from wengert.compile.emit.layout import ALIGNMENT
from wengert.compile.emit.types import scalar_type, vector
from wengert.compile.kernels.kernel import Index, Store
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.regions import At, Region, common, start
from wengert.compile.kernels.registers import Piece, address_at

if TYPE_CHECKING:
    from wengert.compile.kernels.product import Product

STRIP = 3 << 17
"""Bytes of the panels that are used together: they stay in the second cache, whence tiles read
them."""

WIDE_STRIP = 1 << 22
"""The same where rows of tiles are packed: to copy a row of tiles once more takes longer than to
fetch panels from farther away."""

PACKED = 1 << 18
"""Bytes of the rows of tiles that are copied together: what they have of a term is read in one
piece, of some lines of the cache. (A row of tiles alone ends within a line, and reads it again.)"""

SUMS = 1 << 16
"""Most bytes of the sums that are kept aside."""

ROWS = 64
"""The fewest rows for which it is worth copying what could be read where it is."""

FEW = 16
"""The fewest rows for which a copy in panels is better than one of the whole factor."""

TOGETHER = 16
"""How many terms are copied to all panels before the next."""

AT_ONCE = 4
"""The same for rows of tiles. Their terms are often pages apart, in the same places of the nearest
cache: the lines of sixteen would push each other out before all rows of tiles have read them."""

CHUNK = 512
"""The fewest rows for which a chunk copies panels of its own, that others copy, too."""

NEAR_CHUNK = 96
"""The same where the second factor is near and its columns are side by side: copying is quick."""

PAGE = 4096
"""Bytes: what is multiples of it apart is in the same places of the nearest cache."""

FAR = 1 << 20
"""Bytes over which a factor must reach to be read from far away again and again."""

NEAREST = 1 << 15
"""Bytes that the nearest cache holds."""

NARROW = 4
"""How many times fewer bytes of the second factor are far, and of rows are copied together, where
vectors are shorter than a line of the cache: tiles have fewer rows then, and read that factor more
often. Measured with AVX2 and 512 KiB of second cache; copying rows of the first factor so early
gained nothing."""


def worth_panels(kernel: Product) -> bool:
    """Tell whether the second factor of a product over one inner axis should be copied so.

    It should be if its columns are not side by side, if it is too large for the second cache, or if
    it is for the nearest one and nearly each of its vectors is in two lines.
    """
    y, rows = kernel.y, kernel.shape[-2]
    if rows < FEW or not all(y.strides[:-3]):
        return False
    if y.strides[-2] != 1:
        return True
    far = _scaled(kernel, FAR)
    if _ragged(kernel):
        far = min(far, NEAREST)
    return rows >= ROWS and _reach(kernel, y) >= far


def _ragged(kernel: Product) -> bool:
    """Tell whether vectors of the second factor are as long as lines, but in two for most terms.

    Where the first term begins is not looked at: kernels that differ in it alone share code.
    """
    step = kernel.y.strides[-1] * kernel.y.dtype.itemsize
    return kernel.machine.whole_lines and step % ALIGNMENT != 0


def worth_packing(kernel: Product) -> bool:
    """Tell whether rows of the first factor should be copied, too: its terms are far apart."""
    return kernel.x.strides[-1] != 1 and _reach(kernel, kernel.x) >= FAR


def crowded(kernel: Product) -> bool:
    """Tell whether the rows of the first factor compete for the same places of the cache."""
    step = kernel.x.strides[len(kernel.shape) - 2] * kernel.x.dtype.itemsize
    along = len(kernel.inner) == 1 and kernel.x.strides[-1] == 1
    return along and step != 0 and step % PAGE == 0


def _scaled(kernel: Product, size: int) -> int:
    """Return a size for vectors of a line of the cache, or what it is for shorter ones."""
    return size if kernel.machine.whole_lines else size // NARROW


def _reach(kernel: Product, factor: Strided) -> int:
    return kernel.inner[0] * abs(factor.strides[-1]) * factor.dtype.itemsize


def shared_rows(kernel: Product) -> int:
    """Return the fewest rows for which a chunk copies panels of its own."""
    near = kernel.y.strides[-2] == 1 and _reach(kernel, kernel.y) < _scaled(kernel, FAR)
    return NEAR_CHUNK if near else CHUNK


def strip(kernel: Product) -> int:
    """Return how many parts of the columns are worked on together.

    If there are too few rows for two chunks, threads share the strips: they are of even number.
    """
    if _terms(kernel) < kernel.inner[0]:
        return 1
    parts = kernel.tiling.vectors.parts
    panel = kernel.inner[0] * _width(kernel) * kernel.x.dtype.itemsize
    most = max(1, (WIDE_STRIP if worth_packing(kernel) else STRIP) // panel)
    strips = -(-parts // most)
    if kernel.shape[-2] < 2 * shared_rows(kernel):
        strips += strips % 2
    return -(-parts // strips)


def _width(kernel: Product) -> int:
    """Return the most columns of a tile."""
    return kernel.tiling.vectors.most * kernel.tiling.lanes


def _height(kernel: Product) -> int:
    """Return the most rows of a tile, in whole vectors."""
    return -(-kernel.tiling.rows.most // kernel.tiling.lanes) * kernel.tiling.lanes


def _terms(kernel: Product) -> int:
    """Return the most terms of a panel, and of a row of tiles if that is copied, too."""
    widest = max(_width(kernel), _height(kernel) if worth_packing(kernel) else 0)
    return min(kernel.inner[0], STRIP // (widest * kernel.x.dtype.itemsize))


class Layout:
    """What is where in the memory that a chunk copies to: panels, sums, rows of tiles.

    Attributes
    ----------
    width : int
        The most columns of a tile.
    height : int
        The most rows of a tile, in whole vectors.
    terms : int
        The most terms of a panel.
    panel, row, tile : int
        The bytes of a panel, of a row of tiles, and of the sums of a tile.
    tiles : int
        The most rows of tiles whose sums are kept.
    together : int
        The most rows of tiles that are copied at once; 0: none is copied.
    sums, rows, size : int
        Where the sums are, and the rows of tiles; the bytes of all.
    """

    def __init__(self, kernel: Product) -> None:
        rows, itemsize = kernel.tiling.rows, kernel.x.dtype.itemsize
        (terms,) = kernel.inner
        self.width, self.height = _width(kernel), _height(kernel)
        self.terms = _terms(kernel)
        self.panel = self.terms * self.width * itemsize
        self.row = self.terms * self.height * itemsize
        self.tile = rows.most * self.width * itemsize
        self.tiles = min(rows.parts, SUMS // self.tile)
        most = min(rows.parts, max(1, _scaled(kernel, PACKED) // self.row))
        self.together = most if worth_packing(kernel) else 0
        self.sums = self.panel * kernel.strips.step
        self.rows = self.sums + (SUMS if self.terms < terms else 0)
        self.size = self.rows + self.row * self.together


class Panels:
    """Emits one region of a product, panel by panel."""

    def __init__(self, kernel: Product, function: Function, where: Region) -> None:
        self.kernel = kernel
        self.function = function
        self.where = where
        self.layout = Layout(kernel)
        self.scratch = function.scratch(self.layout.size)

    def emit(self) -> None:
        """Emit the tiles in groups whose sums can be kept aside."""
        (first, last), function, tiles = self.where.rows, self.function, self.layout.tiles
        (terms,) = self.kernel.inner
        if self.layout.terms == terms:
            self._block(self.where, _Terms(0, terms))
            return

        def group(index: Index, _: list[str]) -> None:
            end = function.min(function.add(index, tiles), last)
            self._group(self.where._replace(rows=(index, end)))

        function.loop(first, last, tiles, group)

    def _group(self, where: Region) -> None:
        """Emit some tiles: all terms but the last panels' in a loop."""
        self._clear(self.function.element(self.scratch, "i8", self.layout.sums))
        (terms,), most = self.kernel.inner, self.layout.terms
        whole = (terms - 1) // most * most

        def turn(k: Index, _: list[str]) -> None:
            self._block(where, _Terms(k, most, kept=True, ends=False))

        self.function.loop(0, whole, most, turn)
        self._block(where, _Terms(whole, terms - whole, kept=True))

    def _block(self, where: Region, terms: _Terms) -> None:
        block = Block(self, where, terms)
        block.copy_panels()
        where.tiles(self.kernel, self.function, block)

    def _clear(self, place: str) -> None:
        """Set the sums to zero."""
        kind = vector(scalar_type(self.kernel.x.dtype), self.kernel.tiling.lanes)

        def clear(at: Index, _: list[str]) -> None:
            address = self.function.element(place, "i8", at)
            self.function.do(f"store {kind} zeroinitializer, ptr {address}, align 16")

        step = self.kernel.machine.vector_bytes
        self.function.loop(0, SUMS // step * step, step, clear)


class _Terms(NamedTuple):
    """Some of the terms.

    Attributes
    ----------
    first, number : index, int
        The first one, and how many there are.
    kept : bool
        Whether the sums of earlier terms are kept aside.
    ends : bool
        Whether these are the last.
    """

    first: Index
    number: int
    kept: bool = False
    ends: bool = True


class Block:
    """The factors for some of the terms of a region: in panels, and perhaps in packed rows."""

    def __init__(self, panels: Panels, where: Region, terms: _Terms) -> None:
        self.kernel, self.function, self.layout = panels.kernel, panels.function, panels.layout
        self.scratch = panels.scratch
        self.where = where
        self.terms = terms
        kernel, dtype = self.kernel, self.kernel.x.dtype
        shape, flat = (*kernel.shape, terms.number), (0,) * (len(kernel.shape) - 2)
        width, height = self.layout.width, self.layout.height
        self.together = self.layout.together
        x = kernel.x._replace(base=Buffer(0), shape=shape)
        if self.together:
            x = Strided(Buffer(0), dtype, shape, (*flat, 1, 0, height))
        y = Strided(Buffer(0), dtype, shape, (*flat, 0, 1, width))
        kept = Strided(Buffer(0), dtype, kernel.shape, (*flat, width, 1)) if terms.kept else None
        self.piece = Piece(x, y, kept, terms.ends)

    def copy_panels(self) -> None:
        """Copy the terms of the second factor."""
        self._in_pieces(self.kernel.y.strides[-2], TOGETHER, self._copy_terms)

    def _in_pieces(self, step: int, most: int, copy: Callable[[Index, int], None]) -> None:
        """Emit ``copy(k, n)`` for the n terms from k on, until all are copied.

        Where a term's elements are side by side, at `most` so many terms are copied to all their
        places before the next: memory is read in long pieces.
        """
        number = self.terms.number
        block = min(number, most) if step == 1 else number
        whole = number // block * block
        self.function.loop(0, whole, block, lambda k, _: copy(k, block))
        if whole < number:
            copy(whole, number - whole)

    def _copy_terms(self, k: Index, number: int) -> None:
        """Copy so many terms, from `k` on, to all panels."""
        kernel, function, tiling = self.kernel, self.function, self.kernel.tiling
        term = function.add(self.terms.first, k)
        offset = function.mul(k, self.layout.width)
        kind = scalar_type(kernel.x.dtype)
        for first, last, columns in kernel.columns():

            def turn(part: Index, _: list[str], columns: int = columns) -> None:
                left = function.mul(start(function, tiling.vectors, part), tiling.lanes)
                at = address_at(function, kernel.y, (*self.where.place, 0, left, term))
                steps = kernel.y.strides[-1], kernel.y.strides[-2]
                target = function.element(self._panel(part), kind, offset)
                self._copy(at, steps, target, (number, columns), self.layout.width)

            function.loop(
                *common(function, self.where.parts, (first, last), tiling.vectors), 1, turn
            )

    def enter(self, at: At, end: Index, rows: int) -> None:
        """Copy the terms of some rows of tiles, which are far apart."""
        function, x, height = self.function, self.kernel.x, self.layout.height
        steps, kind = (x.strides[-1], x.strides[-3]), scalar_type(x.dtype)
        source = self._first(at)

        def copy(k: Index, number: int) -> None:
            term, made = function.mul(k, steps[0]), function.mul(k, height)

            def copy_row(index: Index, _: list[str]) -> None:
                row = start(function, self.kernel.tiling.rows, index)
                down = function.add(row, function.mul(at.place[-2], -1))
                place = function.add(term, function.mul(down, steps[1]))
                given = function.element(source, kind, place)
                target = function.element(self._row(at._replace(row=index)), kind, made)
                self._copy(given, steps, target, (number, rows), height)

            function.loop(at.row, end, 1, copy_row)

        self._in_pieces(steps[1], AT_ONCE, copy)

    def addresses(self, at: At) -> Mapping[Strided, str]:
        """Return where a tile finds its terms, and the sums of earlier ones."""
        row = self._row(at) if self.together else self._first(at)
        found = {self.piece.x: row, self.piece.y: self._panel(at.part)}
        if self.piece.sums is not None:
            number = self.function.add(at.row, self.function.mul(self.where.rows[0], -1))
            offset = self.function.mul(number, self.layout.tile)
            found[self.piece.sums] = self._at(self.function.add(offset, self.layout.sums))
        return found

    def _row(self, at: At) -> str:
        """Return the address of a row of tiles among those that are copied."""
        number = self.function.add(at.row, self.function.mul(at.entered, -1))
        offset = self.function.mul(number, self.layout.row)
        return self._at(self.function.add(offset, self.layout.rows))

    def _first(self, at: At) -> str:
        """Return the address of the first term of a row of tiles."""
        return address_at(self.function, self.kernel.x, (*at.place, self.terms.first))

    def _panel(self, part: Index) -> str:
        """Return the address of the panel of a part."""
        number = self.function.add(part, self.function.mul(self.where.parts[0], -1))
        return self._at(self.function.mul(number, self.layout.panel))

    def _at(self, offset: Index) -> str:
        return self.function.element(self.scratch, "i8", offset)

    def _copy(
        self,
        source: str,
        steps: tuple[int, int],
        target: str,
        shape: tuple[int, int],
        pitch: int,
    ) -> None:
        """Emit a call that copies terms of so many rows or columns, each term in one piece."""
        dtype = self.kernel.x.dtype
        given = Strided(Buffer(0), dtype, shape, steps)
        made = Strided(Buffer(0), dtype, shape, (pitch, 1))
        code = Function(self.function.module)
        Map(shape, [Store(made, given)]).emit(code, None)
        known = {given: source, made: target}
        name = self.function.module.define(code)
        self.function.invoke(name, [known[array] for array in code.arrays], 0)

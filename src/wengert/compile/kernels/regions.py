"""The loops over the tiles of a product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.ir import Function
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.registers import Piece, Tile, address_at
from wengert.compile.kernels.tiling import Split

if TYPE_CHECKING:
    from wengert.compile.kernels.product import Product


class At(NamedTuple):
    """Where a tile is.

    Attributes
    ----------
    row, part : index
        The number of its row of tiles, and of its part of the columns.
    entered : index
        The number of the first of the rows of tiles that were readied together with its own.
    place : tuple of index
        The place of its first element in the space.
    """

    row: Index
    part: Index
    entered: Index
    place: tuple[Index, ...]


class Factors(Protocol):
    """Where tiles find the factors."""

    @property
    def piece(self) -> Piece:
        """The factors as tiles see them."""

    @property
    def together(self) -> int:
        """How many rows of tiles are readied at once; 0: nothing need be done before them."""

    def enter(self, at: At, end: Index, rows: int) -> None:
        """Emit what readies the rows of tiles from `at` to `end`, each of `rows` elements."""

    def addresses(self, at: At) -> Mapping[Strided, str]:
        """Return the addresses, at a tile, of what `piece` consists of."""


class Plain:
    """The factors where they are."""

    together = 0

    def __init__(self, kernel: Product, function: Function) -> None:
        self._function = function
        x, y = (v._replace(base=Buffer(0)) for v in kernel.heart)
        self._known = {x: kernel.x, y: kernel.y}
        self.piece = Piece(x, y)

    def enter(self, at: At, end: Index, rows: int) -> None:
        """Do nothing."""

    def addresses(self, at: At) -> Mapping[Strided, str]:
        """Return the addresses of the factors."""
        return {x: address_at(self._function, v, at.place) for x, v in self._known.items()}


class Region(NamedTuple):
    """Some tiles: all those of a group of rows, in a strip of parts of the columns.

    Attributes
    ----------
    place : tuple of index
        Where it is along the axes before rows and columns.
    rows : pair of index
        The first and the last row of tiles + 1.
    parts : pair of index
        The first and the last part of the columns + 1.
    """

    place: tuple[Index, ...]
    rows: tuple[Index, Index]
    parts: tuple[Index, Index]

    def tiles(self, kernel: Product, function: Function, factors: Factors) -> None:
        """Emit the rows of tiles, one below the other."""
        rows = kernel.tiling.rows

        def at(index: Index, entered: Index) -> At:
            return At(index, 0, entered, (*self.place, start(function, rows, index), 0))

        for first, last, count in rows.runs():
            begin, end = common(function, self.rows, (first, last), rows)

            def row(index: Index, _: list[str], count: int = count) -> None:
                self._row(kernel, function, factors, at(index, index), count)

            def group(index: Index, _: list[str], count: int = count, end: Index = end) -> None:
                stop = function.min(function.add(index, factors.together), end)
                factors.enter(at(index, index), stop, count)

                def within(i: Index, _: list[str]) -> None:
                    self._row(kernel, function, factors, at(i, index), count)

                function.loop(index, stop, 1, within)

            function.loop(begin, end, factors.together or 1, group if factors.together else row)

    def _row(
        self, kernel: Product, function: Function, factors: Factors, at: At, rows: int
    ) -> None:
        """Emit one row of tiles, of so many rows of elements."""
        tiling = kernel.tiling
        done = overlap(function, tiling.rows, at.row)
        for first, last, columns in kernel.columns():
            tile = Tile(kernel, function.module, rows, columns, factors.piece)

            def turn(part: Index, _: list[str], tile: Tile = tile) -> None:
                left = function.mul(start(function, tiling.vectors, part), tiling.lanes)
                here = at._replace(part=part, place=(*at.place[:-1], left))
                tile.call(function, here.place, factors.addresses(here), done)

            function.loop(*common(function, self.parts, (first, last), tiling.vectors), 1, turn)


def overlap(function: Function, parts: Split, part: Index) -> Index:
    """Return how many places of a part are also in the one before."""
    last = parts.parts - 1
    if not parts.overlap:
        return 0
    if isinstance(part, int):
        return parts.overlap if part == last else 0
    ends = function.value(f"icmp eq i64 {part}, {last}")
    return function.value(f"select i1 {ends}, i64 {parts.overlap}, i64 0")


def start(function: Function, parts: Split, part: Index) -> Index:
    """Return where a part begins."""
    place = function.mul(part, parts.size)
    if parts.overlap:
        return function.min(place, parts.start(parts.parts - 1))
    return function.add(place, function.min(part, parts.longer) if parts.longer else 0)


def common(
    function: Function, one: tuple[Index, Index], run: tuple[int, int], parts: Split
) -> tuple[Index, Index]:
    """Return the range of the parts that are in a range and in a run."""
    (first, last), (begin, end) = one, run
    return (
        function.max(first, begin) if begin > 0 else first,
        function.min(last, end) if end < parts.parts else last,
    )

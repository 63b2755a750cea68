"""What is made of the sums of a tile and stored: unrolled if that is little, else in loops.

An unrolled epilogue is a copy of the code for each vector of the tile, and a whole optimiser's step
or an activation may be one: where it is dear, the sums are put aside, and the vectors of one column
of the tile share the code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wengert.compile.emit.access import element_address, prefetch_line
from wengert.compile.emit.arrays import Buffer, Immediate, Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.vectors import load_lanes, store_lanes
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nodes import Apply, Node, Result

if TYPE_CHECKING:
    from wengert.compile.kernels.registers import Tile

DEAR = 8
"""From which cost on, in additions, stores are made in loops: about what keeping a sum aside and
looping adds to each vector is then a small part."""

LONG = 512
"""Terms from which on that is a small part of the sum itself: any code is shared."""

FAR = 1 << 17
"""Bytes of an array from which on it is likely to be farther away than the second cache."""


DONE = "done"
"""The number that tiles are told: how many of their rows have been stored already."""


def prefetch(tile: Tile) -> None:
    """Ask for what is stored, and read for it, so that it is near when the sums are known."""
    stores, function = tile.kernel.stores, tile.function
    written = dict.fromkeys(store.target for store in stores)
    read = tile.kernel.under.leaves
    far = list(filter(_is_far, dict.fromkeys([*read, *written])))

    def row(i: Index, _: list[str]) -> None:
        for array in far:
            down = function.mul(i, array.strides[-2])
            for j in range(tile.vectors):
                at = element_address(function, array, function.add(down, j * tile.lanes))
                prefetch_line(function, at, array in written)

    if far:
        function.loop(_first(tile), tile.rows, 1, row)


def _first(tile: Tile) -> Index:
    """Return the first row that a tile stores."""
    return f"%{DONE}" if tile.overlap else 0


def _is_far(array: Strided) -> bool:
    """Tell whether an array is large, and each tile has its own part of it."""
    if not isinstance(array.base, Buffer) or array.strides[-1] != 1 or not array.strides[-2]:
        return False
    return array.size * array.dtype.itemsize >= FAR


def store_results(tile: Tile, sums: Sequence[str]) -> None:
    """Evaluate and store what the kernel of a tile stores.

    Parameters
    ----------
    tile : Tile
        Where the code goes.
    sums : sequence of str
        The sums, in the order of the tile's places.
    """
    long = math.prod(tile.kernel.inner) >= LONG
    if len(sums) == 1 or _cost(tile) < (1 if long else DEAR):
        _store_unrolled(tile, sums)
    else:
        _store_in_loops(tile, sums)


def _store_unrolled(tile: Tile, sums: Sequence[str]) -> None:
    """Store with a code of its own for each vector."""
    known: dict[tuple[Index, Index], str] = dict(zip(tile.places, sums, strict=True))
    values = _Values(tile, lambda i, j: known[i, j])
    shared = tile.overlap

    def rows(first: int, last: int) -> None:
        for i, j in tile.places:
            if first <= i < last:
                values.store(i, j)

    if shared:
        for j in range(tile.vectors):
            values.make(0, j, rows=False)
        none = tile.function.value(f"icmp eq i64 %{DONE}, 0")
        tile.function.when(none, lambda: rows(0, shared))
    rows(shared, tile.rows)


def _cost(tile: Tile) -> int:
    """Return what storing one vector costs, in additions; elements apart are moved one by one."""
    kernel = tile.kernel
    apart = [x for x in kernel.views if isinstance(x.base, Buffer) and x.strides[-1] not in {0, 1}]
    return kernel.under.cost + tile.lanes * len(apart)


def _store_in_loops(tile: Tile, sums: Sequence[str]) -> None:
    """Store with one code for all full vectors, and one for those at the end of a row."""
    function, kind = tile.function, tile.kind
    aside = function.once(f"alloca [{len(sums)} x {kind}]")
    for place, value in enumerate(sums):
        function.do(f"store {kind} {value}, ptr {function.element(aside, kind, place)}")

    def load(i: Index, j: Index) -> str:
        at = function.add(function.mul(i, tile.vectors), j)
        return function.value(f"load {kind}, ptr {function.element(aside, kind, at)}")

    values = _Values(tile, load)
    values.make(0, 0, rows=False, columns=False)

    def column(j: Index, _: list[str]) -> None:
        values.make(0, j, rows=False)
        function.loop(_first(tile), tile.rows, 1, lambda i, _: values.store(i, j))

    full = tile.columns // tile.lanes
    function.loop(0, full, 1, column)
    if full < tile.vectors:
        column(full, [])


class _Values:
    """The nodes of the stores, each evaluated once for the rows and vectors that it depends on."""

    def __init__(self, tile: Tile, sum_at: Callable[[Index, Index], str]) -> None:
        self._tile = tile
        self._sum_at = sum_at
        self._stores = tile.kernel.stores
        self._nodes = tile.kernel.under.nodes
        self._depends: dict[Node, tuple[bool, bool]] = {}
        for node in self._nodes:
            self._depends[node] = self._dependence(node)
        self._spread = {store.value for store in self._stores}
        for node in self._nodes:
            if isinstance(node, Apply) and self._depends[node][1]:
                self._spread.update(node.args)
        self._known: dict[tuple[Node, Index, Index], Lane] = {}
        self._wide: dict[tuple[Node, Index, Index], Lane] = {}

    def _dependence(self, node: Node) -> tuple[bool, bool]:
        """Tell whether a node depends on the row, and on the column."""
        if isinstance(node, Apply):
            under = [self._depends[a] for a in node.args]
            return any(row for row, _ in under), any(column for _, column in under)
        if isinstance(node, Result):
            return True, True
        fixed = isinstance(node.base, Immediate)
        return not fixed and node.strides[-2] != 0, not fixed and node.strides[-1] != 0

    def store(self, i: Index, j: Index) -> None:
        """Store in the vector `j` of row `i`."""
        self.make(i, j)
        values = [self._wide[self._key(store.value, i, j)] for store in self._stores]
        for value, (target, _) in zip(values, self._stores, strict=True):
            store_lanes(
                self._lanes(j), value, target, self._offset(target, i, j), target.strides[-1]
            )

    def make(self, i: Index, j: Index, rows: bool = True, columns: bool = True) -> None:
        """Evaluate nodes in the vector `j` of row `i`, those that depend on no more than said."""
        for node in self._nodes:
            row, column = self._depends[node]
            key = self._key(node, i, j)
            if key in self._known or (row and not rows) or (column and not columns):
                continue
            value = self._wide[key] = self._known[key] = self._value(node, i, j)
            if node in self._spread and not column:
                wide = Lanes(self._tile.function, self._tile.lanes)
                self._wide[key] = wide.splat(value.text, value.dtype)

    def _key(self, node: Node, i: Index, j: Index) -> tuple[Node, Index, Index]:
        row, column = self._depends[node]
        return node, i if row else 0, j if column else 0

    def _value(self, node: Node, i: Index, j: Index) -> Lane:
        if isinstance(node, Result):
            return Lane(self._sum_at(i, j), node.dtype)
        column = self._depends[node][1]
        lanes = self._lanes(j) if column else Lanes(self._tile.function)
        if isinstance(node, Strided):
            across = node.strides[-1] if column else 0
            return load_lanes(lanes, node, self._offset(node, i, j), across)
        known = self._wide if column else self._known
        made: Lane = node.expression(lanes, *(known[self._key(a, i, j)] for a in node.args))
        return made

    def _lanes(self, j: Index) -> Lanes:
        """Return the lanes of a vector: all are in use if its number is not known in advance."""
        if isinstance(j, int):
            return self._tile.vector(j)
        return Lanes(self._tile.function, self._tile.lanes)

    def _offset(self, array: Strided, i: Index, j: Index) -> Index:
        """Return where in an array the vector `j` of row `i` begins."""
        function = self._tile.function
        down = function.mul(i, array.strides[-2])
        return function.add(down, function.mul(j, self._tile.lanes * array.strides[-1]))

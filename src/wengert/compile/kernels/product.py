"""Sums of products: register-blocked tiles, one chain of multiply-adds for each element.

Each element of the result is the chain ``fma(x[k], y[k], …)`` over the inner axes in order, from
zero. How the result is cut into tiles and chunks therefore never changes a bit of it. (On a machine
without fused multiply-add the chain rounds each product.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from wengert.compile.emit.arrays import Shape, Strided, coalesce
from wengert.compile.emit.ir import Function
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels.grid import Grid, cut
from wengert.compile.kernels.kernel import Index, Kernel, Store
from wengert.compile.kernels.nodes import Result
from wengert.compile.kernels.panels import (
    Panels,
    crowded,
    shared_rows,
    strip,
    worth_packing,
    worth_panels,
)
from wengert.compile.kernels.regions import Plain, Region
from wengert.compile.kernels.tiling import MOST_ROWS, UNCROWDED, Tiling, tile


class Product(Kernel):
    """``sum over the inner axes of x * y`` at each index of a space, and what is stored of it.

    Both factors are views of the space followed by the inner axes. The last axis but one of the
    space is that of rows, along which `y` does not change, the last that of columns, along which
    `x` does not change: tiles extend along these two. Of the other axes, either factor may walk
    any.
    """

    def __init__(  # noqa: PLR0913, PLR0917  (all that a product is)
        self,
        x: Strided,
        y: Strided,
        rank: int,
        stores: Sequence[Store],
        result: Result,
        machine: Machine,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__(x.shape[:rank], stores, labels)
        self.x, self.y = x, y
        self.result = result
        self.machine = machine

    @property
    def heart(self) -> tuple[Strided, ...]:
        """The factors."""
        return self.x, self.y

    @property
    def inner(self) -> Shape:
        """The lengths of the axes that are summed over."""
        return self.x.shape[len(self.shape) :]

    def orient(self, rows: int, columns: int) -> None:
        """Let other axes of the space be those of rows and of columns."""
        rest = [i for i in range(len(self.shape)) if i not in {rows, columns}]
        order = (*rest, rows, columns)
        if self.x.strides[columns] or self.y.strides[rows]:
            self.x, self.y = self.y, self.x
        self.shape = tuple(self.shape[i] for i in order)
        self.see({v: _permuted(v, order) for v in (*self.heart, *self.views)})

    def see(self, known: Mapping[Strided, Strided]) -> None:
        """Look at arrays otherwise: at the factors, too."""
        super().see(known)
        self.x, self.y = (known.get(v, v) for v in self.heart)

    def order_terms(self) -> None:
        """Sum along the axis last along which the first factor has its elements side by side."""
        rank = len(self.shape)
        steps = self.x.strides[rank:]
        order = sorted(range(len(steps)), key=lambda i: -abs(steps[i]))
        self.x, self.y = (
            v.with_axes(
                (*v.shape[:rank], *(v.shape[rank + i] for i in order)),
                (*v.strides[:rank], *(v.strides[rank + i] for i in order)),
            )
            for v in (self.x, self.y)
        )

    @property
    def tiling(self) -> Tiling:
        """How it is cut into tiles."""
        most = UNCROWDED if crowded(self) else MOST_ROWS
        far = self.panels and worth_packing(self)
        return tile(self.machine, self.x.dtype, *self.shape[-2:], most, far)

    @property
    def panels(self) -> bool:
        """Whether blocks of the second factor are copied to where the cache keeps them."""
        return len(self.inner) == 1 and self.inner[0] > 0 and worth_panels(self)

    @property
    def strips(self) -> Grid:
        """The groups of parts of columns that are worked on together."""
        parts = self.tiling.vectors.parts
        return Grid(parts, strip(self) if self.panels else 1)

    @property
    def work(self) -> int:
        """About how many additions it is worth."""
        return math.prod(self.shape) * math.prod(self.inner) // 4

    @property
    def _groups(self) -> Grid:
        """The groups of tiles of rows, for products that have too few columns to be shared."""
        rows = self.tiling.rows.parts
        columns = math.prod(self.shape[:-2]) * self.strips.chunks
        most = self.shape[-2] // shared_rows(self) if self.panels else rows
        wanted = min(most, -(-cut(rows * columns, self.work).chunks // max(1, columns)))
        return Grid(rows, -(-rows // max(1, wanted)))

    @property
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""
        units = math.prod(self.shape[:-2]) * self._groups.chunks * self.strips.chunks
        return cut(units, self.work)

    def emit(self, function: Function, chunk: Index | None) -> None:
        """Emit the code of one chunk: some groups of columns, each for a group of tiles of rows."""
        if 0 in self.shape:
            return
        function.hasty = True
        start, stop = self.grid.bounds(function, chunk)
        function.loop(start, stop, 1, lambda unit, _: self._unit(function, unit))

    def _unit(self, function: Function, unit: Index) -> None:
        strip, rest = _divided(function, unit, self.strips.chunks)
        group, rest = _divided(function, rest, self._groups.chunks)
        place: list[Index] = []
        for length in reversed(self.shape[1:-2]):
            index, rest = _divided(function, rest, length)
            place.insert(0, index)
        if len(self.shape) > 2:  # noqa: PLR2004
            place.insert(0, rest)
        rows = self._groups.bounds(function, group)
        where = Region(tuple(place), rows, self.strips.bounds(function, strip))
        if self.panels:
            Panels(self, function, where).emit()
        else:
            where.tiles(self, function, Plain(self, function))

    def columns(self) -> Iterator[tuple[int, int, int]]:
        """Yield ``(first part, last part + 1, columns)`` of the parts of one width."""
        tiling = self.tiling
        missing = tiling.lanes * tiling.vectors.start(tiling.vectors.parts) - self.shape[-1]
        for first, last, vectors in tiling.vectors.runs():
            wide = vectors * tiling.lanes
            ends = last == tiling.vectors.parts and missing > 0
            if last - ends > first:
                yield first, last - ends, wide
            if ends:
                yield last - 1, last, wide - missing


def matrices(x: Strided, y: Strided, target: Strided) -> tuple[Strided, Strided, Strided]:
    """Merge axes where possible, and let the space end with an axis of rows and one of columns.

    Parameters
    ----------
    x, y : Strided
        The factors, of one shape: the space followed by the inner axes.
    target : Strided
        What is stored, over the space.
    """
    rank = len(target.shape)
    space, steps = coalesce(x.shape[:rank], [v.strides[:rank] for v in (x, y, target)])
    inner, terms = coalesce(x.shape[rank:], [v.strides[rank:] for v in (x, y)])
    columns = max((i for i in range(len(space)) if not steps[0][i]), default=None)
    if columns is None:
        space, steps = (*space, 1), [(*s, 0) for s in steps]
        columns = len(space) - 1
    rows = max((i for i in range(len(space)) if i != columns and not steps[1][i]), default=None)
    if rows is None:
        space, steps = (1, *space), [(0, *s) for s in steps]
        rows, columns = 0, columns + 1
    order = (*(i for i in range(len(space)) if i not in {rows, columns}), rows, columns)
    shape = (*space, *inner)
    return (
        _permuted(x.with_axes(shape, (*steps[0], *terms[0])), order),
        _permuted(y.with_axes(shape, (*steps[1], *terms[1])), order),
        _permuted(target.with_axes(space, steps[2]), order),
    )


def _permuted(x: Strided, order: Sequence[int]) -> Strided:
    """Return a view whose first axes are in another order."""
    rank = len(order)
    shape, strides = (tuple(of[i] for i in order) + of[rank:] for of in (x.shape, x.strides))
    return x._replace(shape=shape, strides=strides)


def _divided(function: Function, value: Index, by: int) -> tuple[Index, Index]:
    """Return remainder and quotient of an index."""
    if by == 1:
        return 0, value
    if isinstance(value, int):
        return value % by, value // by
    quotient = function.value(f"udiv i64 {value}, {by}")
    whole = function.mul(quotient, by)
    return function.value(f"sub nsw i64 {value}, {whole}"), quotient

"""Matrix products: register-blocked tiles, one chain of multiply-adds for each element.

Each element of the result is the chain ``fma(x[k], y[k], …)`` over k in order, from zero. How the
matrix is cut into tiles and chunks therefore never changes a bit of it. (On a machine without fused
multiply-add the chain rounds each product.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from wengert.compile.access import element_address
from wengert.compile.arrays import Buffer, Immediate, Strided
from wengert.compile.expression import Lane, Lanes
from wengert.compile.grid import Grid, cut
from wengert.compile.ir import Function, Module
from wengert.compile.kernel import Index, Kernel, Store
from wengert.compile.machine import Machine
from wengert.compile.nest import masked
from wengert.compile.nodes import Apply, Node, Result, leaves, ordered, replaced
from wengert.compile.tiling import Split, Tiling, tile
from wengert.compile.types import scalar_type, vector
from wengert.compile.vectors import load_lanes, store_lanes


class Product(Kernel):
    """``sum over k of x[b, m, k] * y[b, k, n]``, and what is stored of it at (b, m, n)."""

    def __init__(
        self,
        x: Strided,
        y: Strided,
        stores: Sequence[Store],
        result: Result,
        machine: Machine,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__((*x.shape[:2], y.shape[2]), stores, labels)
        self.x, self.y = x, y
        self.result = result
        self._machine = machine

    @property
    def heart(self) -> tuple[Strided, ...]:
        """The factors."""
        return self.x, self.y

    def turn(self) -> None:
        """Compute the transposed result of the transposed factors, in the other order."""
        self.x, self.y = _transposed(self.y), _transposed(self.x)
        batch, rows, columns = self.shape
        self.shape = batch, columns, rows
        values = [store.value for store in self.stores]
        known: dict[Node, Node] = {x: _transposed(x) for x in leaves(values)}
        self.stores = [
            Store(_transposed(store.target), value)
            for store, value in zip(self.stores, replaced(values, known), strict=True)
        ]

    @property
    def tiling(self) -> Tiling:
        """How it is cut into tiles."""
        return tile(self._machine, self.x.dtype, self.shape[1], self.shape[2])

    @property
    def work(self) -> int:
        """About how many additions it is worth."""
        batch, rows, columns = self.shape
        return batch * rows * columns * self.x.shape[2] // 4

    @property
    def _groups(self) -> Grid:
        """The groups of tiles of rows, for products that have too few columns to be shared."""
        columns = self.shape[0] * self.tiling.vectors.parts
        return cut(self.tiling.rows.parts, self.work // max(1, columns))

    @property
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""
        units = self.shape[0] * self._groups.chunks * self.tiling.vectors.parts
        return cut(units, self.work)

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk: some groups of columns, each for a group of tiles of rows."""
        if 0 in self.shape:
            return
        start, stop = self.grid.bounds(function, chunk)
        function.loop(start, stop, 1, lambda unit, _: self._unit(function, unit))

    def _unit(self, function: Function, unit: Index) -> None:
        part, rest = _divided(function, unit, self.tiling.vectors.parts)
        group, batch = _divided(function, rest, self._groups.chunks)
        bounds = self._groups.bounds(function, group)
        found = list(self._columns())
        for first, last, columns in found:

            def emit(first: int = first, columns: int = columns) -> None:
                self._rows(function, (batch, part), bounds, columns)

            if len(found) == 1:
                emit()
                continue
            below = function.value(f"icmp slt i64 {part}, {last}")
            above = function.value(f"icmp sge i64 {part}, {first}")
            function.when(function.value(f"and i1 {below}, {above}"), emit)

    def _columns(self) -> Iterator[tuple[int, int, int]]:
        """Yield ``(first part, last part + 1, columns)`` of the parts of one width."""
        tiling = self.tiling
        missing = tiling.lanes * tiling.vectors.start(tiling.vectors.parts) - self.shape[2]
        for first, last, vectors in tiling.vectors.runs():
            wide = vectors * tiling.lanes
            ends = last == tiling.vectors.parts and missing > 0
            if last - ends > first:
                yield first, last - ends, wide
            if ends:
                yield last - 1, last, wide - missing

    def _rows(
        self,
        function: Function,
        place: tuple[Index, Index],
        bounds: tuple[Index, Index],
        columns: int,
    ) -> None:
        """Emit the tiles of one group of columns."""
        batch, part = place
        column = function.mul(_start(function, self.tiling.vectors, part), self.tiling.lanes)
        for first, last, rows in self.tiling.rows.runs():
            code = _Tile(self, function.module, rows, columns)

            def turn(index: Index, _: list[str], code: _Tile = code) -> None:
                row = _start(function, self.tiling.rows, index)
                code.call(function, batch, row, column)

            function.loop(function.max(bounds[0], first), function.min(bounds[1], last), 1, turn)


def _transposed(x: Strided) -> Strided:
    (batch, rows, columns), (outer, down, across) = x.shape, x.strides
    return replace(x, shape=(batch, columns, rows), strides=(outer, across, down))


def _start(function: Function, parts: Split, part: Index) -> Index:
    """Return where a part begins."""
    return function.add(function.mul(part, parts.size), function.min(part, parts.longer))


def _divided(function: Function, value: Index, by: int) -> tuple[Index, Index]:
    """Return remainder and quotient of an index."""
    if by == 1:
        return 0, value
    if isinstance(value, int):
        return value % by, value // by
    quotient = function.value(f"udiv i64 {value}, {by}")
    return function.value(f"urem i64 {value}, {by}"), quotient


class _Tile:
    """A piece of the result that lives in registers, as a function of its own."""

    def __init__(self, kernel: Product, module: Module, rows: int, columns: int) -> None:
        self.kernel = kernel
        # Pointers of their own for the factors, even if they are one array.
        self.x, self.y = (replace(v, base=Buffer(0)) for v in (kernel.x, kernel.y))
        self.rows = rows
        self.lanes = kernel.tiling.lanes
        self.columns = columns
        self.function = function = Function(module)
        self.kind = vector(scalar_type(kernel.x.dtype), self.lanes)
        self.vectors = -(-columns // self.lanes)
        self.places = [(i, j) for i in range(rows) for j in range(self.vectors)]
        sums = function.loop(
            0,
            kernel.x.shape[2],
            1,
            self._turn,
            [(self.kind, "zeroinitializer")] * len(self.places),
        )
        self._store({p: Lane(s, kernel.x.dtype) for p, s in zip(self.places, sums, strict=True)})
        self.name = module.define(function)

    def call(self, function: Function, batch: Index, row: Index, column: Index) -> None:
        """Emit a call for the tile that begins at some place."""
        pointers = []
        for array in self.function.arrays:
            whole, steps = array, array.strides
            if array is self.x:
                whole, steps = self.kernel.x, (array.strides[0], array.strides[1], 0)
            elif array is self.y:
                whole, steps = self.kernel.y, (array.strides[0], 0, array.strides[2])
            offset: Index = 0
            for index, step in zip((batch, row, column), steps, strict=True):
                offset = function.add(offset, function.mul(index, step))
            pointers.append(f"ptr {element_address(function, whole, offset)}")
        arguments = ", ".join(("ptr %control", *pointers, "i64 0"))
        function.do(f"call void @{self.name}({arguments})")

    def _lanes(self, j: int) -> Lanes:
        """Return the lanes of the vector number `j`: the last may be in use in part."""
        used = min(self.lanes, self.columns - j * self.lanes)
        if used == self.lanes:
            return Lanes(self.function, self.lanes)
        return masked(self.function, self.lanes, used, 0)

    def _turn(self, k: Index, sums: list[str]) -> list[str]:
        """Add one term to each element of the tile."""
        x, y, function = self.x, self.y, self.function
        at_x, at_y = function.mul(k, x.strides[2]), function.mul(k, y.strides[1])
        ys = [
            load_lanes(self._lanes(j), y, function.add(at_y, j * self.lanes), 1)
            for j in range(self.vectors)
        ]
        after = []
        for i in range(self.rows):
            one = load_lanes(Lanes(function), x, function.add(at_x, i * x.strides[1]), 0)
            wide = Lanes(function, self.lanes)
            factor = wide.splat(one.text, x.dtype)
            for j in range(self.vectors):
                total = Lane(sums[i * self.vectors + j], x.dtype)
                after.append(self._multiply_add(wide, factor, ys[j], total).text)
        return after

    def _multiply_add(self, lanes: Lanes, x: Lane, y: Lane, total: Lane) -> Lane:
        if self.function.module.machine.fma:
            return lanes.fma(x, y, total)
        return lanes.add(lanes.mul(x, y), total)

    def _store(self, sums: dict[tuple[int, int], Lane]) -> None:
        """Evaluate and store what the kernel stores."""
        stores = self.kernel.stores
        known = _Values(self, [store.value for store in stores], sums)
        for i, j in self.places:
            values = [known.value(store.value, i, j) for store in stores]
            for value, (target, _) in zip(values, stores, strict=True):
                at = i * target.strides[1] + j * self.lanes * target.strides[2]
                store_lanes(self._lanes(j), value, target, at, target.strides[2])


class _Values:
    """The nodes of the stores, each evaluated once for the rows and vectors that it depends on."""

    def __init__(
        self, code: _Tile, roots: Sequence[Node], sums: dict[tuple[int, int], Lane]
    ) -> None:
        self.code = code
        self.sums = sums
        self.known: dict[tuple[Node, int, int], Lane] = {}
        self.depends: dict[Node, tuple[bool, bool]] = {}
        self._orders = {root: ordered([root]) for root in roots}
        for node in ordered(roots):
            if isinstance(node, Apply):
                under = [self.depends[a] for a in node.args]
                self.depends[node] = any(m for m, _ in under), any(n for _, n in under)
            elif isinstance(node, Result):
                self.depends[node] = True, True
            else:
                fixed = isinstance(node.base, Immediate)
                self.depends[node] = (
                    not fixed and node.strides[1] != 0,
                    not fixed and node.strides[2] != 0,
                )

    def value(self, root: Node, i: int, j: int) -> Lane:
        """Return the value of a node in the vector `j` of row `i`, in all lanes."""
        for node in self._orders[root]:
            key = self._key(node, i, j)
            if key not in self.known:
                self.known[key] = self._make(node, i, j)
        return self._wide(root, i, j)

    def _key(self, node: Node, i: int, j: int) -> tuple[Node, int, int]:
        rows, columns = self.depends[node]
        return node, i if rows else 0, j if columns else 0

    def _wide(self, node: Node, i: int, j: int) -> Lane:
        value = self.known[self._key(node, i, j)]
        if self.depends[node][1]:
            return value
        return self.code._lanes(j).splat(value.text, value.dtype)

    def _make(self, node: Node, i: int, j: int) -> Lane:
        if isinstance(node, Result):
            return self.sums[i, j]
        columns = self.depends[node][1]
        lanes = self.code._lanes(j) if columns else Lanes(self.code.function)
        if isinstance(node, Strided):
            _, down, across = node.strides
            at = i * down + j * self.code.lanes * across
            return load_lanes(lanes, node, at, across if columns else 0)
        args = [
            self._wide(a, i, j) if columns else self.known[self._key(a, i, j)] for a in node.args
        ]
        made: Lane = node.expression(lanes, *args)
        return made

"""The tiles of a sum of products: pieces of the result that live in registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from wengert.compile.emit.access import element_address
from wengert.compile.emit.arrays import Immediate, Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.types import memory_type, scalar_type, vector
from wengert.compile.emit.vectors import load_lanes, store_lanes
from wengert.compile.kernels.kernel import Index
from wengert.compile.kernels.nest import masked
from wengert.compile.kernels.nodes import Apply, Node, Result, ordered

if TYPE_CHECKING:
    from wengert.compile.kernels.product import Product


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


class Tile:
    """A tile of some rows and columns, as a function that is told where it begins."""

    def __init__(
        self, kernel: Product, module: Module, rows: int, columns: int, piece: Piece
    ) -> None:
        self.kernel = kernel
        self.piece = piece
        self.x, self.y = piece.x, piece.y
        self.rows = rows
        self.lanes = kernel.tiling.lanes
        self.columns = columns
        self.function = Function(module)
        self.kind = vector(scalar_type(kernel.x.dtype), self.lanes)
        self.vectors = -(-columns // self.lanes)
        self.places = [(i, j) for i in range(rows) for j in range(self.vectors)]
        sums = self._sum(len(kernel.shape), 0, 0, self._before())
        self._store({p: Lane(s, kernel.x.dtype) for p, s in zip(self.places, sums, strict=True)})
        self.name = module.define(self.function)

    def call(
        self, function: Function, place: Sequence[Index], known: Mapping[Strided, str]
    ) -> None:
        """Emit a call for the tile at a place of the space, where some addresses are `known`."""
        pointers = []
        for array in self.function.arrays:
            offset: Index = 0
            for index, step in zip(place, array.strides, strict=False):
                offset = function.add(offset, function.mul(index, step))
            if array in known:
                at = function.element(known[array], memory_type(array.dtype), offset)
            else:
                at = element_address(function, array, offset)
            pointers.append(f"ptr {at}")
        arguments = ", ".join(("ptr %control", *pointers, "i64 0"))
        function.do(f"call void @{self.name}({arguments})")

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

        def turn(k: Index, sums: list[str]) -> list[str]:
            function, places = self.function, (at_x, at_y)
            x, y = (
                function.add(at, function.mul(k, v.strides[axis]))
                for at, v in zip(places, (self.x, self.y), strict=True)
            )
            return self._sum(axis + 1, x, y, sums)

        carried = [(self.kind, value) for value in sums]
        return self.function.loop(0, self.x.shape[axis], 1, turn, carried)

    def _term(self, at_x: Index, at_y: Index, sums: list[str]) -> list[str]:
        """Add one term to each element of the tile."""
        x, y, function = self.x, self.y, self.function
        step = y.strides[len(self.kernel.shape) - 1]
        ys = [
            load_lanes(self.vector(j), y, function.add(at_y, j * self.lanes * step), step)
            for j in range(self.vectors)
        ]
        after = []
        for i in range(self.rows):
            down = x.strides[len(self.kernel.shape) - 2]
            one = load_lanes(Lanes(function), x, function.add(at_x, i * down), 0)
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
        """Evaluate and store what the kernel stores, or the sums so far."""
        array = self.piece.sums
        if array is not None and not self.piece.ends:
            for (i, j), value in sums.items():
                store_lanes(self.vector(j), value, array, self.place(array, i, j), 1)
            return
        stores = self.kernel.stores
        known = _Values(self, [store.value for store in stores], sums)
        for i, j in self.places:
            values = [known.value(store.value, i, j) for store in stores]
            for value, (target, _) in zip(values, stores, strict=True):
                at, across = self.place(target, i, j), target.strides[-1]
                store_lanes(self.vector(j), value, target, at, across)


class _Values:
    """The nodes of the stores, each evaluated once for the rows and vectors that it depends on."""

    def __init__(
        self, code: Tile, roots: Sequence[Node], sums: dict[tuple[int, int], Lane]
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
                    not fixed and node.strides[-2] != 0,
                    not fixed and node.strides[-1] != 0,
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
        return self.code.vector(j).splat(value.text, value.dtype)

    def _make(self, node: Node, i: int, j: int) -> Lane:
        if isinstance(node, Result):
            return self.sums[i, j]
        columns = self.depends[node][1]
        lanes = self.code.vector(j) if columns else Lanes(self.code.function)
        if isinstance(node, Strided):
            at, across = self.code.place(node, i, j), node.strides[-1]
            return load_lanes(lanes, node, at, across if columns else 0)
        args = [
            self._wide(a, i, j) if columns else self.known[self._key(a, i, j)] for a in node.args
        ]
        made: Lane = node.expression(lanes, *args)
        return made

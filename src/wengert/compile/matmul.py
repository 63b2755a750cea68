"""Matrix products: register-blocked tiles, one accumulation chain for each element.

Each element of the result is the chain ``fma(x[k], y[k], …)`` over k in order, from zero. How the
matrix is cut into tiles, panels and chunks therefore never changes a bit of it. (On a machine
without fused multiply-add the chain rounds each product.)
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compile.access import element_address
from wengert.compile.arrays import Strided
from wengert.compile.grid import cut
from wengert.compile.ir import Function, Module
from wengert.compile.kernels import Index, Kernel
from wengert.compile.types import lanes_name, scalar_type, vector
from wengert.graph.dtypes import DType


@dataclass(frozen=True, slots=True)
class Machine:
    """What the tiles are shaped for.

    Attributes
    ----------
    vector_bytes : int
        Bytes of a vector register.
    rows : int
        Rows of a tile, which is two vectors wide.
    fma : bool
        Whether multiply-add is one instruction.
    """

    vector_bytes: int
    rows: int
    fma: bool


def panel_width(machine: Machine, dtype: DType) -> int:
    """Return the columns of a panel: two vectors."""
    return 2 * machine.vector_bytes // dtype.itemsize


@dataclass(frozen=True, slots=True)
class Tile:
    """A piece of the result that lives in registers: `rows` rows of `columns` columns."""

    machine: Machine
    dtype: DType
    rows: int
    columns: int
    depth: int
    steps: tuple[int, int, int]
    """Strides, in elements: x along m and k, the result along m."""

    @property
    def lanes(self) -> int:
        """Lanes of a vector."""
        return panel_width(self.machine, self.dtype) // 2

    @property
    def _vectors(self) -> range:
        return range(-(-self.columns // self.lanes))

    @property
    def name(self) -> str:
        """A name that tells it apart from other tiles."""
        steps = "_".join(map(str, self.steps))
        return f"tile_{self.dtype}_{self.rows}_{self.columns}_{self.depth}_{steps}"

    def define(self, module: Module) -> None:
        """Add the function ``tile(x, y, z)`` to the module."""
        if module.defines(self.name):
            return
        function = Function(module, self.name, ("ptr %x", "ptr %y", "ptr %z"))
        kind = vector(scalar_type(self.dtype), self.lanes)
        places = [(i, j) for i in range(self.rows) for j in self._vectors]
        sums = function.loop(
            0,
            self.depth,
            1,
            lambda k, values: self._turn(function, k, values),
            [(kind, "zeroinitializer")] * len(places),
        )
        for (i, j), total in zip(places, sums, strict=True):
            self._store(function, total, i * self.steps[2], j)
        module.define(function)

    def _turn(self, function: Function, k: Index, values: list[str]) -> list[str]:
        """Add one term to each element of the tile."""
        step_m, step_k, _ = self.steps
        scalar, align = scalar_type(self.dtype), self.dtype.itemsize
        kind = vector(scalar, self.lanes)
        at_y = function.element("%y", scalar, function.mul(k, 2 * self.lanes))
        at_x = function.element("%x", scalar, function.mul(k, step_k))
        ys = []
        for j in self._vectors:
            address = function.element(at_y, scalar, j * self.lanes)
            ys.append(function.value(f"load {kind}, ptr {address}, align {align}"))
        result = []
        for i in range(self.rows):
            address = function.element(at_x, scalar, i * step_m)
            x = function.value(f"load {scalar}, ptr {address}, align {align}")
            first = function.value(f"insertelement {kind} poison, {scalar} {x}, i64 0")
            zeros = f"<{self.lanes} x i32> zeroinitializer"
            wide = function.value(f"shufflevector {kind} {first}, {kind} poison, {zeros}")
            for j, y in enumerate(ys):
                total = values[i * len(ys) + j]
                result.append(self._multiply_add(function, kind, (wide, y, total)))
        return result

    def _multiply_add(self, function: Function, kind: str, terms: tuple[str, str, str]) -> str:
        x, y, total = terms
        if not self.machine.fma:
            product = function.value(f"fmul {kind} {x}, {y}")
            return function.value(f"fadd {kind} {product}, {total}")
        name = f"llvm.fma.{lanes_name(self.dtype, self.lanes)}"
        fma = function.module.declare(name, kind, (kind,) * 3)
        return function.value(f"call {kind} {fma}({kind} {x}, {kind} {y}, {kind} {total})")

    def _mask(self, place: int) -> str | None:
        """Return the mask of the vector number `place`, or None if it is full."""
        used = self.columns - place * self.lanes
        if used >= self.lanes:
            return None
        return "<" + ", ".join(f"i1 {str(i < used).lower()}" for i in range(self.lanes)) + ">"

    def _store(self, function: Function, value: str, row: int, place: int) -> None:
        scalar = scalar_type(self.dtype)
        kind, align = vector(scalar, self.lanes), self.dtype.itemsize
        address = function.element("%z", scalar, row + place * self.lanes)
        mask = self._mask(place)
        if mask is None:
            function.do(f"store {kind} {value}, ptr {address}, align {align}")
            return
        name = f"llvm.masked.store.{lanes_name(self.dtype, self.lanes)}.p0"
        tests = f"<{self.lanes} x i1>"
        store = function.module.declare(name, "void", (kind, "ptr", "i32 immarg", tests))
        function.do(
            f"call void {store}({kind} {value}, ptr {address}, i32 {align}, {tests} {mask})"
        )


class Matmul(Kernel):
    """``z[b, m, n] = sum over k of x[b, m, k] * y[b, k, n]``.

    `y` comes as panels: shape (b, p, k, w), its columns n = p w + … cut into pieces of w that lie
    side by side, so that a tile reads it from one end to the other.
    """

    def __init__(self, z: Strided, x: Strided, y: Strided, machine: Machine) -> None:
        self.x, self.y, self.z = x, y, z
        self.reads, self.writes = (x, y), (z,)
        self._machine = machine
        batch, rows, columns = z.shape
        self._panels = y.shape[1]
        work = batch * rows * columns * x.shape[2] // 4
        tiles = -(-rows // machine.rows)
        self._groups = cut(tiles, work // max(1, batch * self._panels))
        self.grid = cut(batch * self._groups.chunks * self._panels, work)

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk: some panels of columns, each for a group of tiles of rows."""
        if self.z.size:
            start, stop = self.grid.bounds(function, chunk)
            function.loop(start, stop, 1, lambda unit, _: self._unit(function, unit))

    def _unit(self, function: Function, unit: Index) -> None:
        panel, rest = _divided(function, unit, self._panels)
        group, batch = _divided(function, rest, self._groups.chunks)
        bounds = self._groups.bounds(function, group)
        width = panel_width(self._machine, self.z.dtype)
        full, left = divmod(self.z.shape[2], width)
        if not (full and left):
            self._panel(function, (batch, panel), bounds, left or width)
            return
        inside = function.value(f"icmp slt i64 {panel}, {full}")
        function.when(inside, lambda: self._panel(function, (batch, panel), bounds, width))
        last = function.value(f"xor i1 {inside}, true")
        function.when(last, lambda: self._panel(function, (batch, full), bounds, left))

    def _panel(
        self,
        function: Function,
        place: tuple[Index, Index],
        bounds: tuple[Index, Index],
        columns: int,
    ) -> None:
        """Emit the tiles of one panel."""
        full, left = divmod(self.z.shape[1], self._machine.rows)

        def tiles(first: int, last: int, rows: int) -> None:
            function.loop(
                function.max(bounds[0], first),
                function.min(bounds[1], last),
                1,
                lambda tile, _: self._tile(function, place, tile, (rows, columns)),
            )

        tiles(0, full, self._machine.rows)
        if left:
            tiles(full, full + 1, left)

    def _tile(
        self, function: Function, place: tuple[Index, Index], tile: Index, shape: tuple[int, int]
    ) -> None:
        batch, panel = place
        x, y, z = self.x, self.y, self.z
        steps = (x.strides[1], x.strides[2], z.strides[1])
        code = Tile(self._machine, z.dtype, *shape, x.shape[2], steps)
        code.define(function.module)
        row = function.mul(tile, self._machine.rows)
        width = panel_width(self._machine, z.dtype)
        pointers = (
            _address(function, x, (batch, x.strides[0]), (row, x.strides[1])),
            _address(function, y, (batch, y.strides[0]), (panel, y.strides[1])),
            _address(function, z, (batch, z.strides[0]), (row, z.strides[1]), (panel, width)),
        )
        arguments = ", ".join(f"ptr {pointer}" for pointer in pointers)
        function.do(f"call void @{code.name}({arguments})")


def _address(function: Function, array: Strided, *terms: tuple[Index, int]) -> str:
    offset: Index = array.offset
    for index, stride in terms:
        offset = function.add(offset, function.mul(index, stride))
    return element_address(function, array, offset)


def _divided(function: Function, value: Index, by: int) -> tuple[Index, Index]:
    """Return remainder and quotient of an index."""
    if by == 1:
        return 0, value
    if isinstance(value, int):
        return value % by, value // by
    quotient = function.value(f"udiv i64 {value}, {by}")
    return function.value(f"urem i64 {value}, {by}"), quotient

"""Matrix products: register-blocked tiles, one accumulation chain for each element.

Each element of the result is the chain ``fma(x[k], y[k], …)`` over k in order, from zero. How the
matrix is cut into tiles, panels and chunks therefore never changes a bit of it. (On a machine
without fused multiply-add the chain rounds each product.)
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compile.access import base_pointer
from wengert.compile.arrays import Buffer, Strided
from wengert.compile.grid import Grid, cut
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


@dataclass(frozen=True, slots=True)
class Tile:
    """A piece of the result that lives in registers: `rows` rows of `columns` columns."""

    machine: Machine
    dtype: DType
    rows: int
    columns: int
    depth: int
    steps: tuple[int, int, int, int]
    """Strides, in elements: x along m and k, y along k, the result along m."""

    @property
    def lanes(self) -> int:
        """Lanes of a vector."""
        return self.machine.vector_bytes // self.dtype.itemsize

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
        vectors = range(-(-self.columns // self.lanes))
        places = [(i, j) for i in range(self.rows) for j in vectors]
        sums = function.loop(
            0,
            self.depth,
            1,
            lambda k, values: self._turn(function, k, values),
            [(kind, "zeroinitializer")] * len(places),
        )
        for (i, j), total in zip(places, sums, strict=True):
            self._store(function, total, i * self.steps[3], j)
        module.define(function)

    def _turn(self, function: Function, k: Index, values: list[str]) -> list[str]:
        """Add one term to each element of the tile."""
        step_m, step_k, step_y, _ = self.steps
        scalar = scalar_type(self.dtype)
        kind = vector(scalar, self.lanes)
        at_y = function.element("%y", scalar, function.mul(k, step_y))
        at_x = function.element("%x", scalar, function.mul(k, step_k))
        vectors = range(-(-self.columns // self.lanes))
        ys = [self._load(function, at_y, j) for j in vectors]
        result = []
        for i in range(self.rows):
            address = function.element(at_x, scalar, i * step_m)
            x = function.value(f"load {scalar}, ptr {address}, align {self.dtype.itemsize}")
            first = function.value(f"insertelement {kind} poison, {scalar} {x}, i64 0")
            zeros = f"<{self.lanes} x i32> zeroinitializer"
            wide = function.value(f"shufflevector {kind} {first}, {kind} poison, {zeros}")
            for j in vectors:
                total = values[i * len(vectors) + j]
                result.append(self._multiply_add(function, kind, (wide, ys[j], total)))
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

    def _load(self, function: Function, pointer: str, place: int) -> str:
        scalar = scalar_type(self.dtype)
        kind, align = vector(scalar, self.lanes), self.dtype.itemsize
        address = function.element(pointer, scalar, place * self.lanes)
        mask = self._mask(place)
        if mask is None:
            return function.value(f"load {kind}, ptr {address}, align {align}")
        name = f"llvm.masked.load.{lanes_name(self.dtype, self.lanes)}.p0"
        tests = f"<{self.lanes} x i1>"
        load = function.module.declare(name, kind, ("ptr", "i32 immarg", tests, kind))
        return function.value(
            f"call {kind} {load}(ptr {address}, i32 {align}, {tests} {mask}, "
            f"{kind} zeroinitializer)"
        )

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
    """``z[b, m, n] = sum over k of x[b, m, k] * y[b, k, n]``; y and z are unit-strided along n."""

    def __init__(self, z: Strided, x: Strided, y: Strided, machine: Machine) -> None:
        self.x, self.y, self.z = x, y, z
        self.reads, self.writes = (x, y), (z,)
        self._machine = machine
        batch, rows, columns = z.shape
        self._lanes = machine.vector_bytes // z.dtype.itemsize
        self._panels = -(-columns // (2 * self._lanes))
        self._tiles = -(-rows // machine.rows)
        work = batch * rows * columns * x.shape[2] // 4
        self._groups = cut(self._tiles, work // max(1, batch * self._panels))
        self._units = batch * self._groups.chunks * self._panels
        self.grid = cut(self._units, work) if z.size else Grid(0, 1)

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk: some panels of columns, each for a group of tiles of rows."""
        start, stop = self.grid.bounds(function, chunk)
        function.loop(start, stop, 1, lambda unit, _: self._unit(function, unit))

    def _unit(self, function: Function, unit: Index) -> None:
        panel, group = _divided(function, unit, self._panels)
        batch, group = _divided(function, group, self._groups.chunks, swap=True)
        bounds = self._groups.bounds(function, group)
        columns, width = self.z.shape[2], 2 * self._lanes
        full = columns // width
        rest = columns - full * width
        if rest == 0:
            self._panel(function, (batch, panel), bounds, width)
        elif full == 0:
            self._panel(function, (batch, 0), bounds, rest)
        else:
            inside = function.value(f"icmp slt i64 {panel}, {full}")
            function.when(inside, lambda: self._panel(function, (batch, panel), bounds, width))
            last = function.value(f"xor i1 {inside}, true")
            function.when(last, lambda: self._panel(function, (batch, full), bounds, rest))

    def _panel(
        self,
        function: Function,
        place: tuple[Index, Index],
        bounds: tuple[Index, Index],
        columns: int,
    ) -> None:
        """Emit the tiles of one panel."""
        start, stop = bounds
        rows = self._machine.rows
        full = self.z.shape[1] // rows
        rest = self.z.shape[1] - full * rows
        within = function.min(stop, full)
        function.loop(
            start, within, 1, lambda tile, _: self._tile(function, place, tile, (rows, columns))
        )
        if rest:
            begin = function.max(start, full)
            function.loop(
                begin, stop, 1, lambda tile, _: self._tile(function, place, tile, (rest, columns))
            )

    def _tile(
        self, function: Function, place: tuple[Index, Index], tile: Index, shape: tuple[int, int]
    ) -> None:
        batch, panel = place
        x, y, z = self.x, self.y, self.z
        steps = (x.strides[1], x.strides[2], y.strides[1], z.strides[1])
        code = Tile(self._machine, z.dtype, *shape, x.shape[2], steps)
        code.define(function.module)
        row = function.mul(tile, self._machine.rows)
        column = function.mul(panel, 2 * self._lanes)
        pointers = (
            _address(function, x, (batch, x.strides[0]), (row, x.strides[1])),
            _address(function, y, (batch, y.strides[0]), (column, 1)),
            _address(function, z, (batch, z.strides[0]), (row, z.strides[1]), (column, 1)),
        )
        arguments = ", ".join(f"ptr {pointer}" for pointer in pointers)
        function.do(f"call void @{code.name}({arguments})")


def _address(function: Function, array: Strided, *terms: tuple[Index, int]) -> str:
    offset: Index = array.offset
    for index, stride in terms:
        offset = function.add(offset, function.mul(index, stride))
    assert isinstance(array.base, Buffer)
    return function.element(base_pointer(function, array.base), scalar_type(array.dtype), offset)


def _divided(function: Function, value: Index, by: int, swap: bool = False) -> tuple[Index, Index]:
    """Return remainder and quotient of an index, or quotient and remainder if `swap`."""
    if by == 1:
        pair: tuple[Index, Index] = (0, value)
    elif isinstance(value, int):
        pair = (value % by, value // by)
    else:
        quotient = function.value(f"udiv i64 {value}, {by}")
        remainder = function.value(f"urem i64 {value}, {by}")
        pair = (remainder, quotient)
    return (pair[1], pair[0]) if swap else pair

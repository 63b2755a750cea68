"""What a compiled function will do and need, known before it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from wengert.compile.emit.arrays import Strided
from wengert.compile.emit.llvm import attributes, machine, pause
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.each import Each
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.reduce import Reduce
from wengert.compile.lowering.lower import Program
from wengert.compile.lowering.offsets import lifetimes
from wengert.compile.lowering.pipeline import prepare
from wengert.compile.native.codegen import generate
from wengert.graph.dtypes import DType
from wengert.graph.graph import Graph
from wengert.passes.pipeline import optimise

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


class KernelPlan(NamedTuple):
    """One loop nest of the native code.

    Attributes
    ----------
    kind : {"map", "reduce", "product", "loop", "check"}
        Elementwise; a reduction; a matrix product; a loop whose places depend on the values; a look
        at values with which the call would fail.
    operations : tuple of str
        The operations of the graph that it carries out, with their lines: what was fused.
    shape : tuple of int
        Its index space.
    flops : int
        Floating-point operations, about: an exponential counts as many additions as it is worth.
    bytes_read, bytes_written : int
        The sizes of the arrays that it reads and writes, each counted once.
    """

    kind: str
    operations: tuple[str, ...]
    shape: tuple[int, ...]
    flops: int
    bytes_read: int
    bytes_written: int


class BufferPlan(NamedTuple):
    """One intermediate array, in the arena.

    Attributes
    ----------
    operation : str
        What makes it, with its line.
    dtype : dtype
        Of its elements.
    nbytes, offset : int
        Its size, with padding, and its place in the arena or in an output's memory.
    first, last : int
        The kernels between which it lives.
    output : int, optional
        The output in whose memory it stands, before that is written; None: it is in the arena.
    """

    operation: str
    dtype: DType
    nbytes: int
    offset: int
    first: int
    last: int
    output: int | None = None

    @property
    def where(self) -> str:
        """Its place, for people."""
        return str(self.offset) if self.output is None else f"output {self.output}: {self.offset}"


class Plan(NamedTuple):
    """What native code will do and how much memory it needs. Printed: two tables.

    Attributes
    ----------
    name : str
        The function.
    arena_bytes : int
        The memory for all intermediate values: exactly what is allocated.
    scratch_bytes : int
        The memory that each thread needs besides while it works, for copies of factors: exactly.
    input_bytes, output_bytes, constant_bytes : int
        The arrays read, the arrays returned that do not take over an input's memory, and constants.
    kernels : tuple of KernelPlan
        In execution order.
    buffers : tuple of BufferPlan
        The intermediate arrays, the largest first. Those that do not live at one time share memory.
    phases : int
        Parts that begin when the one before is done; within one, threads work side by side.
    external : tuple of str
        The functions that native code calls outside itself.
    """

    name: str
    arena_bytes: int
    scratch_bytes: int
    input_bytes: int
    output_bytes: int
    constant_bytes: int
    kernels: tuple[KernelPlan, ...]
    buffers: tuple[BufferPlan, ...]
    phases: int
    external: tuple[str, ...]

    @property
    def peak_bytes(self) -> int:
        """All memory of a call on one thread: arena, scratch, inputs, outputs and constants."""
        own = self.arena_bytes + self.scratch_bytes
        return own + self.input_bytes + self.output_bytes + self.constant_bytes

    @property
    def flops(self) -> int:
        """The floating-point operations of a call, about."""
        return sum(kernel.flops for kernel in self.kernels)

    def __str__(self) -> str:
        """Return both tables."""
        head = (
            f"{self.name}: {len(self.kernels)} kernels, {self.phases} phases, "
            f"{self.flops / 1e6:.3g} Mflop; "
            f"arena {in_units(self.arena_bytes)}, scratch {in_units(self.scratch_bytes)} a thread, "
            f"inputs {in_units(self.input_bytes)}, "
            f"outputs {in_units(self.output_bytes)}, constants {in_units(self.constant_bytes)}"
        )
        kernels = [("", "kernel", "shape", "kflop", "reads", "writes", "operations")]
        kernels += [
            (
                str(place),
                k.kind,
                "×".join(map(str, k.shape)),
                f"{k.flops / 1e3:.3g}",
                in_units(k.bytes_read),
                in_units(k.bytes_written),
                ", ".join(k.operations),
            )
            for place, k in enumerate(self.kernels)
        ]
        buffers = [("array of", "dtype", "size", "at", "kernels")]
        buffers += [
            (b.operation, str(b.dtype), in_units(b.nbytes), b.where, f"{b.first}–{b.last}")
            for b in self.buffers
        ]
        calls = f"calls: {', '.join(self.external) or 'none outside'}"
        return "\n".join((head, *aligned(kernels), *aligned(buffers), calls))


def in_units(nbytes: float) -> str:
    """Return a size in units of a thousand: ``"61.4 kB"``."""
    power = 0
    while nbytes >= _STEP and power < len(_UNITS) - 1:
        nbytes /= _STEP
        power += 1
    return f"{nbytes:.3g} {_UNITS[power]}"


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """Yield rows as lines, with columns that begin one under the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def make_plan(graph: Graph, aliases: Mapping[int, int], lasting: Iterable[int] = ()) -> Plan:
    """Return the plan of the native code of `graph`.

    Parameters
    ----------
    graph : Graph
        What is compiled.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    lasting : iterable of int
        The outputs in memory that is seen also if a call fails.
    """
    program = prepare(optimise(graph), aliases, machine(), lasting)
    module, _ = generate(program.phases, 0, machine(), attributes(), pause())
    new = [v for place, v in enumerate(graph.outputs) if place not in aliases]
    return Plan(
        graph.name,
        program.arena_bytes,
        module.scratch,
        sum(v.aval.nbytes for v in graph.inputs),
        sum(v.aval.nbytes for v in new),
        sum(constant.nbytes for constant in program.constants),
        tuple(map(_kernel_plan, program.kernels)),
        tuple(_buffer_plans(program)),
        len(program.phases),
        module.external,
    )


def _kernel_plan(kernel: Kernel) -> KernelPlan:
    size = math.prod(kernel.shape)
    flops = size * kernel.under.cost
    kind = "map"
    if isinstance(kernel, Product):
        kind = "product"
        flops += 2 * size * math.prod(kernel.inner)
    elif isinstance(kernel, Reduce):
        kind = "reduce"
        flops += size * math.prod(kernel.inner) * (1 + kernel.before.cost)
    elif isinstance(kernel, Each):
        kind = "loop"
    elif isinstance(kernel, Check):
        kind = "check"
    return KernelPlan(
        kind,
        tuple(kernel.labels),
        kernel.shape,
        flops,
        _bytes_of(kernel.reads),
        _bytes_of(kernel.writes),
    )


def _bytes_of(views: Iterable[Strided]) -> int:
    return sum({x.buffer: x.buffer.nbytes for x in views if x.buffer is not None}.values())


def _buffer_plans(program: Program) -> list[BufferPlan]:
    made: dict[object, tuple[str, DType]] = {}
    for kernel in program.kernels:
        for x in kernel.writes:
            made.setdefault(x.buffer, (kernel.labels[-1] if kernel.labels else "", x.dtype))
    plans = [
        BufferPlan(
            *made[buffer],
            buffer.nbytes,
            buffer.offset,
            life.first,
            life.last,
            None if buffer.slot < 0 else buffer.slot - len(program.inputs),
        )
        for buffer, life in lifetimes(program.kernels).items()
        if buffer.place == "arena" and buffer.nbytes
    ]
    return sorted(plans, key=lambda plan: -plan.nbytes)

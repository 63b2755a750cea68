"""From a graph to machine code: all the work that code kept on disk saves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from wengert.compile.disk.lines import Lines
from wengert.compile.disk.record import Record
from wengert.compile.emit import llvm
from wengert.compile.emit.llvm import attributes, machine, pause
from wengert.compile.lowering.pipeline import prepare
from wengert.compile.native.codegen import generate
from wengert.compile.native.tickets import widest
from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph
from wengert.passes.pipeline import optimise


def translate(
    graph: Graph, aliases: Mapping[int, int], lines: Lines, lasting: Iterable[int] = ()
) -> Record:
    """Return the code of `graph`, to load and to keep.

    Parameters
    ----------
    graph : Graph
        What to compile.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    lines : Lines
        The lines of the graph.
    lasting : iterable of int
        The outputs in memory that is seen also if a call fails.
    """
    program = prepare(optimise(graph), aliases, machine(), lasting)
    pointers = len(graph.inputs) + len(graph.outputs)
    module, rows = generate(program.phases, pointers, machine(), attributes(), pause())
    return Record(
        llvm.object_code(module.text(), module.hasty_text()),
        tuple((error, lines.numbered(message)) for error, message in module.failures),
        _numbered(program.constants, graph),
        program.arena_bytes,
        module.scratch,
        widest(rows),
    )


def _numbered(constants: Sequence[Array], graph: Graph) -> tuple[int | Array, ...]:
    """Return, for each constant, the number of the free variable that it is, or else itself."""
    numbers: dict[Hashable, int] = {}
    for number, v in enumerate(graph.free):
        numbers.setdefault(_bits(v.concrete("compiling a graph")), number)
    return tuple(numbers.get(_bits(constant), constant) for constant in constants)


def _bits(array: Array) -> Hashable:
    return array.shape, array.dtype, array.tobytes()

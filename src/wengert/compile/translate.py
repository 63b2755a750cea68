"""From a graph to machine code: all the work that code kept on disk saves."""

from __future__ import annotations

from collections.abc import Mapping

from wengert.compile.codegen import generate
from wengert.compile.lines import Lines
from wengert.compile.llvm import MachineCode, attributes, machine, pause
from wengert.compile.pipeline import prepare
from wengert.compile.record import Record
from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph
from wengert.passes.pipeline import optimise


def translate(graph: Graph, aliases: Mapping[int, int], lines: Lines) -> tuple[Record, MachineCode]:
    """Return the code of `graph`, to run and to keep.

    Parameters
    ----------
    graph : Graph
        What to compile.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    lines : Lines
        The lines of the graph.
    """
    program = prepare(optimise(graph), aliases, machine())
    kernels = [k for k in program.kernels if any(x.size for x in k.writes)]
    pointers = len(graph.inputs) + len(graph.outputs)
    module, phases = generate(kernels, pointers, machine(), attributes(), pause())
    code = MachineCode(module.text())
    record = Record(
        code.object_code,
        tuple((error, lines.numbered(message)) for error, message in module.failures),
        tuple(_numbered(constant, graph) for constant in program.constants),
        program.arena_bytes,
        any(phase.chunks > 1 for phase in phases),
    )
    return record, code


def _numbered(constant: Array, graph: Graph) -> int | Array:
    """Return the number of the free variable that is this array, or the array if none is."""
    for number, v in enumerate(graph.free):
        same = (v.shape, v.dtype) == (constant.shape, constant.dtype)
        if same and v.value is not None and v.value.tobytes() == constant.tobytes():
            return number
    return constant

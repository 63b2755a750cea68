"""From a graph to kernels whose memory is assigned: the order of the passes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from wengert.compile.emit.machine import Machine
from wengert.compile.lowering.fuse import fuse
from wengert.compile.lowering.layouts import arrange
from wengert.compile.lowering.lower import Program, lower_graph
from wengert.compile.lowering.memory import place_buffers
from wengert.graph.graph import Graph
from wengert.passes.report import wanted


def prepare(
    graph: Graph, aliases: Mapping[int, int], machine: Machine, lasting: Iterable[int] = ()
) -> Program:
    """Return the kernels of `graph`, fused, arranged and placed.

    The environment variable ``WENGERT_PRINT_PASSES`` may ask to print them after each pass.

    Parameters
    ----------
    graph : Graph
        A graph whose free variables all have values.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    machine : Machine
        What the code is for.
    lasting : iterable of int
        The outputs in memory that is seen also if a call fails.

    Raises
    ------
    LoweringError
        If an operation has no native code, naming it and its line.
    """
    program = lower_graph(graph, machine)
    program.lasting = frozenset(lasting)
    chosen = wanted(_PASSES)
    for name, run in _PASSES.items():
        run(program, aliases)
        if name in chosen:
            sys.stderr.write(f"after {name}: {graph.name}, {program}\n\n")
    return program


_PASSES: dict[str, Callable[[Program, Mapping[int, int]], None]] = {
    "lower": lambda program, aliases: None,
    "fuse": fuse,
    "arrange": arrange,
    "place": place_buffers,
}
"""The passes over kernels, in order; lowering stands for what it has made."""

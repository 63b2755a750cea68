"""From a graph to kernels whose memory is assigned: the order of the passes."""

from __future__ import annotations

from collections.abc import Mapping

from wengert.compile.fuse import optimise
from wengert.compile.layouts import arrange
from wengert.compile.lower import Program, lower_graph
from wengert.compile.machine import Machine
from wengert.compile.memory import place_buffers
from wengert.graph.graph import Graph


def prepare(graph: Graph, aliases: Mapping[int, int], machine: Machine) -> Program:
    """Return the kernels of `graph`, fused, arranged and placed.

    Parameters
    ----------
    graph : Graph
        A graph whose free variables all have values.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    machine : Machine
        What the code is for.

    Raises
    ------
    LoweringError
        If an operation has no native code, naming it and its line.
    """
    program = lower_graph(graph, machine)
    optimise(program, aliases)
    arrange(program)
    place_buffers(program, aliases)
    return program

"""What can be counted in a graph before anything runs: operations, multiplications, bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import wengert as wg
from wengert.graph.variable import Operation, Variable


def forward_operations(graph: wg.Graph) -> list[Operation]:
    """Return the operations that belong to 𝓖."""
    return [op for op in graph.operations if op.origin is None and op.inputs]


def backward_operations(graph: wg.Graph) -> list[Operation]:
    """Return the operations that belong to 𝓑: each knows the one of 𝓖 that it comes from."""
    return [op for op in graph.operations if op.origin is not None]


def multiply_adds(operations: Iterable[Operation]) -> int:
    """Return how many multiply-adds the matrix products among `operations` take.

    A contraction such as ``ab,bc->ac`` takes one for each choice of all its labels.
    """
    total = 0
    for op in operations:
        if op.primitive.name == "contract":
            labels = op.params["spec"].partition("->")[0].split(",")
            sizes = {
                label: n
                for operand, x in zip(labels, op.inputs, strict=True)
                for label, n in zip(operand, x.shape, strict=True)
            }
            total += math.prod(sizes.values())
    return total


def calls(graph: wg.Graph, name: str) -> int:
    """Return how often `graph` applies a primitive, inside checkpointed functions too."""
    count = 0
    for op in graph.operations:
        count += op.primitive.name == name
        count += calls(op.params["graph"], name) if "graph" in op.params else 0
    return count


def nbytes(variable: Variable) -> int:
    """Return the size of a variable in bytes."""
    return math.prod(variable.shape) * variable.dtype.itemsize


def kept_bytes(graph: wg.Graph) -> int:
    """Return the bytes that 𝓖 must leave behind for 𝓑: made by the one, read by the other.

    Parameters
    ----------
    graph : Graph
        Of a value and its gradient. Its inputs exist anyway and are not counted.
    """
    made = {v for op in forward_operations(graph) for v in graph.results(op)}
    read = {x for op in backward_operations(graph) for x in op.inputs}
    return sum(nbytes(v) for v in made & read)


def peak_bytes(graph: wg.Graph) -> int:
    """Return the most bytes that are alive at one time: made already, and still to be read.

    Inputs and constants are not counted. Each value counts in full, also one that could share
    the memory of another.
    """
    last_uses = graph.last_uses()
    dying: dict[int, list[Variable]] = {}
    live = peak = 0
    for place, op in enumerate(graph.operations):
        results = [v for v in graph.results(op) if v in last_uses]
        made = sum(map(nbytes, results))
        inner = op.params.get("graph")
        peak = max(peak, live + (made if inner is None else peak_bytes(inner)))
        live += made
        for v in results:
            dying.setdefault(last_uses[v], []).append(v)
        live -= sum(map(nbytes, dying.get(place, ())))
    return peak

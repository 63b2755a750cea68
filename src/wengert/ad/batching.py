"""Batching: a graph of one example becomes a graph of a whole batch, operation by operation."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.graph.bind import bind
from wengert.graph.graph import Graph
from wengert.graph.variable import Variable


def batch(
    graph: Graph, inputs: Sequence[Variable], batched: Sequence[bool], size: int
) -> tuple[tuple[Variable, ...], tuple[bool, ...]]:
    """Bind the operations of `graph` for `size` examples at once.

    Parameters
    ----------
    graph : Graph
        The computation for one example. Its free variables are shared by all examples.
    inputs : sequence of Variable
        One for each input of `graph`; those that are batched have the batch axis in front.
    batched : sequence of bool
        Which are.
    size : int
        The length of the batch axis.

    Returns
    -------
    outputs : tuple of Variable
        The results.
    batched : tuple of bool
        Which of them have the batch axis in front; the others are the same for each example.
    """
    values: dict[Variable, Variable] = dict(zip(graph.inputs, inputs, strict=True))
    lanes = {v for v, b in zip(graph.inputs, batched, strict=True) if b}
    for op in graph.operations:
        primitive = op.primitive
        xs = tuple(values.get(x, x) for x in op.inputs)
        flags = tuple(x in lanes for x in op.inputs)
        results = graph.results(op)
        out_flags: bool | tuple[bool, ...]
        if primitive.per_lane or any(flags):
            made, out_flags = primitive.batch(primitive, xs, flags, size, op.params)
        else:
            made = bind(primitive, xs, op.params)
            out_flags = (False,) * len(results) if primitive.several else False
        if not primitive.several:
            made, out_flags = (made,), (out_flags,)  # type: ignore[assignment]
        assert isinstance(made, tuple)
        assert isinstance(out_flags, tuple)
        values.update(zip(results, made, strict=True))
        lanes.update(v for v, b in zip(results, out_flags, strict=True) if b)
    outputs = tuple(values.get(v, v) for v in graph.outputs)
    return outputs, tuple(v in lanes for v in graph.outputs)

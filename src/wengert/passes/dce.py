"""Dead code: what nobody reads is not computed.

A graph holds only what leads to its outputs, so that operations vanish with the last that reads
them. What is left to do are operations that carry a graph (checkpoints, custom rules): outputs of
it that nobody reads, and inputs that it does not read itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.graph.graph import Graph
from wengert.graph.primitive import Params, Primitive
from wengert.graph.variable import Variable
from wengert.passes.rewriting import Inputs, Rewriting, carries_graphs, rewrite


def dce(graph: Graph) -> Graph:
    """Return `graph` with no more than is read of the graphs that its operations carry."""
    if not carries_graphs(graph):
        return graph
    uses = graph.last_uses()

    def needed(
        site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
    ) -> Sequence[Variable] | None:
        inner = params.get("graph")
        if not isinstance(inner, Graph):
            return None
        results = graph.results(site.op)
        live = [place for place, v in enumerate(results) if v in uses]
        smaller, read = _restricted(inner, live)
        if len(live) == len(results) and len(read) == len(inputs):
            return None
        kept = tuple(inputs[place] for place in read)
        made = iter(site.make(primitive, kept, {**params, "graph": smaller}))
        return [next(made) if v in uses else v for v in results]

    return rewrite(graph, needed)


def _restricted(graph: Graph, live: Sequence[int]) -> tuple[Graph, list[int]]:
    """Return `graph` with some of its outputs, and which of its inputs these depend on."""
    outputs = [graph.outputs[place] for place in live]
    whole = Graph(graph.inputs, outputs, graph.name)
    uses = whole.last_uses()
    read = [place for place, v in enumerate(graph.inputs) if v in uses]
    return Graph([graph.inputs[place] for place in read], outputs, graph.name), read

"""The passes in order, until nothing changes any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from wengert.graph.graph import Graph
from wengert.graph.primitive import Params, Primitive
from wengert.graph.variable import Variable
from wengert.passes.cse import cse
from wengert.passes.dce import dce
from wengert.passes.fold import fold
from wengert.passes.report import Change, printer
from wengert.passes.rewriting import Inputs, Rewriting, carries_graphs, rewrite
from wengert.passes.simplify import simplify

Pass: TypeAlias = Callable[[Graph], Graph]

PASSES: dict[str, Pass] = {"fold": fold, "simplify": simplify, "cse": cse, "dce": dce}
"""In the order in which they run: each makes work for those after it."""

ROUNDS = 8
"""The most rounds; two or three are usual, of which the last finds nothing."""


def optimise(graph: Graph, note: Callable[[Change], None] | None = None) -> Graph:
    """Return a graph of fewer operations that gives the same bits.

    Inputs and outputs stay, in number, order, shapes and dtypes. Derivatives must be taken before.
    It takes time in proportion to the number of operations.

    Parameters
    ----------
    graph : Graph
        What to make smaller.
    note : callable, optional
        Called with each `Change`. By default changes are printed if the environment variable
        ``WENGERT_PRINT_PASSES`` says so.

    Examples
    --------
    >>> import wengert as wg
    >>> from wengert.passes.pipeline import optimise
    >>> graph = wg.trace(lambda x: -(-x) * 1.0 + wg.sum(x))(wg.ones(3))
    >>> optimise(graph)
    <Graph lambda: 1 inputs, 2 operations, 1 outputs>
    """
    note = note or printer(PASSES)
    settled = 0
    for turn in range(ROUNDS * len(PASSES)):
        name = tuple(PASSES)[turn % len(PASSES)]
        after = _everywhere(PASSES[name], graph)
        settled = settled + 1 if after is graph else 1
        if after is not graph and note is not None:
            note(Change(name, 1 + turn // len(PASSES), graph, after))
        graph = after
        if settled == len(PASSES):
            break
    return graph


def _everywhere(run: Pass, graph: Graph) -> Graph:
    """Run a pass on the graphs that operations carry, then on `graph` itself."""
    return run(rewrite(graph, _inside(run)) if carries_graphs(graph) else graph)


def _inside(run: Pass) -> Callable[..., Sequence[Variable] | None]:
    def rule(
        site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
    ) -> Sequence[Variable] | None:
        inner = params.get("graph")
        if not isinstance(inner, Graph):
            return None
        smaller = _everywhere(run, inner)
        if smaller is inner:
            return None
        return site.keep(primitive, inputs, {**params, "graph": smaller})

    return rule

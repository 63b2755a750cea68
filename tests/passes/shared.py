"""Making graphs, running passes on them, and comparing values bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.compile.programs import F, graph_of, reference, same_bits
from wengert.graph.bind import bind
from wengert.graph.graph import Graph
from wengert.graph.primitive import registry
from wengert.graph.variable import Variable
from wengert.graph.verify import verify

Array = Any

__all__ = ["F", "apply", "graph_of", "improved", "names", "same_bits", "specials", "untouched"]


def apply(name: str, *xs: Variable, **params: Any) -> Any:
    """Bind a primitive by its name, even where the function for users would not."""
    return bind(registry[name], xs, params)


def specials(dtype: Any = np.float64, shape: tuple[int, ...] = (5, 4)) -> Array:
    """Return zeros of both signs, infinities, NaN, the tiniest and the largest, and common ones."""
    limits = np.finfo(dtype)
    numbers = [0.0, 1.0, np.inf, limits.smallest_subnormal, limits.tiny, limits.max, 0.5, 3.0, 1e-3]
    row = np.array([*numbers, *(-n for n in numbers), np.nan, 2.5], dtype)
    return np.resize(row, shape)


def names(graph: Graph) -> list[str]:
    """Return the primitives of the graph, in order."""
    return [op.primitive.name for op in graph.operations]


def checked(run: Callable[[Graph], Graph], graph: Graph, *inputs: Array) -> Graph:
    """Run a pass; check that both graphs are valid and have the same values."""
    verify(graph)
    after = run(graph)
    verify(after)
    assert after.inputs == graph.inputs
    same_bits(reference(after, inputs), reference(graph, inputs))
    return after


def improved(run: Callable[[Graph], Graph], function: Any, *inputs: Array) -> list[str]:
    """Return the primitives that a pass leaves of the graph of a function."""
    after = checked(run, graph_of(function, *inputs), *inputs)
    assert run(after) is after, "a second run finds more"
    return names(after)


def untouched(run: Callable[[Graph], Graph], function: Any, *inputs: Array) -> None:
    """Check that a pass returns the graph of a function as it is."""
    graph = graph_of(function, *inputs)
    assert checked(run, graph, *inputs) is graph

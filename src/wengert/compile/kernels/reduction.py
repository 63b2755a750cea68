"""What the loops of all reductions have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wengert.compile.emit.expression import Lane, Lanes, State
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import scalar_type, vector
from wengert.compile.emit.vectors import store_lanes
from wengert.compile.kernels.nest import Evaluation, Offsets, Space

if TYPE_CHECKING:
    from wengert.compile.kernels.reduce import Reduce

LANES = 64
"""Lanes of a long sum: several vectors, so that one addition need not wait for another."""


class Reduction:
    """Emits one reduction.

    Attributes
    ----------
    values, terms : Evaluation
        What is stored, and what is reduced.
    """

    def __init__(self, kernel: Reduce, function: Function, space: Space, last: int) -> None:
        self.kernel = kernel
        self.function = function
        self.space = space
        self.rank = space.rank
        self.inner = space.lengths[space.rank :]
        self.values = self.terms = Evaluation(function, space, kernel.evaluated.nodes, last)

    def first(self, lanes: Lanes) -> State:
        """Return the state before any term."""
        return tuple(self.kernel.identity(lanes))

    def step(self, lanes: Lanes, state: State) -> State:
        """Combine the state so far with the terms here."""
        terms = tuple(self.terms.value(term, lanes) for term in self.kernel.terms)
        return tuple(self.kernel.combine(lanes, state, terms))

    def state(self, values: Sequence[str]) -> State:
        """Return a state that loops have carried."""
        return tuple(Lane(v, dtype) for v, dtype in zip(values, self.kernel.dtypes, strict=True))

    def store(self, lanes: Lanes, offsets: Offsets, state: State) -> None:
        """Emit what is stored of results, one for each lane."""
        for node, value in zip(self.kernel.results, state, strict=True):
            self.values.set(node, value, lanes.width > 1)
        self.values.finish(lanes, offsets)
        made = [self.values.value(store.value, lanes) for store in self.kernel.stores]
        for value, target in zip(made, self.kernel.writes, strict=True):
            steps = self.space.strides[target]
            step = steps[self.rank - 1] if self.rank else 1
            store_lanes(lanes, value, target, offsets[steps], step)


def carried(lanes: Lanes, state: State) -> list[tuple[str, str]]:
    """Return a state as what loops carry."""
    return [(vector(scalar_type(x.dtype), lanes.width), x.text) for x in state]

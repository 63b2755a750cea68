"""Common subexpressions: what is computed twice is computed once.

Equal are operations that apply one primitive, with equal parameters, to the same variables, in
either order where its record says so; and constants of equal bits. A draw is a function of its
state and may be shared, too. What a checkpoint computes again stays apart from what was computed
before, since sharing it would keep it in memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from wengert.graph.graph import Graph
from wengert.graph.primitive import Params, Primitive
from wengert.graph.variable import Operation, Variable
from wengert.passes.fold import LIMIT
from wengert.passes.frozen import frozen
from wengert.passes.rewriting import Inputs, Rewriting, rewrite


def cse(graph: Graph) -> Graph:
    """Return `graph` with each value computed once."""
    constants = _equal_constants(graph)
    known: dict[Hashable, Sequence[Variable]] = {}

    def shared(
        site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
    ) -> Sequence[Variable]:
        if constants:
            inputs = tuple([constants.get(x, x) for x in inputs])
        key = _key(site.op, primitive, inputs, params)
        found = known.get(key)
        if found is None:
            found = known[key] = site.keep(primitive, inputs, params)
        return found

    return rewrite(graph, shared)


def _equal_constants(graph: Graph) -> dict[Variable, Variable]:
    """Return, for each constant that has the bits of an earlier one, that one."""
    first: dict[Hashable, Variable] = {}
    same: dict[Variable, Variable] = {}
    for v in graph.free:
        if v.value is not None and v.value.size <= LIMIT:
            earlier = first.setdefault((v.dtype, v.shape, v.value.tobytes()), v)
            if earlier is not v:
                same[v] = earlier
    return same


def _key(op: Operation, primitive: Primitive, inputs: Inputs, params: Params) -> Hashable:
    if primitive.laws.commutative:
        inputs = tuple(sorted(inputs, key=id))
    again = op.origin if op.origin is not None and op.origin.primitive.recomputes else None
    return primitive, inputs, frozen(params, _itself), again


def _itself(value: Any) -> Hashable:
    return (type(value), value) if isinstance(value, Hashable) else (type(value), id(value))

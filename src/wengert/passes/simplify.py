"""Simplification: identities of algebra that hold bit by bit, signs of zero and NaN included.

So ``x * 1`` is simplified and ``x + 0`` is not (−0 + 0 is 0; ``x + (-0)`` is), ``0 * x`` never is,
nor anything that adds in another order. What a primitive's record states (`Laws`) is used first;
what takes several primitives is in `arithmetic` and `views`.
"""

from __future__ import annotations

import numpy as np

from wengert.graph.graph import Graph
from wengert.graph.primitive import Params, Primitive, registry
from wengert.graph.variable import Variable
from wengert.ops.convert import constant
from wengert.ops.lowering import Inexact
from wengert.passes import arithmetic, views
from wengert.passes.constants import is_number, number_of
from wengert.passes.rewriting import Inputs, Rewriting, avals_of, rewrite

_RULES = arithmetic.RULES | views.RULES


def simplify(graph: Graph) -> Graph:
    """Return `graph` without the operations that identities make superfluous."""
    return rewrite(graph, _simpler)


def _simpler(
    site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
) -> tuple[Variable, ...] | None:
    found = _by_law(site, primitive, inputs, params)
    known = registry.get(primitive.name) is primitive  # one from elsewhere may share a name
    rule = _RULES.get(primitive.name) if known else None
    if found is None and rule is not None:
        found = rule(site, inputs, params)
    if found is None and primitive.laws.elementwise and len(inputs) > 1:
        found = _with_plain_operands(site, primitive, inputs, params)
    return None if found is None else (found,)


def _by_law(
    site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
) -> Variable | None:
    """Apply the laws that the record of the primitive states."""
    laws = primitive.laws
    if laws.identity:
        return inputs[0]
    if laws.self_inverse:
        first = site.maker(inputs[0], primitive.name)
        return first.inputs[0] if first is not None and first.params == params else None
    for place, neutral in enumerate(laws.neutral):
        if neutral is not None and is_number(number_of(site, inputs[place]), neutral):
            other = inputs[1 - place]
            (aval,) = avals_of(primitive, inputs, params)
            return views.fitted(site, site.emit("cast", other, dtype=aval.dtype), aval.shape)
    return None


def _with_plain_operands(
    site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
) -> Variable | None:
    """Leave it to the operation to repeat its operands, where another one has the whole shape.

    NumPy's functions may give a number and an array other bits, so those are left alone.
    """
    plain = tuple([_plain(site, x) for x in inputs])
    if plain == inputs or isinstance(primitive.lower, Inexact):
        return None
    shape = np.broadcast_shapes(*[x.shape for x in inputs])
    chosen = list(inputs)
    for place, x in enumerate(plain):
        rest = [*chosen[:place], x, *chosen[place + 1 :]]
        if np.broadcast_shapes(*[v.shape for v in rest]) == shape:
            chosen = rest
    return site.apply(primitive, tuple(chosen), params) if tuple(chosen) != inputs else None


def _plain(site: Rewriting, x: Variable) -> Variable:
    """Return what `x` repeats; itself, if it repeats nothing."""
    number = number_of(site, x)
    if number is not None and x.shape:
        return constant(number.item(), x.dtype)
    repeated = site.maker(x, "broadcast")
    return x if repeated is None else repeated.inputs[0]

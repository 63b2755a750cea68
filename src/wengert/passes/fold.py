"""Constant folding: what depends on constants alone is computed once, when the code is made.

The reference evaluation computes it. An array of one number becomes the operation `full`, which
native code stores nowhere. Random draws stay, and so does what raises an error, which is the
business of each call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph
from wengert.graph.mode import THREAD
from wengert.graph.primitive import Params, Primitive
from wengert.graph.variable import Aval, Variable
from wengert.ops.lowering import Inexact
from wengert.passes.constants import filled, number_of
from wengert.passes.rewriting import Inputs, Rewriting, avals_of, rewrite

LIMIT = 4096
"""The most elements of an array that folding reads or makes: constants are kept in memory."""


def fold(graph: Graph) -> Graph:
    """Return `graph` with constants in place of the operations that depend on nothing else."""
    return rewrite(graph, _folded)


def _folded(
    site: Rewriting, primitive: Primitive, inputs: Inputs, params: Params
) -> tuple[Variable, ...] | None:
    if primitive.several or primitive.per_lane:
        return None
    if primitive.name == "full":
        return None if params["shape"] else (filled(site, params["value"], (), params["dtype"]),)
    numbers = [number for x in inputs if (number := number_of(site, x)) is not None]
    arrays = [x.value for x in inputs if x.value is not None]
    if len(inputs) not in {len(numbers), len(arrays)}:
        return None
    (aval,) = avals_of(primitive, inputs, params)
    folded = None
    if numbers and len(numbers) == len(inputs):
        folded = _of_numbers(site, primitive, numbers, aval, params)
    if folded is None and len(arrays) == len(inputs):
        folded = _of_arrays(site, primitive, arrays, aval, params)
    return None if folded is None else (folded,)


def _of_numbers(
    site: Rewriting, primitive: Primitive, numbers: Sequence[Array], aval: Aval, params: Params
) -> Variable | None:
    """Return what operands of which each is one number give, if that is one number, too.

    NumPy's functions may give a number and an array other bits, so those are left alone.
    """
    if primitive.laws.moves:
        return filled(site, numbers[0].item(), aval.shape, aval.dtype)
    if not primitive.laws.elementwise or (aval.shape and isinstance(primitive.lower, Inexact)):
        return None
    value = _evaluated(primitive, numbers, params)
    return None if value is None else filled(site, value.item(), aval.shape, aval.dtype)


def _of_arrays(
    site: Rewriting, primitive: Primitive, arrays: Sequence[Array], aval: Aval, params: Params
) -> Variable | None:
    if max(math.prod(aval.shape), *(array.size for array in arrays), 0) > LIMIT:
        return None
    value = _evaluated(primitive, arrays, params)
    if value is None:
        return None
    if _is_one_number(value):
        return filled(site, value.flat[0].item(), aval.shape, aval.dtype)
    value.flags.writeable = False
    return Variable(value)


def _evaluated(primitive: Primitive, arrays: Sequence[Array], params: Params) -> Array | None:
    """Return the value as memory of its own; None if there is none."""
    try:
        return np.array(THREAD.now.run(primitive.evaluate, *arrays, **params), order="C")
    except Exception:  # of any kind: whatever it is, the call is to raise it
        return None


def _is_one_number(array: Array) -> bool:
    """Tell whether all elements have the same bits."""
    if array.size == 0:
        return False
    elements: Any = array.reshape(-1).view(f"V{array.itemsize}")
    return bool((elements == elements[0]).all())

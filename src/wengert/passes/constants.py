"""What passes know of values: arrays of which every element is one number, and finite ones."""

from __future__ import annotations

import math

import numpy as np

from wengert.graph.dtypes import Array, DType, Scalar
from wengert.graph.variable import Variable
from wengert.ops.convert import constant
from wengert.passes.rewriting import Rewriting


def number_of(site: Rewriting, x: Variable) -> Array | None:
    """Return the number that every element of `x` is, of its dtype and without axes.

    None where it is not known. Only what stands in the graph as a number is seen: a constant of one
    element, or the operation `full`; folding brings others into that form.
    """
    if x.value is not None:
        return x.value.reshape(()) if x.value.size == 1 else None
    op = site.maker(x, "full")
    return None if op is None else np.array(op.params["value"], x.dtype)


def is_number(found: Array | None, wanted: float | None) -> bool:
    """Tell whether `found` is the number `wanted`, with its sign if it is a floating-point zero."""
    if found is None or wanted is None or found.item() != wanted:
        return False
    return found.dtype.kind != "f" or math.copysign(1, found.item()) == math.copysign(1, wanted)


def filled(site: Rewriting, value: Scalar, shape: tuple[int, ...], dtype: DType) -> Variable:
    """Return the variable whose every element is `value`."""
    if not shape:
        return constant(value, dtype)
    return site.emit("full", shape=shape, dtype=dtype, value=value)


def is_finite(site: Rewriting, x: Variable) -> bool:
    """Tell whether no element of `x` can be infinite or NaN."""
    if x.dtype.kind != "f":
        return True
    number = number_of(site, x)
    if number is not None:
        return bool(np.isfinite(number))
    op = site.maker(x, "cast")
    return op is not None and op.inputs[0].dtype.kind != "f"


def has_no_zero(site: Rewriting, x: Variable) -> bool:
    """Tell whether no element of `x` can be zero."""
    number = number_of(site, x)
    return number is not None and bool(number != 0)

"""Rules for elementwise operations and sums. Each holds bit by bit; one NaN is as good as another.

A rule ``rule(site, inputs, params)`` returns what is as good as the operation and cheaper, or None.
"""

from __future__ import annotations

import math

import numpy as np

from wengert.graph.dtypes import BOOL, Array, DType
from wengert.graph.primitive import Params
from wengert.graph.variable import Variable
from wengert.passes.constants import filled, has_no_zero, is_finite, is_number, number_of
from wengert.passes.rewriting import Inputs, Rewriting
from wengert.passes.views import Simpler, fitted


def add(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Subtract ``y`` instead of adding ``-y``, on either side."""
    x, y = inputs
    if negated := site.maker(y, "neg"):
        return site.emit("sub", x, negated.inputs[0])
    if negated := site.maker(x, "neg"):
        return site.emit("sub", y, negated.inputs[0])
    return None


def sub(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Add ``y`` instead of subtracting ``-y``."""
    x, y = inputs
    negated = site.maker(y, "neg")
    return site.emit("add", x, negated.inputs[0]) if negated else None


def mul(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Negate instead of multiplying by -1."""
    for x, other in (inputs, inputs[::-1]):
        if is_number(number_of(site, other), -1):
            return site.emit("neg", fitted(site, x, np.broadcast_shapes(x.shape, other.shape)))
    return None


def div(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Divide by a power of two by multiplying with its reciprocal, which is one too."""
    x, y = inputs
    number = number_of(site, y)
    if number is None or not _is_power_of_two(number):
        return None
    return site.emit("mul", x, filled(site, 1 / number.item(), y.shape, y.dtype))


def _is_power_of_two(number: Array) -> bool:
    """Tell whether a float is one, and its reciprocal is a normal number of its dtype as well."""
    value = number.item()
    if not math.isfinite(value) or abs(math.frexp(value)[0]) != 0.5:  # noqa: PLR2004
        return False
    limits = np.finfo(str(number.dtype))
    return bool(limits.tiny <= abs(value) <= 1 / limits.tiny)


def cotangent_mul(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Drop the strong zero where no infinite or undefined slope meets a cotangent of zero."""
    cotangent, slope = inputs
    if slope.dtype == BOOL or not (is_finite(site, slope) or has_no_zero(site, cotangent)):
        return None
    return site.emit("mul", cotangent, slope)


def where(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Choose where the choice is known, or makes no difference; choose the other way for a not."""
    condition, x, y = inputs
    shape = np.broadcast_shapes(*(v.shape for v in inputs))
    number = number_of(site, condition)
    if number is not None:
        return fitted(site, x if number else y, shape)
    if x is y:
        return fitted(site, x, shape)
    inverted = site.maker(condition, "logical_not")
    return site.emit("where", inverted.inputs[0], y, x) if inverted else None


def cast(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Leave out a cast that changes nothing, and the first of two if it loses nothing."""
    (x,) = inputs
    dtype = params["dtype"]
    if x.dtype == dtype:
        return x
    first = site.maker(x, "cast")
    if first is None or not _passes_through(first.inputs[0].dtype, x.dtype, dtype):
        return None
    return site.emit("cast", first.inputs[0], dtype=dtype)


def _passes_through(source: DType, middle: DType, target: DType) -> bool:
    """Tell whether a cast by way of `middle` gives what the direct one does.

    Floats that are converted to integers must stay out of it: what becomes of those that do not
    fit depends on the dtype that they come from.
    """
    exact = np.can_cast(source, middle) and not (
        middle.kind == "f" and source.kind in "iu" and source.itemsize >= middle.itemsize
    )
    return exact and (
        target == source or target.kind in "bf" or "f" not in source.kind + middle.kind
    )


def sum_(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Sum one term for each result by adding it to the zero that sums begin with."""
    (x,) = inputs
    if any(x.shape[axis] != 1 for axis in params["axes"]):
        return None
    shape = tuple(n for axis, n in enumerate(x.shape) if axis not in set(params["axes"]))
    zero = filled(site, 0, (), x.dtype)
    return site.emit("add", site.emit("reshape", x, shape=shape), zero)


RULES: dict[str, Simpler] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "cotangent_mul": cotangent_mul,
    "where": where,
    "cast": cast,
    "sum": sum_,
}

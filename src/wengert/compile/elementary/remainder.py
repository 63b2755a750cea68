"""The remainder of a division, exactly."""

from __future__ import annotations

import math

from wengert.compile.elementary.formats import FORMATS, two_product
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32, FLOAT64

_TINY, _HUGE = 2.0**-900, 2.0**1000
"""Between them, no part of a product that is taken apart leaves the range of float64."""


def fmod(e: Lanes, x: Lane, y: Lane) -> Lane:
    """Return x less a whole multiple of y, with the sign of x and less than y in size.

    The multiple nearest to x leaves a remainder that is a float of their dtype, and so comes out
    exactly. Quotients of 2^22, or 2^51, and more are left to C's library, as are infinite operands.
    """
    size, step = e.absolute(x), e.absolute(y)
    quotient = e.div(size, step)
    end = 2.0 ** FORMATS[x.dtype].mantissa
    rest = _less(e, size, e.sub(e.add(quotient, end), end), step)
    rest = e.where(e.compare("<", rest, 0), e.add(rest, step), rest)
    plain = e.both(e.compare("<", quotient, end / 2), e.compare("<", step, math.inf))
    if x.dtype == FLOAT64:
        plain = e.both(plain, e.compare("<", size, _HUGE))
        plain = e.both(plain, e.compare(">", step, _TINY))
    value = e.copy_sign(rest, x)
    (value,) = e.repair(e.invert(plain), (value,), lambda: (e.library("fmod", x, y),))
    return value


def _less(e: Lanes, x: Lane, times: Lane, y: Lane) -> Lane:
    """Return ``x - times * y``, which is a float of their dtype."""
    if e.fused:
        return e.fma(e.neg(times), y, x)
    if x.dtype == FLOAT32:
        x, times, y = (e.cast(z, FLOAT64) for z in (x, times, y))
        return e.cast(e.sub(x, e.mul(times, y)), FLOAT32)
    product, error = two_product(e, times, y)
    return e.sub(e.sub(x, product), error)

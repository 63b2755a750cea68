"""Logarithms by tables in registers: ``log x = k log 2 - log c + log(1 + r)``, ``1 + r = c m``.

m is the mantissa of x, from 3/4 to 3/2, and c one of 16 or 32 numbers near ``1 / m`` with so few
bits that r is exact (Tang, Table-driven implementation of the logarithm function in IEEE
floating-point arithmetic, 1990). Around 1, where a logarithm is small, c is 1.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from typing import NamedTuple

from wengert.compile.elementary.formats import FORMATS, LN2
from wengert.compile.elementary.instructions import (
    TABLE,
    exponent_of,
    looked_up,
    mantissa_of,
    scale,
)
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32, FLOAT64, DType

_EXACT = {FLOAT32: 16, FLOAT64: 42}
"""Bits behind the point of the first part of ``-log c``: k times that of log 2 adds exactly."""


class Inverses(NamedTuple):
    """Numbers c, and ``-log c`` in two parts, in the order of the first bits of m."""

    inverses: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]


class Reduced(NamedTuple):
    """``k log 2 - log c`` in two parts, the first exact, and r."""

    high: Lane
    low: Lane
    r: Lane


@lru_cache(maxsize=2)
def inverses_of(dtype: DType) -> Inverses:
    """Return the table for a dtype.

    The index counts the intervals of ``m + 1 / (2 count)``: of length ``1 / count`` from 1 up to
    3/2, and half as long below 1.
    """
    count = TABLE[dtype]
    context = Context(prec=60)
    scale = Decimal(2 ** _EXACT[dtype])
    rows = []
    for i in range(count):
        middle = 1 + i / count if i <= count // 2 else (2 * count + 2 * i - 1) / (4 * count)
        inverse = round(2 * count / middle) / (2 * count)
        exact = context.minus(context.ln(Decimal(inverse)))
        high = context.divide(context.to_integral_value(context.multiply(exact, scale)), scale)
        rows.append((inverse, float(high), float(context.subtract(exact, high))))
    return Inverses(*map(tuple, zip(*rows, strict=True)))


def reduced_to_one(e: Lanes, x: Lane, rest: Lane | None = None) -> Reduced:
    """Take ``x + rest`` apart, with a rest below the last place of x.

    The first part is infinite for 0 and infinity; below zero r is NaN.
    """
    dtype = x.dtype
    table = inverses_of(dtype)
    m = mantissa_of(e, x)
    k = e.sub(exponent_of(e, x), exponent_of(e, m))
    shifted = e.bits(e.add(m, 0.5 / TABLE[dtype]))
    index = e.shift_right(shifted, FORMATS[dtype].mantissa + 1 - TABLE[dtype].bit_length())
    high, low = LN2[dtype]
    inverse = looked_up(e, table.inverses, index)
    r = e.fma(m, inverse, -1)
    return Reduced(
        e.fma(k, high, looked_up(e, table.high, index)),
        e.fma(k, low, looked_up(e, table.low, index)),
        r if rest is None else e.fma(scale(e, rest, e.neg(k)), inverse, r),
    )

"""Exponentials: ``e^x = 2^k e^r`` with the remainder ``r = x - k log 2``, at most half of log 2.

The reduction subtracts k times log 2 in two parts, of which the first has so few bits that its
product with k is exact (Cody and Waite, Software Manual for the Elementary Functions, 1980).
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from typing import NamedTuple

from wengert.compile.elementary.coefficients import EXP, EXP_NEAR, EXPM1
from wengert.compile.elementary.formats import (
    FORMATS,
    LN2,
    at_least,
    at_most,
    multiples,
    polynomial,
    power_of_two,
    scaled,
    two_sum,
)
from wengert.compile.elementary.instructions import TABLE, available, looked_up, scale
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32, FLOAT64, DType

LOG2_E = 1.4426950408889634

_RANGE = {FLOAT32: (-104.0, 89.0), FLOAT64: (-746.0, 710.0)}
"""Where the exponential is neither 0 nor infinite, and a little more."""


_INWARD = 0.1
"""How far the remainder may leave half of log 2 so that k is nearer to 0."""


def reduced(e: Lanes, x: Lane, near: Lane, bias: int) -> tuple[Lane, Lane]:
    """Return r, and a shifted sum whose lowest bits are k + `bias`, for the k nearest to `near`."""
    shift = FORMATS[x.dtype].shift + bias
    total = e.fma(near, LOG2_E, shift)
    return multiples(e, x, LN2[x.dtype], e.sub(total, shift)), total


def exp(e: Lanes, x: Lane) -> Lane:
    """Return the exponential. Largest errors seen: 1.1 units in the last place in both dtypes."""
    if available(e):
        return exp_by_table(e, bounded(e, x))
    r, total = _bounded(e, x)
    return scaled(e, e.add(exp_of_remainder(e, r, EXP[x.dtype]), 1), total)


def exp_to_half_a_unit(e: Lanes, x: Lane) -> Lane:
    """Return the exponential, with what rounding takes from ``1 + r`` given to the other terms."""
    if available(e):
        return exp_by_table(e, bounded(e, x), exactly=True)
    r, total = _bounded(e, x)
    first, lost = two_sum(e, 1, r)
    return scaled(e, e.add(first, exp_of_remainder(e, r, EXP[x.dtype], lost)), total)


def exp_of_normal(e: Lanes, x: Lane) -> Lane:
    """Return the exponential of an x whose ``2^k`` is a normal number."""
    if available(e):
        return exp_by_table(e, x)
    r, total = reduced(e, x, x, FORMATS[x.dtype].bias)
    power = power_of_two(e, e.bits(total))
    return e.fma(exp_of_remainder(e, r, EXP[x.dtype]), power, power)


def bounded(e: Lanes, x: Lane) -> Lane:
    """Return x within the range where the exponential is neither 0 nor infinite."""
    low, high = _RANGE[x.dtype]
    return at_most(e, at_least(e, x, low), high)


def _bounded(e: Lanes, x: Lane) -> tuple[Lane, Lane]:
    """Return r, and a shifted sum that ends in ``k + 2 bias``, for any x."""
    x = bounded(e, x)
    return reduced(e, x, x, 2 * FORMATS[x.dtype].bias)


class Roots(NamedTuple):
    """``2^(i / n)`` for each i below n, in two parts."""

    high: tuple[float, ...]
    low: tuple[float, ...]


@lru_cache(maxsize=2)
def roots_of(dtype: DType) -> Roots:
    """Return as many roots as two registers hold."""
    context, count = Context(prec=60), TABLE[dtype]
    step = Decimal(2)
    for _ in range(count.bit_length() - 1):
        step = context.sqrt(step)
    exact = [Decimal(1)]
    while len(exact) < count:
        exact.append(context.multiply(exact[-1], step))
    high = [float(dtype.type(x)) for x in exact]
    low = [float(context.subtract(x, Decimal(y))) for x, y in zip(exact, high, strict=True)]
    return Roots(tuple(high), tuple(low))


def exp_by_table(e: Lanes, x: Lane, rest: Lane | None = None, exactly: bool = False) -> Lane:
    """Return ``e^(x + rest)`` for x within the range, and a `rest` far below x.

    It is ``2^k 2^(i / n) e^r`` with a remainder of at most half of ``log 2 / n``. Only for machines
    with the instructions.
    """
    shift = FORMATS[x.dtype].shift / TABLE[x.dtype]
    total = e.fma(x, LOG2_E, shift)
    whole = e.sub(total, shift)
    r = multiples(e, x, LN2[x.dtype], whole)
    change = exp_of_remainder(e, r if rest is None else e.add(r, rest), EXP_NEAR[x.dtype])
    root, low = (looked_up(e, part, e.bits(total)) for part in roots_of(x.dtype))
    if exactly:
        return scale(e, e.add(root, e.fma(root, change, low)), whole)
    return scale(e, e.fma(root, change, root), whole)


def exp_of_remainder(
    e: Lanes, r: Lane, coefficients: tuple[float, ...], first: Lane | None = None
) -> Lane:
    """Return ``e^r - 1``, with another first term in the place of r."""
    square = e.mul(r, r)
    return e.fma(square, polynomial(e, r, square, coefficients), first or r)


def expm1(e: Lanes, x: Lane) -> Lane:
    """Return ``e^x - 1``, without losing digits near zero: ``2^k (e^r - 1) + (2^k - 1)``.

    All is halved, since ``2^k`` may be infinite where the result is not. Largest errors seen: 1.2
    units in the last place in float32 and float64.
    """
    _, high = _RANGE[x.dtype]
    bounded = at_most(e, at_least(e, x, -2.0 * FORMATS[x.dtype].mantissa), high)
    half = expm1_of_sum(e, bounded, None, 1)
    return e.copy_sign(e.add(half, half), x)


def expm1_of_sum(e: Lanes, x: Lane, rest: Lane | None, less: int = 0) -> Lane:
    """Return ``(e^(x + rest) - 1) / 2^less`` for x in the range of exponents, `rest` far below x.

    To add ``2^k - 1`` must not cancel digits, so that r is small where k is not 0.
    """
    inward = e.copy_sign(e.constant(_INWARD, x.dtype), x)
    r, total = reduced(e, x, e.sub(x, inward), FORMATS[x.dtype].bias - less)
    square = e.mul(r, r)
    series = polynomial(e, r, square, EXPM1[r.dtype])
    change = e.fma(square, series, r) if rest is None else e.add(r, e.fma(square, series, rest))
    power = power_of_two(e, e.bits(total))
    return e.fma(change, power, e.sub(power, 2.0**-less))

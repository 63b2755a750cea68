"""Logarithms: ``log x = k log 2 + log(1 + f)`` with ``x = 2^k (1 + f)``, 1 + f around 1."""

from __future__ import annotations

import math

from wengert.compile.elementary.coefficients import LOG, LOG_NEAR, LOG_TAIL
from wengert.compile.elementary.formats import FORMATS, LN2, Pair, polynomial, two_sum
from wengert.compile.elementary.instructions import available, exponent_of, mantissa_of, scale
from wengert.compile.elementary.inverses import reduced_to_one
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32

_LEAST = 0.75


def split(e: Lanes, x: Lane) -> tuple[Lane, Lane]:
    """Return k + bias as an unsigned integer and f + 1, from 3/4 to 3/2, of normal x."""
    form = FORMATS[x.dtype]
    low = form.pattern(_LEAST)
    moved = e.add(e.bits(x), form.pattern(1.0) - low)
    exponent = e.shift_right(moved, form.mantissa)
    fraction = e.both(moved, e.constant((1 << form.mantissa) - 1, moved.dtype))
    return exponent, e.from_bits(e.add(fraction, low))


def lifted(e: Lanes, x: Lane) -> tuple[Lane, Lane, Lane]:
    """Return the parts of positive x, subnormal or not, and what `as_float` takes from k."""
    form = FORMATS[x.dtype]
    small = e.compare("<", x, form.tiny)
    lift = form.mantissa + 1
    zero = e.constant(form.shift + form.bias, x.dtype)
    moved = e.where(small, form.shift + form.bias + lift, zero)
    return *split(e, e.where(small, e.mul(x, 2.0**lift), x)), moved


def as_float(e: Lanes, number: Lane, less: Lane) -> Lane:
    """Return a small unsigned integer less another number, which has `Format.shift` added."""
    form = FORMATS[less.dtype]
    return e.sub(e.from_bits(e.add(number, form.pattern(form.shift))), less)


def combined(e: Lanes, k: Lane, f: Lane) -> Lane:
    """Return ``k log 2 + log(1 + f)``."""
    high, low = LN2[f.dtype]
    square = e.mul(f, f)
    rest = e.fma(square, polynomial(e, f, square, LOG[f.dtype]), e.mul(k, low))
    return e.fma(k, high, e.add(f, rest))


def special(e: Lanes, x: Lane, value: Lane, zero: float) -> Lane:
    """Return `value`, but the limits of a logarithm that has its pole where `x` is `zero`."""
    below = e.where(e.compare("==", x, zero), e.constant(-math.inf, x.dtype), math.nan)
    value = e.where(e.compare(">", x, zero), value, below)
    return e.where(e.compare("==", x, math.inf), math.inf, value)


def log(e: Lanes, x: Lane) -> Lane:
    """Return the natural logarithm; NaN below zero, minus infinity at zero.

    Largest errors seen: 1.2 units in the last place in float32, 1.4 in float64 (1.6 where
    multiply-add is not fused).
    """
    if available(e):
        return _log_by_instructions(e, x)
    exponent, fraction, zero = lifted(e, x)
    k = as_float(e, exponent, zero)
    return special(e, x, combined(e, k, e.sub(fraction, 1)), 0.0)


def _log_by_instructions(e: Lanes, x: Lane, rest: Lane | None = None) -> Lane:
    """Return the logarithm of ``x + rest``, without a rest also of special numbers."""
    if x.dtype == FLOAT32:
        m = mantissa_of(e, x)
        k = e.sub(exponent_of(e, x), exponent_of(e, m))
        f = e.sub(m, 1)
        return combined(e, k, f if rest is None else e.add(f, scale(e, rest, e.neg(k))))
    high, low, r = reduced_to_one(e, x, rest)
    square = e.mul(r, r)
    rest = e.fma(square, polynomial(e, r, square, LOG_NEAR[x.dtype]), low)
    return e.add(high, e.add(r, rest))


def log_in_parts(e: Lanes, x: Lane) -> Pair:
    """Return the logarithm of a positive number, with some 10 more digits than its dtype has.

    Only for machines with the instructions.
    """
    high, low, r = reduced_to_one(e, x)
    square = e.mul(r, r)
    tail = polynomial(e, r, square, LOG_TAIL[x.dtype])
    linear, lost = two_sum(e, high, r)
    low = e.add(low, lost)
    if x.dtype == FLOAT32:  # r is so small that its square need not be in two parts
        return two_sum(e, linear, e.fma(square, e.fma(r, tail, -0.5), low))
    half = e.mul(r, 0.5)
    square = e.mul(r, half)
    whole, lost = two_sum(e, linear, e.neg(square))
    low = e.add(e.sub(low, e.fma(r, half, e.neg(square))), lost)
    return two_sum(e, whole, e.fma(e.mul(r, square), e.add(tail, tail), low))


def log1p(e: Lanes, x: Lane) -> Lane:
    """Return ``log(1 + x)``, without losing digits near zero.

    k is that of the rounded sum ``1 + x``, and f is ``2^-k x + (2^-k - 1)``, which is x itself
    where k is 0. A huge x is made smaller first, so that ``2^-k`` is normal.
    Largest errors seen: 1.2 units in the last place in float32, 1.5 in float64.
    """
    if available(e):
        value = _log_by_instructions(e, *two_sum(e, 1, x))
        return e.copy_sign(special(e, x, value, -1.0), x)
    form = FORMATS[x.dtype]
    drop = 2 * form.mantissa
    huge = e.compare(">", x, 2.0 ** (form.bias - 2))
    bounded = e.where(huge, e.mul(x, 2.0**-drop), x)
    exponent, _ = split(e, e.add(bounded, 1))
    inverse = e.shift_left(e.sub(2 * form.bias, exponent), form.mantissa)
    power = e.from_bits(inverse)
    f = e.fma(bounded, power, e.sub(power, 1))
    zero = e.constant(form.shift + form.bias, x.dtype)
    k = as_float(e, exponent, e.where(huge, form.shift + form.bias - drop, zero))
    return e.copy_sign(special(e, x, combined(e, k, f), -1.0), x)

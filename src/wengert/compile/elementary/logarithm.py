"""Logarithms: ``log x = k log 2 + log(1 + f)`` with ``x = 2^k (1 + f)``, 1 + f around 1."""

from __future__ import annotations

import math

from wengert.compile.elementary.coefficients import LOG
from wengert.compile.elementary.exponential import LN2
from wengert.compile.elementary.formats import FORMATS, polynomial
from wengert.compile.emit.expression import Lane, Lanes

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
    exponent, fraction, zero = lifted(e, x)
    k = as_float(e, exponent, zero)
    return special(e, x, combined(e, k, e.sub(fraction, 1)), 0.0)


def log1p(e: Lanes, x: Lane) -> Lane:
    """Return ``log(1 + x)``, without losing digits near zero.

    k is that of the rounded sum ``1 + x``, and f is ``2^-k x + (2^-k - 1)``, which is x itself
    where k is 0. A huge x is made smaller first, so that ``2^-k`` is normal.
    Largest errors seen: 1.2 units in the last place in float32, 1.5 in float64.
    """
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

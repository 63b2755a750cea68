"""Sine and cosine: ± those of ``r = x - k π / 2``, at most π / 4.

The reduction subtracts k times π / 2 in parts, of which all but the last have so few bits that
their products with k are exact, or are fused with the difference (Cody and Waite, Software Manual
for the Elementary Functions, 1980). For huge x see `circle`.
"""

from __future__ import annotations

import math

from wengert.compile.elementary.circle import half_pi_in_parts, quarter_turns
from wengert.compile.elementary.coefficients import COS, SIN
from wengert.compile.elementary.formats import FORMATS, Pair, multiples, polynomial
from wengert.compile.emit.expression import Lane, Lanes, State
from wengert.graph.dtypes import FLOAT32, FLOAT64, DType

_PARTS = {
    (FLOAT32, True): half_pi_in_parts(24, 24, 24),
    (FLOAT64, True): half_pi_in_parts(53, 53, 53),
    (FLOAT64, False): half_pi_in_parts(33, 33, 33, 53),
}
"""By dtype, and by whether multiply-add is fused."""

_HUGE = {FLOAT32: 2.0**16, FLOAT64: 2.0**20}
"""From where on k and r are computed for each number by itself."""


_ROUNDED = 2.0**-6


def _reduced(e: Lanes, x: Lane, first: int) -> tuple[Lane, Lane, Lane]:
    """Return r, what rounding took from it, and a shifted sum whose lowest bits are k + `first`.

    Only the difference with the second part can be rounded by much; where r is small it is exact,
    and what it lost would not come out as 0 if that product is not exact.
    """
    shift = FORMATS[x.dtype].shift + first
    total = e.fma(x, 2 / math.pi, shift)
    whole = e.sub(total, shift)
    large, small, *parts = _PARTS[x.dtype, e.fused]
    before = e.fma(whole, -large, x)
    after = e.fma(whole, -small, before)
    r = multiples(e, after, tuple(parts), whole)
    lost = e.fma(whole, -small, e.sub(before, after))
    rest = e.where(e.compare(">", e.absolute(r), _ROUNDED), lost, -0.0)  # keeps the sign of r
    return r, rest, total


def _reduced_narrow(e: Lanes, x: Lane, first: int) -> tuple[Lane, Lane, Lane]:
    """Return `_reduced` of float32, computed in float64."""
    r, rest, total = _reduced(e, e.cast(x, FLOAT64), first)
    k = e.cast(e.sub(total, FORMATS[FLOAT64].shift), FLOAT32)
    return *_halved(e, e.add(r, rest), FLOAT32), e.add(k, FORMATS[FLOAT32].shift)


def _halved(e: Lanes, x: Lane, dtype: DType) -> Pair:
    """Return a float64 in two numbers of a dtype."""
    whole = e.cast(x, dtype)
    return whole, e.cast(e.sub(x, e.cast(whole, FLOAT64)), dtype)


def _sine(e: Lanes, x: Lane, first: int) -> Lane:
    """Return the sine of `x` and of `first` quarter turns; of infinities NaN."""
    dtype = x.dtype
    reduced = _reduced if (dtype, e.fused) in _PARTS else _reduced_narrow

    def repaired() -> State:
        k, r = quarter_turns(e, e.cast(x, FLOAT64))
        total = e.add(e.cast(k, dtype), FORMATS[dtype].shift + first)
        return *_halved(e, e.add(r, e.cast(e.sub(x, x), FLOAT64)), dtype), total

    huge = e.compare(">", e.absolute(x), _HUGE[dtype])
    return _of_remainder(e, *e.repair(huge, reduced(e, x, first), repaired))


def _of_remainder(e: Lanes, r: Lane, rest: Lane, total: Lane) -> Lane:
    """Return ``sin(r + rest)`` after as many quarter turns as the bits of `total` say."""
    square = e.mul(r, r)
    fourth = e.mul(square, square)
    series = polynomial(e, square, fourth, SIN[r.dtype])
    sine = e.copy_sign(e.add(r, e.fma(e.mul(square, r), series, rest)), r)
    series = polynomial(e, square, fourth, COS[r.dtype])
    cosine = e.fma(square, e.fma(square, series, -0.5), 1)
    turns = e.bits(total)
    odd = e.compare("!=", e.both(turns, e.constant(1, turns.dtype)), 0)
    sign = e.shift_left(e.shift_right(turns, 1), 8 * r.dtype.itemsize - 1)
    return e.from_bits(e.differ(e.bits(e.where(odd, cosine, sine)), sign))


def sin(e: Lanes, x: Lane) -> Lane:
    """Return the sine. Largest errors seen: 1.4 units in the last place, 1.6 in float64."""
    return _sine(e, x, 0)


def cos(e: Lanes, x: Lane) -> Lane:
    """Return the cosine. Largest errors seen: 1.5 units in the last place, 1.6 in float64."""
    return _sine(e, x, 1)

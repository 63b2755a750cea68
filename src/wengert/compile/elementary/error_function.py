"""The error function, by the formula of `wengert.ops.special`, or in pieces from tables."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import lru_cache

from wengert.compile.elementary.circle import PI
from wengert.compile.elementary.exponential import expm1_of_sum
from wengert.compile.elementary.formats import FORMATS, at_most, polynomial
from wengert.compile.elementary.instructions import TABLE, available, looked_up
from wengert.compile.elementary.pieces import chebyshev_nodes, odd_of_pieces, pieces_of, through
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32, FLOAT64
from wengert.ops.special import ERF

_STEP = 25 / 64
"""Between the points about which pieces in float64 are expanded; a register's 16 reach past 6."""

_DEGREE = 13
_CANDIDATES = 32
_TERMS = 32
"""Of Taylor series, for 25 digits within a step."""


def erf(e: Lanes, x: Lane) -> Lane:
    """Return the error function, ``-expm1(-|x| (1 + Q(|x|)))`` with the sign of x.

    With tables in registers it is one of many polynomials, which takes half the time.
    Largest errors seen: 1.2 units in the last place in float32, 1.7 in float64.
    """
    coefficients, end = ERF[x.dtype]
    if available(e) and x.dtype == FLOAT32:
        return odd_of_pieces(e, x, pieces_of(math.erf, end))
    if available(e):
        return _by_pieces(e, x)
    size = at_most(e, e.absolute(x), end)
    q = polynomial(e, size, e.mul(size, size), coefficients)
    exponent = e.fma(size, q, size)
    rest = e.fma(size, q, e.sub(size, exponent))
    return e.copy_sign(expm1_of_sum(e, e.neg(exponent), e.neg(rest)), x)


def _by_pieces(e: Lanes, x: Lane) -> Lane:
    """Return the error function of float64: in each piece another polynomial."""
    end, shift = ERF[FLOAT64][1], FORMATS[FLOAT64].shift
    size = at_most(e, e.absolute(x), end)
    total = e.fma(size, 1 / _STEP, shift)
    whole = e.sub(total, shift)
    centre, start, *rest = (looked_up(e, row, e.bits(total)) for row in erf_pieces())
    distance = e.sub(size, centre)
    start = e.where(e.compare("==", whole, 0), size, start)
    series = polynomial(e, distance, e.mul(distance, distance), rest)
    return e.copy_sign(e.fma(distance, series, start), x)


@lru_cache(maxsize=1)
def erf_pieces() -> tuple[tuple[float, ...], ...]:
    """Return the centres of the pieces, and the coefficients, lowest power first.

    Like those in float32 (see `pieces`), with Taylor series from piece to piece for the function.
    """
    with localcontext(prec=36):
        step, value, rows = Decimal(_STEP), Decimal(0), []
        for i in range(TABLE[FLOAT64]):
            slopes = _slopes(i * step)
            rows.append(_piece(slopes, i * step, value))
            value += step * _sum(slopes, step)
        return tuple(tuple(map(float, row)) for row in zip(*rows, strict=True))


def _piece(slopes: list[Decimal], point: Decimal, value: Decimal) -> list[Decimal]:
    """Return centre and coefficients, given the function at a point and its slopes from there."""
    moves = [Decimal(2.0**-44 * j) for j in range(_CANDIDATES if point else 1)]
    found = [value + move * _sum(slopes[:4], move) for move in moves]
    near, move = min(zip(found, moves, strict=True), key=lambda x: abs(x[0] - Decimal(float(x[0]))))
    places = [Decimal(_STEP / 2 * x) for x in chebyshev_nodes(_DEGREE)]
    ends = [value + (move + x) * _sum(slopes, move + x) - near for x in places]
    first, *rest = through([end / x for end, x in zip(ends, places, strict=True)], places)
    return [point + move, near, first - (not point), *rest]


def _slopes(centre: Decimal) -> list[Decimal]:
    """Return the Taylor coefficients of ``(erf(centre + d) - erf(centre)) / d``."""
    derivative = [2 / PI.sqrt() * (-centre * centre).exp()]
    derivative.append(-2 * centre * derivative[0])
    for n in range(1, _TERMS):
        derivative.append(-2 * (centre * derivative[n] + derivative[n - 1]) / (n + 1))
    return [c / (n + 1) for n, c in enumerate(derivative)]


def _sum(series: list[Decimal], x: Decimal) -> Decimal:
    total = Decimal(0)
    for coefficient in reversed(series):
        total = total * x + coefficient
    return total

"""Odd functions that end at 1, as polynomials in pieces, for machines that look up registers.

The pieces are the quarters of eight powers of two, so that the first bits of a number say which one
it is in. In each the polynomial is expanded about a point where the function is nearly a float32,
so that only the last addition rounds by much (Gal, Computing elementary functions: a new approach
for achieving high accuracy and good performance, 1986).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from wengert.compile.elementary.formats import FORMATS, at_least, at_most, horner
from wengert.compile.elementary.instructions import TABLE, looked_up
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32

_COUNT = TABLE[FLOAT32]
_QUARTERS = 21
"""Bits behind the first two of the mantissa."""

_DEGREE = 6
_CANDIDATES = 32
"""Points about which to expand that are tried."""

Function = Callable[[float], float]
Number = TypeVar("Number", float, Decimal)


class Pieces(NamedTuple):
    """A function of the numbers from 0 up, in float32.

    Attributes
    ----------
    second : float
        Where the second piece begins; the first, from 0, is expanded as ``x + x P(x)``.
    end : float
        Where the last piece ends; beyond, the function is what it is there.
    centres : tuple of float
        The points about which the pieces are expanded, in the order of the bits that stand for
        them.
    coefficients : tuple of tuple of float
        Those of all pieces, lowest power first.
    """

    second: float
    end: float
    centres: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]


def odd_of_pieces(e: Lanes, x: Lane, pieces: Pieces) -> Lane:
    """Return the function of any float32."""
    size = at_most(e, e.absolute(x), pieces.end)
    first = np.nextafter(np.float32(pieces.second), np.float32(0))
    index = e.shift_right(e.bits(at_least(e, size, float(first))), _QUARTERS)
    distance = e.sub(size, looked_up(e, pieces.centres, index))
    start, *rest = (looked_up(e, row, index) for row in pieces.coefficients)
    start = e.where(e.compare("<", size, pieces.second), size, start)
    return e.copy_sign(e.fma(distance, horner(e, distance, rest), start), x)


@lru_cache(maxsize=2)
def pieces_of(function: Function, end: float) -> Pieces:
    """Return the pieces of an odd function which is 1 from `end` on, to float32."""
    last = (FORMATS[FLOAT32].pattern(end) - 1) >> _QUARTERS
    bounds = [_start(last + 1 - _COUNT + i) for i in range(_COUNT + 1)]
    rows = [_first(function, bounds[1])]
    rows += [_expanded(function, *ends) for ends in pairwise(bounds[1:])]
    turn = (last + 1) % _COUNT
    centres, *coefficients = zip(*(rows[(i - turn) % _COUNT] for i in range(_COUNT)), strict=True)
    below = float(np.nextafter(np.float32(end), np.float32(0)))
    return Pieces(bounds[1], below, centres, tuple(coefficients))


def _start(pattern: int) -> float:
    """Return the float32 that begins with these bits."""
    return float(np.uint32(pattern << _QUARTERS).view(np.float32))


def _first(function: Function, stop: float) -> tuple[float, ...]:
    """Return the centre 0 and the coefficients of ``x + x P(x)``."""
    return 0.0, 0.0, *_interpolated(lambda x: function(x) / x - 1, 0.0, stop)


def _expanded(function: Function, start: float, stop: float) -> tuple[float, ...]:
    """Return the centre of a piece and the coefficients."""
    step = 2.0 ** -FORMATS[FLOAT32].mantissa * stop
    centres = ((start + stop) / 2 + step * np.arange(_CANDIDATES)).astype(np.float32)
    exact = np.array([function(float(c)) for c in centres])
    values = exact.astype(np.float32)
    best = int(np.argmin(np.abs(exact - values)))
    centre, value = float(centres[best]), float(values[best])

    def slope(d: float) -> float:
        return (function(centre + d) - value) / d

    return centre, value, *_interpolated(slope, start - centre, stop - centre)


def _interpolated(function: Function, start: float, stop: float) -> list[float]:
    """Return the coefficients in float32 of the polynomial that meets the function at nodes."""
    middle, radius = (start + stop) / 2, (stop - start) / 2
    places = [middle + radius * x for x in chebyshev_nodes(_DEGREE)]
    return [float(np.float32(c)) for c in through([function(x) for x in places], places)]


def chebyshev_nodes(count: int) -> list[float]:
    """Return the zeros of a Chebyshev polynomial."""
    return [math.cos((2 * i + 1) * math.pi / (2 * count)) for i in range(count)]


def through(values: Sequence[Number], places: Sequence[Number]) -> list[Number]:
    """Return the coefficients of the polynomial with those values, by Newton's interpolation."""
    divided = list(values)
    for order in range(1, len(places)):
        for i in reversed(range(order, len(places))):
            divided[i] = (divided[i] - divided[i - 1]) / (places[i] - places[i - order])
    powers = [divided[-1]]
    for i in reversed(range(len(places) - 1)):
        powers.append(powers[-1])
        for j in reversed(range(1, len(powers) - 1)):
            powers[j] = powers[j - 1] - places[i] * powers[j]
        powers[0] = divided[i] - places[i] * powers[0]
    return powers

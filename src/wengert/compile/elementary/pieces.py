"""Odd functions that end at 1, as polynomials in pieces, for machines that look up registers.

The pieces are the quarters of eight powers of two, so that the first bits of a number say which one
it is in. In each the polynomial is expanded about a point where the function is nearly a float32,
so that only the last addition rounds by much (Gal, Computing elementary functions: a new approach
for achieving high accuracy and good performance, 1986).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from wengert.compile.elementary.formats import FORMATS, at_least, at_most
from wengert.compile.elementary.instructions import TABLE, looked_up
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32

_COUNT = TABLE[FLOAT32]
_QUARTERS = 21
"""Bits behind the first two of the mantissa."""

_DEGREE = 6
_CANDIDATES = 64
"""Points about which to expand that are tried."""

Function = Callable[[float], float]


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
    value: Lane = rest[-1]
    for coefficient in rest[-2::-1]:
        value = e.fma(distance, value, coefficient)
    return e.copy_sign(e.fma(distance, value, start), x)


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
    middle = float(np.float32((start + stop) / 2))
    centres = [float(np.float32(middle + i * step)) for i in range(_CANDIDATES)]
    centre = min(centres, key=lambda c: abs(function(c) - float(np.float32(function(c)))))
    value = float(np.float32(function(centre)))

    def slope(d: float) -> float:
        return (function(centre + d) - value) / d

    return centre, value, *_interpolated(slope, start - centre, stop - centre)


def _interpolated(function: Function, start: float, stop: float) -> list[float]:
    """Return the coefficients of the polynomial with the function's values at Chebyshev nodes."""
    middle, radius = (start + stop) / 2, (stop - start) / 2
    places = [
        middle + radius * math.cos((2 * i + 1) * math.pi / (2 * _DEGREE)) for i in range(_DEGREE)
    ]
    divided = [function(x) for x in places]
    for order in range(1, _DEGREE):
        for i in reversed(range(order, _DEGREE)):
            divided[i] = (divided[i] - divided[i - 1]) / (places[i] - places[i - order])
    powers = [divided[-1]]
    for value, x in zip(divided[-2::-1], places[-2::-1], strict=True):
        powers = [value - x * powers[0], *(a - x * b for a, b in pairwise(powers)), powers[-1]]
    return [float(np.float32(c)) for c in powers]

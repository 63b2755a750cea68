"""The tables that are computed when they are first needed."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from mpmath import mp

from wengert.compile.elementary.error_function import erf_pieces
from wengert.compile.elementary.exponential import roots_of
from wengert.compile.elementary.formats import LN2
from wengert.compile.elementary.instructions import TABLE
from wengert.compile.elementary.inverses import inverses_of
from wengert.compile.elementary.pieces import pieces_of, through

floats = pytest.mark.parametrize("kind", [np.float32, np.float64], ids=["float32", "float64"])


def mantissas(dtype, place):
    """Return the least and the greatest mantissa that a place of the table serves."""
    count = TABLE[dtype]
    if place > count // 2:
        low = Fraction(count + place - 1, 2 * count)
        return low, low + Fraction(1, 2 * count)
    low = Fraction(2 * place - 1, 2 * count) + 1
    return low, min(low + Fraction(1, count), Fraction(3, 2))


@floats
def test_products_with_inverses_are_exact_and_near_one(kind):
    dtype = np.dtype(kind)
    digits = np.finfo(dtype).nmant + 1
    for place, inverse in enumerate(inverses_of(dtype).inverses):
        low, high = mantissas(dtype, place)
        unit = Fraction(1, 2**digits if low < 1 and place else 2 ** (digits - 1))
        step = unit / (2 * TABLE[dtype])
        assert Fraction(inverse) % Fraction(1, 2 * TABLE[dtype]) == 0
        largest = max(abs(m * Fraction(inverse) - 1) for m in (low, high))
        assert largest <= Fraction(43, 1000)
        assert largest / step <= 2**digits


@floats
def test_logarithms_of_inverses_have_a_short_and_a_long_part(kind):
    dtype = np.dtype(kind)
    limits, table = np.finfo(dtype), inverses_of(dtype)
    largest = (limits.maxexp + limits.nmant) * Fraction(LN2[dtype][0]) + 1
    for high in (*table.high, LN2[dtype][0]):
        assert largest * Fraction(high).denominator <= 2 ** (limits.nmant + 1)
    with mp.workprec(200):
        for inverse, high, low in zip(*table, strict=True):
            assert abs(-mp.log(inverse) - high - mp.mpf(low)) <= 2.0**-52 * abs(low)
    assert table.high[0] == table.low[0] == 0


@floats
def test_roots_are_powers_of_two_in_two_parts(kind):
    dtype = np.dtype(kind)
    with mp.workprec(200):
        for i, (high, low) in enumerate(zip(*roots_of(dtype), strict=True)):
            exact = mp.mpf(2) ** (mp.mpf(i) / TABLE[dtype])
            assert float(kind(high)) == high
            assert abs(exact - high - mp.mpf(low)) <= 2.0**-52 * abs(low)


@pytest.mark.parametrize(("function", "end"), [(math.tanh, 10.0), (math.erf, 4.0)])
def test_pieces_are_expanded_where_the_function_is_nearly_a_float32(function, end):
    pieces = pieces_of(function, end)
    assert math.nextafter(pieces.end, math.inf) <= end
    assert function(pieces.end) >= 1 - 2.0**-25
    assert sorted(pieces.centres)[0] == 0
    assert sorted(pieces.centres)[1] > pieces.second
    starts = zip(pieces.centres, pieces.coefficients[0], strict=True)
    errors = [abs(function(centre) - start) for centre, start in starts]
    assert max(errors) <= 2.0**-25
    assert sorted(errors)[len(errors) // 2] <= 2.0**-29


def test_polynomials_pass_through_their_points():
    places, coefficients = [-1.0, -0.25, 0.5, 2.0], [3.0, -2.0, 0.5, 4.0]
    values = [float(np.polynomial.polynomial.polyval(x, coefficients)) for x in places]
    np.testing.assert_allclose(through(values, places), coefficients, rtol=1e-14)


def test_pieces_of_the_error_function_in_float64_have_all_digits():
    rows = np.array(erf_pieces()).T
    with mp.workprec(200):
        for centre, start, *series in rows.tolist():
            assert abs(mp.erf(centre) - start) <= 2.0**-54
            for distance in (-0.19, 0.01, 0.1, 0.19):
                if centre + distance > 0:
                    first = distance if centre == 0 else start
                    found = first + distance * mp.polyval(series[::-1], distance)
                    exact = mp.erf(centre + mp.mpf(distance))
                    assert abs(found - exact) <= 2.0**-53 * exact

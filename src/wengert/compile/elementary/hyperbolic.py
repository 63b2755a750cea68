"""Hyperbolic tangent and logistic function, both quotients of the exponential of ``-|x|``."""

from __future__ import annotations

import math

from wengert.compile.elementary.coefficients import RECIPROCAL, TANH
from wengert.compile.elementary.exponential import exp_of_normal, exp_to_half_a_unit
from wengert.compile.elementary.formats import at_most, horner, polynomial, two_sum
from wengert.compile.elementary.instructions import about_inverse, available
from wengert.compile.elementary.pieces import odd_of_pieces, pieces_of
from wengert.compile.emit.expression import Lane, Lanes
from wengert.graph.dtypes import FLOAT32, FLOAT64

_SATURATED = {FLOAT32: 9.5, FLOAT64: 19.5}
"""Beyond, the tangent is 1."""

_LAST_PIECE = 10.0
"""The first quarter of a power of two beyond which the tangent is 1 in float32."""

_SMALL = 0.7

_STEPS = {FLOAT32: 1, FLOAT64: 2}
"""Of Newton's iteration for the reciprocal, each of which squares the relative error."""


def quotient(e: Lanes, x: Lane, y: Lane, rest: Lane) -> Lane:
    """Return ``x / (y + rest)`` for y from 1 to 2 and a `rest` below its last place.

    Where multiply-add is one instruction, a polynomial (or the machine's estimate), Newton's
    iteration and a last correction of the quotient by its remainder are quicker than two
    divisions (Muller et al., Handbook of Floating-Point Arithmetic, 2nd edition, section 4.7).
    """
    if not e.fused:
        return _divided(e, x, y, rest)
    if available(e):
        inverse, steps = about_inverse(e, y), _STEPS[y.dtype] - 1
    else:
        inverse, steps = horner(e, y, RECIPROCAL[y.dtype]), _STEPS[y.dtype]
    for _ in range(steps):
        inverse = e.fma(inverse, e.fma(e.neg(y), inverse, 1), inverse)
    value = e.mul(x, inverse)
    opposite = e.neg(value)
    return e.fma(e.fma(opposite, rest, e.fma(opposite, y, x)), inverse, value)


def _divided(e: Lanes, x: Lane, y: Lane, rest: Lane) -> Lane:
    if x.dtype == FLOAT32:
        below = e.add(e.cast(y, FLOAT64), e.cast(rest, FLOAT64))
        return e.cast(e.div(e.cast(x, FLOAT64), below), FLOAT32)
    value = e.div(x, y)
    return e.sub(value, e.mul(value, e.div(rest, y)))


def tanh(e: Lanes, x: Lane) -> Lane:
    """Return the hyperbolic tangent: ``1 - 2 u / (1 + u)`` with ``u = e^(-2|x|)``, or a polynomial.

    The polynomial serves small x, for which the difference would lose digits. With tables in
    registers, float32 has polynomials everywhere. Largest errors seen: 1.3 units in the last place
    in both dtypes.
    """
    if available(e) and x.dtype == FLOAT32:
        return odd_of_pieces(e, x, pieces_of(math.tanh, _LAST_PIECE))
    size = e.absolute(x)
    u = exp_of_normal(e, e.mul(at_most(e, size, _SATURATED[x.dtype]), -2.0))
    large = e.fma(e.div(u, e.add(u, 1)), -2.0, 1)
    square = e.mul(size, size)
    series = polynomial(e, square, e.mul(square, square), TANH[x.dtype])
    small = e.fma(e.mul(square, size), series, size)
    return e.copy_sign(e.where(e.compare("<", size, _SMALL), small, large), x)


def sigmoid(e: Lanes, x: Lane) -> Lane:
    """Return the logistic function: ``1 / (1 + u)``, or ``u / (1 + u)``, with ``u = e^-|x|``.

    Largest errors seen: 1.5 units in the last place in both dtypes (1.9 in float64 where
    multiply-add is not fused).
    """
    u = exp_to_half_a_unit(e, e.neg(e.absolute(x)))
    return quotient(e, e.where(e.compare("<", x, 0), u, 1), *two_sum(e, 1, u))

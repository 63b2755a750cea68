"""The bits of floats, and the steps that take numbers apart and put them together.

Whole numbers are made by adding `Format.shift`, whose unit in the last place is 1: the sum is
rounded to a whole number, which stands in the lowest bits of the sum as well.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from wengert.compile.emit.expression import Lane, Lanes, Operand
from wengert.graph.dtypes import FLOAT32, FLOAT64, INT64, UINT64, DType

Pair: TypeAlias = tuple[Lane, Lane]
"""A number with twice the digits: the nearest float, and the rest."""


class Format(NamedTuple):
    """How the floats of a dtype are built.

    Attributes
    ----------
    mantissa : int
        Bits after the point.
    bias : int
        The exponent that stands for 0.
    tiny : float
        The smallest normal number.
    """

    mantissa: int
    bias: int
    tiny: float

    @property
    def exponent(self) -> int:
        """How many bits the exponent has."""
        return (2 * self.bias + 1).bit_length()

    @property
    def shift(self) -> float:
        """A number around which floats are the whole numbers."""
        return 1.5 * 2.0**self.mantissa

    def pattern(self, x: float) -> int:
        """Return the bits of a number."""
        wide = self.mantissa > FORMATS[FLOAT32].mantissa
        kinds = ("<d", "<Q") if wide else ("<f", "<I")
        return int(struct.unpack(kinds[1], struct.pack(kinds[0], x))[0])


FORMATS: dict[DType, Format] = {
    FLOAT32: Format(23, 127, 2.0**-126),
    FLOAT64: Format(52, 1023, 2.0**-1022),
}

LN2: dict[DType, tuple[float, float]] = {
    FLOAT32: (0.693115234375, 3.194618273654464e-05),
    FLOAT64: (0.6931471803691238, 1.9082149292705877e-10),
}
"""The logarithm of 2: 15 bits, or 32, and the rest."""


def at_most(e: Lanes, x: Lane, bound: float) -> Lane:
    """Return `x`, but `bound` where that is less; NaN stays NaN."""
    return e.where(e.compare(">", x, bound), bound, x)


def at_least(e: Lanes, x: Lane, bound: float) -> Lane:
    """Return `x`, but `bound` where that is greater; NaN stays NaN."""
    return e.where(e.compare("<", x, bound), bound, x)


def two_sum(e: Lanes, x: Operand, y: Lane) -> Pair:
    """Return the sum and what rounding took from it; `x` is 0 or the greater (Dekker, 1971)."""
    whole = e.add(x, y)
    return whole, e.sub(y, e.sub(whole, x))


def two_product(e: Lanes, x: Lane, y: Lane) -> Pair:
    """Return the product of float64 and what rounding took from it (Dekker, 1971)."""
    product = e.mul(x, y)
    if e.fused:
        return product, e.fma(x, y, e.neg(product))
    (x, x_rest), (y, y_rest) = (_halves(e, z) for z in (x, y))
    error = e.sub(e.mul(x, y), product)
    error = e.add(e.add(error, e.mul(x, y_rest)), e.mul(x_rest, y))
    return product, e.add(error, e.mul(x_rest, y_rest))


def _halves(e: Lanes, x: Lane) -> Pair:
    """Return a float64 with the first 26 bits, and the rest."""
    kept = e.constant(-(1 << 27), INT64)
    first = e.from_bits(e.both(e.bits(x), e.cast(kept, UINT64)))
    return first, e.sub(x, first)


def power_of_two(e: Lanes, exponent: Lane) -> Lane:
    """Return ``2 ** (n - bias)`` for the unsigned n in the lowest bits of `exponent`."""
    wide = exponent.dtype.itemsize == FLOAT64.itemsize
    return e.from_bits(e.shift_left(exponent, FORMATS[FLOAT64 if wide else FLOAT32].mantissa))


def scaled(e: Lanes, x: Lane, exponent: Lane) -> Lane:
    """Return ``x * 2 ** (n - 2 * bias)``, rounded once, for the n in the bits of a shifted sum.

    Half of the power is multiplied first: each half is a normal number where the whole one may be
    beyond the range, and only the second product can be rounded.
    """
    bits = e.bits(exponent)
    half = e.shift_right(bits, 1)
    first = e.mul(x, power_of_two(e, half))
    return e.mul(first, power_of_two(e, e.sub(bits, half)))


def multiples(e: Lanes, x: Lane, step: tuple[float, ...], whole: Lane) -> Lane:
    """Return `x` less `whole` times the sum of `step`, whose products but the last are exact."""
    for part in step:
        x = e.fma(whole, -part, x)
    return x


_SHORT = 3
"""Coefficients that one chain is enough for."""


def horner(e: Lanes, x: Lane, coefficients: Sequence[Operand]) -> Lane:
    """Return the polynomial, lowest coefficient first."""
    value: Operand = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = e.fma(x, value, coefficient)
    assert isinstance(value, Lane)
    return value


def polynomial(e: Lanes, x: Lane, square: Lane, coefficients: Sequence[Operand]) -> Lane:
    """Return the polynomial from its even and its odd powers: two chains at a time, not one."""
    if len(coefficients) <= _SHORT:
        return horner(e, x, coefficients)
    even, odd = (horner(e, square, coefficients[first::2]) for first in (0, 1))
    return e.fma(x, odd, even)

"""The circle constant to any precision, and remainders modulo it of huge numbers.

For ``x = M 2^e`` with an integer M only some 192 bits of 1 / π decide what ``x / π`` is modulo 2:
those before give multiples of 2, those behind too little (Payne and Hanek, Radian reduction for
trigonometric functions, SIGNUM Newsletter 18, 1983).
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import lru_cache
from itertools import pairwise

from wengert.compile.elementary.formats import Pair
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.machine import Machine
from wengert.compile.emit.types import vector
from wengert.graph.dtypes import FLOAT64, UINT64

_BITS = 1600
_WORD = 64
_WORDS = 21
"""Of 1 / π, from the weight 2^63 down: as many as the largest exponent needs."""

_NAME, _TABLE = "quarter_turns", "one_over_pi"

_INTRINSICS = (
    "declare i64 @llvm.fshl.i64(i64, i64, i64)",
    "declare i64 @llvm.ctlz.i64(i64, i1)",
)

_MANTISSA, _BIAS, _INFINITE = 52, 1023, 2047
_FIRST = _BIAS + _MANTISSA - (_WORD - 1)
"""The exponent, as floats store it, for which the bits that matter start with the first word."""

_REST = 38
"""Bits of a word that are multiplied by π apart, so that the product of the others is exact."""


def _arc_cotangent(number: int, one: int) -> int:
    total = term = one // number
    divisor = 1
    while term:
        term //= -number * number
        divisor += 2
        total += term // divisor
    return total


def _circle() -> int:
    """Return π 2^_BITS, by Machin's formula, with a few wrong bits at the end."""
    one = 1 << _BITS
    return 16 * _arc_cotangent(5, one) - 4 * _arc_cotangent(239, one)


_PI = _circle()

PI = Context(prec=60).divide(Decimal(_PI), Decimal(2**_BITS))
"""The circle constant, to 60 digits."""


def half_pi_in_parts(*bits: int) -> tuple[float, ...]:
    """Return numbers of that many bits whose sum is π / 2, largest first."""
    parts, rest = [], _PI
    for count in bits:
        drop = rest.bit_length() - count
        parts.append(math.ldexp(rest >> drop, drop - _BITS - 1))
        rest &= (1 << drop) - 1
    return tuple(parts)


def quarter_turns(e: Lanes, x: Lane) -> Pair:
    """Return k and r of the float64 ``x = k π / 2 + r`` with r at most π / 4 and k modulo 4.

    In lanes with numbers below 2^16 something else is returned.
    """
    function = e.function
    function.module.add_text(_NAME, _code(function.module.machine))
    kind = vector("double", e.width)
    place = function.once(f"alloca [2 x {kind}]")
    function.do(f"store {kind} {x.text}, ptr {place}")
    function.do(f"call void @{_NAME}(ptr {place}, i64 {e.width})")
    places = place, function.element(place, kind, 1)
    r, k = (Lane(function.value(f"load {kind}, ptr {p}"), FLOAT64) for p in places)
    return k, r


@lru_cache(maxsize=1)
def _code(machine: Machine) -> str:
    """Return the function that replaces numbers by r, and writes k behind them.

    Like all functions it is called with an address and a number: where and how many they are.
    """
    inverse = (1 << (_BITS + (_WORDS - 1) * _WORD)) // _PI
    words = [(inverse >> (_WORD * place)) % 2**_WORD for place in reversed(range(_WORDS))]
    listed = ", ".join(f"i64 {word}" for word in words)
    function = Function(Module(machine))
    e = Lanes(function)

    def turn(index: str | int, _: list[str]) -> None:
        place = function.element("%control", "double", index)
        k, r = _divided(e, Lane(function.value(f"load double, ptr {place}"), FLOAT64))
        function.do(f"store double {r.text}, ptr {place}")
        behind = function.element(place, "double", "%chunk")
        function.do(f"store double {k.text}, ptr {behind}")

    function.loop(0, "%chunk", 1, turn)
    table = f"@{_TABLE} = internal constant [{_WORDS} x i64] [{listed}]"
    return "\n".join((table, *_INTRINSICS, function.text(_NAME)))


def _divided(e: Lanes, x: Lane) -> Pair:
    """Return k and r of one number.

    ``2 |x| / π`` modulo 4 is a fixed-point number with two bits before the point. The bits behind
    the point, taken as a signed number, are the distance from the nearest integer.
    """
    bits = e.bits(x)
    high, low = _turns(e, bits)
    quarter = e.shift_right(high, _WORD - 2)
    high, low = _funnel(e, high, low, e.constant(2, UINT64)), e.shift_left(low, 2)
    below = e.shift_right(high, _WORD - 1)
    k = e.cast(e.add(quarter, below), FLOAT64)
    size = _times_half_pi(e, *(e.differ(word, e.sub(0, below)) for word in (high, low)))
    r = e.where(e.compare("!=", below, 0), e.neg(size), size)
    negative = e.compare("<", x, 0)
    return e.where(negative, e.neg(k), k), e.where(negative, e.neg(r), r)


def _turns(e: Lanes, bits: Lane) -> Pair:
    """Return ``|x| / π`` modulo 2 in two words, the highest bit being 1."""
    stored = e.both(e.shift_right(bits, _MANTISSA), e.constant(_INFINITE, UINT64))
    start = e.where(e.compare("<", stored, _FIRST), 0, e.sub(stored, _FIRST))
    function = e.function
    place = function.element(f"@{_TABLE}", "i64", e.shift_right(start, 6).text)
    places = [place, *(function.element(place, "i64", step) for step in (1, 2, 3))]
    words = [Lane(function.value(f"load i64, ptr {p}"), UINT64) for p in places]
    top, middle, low = (_funnel(e, *pair, start) for pair in pairwise(words))
    fraction = e.both(bits, e.constant((1 << _MANTISSA) - 1, UINT64))
    number = e.either(fraction, e.constant(1 << _MANTISSA, UINT64))
    carried = e.mul_high(number, low)
    second = e.add(e.mul(number, middle), carried)
    carry = e.cast(e.compare("<", second, carried), UINT64)
    first = e.add(e.mul(number, top), e.mul_high(number, middle))
    return e.add(first, carry), second


def _funnel(e: Lanes, high: Lane, low: Lane, places: Lane) -> Lane:
    """Return the upper word of two, shifted to the left by `places` modulo 64."""
    arguments = ", ".join(f"i64 {x.text}" for x in (high, low, places))
    return Lane(e.function.value(f"call i64 @llvm.fshl.i64({arguments})"), UINT64)


def _times_half_pi(e: Lanes, high: Lane, low: Lane) -> Lane:
    """Return π / 2 times the fraction that two words are, the first not 0, rounded once."""
    zeros = e.function.value(f"call i64 @llvm.ctlz.i64(i64 {high.text}, i1 false)")
    places = Lane(zeros, UINT64)
    word = _funnel(e, high, low, places)
    rest = e.both(word, e.constant((1 << _REST) - 1, UINT64))
    first, second = (e.cast(part, FLOAT64) for part in (e.sub(word, rest), rest))
    large, small = half_pi_in_parts(_WORD - _REST, _MANTISSA + 1)
    lower = e.add(e.mul(first, small), e.mul(second, math.pi / 2))
    size = e.add(e.mul(first, large), lower)
    return e.mul(size, e.from_bits(e.shift_left(e.sub(_BIAS - _WORD, places), _MANTISSA)))

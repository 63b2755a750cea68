"""The lowering of random bits: Philox-4x64-10, block by block."""

from __future__ import annotations

import math

from wengert.graph.dtypes import INT64, UINT64, DType
from wengert.ops.lowering import Expressions, Kernels, Scalar, View

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_WORDS = 4
_ROWS = 16
"""How many rows there must be to be drawn each for itself: threads share rows."""


def _block(e: Expressions, keys: list[Scalar], before: Scalar, number: Scalar) -> list[Scalar]:
    """Return the four words of block `number` after the counter `before`."""
    counter = e.add(before, e.add(e.cast(number, UINT64), 1))
    carry = e.cast(e.compare("<", counter, before), UINT64)
    zero = e.constant(0, UINT64)
    words = [counter, carry, zero, zero]
    factors = [e.constant(m, UINT64) for m in _MULTIPLIERS]
    for turn in range(_ROUNDS):
        if turn:
            keys = [e.add(key, weyl) for key, weyl in zip(keys, _WEYL, strict=True)]
        a, b, c, d = words
        words = [
            e.differ(e.differ(e.mul_high(factors[1], c), b), keys[0]),
            e.mul(factors[1], c),
            e.differ(e.differ(e.mul_high(factors[0], a), d), keys[1]),
            e.mul(factors[0], a),
        ]
    return words


def random_bits(
    kernels: Kernels, state: View, shape: tuple[int, ...], dtype: DType
) -> tuple[View, View]:
    """Lower a draw: the bits, and the state after it."""
    lead, count = state.shape[:-1], math.prod(shape)
    rank = len(lead)
    parts = UINT64.itemsize // dtype.itemsize
    per_block = _WORDS * parts
    in_rows = len(shape) > 1 and shape[0] >= _ROWS and shape[-1] % per_block == 0
    table = shape if in_rows else (count,)
    bits = kernels.empty((*lead, *table), dtype)

    def drawn(first: int, used: int) -> None:
        """Draw blocks from number `first` of each row on, of each the first `used` numbers."""
        blocks = table[-1] // per_block if used == per_block else 1

        def body(e: Expressions, target: View, *index: Scalar) -> None:
            lane, row, block = index[:rank], index[rank:-1], e.add(index[-1], first)
            number = e.constant(0, INT64)
            for length, i in zip((*table[:-1], blocks), (*row, block), strict=True):
                number = e.add(e.mul(number, length), i)
            keys = [e.load(state, *lane, 0), e.load(state, *lane, 1)]
            words = _block(e, keys, e.load(state, *lane, 2), number)
            for place in range(used):
                word, half = words[place // parts], place % parts
                value = e.cast(e.shift_right(word, 32) if half else word, dtype)
                e.store(value, target, *lane, *row, e.add(e.mul(block, per_block), place))

        kernels.each(
            (*lead, *table[:-1], blocks),
            body,
            reads=(state,),
            writes=(bits,),
            parallel=True,
            movable=True,
        )

    whole, rest = divmod(count, per_block)
    if whole:
        drawn(0, per_block)
    if rest:
        drawn(whole, rest)
    blocks = whole + (rest > 0)
    after = kernels.map(
        lambda e, word, i: e.where(e.compare("==", i, 2), e.add(word, blocks), word),
        state,
        kernels.counter(state.shape, rank),
    )
    return kernels.reshape(bits, (*lead, *shape)), after

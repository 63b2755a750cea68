"""The lowering of random bits: Philox-4x64-10, block by block."""

from __future__ import annotations

import math

from wengert.graph.dtypes import UINT64, DType
from wengert.ops.lowering import Expressions, Kernels, Scalar, View

_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_WORDS = 4


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
    bits = kernels.empty((*lead, count), dtype)

    def drawn(first: int, used: int) -> None:
        """Draw blocks from number `first` on, of each the first `used` numbers."""

        def body(e: Expressions, *index: Scalar) -> None:
            lane, number = index[:rank], e.add(index[-1], first)
            keys = [e.load(state, *lane, 0), e.load(state, *lane, 1)]
            words = _block(e, keys, e.load(state, *lane, 2), number)
            for place in range(used):
                word, half = words[place // parts], place % parts
                value = e.cast(e.shift_right(word, 32) if half else word, dtype)
                e.store(value, bits, *lane, e.add(e.mul(number, per_block), place))

        blocks = count // per_block if used == per_block else 1
        kernels.each(
            (*lead, blocks),
            body,
            reads=(state,),
            writes=(bits,),
            parallel=True,
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

"""Random numbers as pure functions of a state, from the counter-based generator Philox.

A state is an array of three ``uint64``: two words of key and a counter of blocks. A draw returns
its numbers and the state after it, and advances the counter by the number of blocks that its shape
needs, which does not depend on the numbers drawn.

Block ``i`` (from 0) of a state ``(k0, k1, c)`` is Philox-4x64-10 with key ``(k0, k1)`` and counter
``(c + 1 + i, 0, 0, 0)``, as `numpy.random.Philox` gives it: four ``uint64``, or eight ``uint32``,
the low half of each word first.

References
----------
Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3,
doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.graph.bind import bind
from wengert.graph.dtypes import (
    FLOAT32,
    FLOAT64,
    FLOATS,
    INT64,
    UINT64,
    Array,
    DType,
    check_dtype,
    default_float,
)
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import ELEMENTWISE, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare, lower_random
from wengert.ops.arithmetic import add, multiply, subtract
from wengert.ops.assembly import concat
from wengert.ops.batching import batch_elementwise
from wengert.ops.convert import VariableLike, as_variable, cast
from wengert.ops.creation import as_shape
from wengert.ops.derivatives import emit
from wengert.ops.exponential import cos, log1p, sin, sqrt
from wengert.ops.extrema import minimum
from wengert.ops.lowering import Expressions, Scalar, elementwise
from wengert.ops.shape import moveaxis, reshape
from wengert.ops.shapes import Shape
from wengert.ops.sorting import argsort

UINT32: DType = np.dtype(np.uint32)
_BLOCK_BYTES = 32
_STATE_WORDS = 3
_EMPTY_BUFFER = np.zeros(4, np.uint64)


class _Generator(threading.local):
    """NumPy's Philox, one for each thread: setting its state costs less than making one."""

    @cached_property
    def philox(self) -> np.random.Philox:
        """The generator, made at the first draw: only that loads `numpy.random`."""
        return np.random.Philox(0)

    def words(self, state: Array, count: int) -> Array:
        """Return the first `count` words of 64 bits that follow `state`."""
        low, high, counter = state.tolist()
        self.philox.state = {
            "bit_generator": "Philox",
            "state": {"counter": (counter, 0, 0, 0), "key": (low, high)},  # type: ignore[typeddict-item]
            "buffer": _EMPTY_BUFFER,
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }
        return self.philox.random_raw(count)


_generator = _Generator()


def blocks(shape: Shape, dtype: DType) -> int:
    """Return the number of blocks that a draw takes, by which it advances the counter."""
    return -(-math.prod(shape) * dtype.itemsize // _BLOCK_BYTES)


def _infer_bits(state: Aval, shape: Shape, dtype: DType) -> tuple[Aval, Aval]:
    if state.dtype != UINT64 or state.shape[-1:] != (_STATE_WORDS,):
        raise DTypeError(
            f"random_bits: a state is three uint64 along the last axis, got {state}; make one "
            "with wg.manual_seed"
        )
    return Aval(state.shape[:-1] + shape, dtype), state


def _draw(state: Array, count: int, dtype: DType) -> Array:
    if dtype == UINT64:
        return _generator.words(state, count)
    words = _generator.words(state, (count + 1) // 2)
    return words.astype("<u8", copy=False).view("<u4")[:count].astype(UINT32, copy=False)


def _evaluate_bits(state: Array, shape: Shape, dtype: DType) -> tuple[Array, Array]:
    if state.dtype != UINT64 or state.shape[-1:] != (_STATE_WORDS,):
        raise ValueError("a state is three uint64 along the last axis")
    after = state.copy()
    after[..., 2] += np.uint64(blocks(shape, dtype))
    count = math.prod(shape)
    if state.ndim == 1:
        return _draw(state, count, dtype).reshape(shape), after
    bits = np.empty((*state.shape[:-1], count), dtype)
    for lane in np.ndindex(state.shape[:-1]):
        bits[lane] = _draw(state[lane], count, dtype)
    return bits.reshape(state.shape[:-1] + shape), after


def _batch_bits(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Any, tuple[bool, bool]]:
    """Give each lane numbers of its own: from its own state, or its part of one longer draw."""
    if batched[0]:
        return bind(primitive, xs, params), (True, True)
    longer = {**params, "shape": (size, *params["shape"])}
    bits, after = bind(primitive, xs, longer)
    return (moveaxis(bits, after.ndim - 1, 0), after), (True, False)


def _bits_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    word = UINT32 if dtype == FLOAT32 else UINT64
    for lead in ((), (2,), (2, 1), (0,)):
        for shape in ((), (5,), (2, 3), (0, 4), (9,)):
            state = rng.integers(0, 2**62, (*lead, _STATE_WORDS), dtype=np.uint64)
            yield Sample((state,), {"shape": shape, "dtype": word}, ())


random_bits_p = register(
    Primitive(
        name="random_bits",
        notation=r"\operatorname{{bits}}({0})",
        infer=_infer_bits,
        evaluate=_evaluate_bits,
        derivative=None,
        batch=_batch_bits,
        samples=_bits_samples,
        several=True,
        per_lane=True,
        lower=lower_random.random_bits,
    )
)

_UNIFORM: dict[DType, tuple[int, DType, float]] = {
    UINT32: (8, FLOAT32, 2.0**-24),
    UINT64: (11, FLOAT64, 2.0**-53),
}


def _infer_uniform(bits: Aval) -> Aval:
    if bits.dtype not in _UNIFORM:
        raise DTypeError(f"bits_to_uniform: needs uint32 or uint64, got {bits.dtype}; cast first")
    return Aval(bits.shape, _UNIFORM[bits.dtype][1])


def _evaluate_uniform(bits: Array) -> Any:
    dropped, dtype, unit = _UNIFORM[bits.dtype]
    return (bits >> bits.dtype.type(dropped)).astype(dtype) * dtype.type(unit)


def _uniform_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    word = UINT32 if dtype == FLOAT32 else UINT64
    top = 2 ** (8 * word.itemsize) - 1
    for shape in ((), (5,), (2, 3), (0, 4)):
        yield Sample((rng.integers(0, top, shape, dtype=word, endpoint=True),), {}, ())
    yield Sample((np.array([0, 1, top // 2, top - 1, top], word)[::2],), {}, ())


def _lower_uniform(e: Expressions, bits: Scalar) -> Scalar:
    dropped, dtype, unit = _UNIFORM[bits.dtype]
    return e.mul(e.cast(e.shift_right(bits, dropped), dtype), unit)


bits_to_uniform_p = register(
    Primitive(
        name="bits_to_uniform",
        notation=r"\operatorname{{uniform}}({0})",
        infer=_infer_uniform,
        evaluate=_evaluate_uniform,
        derivative=None,
        batch=batch_elementwise,
        samples=_uniform_samples,
        lower=elementwise(_lower_uniform),
        laws=ELEMENTWISE,
    )
)


def random_bits(
    state: VariableLike, shape: int | Sequence[int], dtype: npt.DTypeLike = np.uint32
) -> tuple[Variable, Variable]:
    """Return independent random bits, and the state after them.

    Parameters
    ----------
    state : Tensor or array_like of uint64
        Key and counter along the last axis; leading axes are lanes that draw each for itself.
    shape : int or sequence of int
        How many words each lane draws.
    dtype : dtype
        ``uint32`` or ``uint64``.

    Returns
    -------
    bits : Tensor
        Of the shape of the lanes followed by `shape`.
    state : Tensor of uint64
        The state to draw from next.

    Raises
    ------
    DTypeError
        If `state` is no state or `dtype` is something else.

    Examples
    --------
    >>> import numpy as np
    >>> from wengert.ops import random
    >>> state = np.array([1, 2, 0], np.uint64)
    >>> bits, after = random.random_bits(state, 4, np.uint64)
    >>> bool((bits.value == np.random.Philox(key=[1, 2], counter=0).random_raw(4)).all())
    True
    >>> after.value
    array([1, 2, 1], dtype=uint64)
    """
    word = check_dtype(dtype)
    if word not in _UNIFORM:
        raise DTypeError(f"random_bits: dtype must be uint32 or uint64, got {word}.")
    params = {"shape": as_shape(shape), "dtype": word}
    bits, after = bind(random_bits_p, (as_variable(state),), params)
    return bits, after


def uniform(
    state: VariableLike,
    shape: int | Sequence[int],
    dtype: npt.DTypeLike | None = None,
    low: VariableLike = 0.0,
    high: VariableLike = 1.0,
) -> tuple[Variable, Variable]:
    """Return numbers drawn evenly from `low` to `high`, and the state after them.

    Parameters
    ----------
    state : Tensor or array_like of uint64
        The state to draw from; see `random_bits`.
    shape : int or sequence of int
        How many numbers.
    dtype : dtype, optional
        ``float32``, whose numbers are multiples of 2**-24, or ``float64``, of 2**-53, before
        scaling; the default float unless given.
    low, high : float or Tensor
        The ends; of numbers the upper one is excluded.

    Raises
    ------
    DTypeError
        If `dtype` is no float or `state` is no state.
    """
    chosen = default_float() if dtype is None else check_dtype(dtype)
    if chosen not in FLOATS:
        raise DTypeError(f"uniform: dtype must be float32 or float64, got {chosen}.")
    bits, after = random_bits(state, shape, UINT32 if chosen == FLOAT32 else UINT64)
    u: Variable = bind(bits_to_uniform_p, (bits,))
    if isinstance(low, int | float) and isinstance(high, int | float):
        scaled = u if high - low == 1 else u * float(high - low)
        shifted = scaled + float(low) if low else scaled
        if (low, high) == (0, 1) or low >= high:
            return shifted, after
        last = float(np.nextafter(chosen.type(high), chosen.type(low)))
        return minimum(shifted, last), after  # scaling may have rounded up to `high`
    return add(multiply(u, subtract(high, low)), low), after


def normal(
    state: VariableLike, shape: int | Sequence[int], dtype: npt.DTypeLike | None = None
) -> tuple[Variable, Variable]:
    """Return numbers drawn from the normal distribution of mean 0 and variance 1, and the state.

    Parameters
    ----------
    state : Tensor or array_like of uint64
        The state to draw from; see `random_bits`.
    shape : int or sequence of int
        How many numbers.
    dtype : dtype, optional
        ``float32`` or ``float64``; the default float unless given.

    Raises
    ------
    DTypeError
        If `dtype` is no float or `state` is no state.

    References
    ----------
    Box & Muller (1958), A note on the generation of random normal deviates,
    doi:10.1214/aoms/1177706645.
    """
    wanted = as_shape(shape)
    count = math.prod(wanted)
    half = (count + 1) // 2
    u, after = uniform(state, (2, half), dtype)
    lanes = u.ndim - 2
    key = (slice(None),) * lanes
    radius = sqrt(-2.0 * log1p(-emit("slice", u, key=(*key, 0))))
    angle = (2 * math.pi) * emit("slice", u, key=(*key, 1))
    z = concat((radius * cos(angle), radius * sin(angle)), -1)
    if count % 2:
        z = emit("slice", z, key=(*key, slice(0, count)))
    return reshape(z, (*z.shape[:lanes], *wanted)), after


def bernoulli(
    state: VariableLike, p: VariableLike, shape: int | Sequence[int]
) -> tuple[Variable, Variable]:
    """Return a mask, each element true with probability `p`, and the state after it.

    Parameters
    ----------
    state : Tensor or array_like of uint64
        The state to draw from; see `random_bits`.
    p : float or Tensor
        The probability, from 0 to 1; its shape broadcasts to `shape`.
    shape : int or sequence of int
        The shape of the mask.
    """
    strong = isinstance(p, np.ndarray | np.generic) or (isinstance(p, Variable) and not p.aval.weak)
    wide = strong and as_variable(p).dtype == FLOAT64
    u, after = uniform(state, shape, FLOAT64 if wide else FLOAT32)
    return compare.less(u, p), after


def randint(
    state: VariableLike,
    low: int,
    high: int,
    shape: int | Sequence[int],
    dtype: npt.DTypeLike = np.int64,
) -> tuple[Variable, Variable]:
    """Return integers drawn evenly from `low` to `high`, the latter excluded, and the state.

    Parameters
    ----------
    state : Tensor or array_like of uint64
        The state to draw from; see `random_bits`.
    low, high : int
        The ends.
    shape : int or sequence of int
        How many integers.
    dtype : dtype
        Of the result.

    Raises
    ------
    ValueError
        If there is no integer from `low` to below `high`, or more than 2**53 of them.

    Notes
    -----
    The probability of each integer is right to one part in 2**53 of the whole.
    """
    if not 0 < high - low <= 2**53:
        raise ValueError(
            f"randint: needs 0 < high - low <= 2**53, got low = {low} and high = {high}."
        )
    u, after = uniform(state, shape, FLOAT64)
    drawn = cast(u * float(high - low), INT64)
    return cast(drawn + low if low else drawn, check_dtype(dtype)), after


def permutation(state: VariableLike, n: int) -> tuple[Variable, Variable]:
    """Return the integers from 0 to ``n - 1`` in random order, as int64, and the state after it.

    Parameters
    ----------
    state : Tensor or array_like of uint64
        The state to draw from; see `random_bits`.
    n : int
        How many integers.
    """
    bits, after = random_bits(state, n, UINT64)
    return argsort(bits), after

"""Arrays as the compiler sees them: strided views of buffers whose place is assigned later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from wengert.graph.dtypes import INT64, DType, Scalar

Shape: TypeAlias = tuple[int, ...]


class Buffer:
    """A piece of memory.

    Attributes
    ----------
    nbytes : int
        Its size.
    place : {"arena", "table"}
        Whether it is an intermediate array, or one of the table of inputs, outputs and constants.
    slot, offset : int
        Where it is: so many bytes from the beginning of that array of the table. An intermediate
        array may stand in the memory of an output; -1: it stands in the arena.
    """

    __slots__ = ("_home", "nbytes", "offset", "place", "slot")

    def __init__(self, nbytes: int, slot: int | None = None) -> None:
        self.nbytes = nbytes
        self.place: Literal["arena", "table"] = "arena" if slot is None else "table"
        self.slot = -1 if slot is None else slot
        self.offset = 0
        self._home: Buffer | None = None

    @property
    def home(self) -> Buffer:
        """The buffer whose memory this one uses: itself unless it was merged."""
        buffer = self
        while buffer._home is not None:
            buffer = buffer._home
        return buffer

    def merge_into(self, other: Buffer) -> None:
        """Use the memory of `other`."""
        home = other.home
        assert home is not self.home
        self.home._home = home


class Immediate:
    """A number that stands in the code; no two are equal, since 0 and -0 must not be one."""

    __slots__ = ("value",)

    def __init__(self, value: Scalar) -> None:
        self.value = value


@dataclass(frozen=True, slots=True)
class Counter:
    """No memory: the element at offset n is the number n."""


Base: TypeAlias = Buffer | Immediate | Counter


class Strided(NamedTuple):
    """A view: the element at index i stands at ``offset + sum(i * strides)``, in elements."""

    base: Base
    dtype: DType
    shape: Shape
    strides: Shape
    offset: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def buffer(self) -> Buffer | None:
        """The memory it stands in, if any."""
        base = self.base
        return base.home if type(base) is Buffer else None

    @property
    def at_home(self) -> Strided:
        """The same view of that memory, whichever buffer led there."""
        base = self.buffer or self.base
        return self if base is self.base else self._replace(base=base)

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie side by side in C order."""
        return self.size == 0 or all(
            n == 1 or stride == wanted
            for n, stride, wanted in zip(
                self.shape, self.strides, c_strides(self.shape), strict=True
            )
        )

    @property
    def whole(self) -> bool:
        """Whether it is its whole buffer in C order."""
        return (
            self.buffer is not None
            and self.contiguous
            and self.offset == 0
            and self.size * self.dtype.itemsize == self.buffer.nbytes
        )

    def with_axes(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Strided:
        """Return other elements of the same memory, starting `offset` elements later."""
        return Strided(self.base, self.dtype, tuple(shape), tuple(strides), self.offset + offset)

    def broadcast(self, shape: Shape) -> Strided:
        """Return the view repeated to `shape`."""
        extra = len(shape) - len(self.shape)
        strides = tuple(
            0 if n == 1 else stride for n, stride in zip(self.shape, self.strides, strict=True)
        )
        return self.with_axes(shape, (0,) * extra + strides)


def c_strides(shape: Sequence[int]) -> Shape:
    """Return the strides, in elements, of a C-contiguous array."""
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def dense(buffer: Buffer, shape: Sequence[int], dtype: DType) -> Strided:
    """Return `buffer` as a C-contiguous array."""
    return Strided(buffer, dtype, tuple(shape), c_strides(shape))


def counter(shape: Sequence[int], axis: int) -> Strided:
    """Return the array whose elements are their index along `axis`."""
    strides = tuple(int(i == axis) for i in range(len(shape)))
    return Strided(Counter(), INT64, tuple(shape), strides)


def immediate(value: Scalar, dtype: DType) -> Strided:
    """Return a number as an array without axes."""
    return Strided(Immediate(value), dtype, (), ())


SCRATCH = dense(Buffer(0), (0,), np.dtype(np.uint8))
"""What belongs to a thread while it runs a chunk: `Function.scratch` says how much is needed."""


def coalesce(shape: Shape, strides: Sequence[Shape]) -> tuple[Shape, list[Shape]]:
    """Merge neighbouring axes that all of `strides` walk as one, and drop those of length 1."""
    lengths: list[int] = []
    kept: list[list[int]] = [[] for _ in strides]
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        steps = [s[axis] for s in strides]
        if lengths and all(k[-1] == step * n for k, step in zip(kept, steps, strict=True)):
            lengths[-1] *= n
            for k, step in zip(kept, steps, strict=True):
                k[-1] = step
        else:
            lengths.append(n)
            for k, step in zip(kept, steps, strict=True):
                k.append(step)
    return tuple(lengths), [tuple(k) for k in kept]


def reshaped_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """Return the strides that show the same elements as `wanted`, or None if none do."""
    if math.prod(shape) == 0:
        return c_strides(wanted)
    lengths, (steps,) = coalesce(shape, [strides])
    result = [0] * len(wanted)
    left, group = 1, len(lengths)
    for axis in range(len(wanted) - 1, -1, -1):
        n = wanted[axis]
        if n == 1:
            continue
        if left == 1:
            group -= 1
            left, step = lengths[group], steps[group]
        if left % n:
            return None
        result[axis] = step
        left //= n
        step *= n
    return tuple(result)

"""Where arrays lie in memory, and what becomes of it when they are freed (docs/design/006)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wengert.graph.dtypes import Array

ALIGNMENT = 64
"""Bytes: a line of the cache. A vector that begins elsewhere lies in two lines, each of which is
read; NumPy's arrays begin at multiples of 16."""

_WORTHWHILE = 1024
"""Bytes of an array from which on it is aligned; it takes half a microsecond."""

_KEPT = 1 << 24
"""Bytes of an array up to which its memory is kept when it is freed."""


def keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays up to 16 MiB.

    What is free at the top of its heap goes back from 32 MiB on; what is free below a block still
    in use stays until that one is freed.

    The GNU C library gives large blocks back to the system at once, whose next use then fetches
    them page by page. It stops doing so for blocks up to the size of the largest one that it has
    seen freed (mallopt(3), M_MMAP_THRESHOLD), so one is allocated and freed, never touched. Other
    allocators are not impressed.
    """
    np.empty(_KEPT, np.uint8)


class Block(np.ndarray):
    """Bytes of which one aligned array uses all but some at the ends; nobody else knows them."""


def empty(shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """Return an array of any values, which begins with a line of the cache unless it is small.

    Parameters
    ----------
    shape : sequence of int
        Its lengths.
    dtype : dtype
        Of its elements.

    Examples
    --------
    >>> empty((16, 16), np.float32).ctypes.data % ALIGNMENT
    0
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _WORTHWHILE:
        return np.empty(shape, dtype)
    block = Block(nbytes + ALIGNMENT, np.uint8)
    address, _ = block.__array_interface__["data"]
    return np.ndarray(shape, dtype, block, -address % ALIGNMENT)


def zeros(shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """Return zeros, aligned as `empty` does."""
    made = empty(shape, dtype)
    made.fill(0)
    return made


def copied(value: Array) -> Array:
    """Return a copy in memory of its own, aligned as `empty` does, with rows side by side."""
    made = empty(value.shape, value.dtype)
    np.copyto(made, value)
    return made


def well_placed(value: Array) -> bool:
    """Tell whether an array begins as `empty` lets it begin."""
    address, _ = value.__array_interface__["data"]
    return address % ALIGNMENT == 0 or value.nbytes < _WORTHWHILE


def owns(value: Array) -> bool:
    """Tell whether an array is no part of another: its memory goes when it does."""
    return value.flags.owndata or type(value.base) is Block

"""Arrays that end where the process's memory does."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE


class Fence:
    """An array before a page that nobody may touch: reading on ends the process.

    Attributes
    ----------
    array : ndarray
        The array, with a copy of some values. It lives as long as this object.
    """

    def __init__(self, value: Any) -> None:
        end = -(-value.nbytes // PAGE) * PAGE
        self._memory = mmap.mmap(-1, end + PAGE)
        whole = np.frombuffer(self._memory, np.uint8)
        if sys.platform == "linux":
            forbidden = ctypes.c_void_p(whole.ctypes.data + end)
            assert ctypes.CDLL(None).mprotect(forbidden, ctypes.c_size_t(PAGE), 0) == 0
        part = whole[end - value.nbytes : end]
        self.array = part.view(value.dtype).reshape(value.shape)
        self.array[...] = value

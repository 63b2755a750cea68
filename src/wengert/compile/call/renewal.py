"""What the machine code that calls compiled functions leaves to Python: results, and errors."""

from __future__ import annotations

import functools
from typing import Any

from wengert.ad.call import Refusal, Refused
from wengert.compile.call.program import HEADER
from wengert.graph import memory
from wengert.graph.dtypes import Array
from wengert.graph.variable import Variable
from wengert.tensor.tensor import Tensor

_SMALL = 1 << 16
"""The size of a result, in bytes, up to which its memory is kept for the next call."""


class Renewal:
    """Makes the tensors of one result; remembers two small ones, which take turns."""

    __slots__ = ("_kept", "_make", "_refusal", "homes")

    def __init__(self, shape: tuple[int, ...], dtype: Any, refusal: Refusal | None) -> None:
        self._make = functools.partial(memory.empty, shape, dtype)
        self._refusal = refusal
        self._kept: tuple[Tensor | None, Tensor | None] = None, None
        self.homes: memoryview

    def __call__(self) -> Tensor:
        """Return a new tensor, and remember it in place of the older one."""
        array, refusal = self._make(), self._refusal
        tensor = Tensor(Variable(array) if refusal is None else Refused(array, refusal))
        if array.nbytes <= _SMALL:
            homes = self.homes
            homes[1] = homes[0]  # first, since whoever waits for the older one to go may call
            homes[0] = id(tensor)
            self._kept = tensor, self._kept[0]
        return tensor


class Failure:
    """Raises the error that the machine code has reported."""

    __slots__ = ("_memory", "_run")

    def __init__(self, run: Any, memory: Array) -> None:
        self._run = run
        self._memory = memory

    def __call__(self) -> None:
        """Raise it."""
        self._run.fail(int(self._memory[HEADER.index("status")]))

"""What code is shaped for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wengert.compile.emit.layout import ALIGNMENT
from wengert.graph.dtypes import DType


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor.

    Attributes
    ----------
    vector_bytes : int
        Bytes of a vector register.
    registers : int
        How many of them there are.
    fma : bool
        Whether multiply-add is one instruction.
    masks : bool
        Whether vectors can be loaded and stored in part.
    avx512 : bool
        Whether it has the instructions of AVX-512 for exponents and for tables in registers.
    """

    vector_bytes: int
    registers: int
    fma: bool
    masks: bool
    avx512: bool = False

    @property
    def whole_lines(self) -> bool:
        """Whether a vector is as long as a line of the cache."""
        return self.vector_bytes >= ALIGNMENT

    def lanes(self, dtype: DType) -> int:
        """Return how many elements a register holds."""
        return self.vector_bytes // dtype.itemsize


def asked_for() -> str:
    """Return the processor that ``WENGERT_CPU`` asks for, as LLVM calls it; "": the one at hand."""
    return os.environ.get("WENGERT_CPU", "")

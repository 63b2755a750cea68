"""How dtypes, numbers and vectors are written in LLVM assembly."""

from __future__ import annotations

import math
import struct
from functools import cache

import numpy as np

from wengert.graph.dtypes import BOOL, FLOAT32, FLOAT64, DType, Scalar


@cache
def scalar_type(dtype: DType) -> str:
    """Return the type of a value in a register; a bool is one bit there."""
    if dtype == BOOL:
        return "i1"
    if dtype == FLOAT32:
        return "float"
    return "double" if dtype == FLOAT64 else f"i{8 * dtype.itemsize}"


@cache
def memory_type(dtype: DType) -> str:
    """Return the type of an element in memory; a bool is a byte there."""
    return "i8" if dtype == BOOL else scalar_type(dtype)


@cache
def vector(kind: str, width: int) -> str:
    """Return the type of `width` lanes; of one lane, the type itself."""
    return kind if width == 1 else f"<{width} x {kind}>"


@cache
def lanes_name(dtype: DType, width: int) -> str:
    """Return how the names of intrinsics say `width` lanes of `dtype`."""
    name = f"f{8 * dtype.itemsize}" if dtype.kind == "f" else scalar_type(dtype)
    return name if width == 1 else f"v{width}{name}"


def literal(value: Scalar, dtype: DType) -> str:
    """Return a number as `dtype` writes it, rounded as NumPy rounds."""
    if dtype.kind == "f":
        rounded = _single(value) if dtype == FLOAT32 else value
        return f"0x{struct.pack('>d', rounded).hex().upper()}"
    if dtype == BOOL:
        return "true" if value else "false"
    return str(int(np.asarray(value).astype(dtype)))


def _single(value: float) -> float:
    """Return the nearest number that float32 has."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


_ZEROS = {"0", "false", f"0x{0:016X}"}


def splat(text: str, dtype: DType, width: int) -> str:
    """Return the constant whose every lane is `text`."""
    if width == 1:
        return text
    if text in _ZEROS:
        return "zeroinitializer"
    kind = scalar_type(dtype)
    return "<" + ", ".join([f"{kind} {text}"] * width) + ">"

"""Data types: which exist, how they combine, and which one a Python number gets.

The rules (DESIGN: decisions 9):

* Supported: ``bool``, the signed and unsigned integers of 8 to 64 bits, ``float32``, ``float64``.
* A Python scalar is *weak*: it takes the dtype of the array that it meets, unless its kind is
  higher (a float that meets integers gives the default float).
* NumPy scalars and arrays are *strong*: they keep their dtype.
* Two strong dtypes of one kind give the wider one (NumPy's table); an integer that meets a float
  gives that float, unlike NumPy, which would widen ``int64 + float32`` to ``float64``;
  ``int64`` with ``uint64`` is refused, since NumPy would turn both into ``float64``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

DType: TypeAlias = np.dtype[np.generic]
Array: TypeAlias = npt.NDArray[Any]
Scalar: TypeAlias = bool | int | float

BOOL: DType = np.dtype(np.bool_)
INT32: DType = np.dtype(np.int32)
INT64: DType = np.dtype(np.int64)
UINT32: DType = np.dtype(np.uint32)
UINT64: DType = np.dtype(np.uint64)
FLOAT32: DType = np.dtype(np.float32)
FLOAT64: DType = np.dtype(np.float64)

INTEGERS: tuple[DType, ...] = tuple(
    np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
)
FLOATS: tuple[DType, ...] = (FLOAT32, FLOAT64)
SUPPORTED: frozenset[DType] = frozenset((BOOL, *INTEGERS, *FLOATS))

_SHORT_KIND = {"b": "bool", "i": "i", "u": "u", "f": "f"}


class _Defaults:
    """The one process-wide setting, as in PyTorch."""

    __slots__ = ("float",)

    def __init__(self) -> None:
        self.float: DType = FLOAT32


DEFAULTS = _Defaults()


def default_float() -> DType:
    """Return the dtype that Python floats get when no array decides: float32 unless set."""
    return DEFAULTS.float


def set_default_dtype(dtype: npt.DTypeLike) -> None:
    """Set the dtype given to Python floats when no array decides.

    Parameters
    ----------
    dtype : dtype
        ``float32`` (the default) or ``float64``.

    Raises
    ------
    TypeError
        If `dtype` is not a supported floating-point dtype.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.set_default_dtype(wg.float64)
    >>> wg.tensor([1.0]).dtype
    dtype('float64')
    >>> wg.set_default_dtype(wg.float32)
    """
    chosen = check_dtype(dtype)
    if chosen not in FLOATS:
        raise TypeError(f"set_default_dtype: needs float32 or float64, got {chosen}.")
    DEFAULTS.float = chosen


_ADVICE = "use bool, an integer of 8 to 64 bits, float32 or float64"


def check_dtype(dtype: npt.DTypeLike) -> DType:
    """Return `dtype` as a NumPy dtype, or raise TypeError if Wengert has no such dtype."""
    if isinstance(dtype, int):
        raise TypeError(
            f"{dtype} is no dtype; lengths of a shape go into one tuple, as in wg.zeros((2, 3))."
        )
    try:
        chosen = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{dtype!r} is no dtype; {_ADVICE}.") from None
    if chosen not in SUPPORTED:
        raise TypeError(f"dtype {chosen} is not supported; {_ADVICE}.")
    return chosen


def promote(a: DType, b: DType) -> DType:
    """Return the dtype of an operation between arrays of two strong dtypes."""
    if a == b:
        return a
    if a.kind == "f" and b.kind != "f":
        return a
    if b.kind == "f" and a.kind != "f":
        return b
    widened = np.promote_types(a, b)
    if widened.kind not in {a.kind, b.kind}:
        raise TypeError(f"dtypes {a} and {b} have no common integer dtype; cast one of them.")
    return check_dtype(widened)


def scalar_dtype(value: Scalar) -> DType:
    """Return the dtype that a Python scalar gets when no array decides."""
    if isinstance(value, bool):
        return BOOL
    return INT64 if isinstance(value, int) else default_float()


def weak_dtype(value: Scalar, dtype: DType) -> DType:
    """Return the dtype of an operation between an array of `dtype` and a Python scalar."""
    if isinstance(value, bool):
        return dtype
    if isinstance(value, int):
        return INT64 if dtype == BOOL else dtype
    return dtype if dtype.kind == "f" else default_float()


def short_name(dtype: DType) -> str:
    """Return the short form used in printed graphs: ``f32``, ``i64``, ``bool``."""
    kind = _SHORT_KIND[dtype.kind]
    return kind if kind == "bool" else f"{kind}{dtype.itemsize * 8}"

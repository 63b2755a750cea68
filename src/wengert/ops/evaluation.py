"""What evaluations with NumPy share: quicker ways to common results."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.dtypes import Array


def has_nan(x: Array) -> bool:
    """Tell whether a NaN is among the elements.

    The sum of the squares is NaN then, and only then; `numpy.isnan` costs five times as much.
    """
    check = np.vdot(x, x) if x.shape else x
    return bool(check != check)  # noqa: PLR0124


@lru_cache(maxsize=64)
def _ones(length: int, dtype: np.dtype[Any]) -> Array:
    return np.ones(length, dtype)


def total_of_rows(x: Array) -> Any:
    """Return the sum of the rows of a matrix, several times as fast as `numpy.sum`."""
    return np.dot(_ones(x.shape[0], x.dtype), x)


def total_along(x: Array, axis: int, keepdims: bool = False) -> Any:
    """Return the sums along `axis`, for short rows several times as fast as `numpy.sum`."""
    if axis == 1 and x.ndim == 2:  # noqa: PLR2004
        total = x.dot(_ones(x.shape[1], x.dtype))
        return total[:, np.newaxis] if keepdims else total
    return x.sum(axis=axis, keepdims=keepdims)

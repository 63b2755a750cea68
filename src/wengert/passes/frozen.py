"""Constants as keys: equal only where every bit is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

_PLAIN = (type(None), bool, int, str, bytes, type, np.dtype)


def frozen(value: Any, other: Callable[[Any], Hashable]) -> Hashable:
    """Return what is equal for equal constants alone: 1 is not 1.0 nor True, 0.0 is not -0.0.

    Parameters
    ----------
    value : object
        A number, a dtype, text, or a container of such.
    other : callable
        Says what stands for anything else, also within containers.
    """
    if isinstance(value, float | np.generic):
        return type(value), np.asarray(value).tobytes()
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, tuple | list):
        return tuple([frozen(part, other) for part in value])
    if isinstance(value, Mapping):
        return tuple([(frozen(key, other), frozen(part, other)) for key, part in value.items()])
    if isinstance(value, slice):
        return slice, frozen((value.start, value.stop, value.step), other)
    return other(value)

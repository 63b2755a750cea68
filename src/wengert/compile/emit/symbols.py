"""The functions outside that generated code may call, and where they are."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_added: dict[str, int] = {}


def add_symbol(name: str, address: int) -> None:
    """Let machine code call the function at `address` by its name."""
    _added[name] = address


def symbols() -> Mapping[str, int]:
    """Return the addresses of what is no function of C's libraries, by name."""
    return {**_system(), **_added}


def address_of(name: str) -> int:
    """Return where a function is, one of `symbols` or of C's libraries.

    Raises
    ------
    AttributeError
        If there is none of this name.
    """
    known = symbols().get(name)
    return known or _address(getattr(_library(), name))


@lru_cache(maxsize=1)
def _system() -> dict[str, int]:
    """Return what lets other threads run, and the clock."""
    if sys.platform == "win32":
        library = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
        names = "SwitchToThread", "QueryPerformanceCounter"
    else:
        library, names = ctypes.CDLL(None), ("sched_yield", "clock_gettime")
    ours = "wengert_yield", "wengert_clock"
    return {own: _address(getattr(library, name)) for own, name in zip(ours, names, strict=True)}


def clock() -> tuple[str, int, int]:
    """Return the arguments of the clock, and the nanoseconds of the two words at %time."""
    if sys.platform == "win32":
        return "ptr %time", 100, 0  # of the usual counter of ten megahertz
    return f"i32 {time.CLOCK_MONOTONIC}, ptr %time", 1_000_000_000, 1


@lru_cache(maxsize=1)
def _library() -> Any:
    """Return C's mathematical library, and with it the library that it needs."""
    return ctypes.CDLL("libm.so.6")


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0

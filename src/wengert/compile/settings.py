"""Process-wide settings of the compiler."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wengert.graph.errors import SettingError


class Settings:
    """What can be switched: whether native code is used at all."""

    __slots__ = ("enabled",)

    def __init__(self) -> None:
        self.enabled = True


SETTINGS = Settings()
IMPORTED = time.time()
"""When the package was imported: source files changed since are not what runs."""
_VARIABLE = "WENGERT_THREADS"


def available() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int | None:
    """Return the number of threads that compiled functions use unless told otherwise.

    The environment variable ``WENGERT_THREADS``; None if it is ``auto`` or not set.

    Raises
    ------
    SettingError
        If the variable is neither ``auto`` nor a positive integer.
    """
    text = os.environ.get(_VARIABLE, "auto")
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise SettingError(f"{_VARIABLE} must be auto or a positive integer, got {text!r}.")
    return int(text)


@contextmanager
def disable_compile() -> Iterator[None]:
    """Run compiled functions by the NumPy reference inside, so that results can be compared.

    The same graphs are evaluated, operation by operation.

    Examples
    --------
    >>> import wengert as wg
    >>> double = wg.compile(lambda x: x * 2)
    >>> with wg.disable_compile():
    ...     double(wg.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    before = SETTINGS.enabled
    SETTINGS.enabled = False
    try:
        yield
    finally:
        SETTINGS.enabled = before

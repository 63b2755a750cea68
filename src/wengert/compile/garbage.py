"""No garbage is collected while a function is compiled."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

_threads: set[int] = set()
"""Those that have switched the collector off, and will switch it on again."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Let nobody look for garbage meanwhile.

    Nearly all that compiling makes is needed until its end: looking through it again and again
    takes a tenth of the time.
    """
    if not gc.isenabled():
        yield
        return
    thread = get_ident()
    try:  # first, since an interrupt may come after any call
        _threads.add(thread)
        gc.disable()
        yield
    finally:
        gc.enable()
        _threads.discard(thread)


def _resume() -> None:
    """Switch the collector on in a child process that has not the thread which would do so."""
    if _threads - {get_ident()}:
        _threads.intersection_update({get_ident()})
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resume)

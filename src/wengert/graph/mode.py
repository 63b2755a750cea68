"""What holds for the current thread: is it recording, on whose behalf, in which trace.

Recording is per thread. NumPy's floating-point warnings are silenced through a context of the
thread's own: entering it costs a few nanoseconds, `numpy.errstate` two microseconds per operation.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wengert.graph.tracing import Trace
    from wengert.graph.variable import Operation


class Mode:
    """The state of one thread.

    Attributes
    ----------
    recording : bool
        Whether operations are recorded for a backward pass.
    origin : Operation or None
        The operation of 𝓖 whose derivative is being emitted.
    scope : str
        The path of the layer that is being called.
    trace : Trace or None
        The innermost trace under way.
    run : callable
        Calls a function with NumPy's floating-point warnings off.
    written : dict of int to weakref, or None
        The cells bound to something else, by identity, while a transform wants to know of them.
    """

    __slots__ = ("origin", "recording", "run", "scope", "trace", "written")

    def __init__(self) -> None:
        self.recording = True
        self.origin: Operation | None = None
        self.scope = ""
        self.trace: Trace | None = None
        self.written: dict[int, weakref.ref[Any]] | None = None
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


class _Threads(threading.local):
    """Gives each thread its mode; `now` is looked up once where several attributes are read."""

    def __init__(self) -> None:
        self.now = Mode()


THREAD = _Threads()


class recording:
    """Switch recording on or off for this thread, and back at the end."""

    __slots__ = ("_before", "_enabled")

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def __enter__(self) -> None:
        mode = THREAD.now
        self._before = mode.recording
        mode.recording = self._enabled

    def __exit__(self, *_: object) -> None:
        THREAD.now.recording = self._before


@contextmanager
def emitting(origin: Operation | None) -> Iterator[None]:
    """Mark the operations bound inside as belonging to `origin`."""
    before = THREAD.now.origin
    THREAD.now.origin = origin
    try:
        yield
    finally:
        THREAD.now.origin = before


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Mark the operations bound inside as made by the layer `name` of the current layer."""
    before = THREAD.now.scope
    THREAD.now.scope = f"{before}.{name}" if before else name
    try:
        yield
    finally:
        THREAD.now.scope = before

"""What holds for the current thread: is it recording, on whose behalf, in which trace.

Recording is per thread. NumPy's floating-point warnings are silenced through a context of the
thread's own: entering it costs a few nanoseconds, `numpy.errstate` two microseconds per operation.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wengert.graph.tracing import Trace
    from wengert.graph.variable import Operation


class Mode(threading.local):
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
    """

    recording: bool = True
    origin: Operation | None = None
    scope: str = ""
    trace: Trace | None = None

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


MODE = Mode()


@contextmanager
def recording(enabled: bool) -> Iterator[None]:
    """Switch recording on or off for this thread, and back at the end."""
    before = MODE.recording
    MODE.recording = enabled
    try:
        yield
    finally:
        MODE.recording = before


@contextmanager
def emitting(origin: Operation | None) -> Iterator[None]:
    """Mark the operations bound inside as belonging to `origin`."""
    before = MODE.origin
    MODE.origin = origin
    try:
        yield
    finally:
        MODE.origin = before


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Mark the operations bound inside as made by the layer `name` of the current layer."""
    before = MODE.scope
    MODE.scope = f"{before}.{name}" if before else name
    try:
        yield
    finally:
        MODE.scope = before

"""The helping threads: one pool for all executables of the process.

A helper sleeps in Python until it is handed an executable, helps in native code, where it does
not hold the interpreter, and stays there for some tens of microseconds after each call in case
another follows. It holds a reference to the executable as long as it may touch its memory.

A thread that wakes up is often put on the processor of the one that woke it, which then waits for
it: helpers keep away from the processor on which they were called.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from wengert.compile.native.executable import Executable

_PATIENCE = 1.0
"""Seconds for which the end of the program waits for a helper that is still busy, or made."""


class _Helper:
    """A thread that waits to be handed executables."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._busy = False
        self._processors: set[int] = set()
        self._jobs: SimpleQueue[tuple[Executable, set[int]] | None] = SimpleQueue()
        name = f"wengert-helper-{number}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._busy and self._jobs.empty()

    def hand(self, executable: Executable, processors: set[int]) -> None:
        """Ask for help, on some processors; nothing is promised."""
        self._jobs.put((executable, processors))

    def stop(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        while job := self._jobs.get():
            self._busy = True
            executable, processors = job
            del job  # or the executable would live until the next one
            self._stay_on(processors)
            executable.assist(self.number)
            del executable
            self._busy = False

    def _stay_on(self, processors: set[int]) -> None:
        if processors and processors != self._processors:
            self._processors = processors
            try:
                os.sched_setaffinity(0, processors)  # of this thread alone
            except OSError:  # they were taken from the process meanwhile
                self._processors = set()


_helpers: list[_Helper] = []
_lock = threading.Lock()
_executables: WeakSet[Executable] = WeakSet()
_ended = False


def register(executable: Executable) -> None:
    """Remember an executable, to be reset in child processes."""
    _executables.add(executable)


def summon(executable: Executable, count: int) -> None:
    """Hand `executable` to those of the first `count` helpers that have nothing to do.

    Helpers that there are not yet are made, unless somebody makes some: that may be this thread, if
    it runs what runs when something is freed. If the system has no thread left for one, the
    executable goes on with those there are.
    """
    if len(_helpers) < count and _lock.acquire(blocking=False):
        try:
            while len(_helpers) < count and not _ended:
                _helpers.append(_Helper(len(_helpers) + 1))
        except RuntimeError:
            executable.limit(len(_helpers))
        finally:
            _lock.release()
    idle = [helper for helper in _helpers[:count] if helper.idle]
    if idle:
        processors = _others()
        for helper in idle:
            helper.hand(executable, processors)


def _current_processor() -> Callable[[], int] | None:
    """Return the function that tells on which processor the calling thread runs."""
    if sys.platform != "linux":
        return None
    function: Callable[[], int] | None = getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return function


_processor = _current_processor()


def _others() -> set[int]:
    """Return the processors of the calling thread without the one it runs on; empty: any."""
    if _processor is None:
        return set()
    return os.sched_getaffinity(0) - {_processor()}


def _forget() -> None:
    """Start afresh in a child process, which has none of the helping threads."""
    global _lock  # noqa: PLW0603  (the old one may be held by a thread that is gone)
    _lock = threading.Lock()
    _helpers.clear()
    for executable in list(_executables):
        executable.reset()


def _end() -> None:
    """Let the helpers go before the interpreter takes its objects down."""
    global _ended  # noqa: PLW0603
    _lock.acquire(timeout=_PATIENCE)  # an interrupt may have left it locked
    _ended = True
    for executable in list(_executables):
        executable.limit(0)
    for helper in _helpers:
        helper.stop()
    _helpers.clear()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

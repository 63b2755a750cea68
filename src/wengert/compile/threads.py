"""The helping threads: one pool for all executables of the process.

A helper sleeps in Python until it is handed an executable, helps in native code, where it does
not hold the interpreter, and stays there for some tens of microseconds after each call in case
another follows. It holds a reference to the executable as long as it may touch its memory.
"""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from wengert.compile.executable import Executable


class _Helper:
    """A thread that waits to be handed executables."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.idle = True
        self._jobs: SimpleQueue[Executable] = SimpleQueue()
        name = f"wengert-helper-{number}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def hand(self, executable: Executable) -> None:
        """Ask for help; nothing is promised."""
        self.idle = False
        self._jobs.put(executable)

    def _work(self) -> None:
        while True:
            executable = self._jobs.get()
            executable.assist(self.number)
            del executable  # or it would live until the next job
            self.idle = self._jobs.empty()


_helpers: list[_Helper] = []
_lock = threading.Lock()
_executables: WeakSet[Executable] = WeakSet()


def register(executable: Executable) -> None:
    """Remember an executable, to be reset in child processes."""
    _executables.add(executable)


def summon(executable: Executable, count: int) -> None:
    """Hand `executable` to those of the first `count` helpers that have nothing to do."""
    if len(_helpers) < count:
        with _lock:
            while len(_helpers) < count:
                _helpers.append(_Helper(len(_helpers) + 1))
    for helper in _helpers[:count]:
        if helper.idle:
            helper.hand(executable)


def _forget() -> None:
    """Start afresh in a child process, which has none of the helping threads."""
    global _lock  # noqa: PLW0603  (the old one may be held by a thread that is gone)
    _lock = threading.Lock()
    _helpers.clear()
    for executable in list(_executables):
        executable.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

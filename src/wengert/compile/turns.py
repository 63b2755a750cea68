"""Turns: calls of one function from several threads run one after the other."""

from __future__ import annotations

import os
import threading
import time
from weakref import WeakSet

_LONGEST = 1e-3
"""Seconds between two looks at whether it is one's turn."""


class Turns:
    """Those who want to use what one thread at a time may use, in the order in which they came.

    A thread that holds the interpreter's lock all the while may do without, if nobody is there.

    Attributes
    ----------
    callers : list of int
        The threads, each as often as it has come; the first may go on. A call within another one of
        its thread stands here as the thread's number times -1: the other's place stays where it is.

    Examples
    --------
    An interrupt may come between any two lines:

    >>> turns, thread = Turns(), threading.get_ident()
    >>> mark = turns.mark(thread)
    >>> try:
    ...     turns.callers.append(mark)
    ...     turns.wait(thread)
    ... finally:
    ...     turns.callers.remove(mark)
    """

    __slots__ = ("__weakref__", "callers")

    def __init__(self) -> None:
        self.callers: list[int] = []
        _all.add(self)

    def mark(self, thread: int) -> int:
        """Return what is to stand among the callers for a call that `thread` makes now."""
        return -thread if thread in self.callers else thread

    def wait(self, thread: int) -> None:
        """Return when it is the turn of `thread`, which is one of the callers."""
        pause = 0.0
        while self.callers[0] != thread:
            time.sleep(pause)
            pause = min(pause + 1e-5, _LONGEST)


_all: WeakSet[Turns] = WeakSet()


def _forget() -> None:
    """Let nobody wait in a child process for threads that it does not have."""
    alone = threading.get_ident()
    for turns in list(_all):
        turns.callers[:] = [thread for thread in turns.callers if abs(thread) == alone]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

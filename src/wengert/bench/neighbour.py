"""Whether another program has the second hardware thread of the processor at hand.

In clouds a virtual machine often has one of the two threads of a processor, and a stranger the
other. While that one runs, the two take turns: each starts half as many instructions as alone, and
has half of the caches. No counter of the system tells. Instructions that do nothing take twice as
long then, while a chain of operations, each of which waits for the one before, takes as long as
ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from wengert.bench.native import idle_loop, waiting_chain

TURNS = 1000
"""Turns of both loops: some 10 microseconds each."""

ALONE = 0.75
"""The least share of the best rate at which instructions start while nobody else is there."""

CONFIRMED = 3
"""How often in a row a rate must be seen to be believed: an interrupt, or a stranger who has the
multiplier, makes the chain long."""

CALIBRATION = 1000
"""How often so many rates are looked at to learn the best one: a tenth of a second. Strangers come
and go."""


class Neighbour:
    """Watches the second hardware thread, by how fast instructions that do nothing start.

    Attributes
    ----------
    best : float
        The most turns of the idle loop in the time of one of the chain, so far; seen some times in
        a row.
    """

    def __init__(self) -> None:
        self._idle, self._chain = idle_loop(), waiting_chain()
        self.best = max(self._confirmed(self._rate()) for _ in range(CALIBRATION))

    def absent(self) -> bool:
        """Tell whether nobody else uses the processor right now, as far as was ever seen."""
        rate = self._rate()
        if rate > self.best:
            rate = self._confirmed(rate)
            self.best = max(self.best, rate)
        return rate >= ALONE * self.best

    def _confirmed(self, rate: float) -> float:
        """Return the least of some rates in a row, of which one is known."""
        return min(rate, *(self._rate() for _ in range(CONFIRMED - 1)))

    def _rate(self) -> float:
        """Return how many idle turns there are in the time of a turn of the chain."""
        return _seconds(self._chain) / _seconds(self._idle)


def _seconds(loop: Callable[[int], Any]) -> float:
    start = time.perf_counter()
    loop(TURNS)
    return time.perf_counter() - start

"""Whether another program has the second hardware thread of the processor at hand.

In clouds a virtual machine often has one of the two threads of a processor, and a stranger the
other. While that one runs, the two take turns: each starts half as many instructions as alone, and
has half of the caches. No counter of the system tells. Instructions that do nothing take twice as
long then, while a chain of operations, each of which waits for the one before, takes as long as
ever.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from wengert.bench.native import idle_loop, waiting_chain

Round: TypeAlias = dict[str, dict[str, Any]]
"""What each worker replied in one round."""

TURNS = 1000
"""Turns of both loops: some 10 microseconds each."""

BEST = 0.95
"""The quantile of all rates that stands for the rate alone: single ones are too high, where an
interrupt made the chain long. Where one is alone more seldom, nothing can be told, nor chosen."""

ALONE = 0.9
"""The least share of that rate at which nobody else is there."""

FEWEST, SHARE = 3, 0.2
"""The fewest groups of calls, and the smallest share of all, that may stand for a measurement."""


class IssueRate:
    """Measures how many idle turns there are in the time of a turn of the chain."""

    def __init__(self) -> None:
        self._idle, self._chain = idle_loop(), waiting_chain()

    def __call__(self) -> float:
        """Return the rate at this moment."""
        return _seconds(self._chain) / _seconds(self._idle)


def _seconds(loop: Callable[[int], Any]) -> float:
    start = time.perf_counter()
    loop(TURNS)
    return time.perf_counter() - start


def judged(measured: Sequence[Round]) -> list[Round]:
    """Return rounds with the times of calls alone, where each worker has enough of them.

    One threshold holds for all workers and rounds; all workers of a round are treated alike.

    Parameters
    ----------
    measured : sequence
        Rounds; each reply has ``groups``: for each group of calls its seconds per call, and the
        lower of the rates before and after it.

    Returns
    -------
    list
        The same with ``alone`` in each reply; where it is true, with ``median`` and ``minimum`` of
        the groups alone.
    """
    rates = sorted(rate for one in measured for rate in _rates(one))
    least = ALONE * rates[int(BEST * (len(rates) - 1))]
    return [_judged(one, least) for one in measured]


def _rates(one: Round) -> list[float]:
    return [rate for reply in one.values() for _, rate in reply["groups"]]


def _judged(one: Round, least: float) -> Round:
    alone = {
        name: [seconds for seconds, rate in reply["groups"] if rate >= least]
        for name, reply in one.items()
    }
    if not all(_enough(alone[name], one[name]) for name in one):
        return {name: {**reply, "alone": False} for name, reply in one.items()}
    return {
        name: {**reply, "alone": True, "median": statistics.median(times), "minimum": min(times)}
        for (name, reply), times in zip(one.items(), alone.values(), strict=True)
    }


def _enough(times: Sequence[float], reply: Mapping[str, Any]) -> bool:
    everything = len(reply["groups"])
    return len(times) >= min(everything, max(FEWEST, SHARE * everything))

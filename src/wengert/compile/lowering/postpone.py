"""When phases need less memory: sequences of kernels that run later than they could.

Phases begin as early as they can. What they make may then wait for long until somebody reads it:
a product that another is to be added to, a cotangent that only a second derivative needs again. And
arrays of one phase live at one time, since its chunks run in any order.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wengert.compile.emit.arrays import Buffer
from wengert.compile.kernels.check import Check

if TYPE_CHECKING:
    from wengert.compile.lowering.phases import Chain, Phase

LONG = 1 << 21
"""The work of a sequence that may have a phase of its own: it takes much longer than a barrier."""


def postponed(phases: Sequence[Phase], followers: Mapping[int, set[int]]) -> list[Phase]:
    """Return phases that need less memory.

    Parameters
    ----------
    phases : sequence of list of Chain
        What runs when, as early as it can.
    followers : mapping of int to set of int
        The kernels that must come later than a kernel, by number.
    """
    order = _Order(phases, followers)
    order.settle()
    return list(order.phases())


class _Order:
    """At which of the former phases each chain runs, and which buffers it touches."""

    def __init__(self, phases: Sequence[Phase], followers: Mapping[int, set[int]]) -> None:
        self._place = {chain: place for place, phase in enumerate(phases) for chain in phase}
        self._early = [list(phase) for phase in phases]
        self._late: list[list[Chain]] = [[] for _ in phases]
        home = {number: chain for chain in self._place for number, _ in chain.kernels}
        self._followers = {
            chain: {home[f] for number, _ in chain.kernels for f in followers[number]} - {chain}
            for chain in self._place
        }
        self._touched = {chain: _touched(chain) for chain in self._place}
        self._used: dict[Buffer, list[int]] = defaultdict(list)  # where each is touched, in order
        for chain, buffers in self._touched.items():
            for buffer in buffers:
                self._used[buffer].append(self._place[chain])

    def settle(self) -> None:
        """Postpone what lets memory be free for longer, from the last phase to the first."""
        for chain, place in reversed(self._place.items()):
            if any(isinstance(kernel, Check) for _, kernel in chain.kernels):
                continue  # the memory of what a failure leaves alone is free after all checks
            growth = {choice: self._growth(chain, choice) for choice in self._choices(chain)}
            best = min(growth, key=growth.__getitem__)
            if growth[best] < 0:
                self._move(chain, best)
                self._early[place].remove(chain)
                (self._late if chain.work >= LONG else self._early)[best].append(chain)

    def _move(self, chain: Chain, later: int) -> None:
        for buffer in self._touched[chain]:
            self._used[buffer].remove(self._place[chain])
            insort(self._used[buffer], later)
        self._place[chain] = later

    def phases(self) -> Iterator[Phase]:
        """Yield the phases.

        Where there are long sequences, each has a phase of its own, after all that lets memory go;
        those that make least come first.
        """
        for early, late in zip(self._early, self._late, strict=True):
            long = sorted((c for c in early if c.work >= LONG), key=self._made)
            short = [c for c in early if c.work < LONG]
            ending = [c for c in short if long and self._made(c) < 0]
            rest = [c for c in short if c not in ending]
            yield from (phase for phase in (ending, rest + long[:1]) if phase)
            yield from ([chain] for chain in (*long[1:], *late))

    def _choices(self, chain: Chain) -> Iterator[int]:
        """Yield the phases that may be best: the last, and where buffers are read last anyway."""
        now = self._place[chain]
        until = min((self._place[f] for f in self._followers[chain]), default=len(self._early))
        yield until - 1
        for buffer in self._touched[chain]:
            _, last = self._others(buffer, chain)
            if now < last < until:
                yield last

    def _growth(self, chain: Chain, later: int) -> int:
        """Return for how many more bytes, times phases, buffers live if a chain runs later."""
        now, growth = self._place[chain], 0
        for buffer in self._touched[chain]:
            first, last = self._others(buffer, chain)
            before = max(last, now) - min(first, now)
            after = max(last, later) - min(first, later)
            growth += buffer.nbytes * (after - before)
        return growth

    def _made(self, chain: Chain) -> int:
        """Return how many bytes begin to live with a chain, less those that live no longer."""
        now, made = self._place[chain], 0
        for buffer in self._touched[chain]:
            first, last = self._others(buffer, chain)
            made += buffer.nbytes * ((first > now) - (last < now))
        return made

    def _others(self, buffer: Buffer, chain: Chain) -> tuple[int, int]:
        """Return the first and the last phase in which other chains touch a buffer."""
        places, mine = self._used[buffer], self._place[chain]
        if len(places) == 1:
            return mine, mine
        return places[places[0] == mine], places[-2 if places[-1] == mine else -1]


def _touched(chain: Chain) -> list[Buffer]:
    """Return the intermediate arrays that the kernels of a chain read and write."""
    views = (x for _, kernel in chain.kernels for x in (*kernel.reads, *kernel.writes))
    buffers = dict.fromkeys(x.buffer for x in views)
    return [b for b in buffers if b is not None and b.place == "arena"]

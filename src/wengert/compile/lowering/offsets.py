"""At which offset each intermediate array stands: in the memory of an output, or in one arena."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.layout import ALIGNMENT
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.lowering.lower import Program
from wengert.compile.lowering.phases import Phase

_ATTEMPTS = 8
"""In the memory of how many outputs room is looked for: programs may have thousands."""


@dataclass(slots=True)
class Lifetime:
    """The kernels, by place, that first write, first touch and last read a buffer."""

    first: int
    last_read: int
    last: int


def lifetimes(
    kernels: Iterable[Kernel],
    results: Iterable[Strided] = (),
    times: Sequence[int] | None = None,
) -> dict[Buffer, Lifetime]:
    """Return the lifetime of each buffer; results are read after the last kernel.

    `times`: when each kernel runs; otherwise one after the other.
    """
    table: dict[Buffer, Lifetime] = {}

    def touch(array: Strided, place: int, read: bool) -> None:
        if array.buffer is not None:
            life = table.setdefault(array.buffer, Lifetime(place, -1, place))
            life.last = place
            if read:
                life.last_read = place

    place = -1
    for number, kernel in enumerate(kernels):
        place = number if times is None else times[number]
        for x in kernel.reads:
            touch(x, place, True)
        for x in kernel.writes:
            touch(x, place, False)
    for x in results:
        touch(x, place + 1, True)
    return table


def assign_offsets(program: Program) -> int:
    """Place the intermediate arrays, greatest first; return the size of the arena.

    Each goes to the memory of an output that is written soon after, or else to the arena.
    """
    times = _times(program.phases)
    table = lifetimes(program.kernels, times=times)
    waiting = [b for b in table if b.place == "arena" and b.nbytes]
    waiting.sort(key=lambda b: (-b.nbytes, table[b].first))
    arena = _Room(table)
    outputs = _rooms_of_outputs(program, table, times)
    needed = _needed_after_failure(program)
    widest: dict[Buffer | None, int] = {}
    for x in (x for kernel in program.kernels for x in (*kernel.reads, *kernel.writes)):
        widest[x.buffer] = max(x.dtype.itemsize, widest.get(x.buffer, 0))
    lent: set[Buffer] = set()
    for buffer in waiting:
        open_to = (
            r
            for r in outputs
            if r.is_open(buffer)
            and widest[buffer] <= r.itemsize
            and not (r.lasts and buffer in needed)
        )
        room = next((r for r in islice(open_to, _ATTEMPTS) if r.fits(buffer)), arena)
        room.take(buffer)
        if room.lasts:
            lent.add(buffer)
    for kernel in program.kernels:
        kernel.lasting = kernel.lasting or not lent.isdisjoint(x.buffer for x in kernel.writes)
    return _aligned(arena.end, ALIGNMENT)


@dataclass(slots=True)
class _Room:
    """Memory for buffers, several of which may be in one place if they do not live at one time.

    Attributes
    ----------
    table : mapping of Buffer to Lifetime
        When they live.
    slot : int
        The output whose memory it is; -1: the arena.
    nbytes, itemsize : int
        The size of an output, and that of its elements, of which its address is a multiple.
    since, until : int
        After and before when an output's memory is nobody's.
    lasts : bool
        Whether it is seen also if a call fails.
    end : int
        How much of it is used.
    """

    table: Mapping[Buffer, Lifetime]
    slot: int = -1
    nbytes: int = 0
    itemsize: int = 1
    since: int = -1
    until: int = 0
    lasts: bool = False
    end: int = 0
    _placed: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 4), np.int64))
    """When each buffer is first and last touched, and the bytes where it begins and ends."""

    def is_open(self, buffer: Buffer) -> bool:
        """Tell whether an output's memory is nobody's, and large enough, while a buffer lives."""
        life = self.table[buffer]
        return life.last < self.until and self.since < life.first and buffer.nbytes <= self.nbytes

    def fits(self, buffer: Buffer) -> bool:
        """Tell whether others leave room for a buffer."""
        return self._lowest(buffer) + buffer.nbytes <= self.nbytes

    def take(self, buffer: Buffer) -> None:
        """Place a buffer at the lowest offset that is free while it lives."""
        buffer.slot, buffer.offset = self.slot, self._lowest(buffer)
        self.end = max(self.end, buffer.offset + buffer.nbytes)
        life = self.table[buffer]
        end = _aligned(buffer.offset + buffer.nbytes, _alignment(buffer.nbytes))
        place = np.searchsorted(self._placed[:, 2], buffer.offset)
        row = (life.first, life.last, buffer.offset, end)
        self._placed = np.insert(self._placed, place, row, axis=0)

    def _lowest(self, buffer: Buffer) -> int:
        """Return that offset.

        Buffers of less than a line of the cache share lines with each other; none is in two.
        """
        life, align = self.table[buffer], _alignment(buffer.nbytes)
        first, last, starts, ends = self._placed.T
        meanwhile = (first <= life.last) & (last >= life.first)
        free = np.maximum.accumulate(np.append(0, ends[meanwhile]))
        free = (free + align - 1) // align * align
        fitting = np.flatnonzero(free[:-1] + buffer.nbytes <= starts[meanwhile])
        return int(free[fitting[0] if len(fitting) else -1])


def _needed_after_failure(program: Program) -> set[Buffer | None]:
    """Return the buffers whose kernels must run also after a failure.

    Integers may say where something else is: they are read until the call ends.
    """
    return {
        x.buffer
        for kernel in program.kernels
        if any(x.dtype.kind != "f" for x in kernel.writes)
        for x in kernel.writes
    }


def _rooms_of_outputs(
    program: Program, table: Mapping[Buffer, Lifetime], times: Sequence[int]
) -> list[_Room]:
    """Return the memory of outputs, which is nobody's before they are written, in this order.

    What lasts is left alone until all checks are over. Memory of inputs is never lent.
    """
    count = len(program.inputs)
    begin: dict[int, int] = {}
    for buffer, life in table.items():
        if buffer.place == "table":
            begin[buffer.slot] = min(life.first, begin.get(buffer.slot, life.first))
    checked = [time for time, k in zip(times, program.kernels, strict=True) if isinstance(k, Check)]
    rooms = []
    for output, result in enumerate(program.results):
        slot, lasts = count + output, output in program.lasting
        nbytes = result.size * result.dtype.itemsize
        since = max(checked, default=-1) if lasts else -1
        if slot in begin and nbytes:
            size = result.dtype.itemsize
            rooms.append(_Room(table, slot, nbytes, size, since, begin[slot], lasts))
    return sorted(rooms, key=lambda room: (room.until, room.nbytes))


def _times(phases: Sequence[Phase]) -> list[int]:
    """Return when each kernel runs: all kernels of a phase that is shared run at one time."""
    times: list[int] = []
    now = 0
    for phase in phases:
        count = sum(len(chain.kernels) for chain in phase)
        alone = len(phase) == 1 and phase[0].grid is None
        times += range(now, now + count) if alone else [now] * count
        now += count
    return times


def _alignment(nbytes: int) -> int:
    return min(ALIGNMENT, 1 << (nbytes - 1).bit_length())


def _aligned(nbytes: int, align: int) -> int:
    return -(-nbytes // align) * align

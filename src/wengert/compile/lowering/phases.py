"""Which kernels run side by side: phases, and the sequences of kernels in each.

A phase begins when the one before it is done. Its sequences do not depend on each other. A
sequence is run by one thread, or it is cut into chunks, each of which runs all its kernels in
turn: what a kernel reads of those before it was written by the same chunk. A network whose kernels
can all be cut along the minibatch runs from its input to its loss in one phase, although each layer
depends on the one before.

Kernels are looked at in execution order. Each joins the sequences of the last phase that it depends
on, or begins a sequence in the phase after it. The cut depends on shapes alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from wengert.compile.kernels import grid
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.grid import Grid
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.panels import ROWS
from wengert.compile.kernels.product import Product
from wengert.compile.lowering.narrow import accesses, aligned, cuttable, extent, memory_of

ALONE = 12
"""A program of less work than so many least chunks (`grid.GRAIN`) is not shared."""

SERIAL = 4
"""Kernels of less work than so many are not worth a phase of their own."""

LARGE = 1 << 21
"""The work of a product that shares no phase: it takes much longer than any barrier, and its own
chunks, which are cut along both axes, read its factors fewer times."""

_SMALL = 8
"""The part of a sequence's work that may run less well where the rest gains."""

_MOST = 16
_STRIP = 4
_WIDTH = 16
_ALTERNATIVES = 4
_COMBINATIONS = 16
"""The most ways to cut chains together that are looked at: square arrays double them each time."""


class Cut(NamedTuple):
    """Axes of one length, one for each kernel of a sequence."""

    length: int
    axes: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Chain:
    """Kernels that follow each other.

    Attributes
    ----------
    kernels : list of (int, Kernel)
        With their places in the order of execution.
    cuts : list of Cut
        The ways in which they can be cut together.
    work : int
        About how many additions they are worth.
    """

    kernels: list[tuple[int, Kernel]]
    cuts: list[Cut]
    work: int

    @property
    def grid(self) -> Grid | None:
        """The chunks; None if the kernels run one after the other, each as a whole."""
        if not self.cuts:
            return None
        length, axes = self.cuts[0]
        kernels = [kernel for _, kernel in self.kernels]
        products = [
            (k, axis < len(k.shape) - 1)
            for k, axis in zip(kernels, axes, strict=True)
            if isinstance(k, Product)
        ]
        lines = any(
            a.axis >= 0 and a.view.strides[a.axis] == 1
            for kernel, axis in zip(kernels, axes, strict=True)
            for a in accesses(kernel, axis)
        )
        align = _WIDTH if products or lines else 1
        if products and length >= 4 * _WIDTH:
            align = 2 * _WIDTH
        # Few rows make bad tiles, and panels are worth their copying for many rows only.
        by_rows = [k for k, rows in products if rows]
        copying = sum(k.work for k in by_rows if k.panels)
        if by_rows and (length >= 2 * ROWS or copying > self.work // _SMALL):
            align = ROWS
        chunks = min(_MOST, max(1, self.work // (_STRIP * grid.GRAIN)))
        step = -(-length // chunks)
        found = Grid(length, _even(length, -(-step // align) * align, align))
        return found if found.chunks > 1 else None


def _even(length: int, step: int, align: int) -> int:
    """Return the longest step that leaves no shorter chunk, which would have code of its own.

    `step` itself, if that would be less than half of it.
    """
    even = (s for s in range(step, step // 2, -align) if length % s == 0)
    return next(even, step)


Phase = list[Chain]


class _Conflict(NamedTuple):
    """An earlier kernel, the place of its access, and that of the access that must come later.

    The places are -1 if the whole of the one must come after the whole of the other.
    """

    number: int
    place: int
    mine: int


class _Touch(NamedTuple):
    """An access: of which kernel, its place among those of the kernel, and its bytes."""

    number: int
    place: int
    low: int
    high: int
    written: bool


def schedule(kernels: Sequence[Kernel]) -> list[Phase]:
    """Return the phases in which kernels, given in execution order, are to run."""
    total = sum(kernel.work for kernel in kernels)
    if total < ALONE * grid.GRAIN:
        return [[Chain(list(enumerate(kernels)), [], total)]] if kernels else []
    conflicts = _conflicts(kernels)
    made = _Schedule()
    for number in _by_height(conflicts):
        made.add(number, kernels[number], conflicts[number])
    return [_packed(phase) for phase in made.phases]


def _conflicts(kernels: Sequence[Kernel]) -> list[list[_Conflict]]:
    """Return, for each kernel, what earlier kernels touch and must have touched before it.

    What lasts is written after all checks.
    """
    touched: dict[Hashable, list[_Touch]] = defaultdict(list)
    checks: list[_Conflict] = []
    found = []
    for number, kernel in enumerate(kernels):
        touches = [
            (memory_of(x.view), _Touch(number, place, *extent(x.view), x.written))
            for place, x in enumerate(accesses(kernel, -1))
        ]
        found.append(
            [
                _Conflict(old.number, old.place, new.place)
                for memory, new in touches
                for old in touched[memory]
                if (old.written or new.written) and old.low < new.high and new.low < old.high
            ]
        )
        for memory, touch in touches:
            touched[memory].append(touch)
        if kernel.lasting:
            found[-1] += checks
        if isinstance(kernel, Check):
            checks.append(_Conflict(number, -1, -1))
    return found


def _by_height(conflicts: Sequence[Sequence[_Conflict]]) -> list[int]:
    """Return the kernels, those with the longest way to the end first.

    What many others wait for thus decides how a chain is cut, and not, say, the update of a weight,
    for which nobody waits.
    """
    heights = [0] * len(conflicts)
    for number in reversed(range(len(conflicts))):
        for conflict in conflicts[number]:
            heights[conflict.number] = max(heights[conflict.number], heights[number] + 1)
    return sorted(range(len(conflicts)), key=lambda number: -heights[number])


class _Schedule:
    """Phases under construction."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self._home: dict[int, tuple[int, Chain]] = {}

    def add(self, number: int, kernel: Kernel, conflicts: Sequence[_Conflict]) -> None:
        """Add a kernel after all that it waits for."""
        phase = max((self._home[c.number][0] for c in conflicts), default=-1)
        late = [c for c in conflicts if self._home[c.number][0] == phase]
        before = list(dict.fromkeys(self._home[c.number][1] for c in late))
        chain = _joined(before, number, kernel, late) if before else None
        if chain is None:
            phase, before = phase + 1, []
            chain = _begun(number, kernel)
        if phase == len(self.phases):
            self.phases.append([])
        self.phases[phase] = [c for c in self.phases[phase] if c not in before] + [chain]
        for member, _ in chain.kernels:
            self._home[member] = phase, chain


def _begun(number: int, kernel: Kernel) -> Chain:
    cuts = [Cut(kernel.shape[axis], (axis,)) for axis in cuttable(kernel)]
    return Chain([(number, kernel)], cuts, kernel.work)


def _joined(
    before: Sequence[Chain], number: int, kernel: Kernel, conflicts: Sequence[_Conflict]
) -> Chain | None:
    """Return the chain of all that a kernel waits for and of the kernel, if there can be one."""
    together = before[0]
    for other in before[1:]:
        together = _side_by_side(together, other)
    joined = _side_by_side(together, _begun(number, kernel))
    large = [k for _, k in joined.kernels if isinstance(k, Product) and k.work > LARGE]
    cuts = [] if large else [c for c in joined.cuts if _apart(joined, c, number, conflicts)]
    if cuts or joined.work < SERIAL * grid.GRAIN:
        return Chain(joined.kernels, cuts[:_ALTERNATIVES], joined.work)
    return None


def _side_by_side(x: Chain, y: Chain) -> Chain:
    """Return one chain of two; how they depend on each other is not looked at."""
    kernels = sorted([*x.kernels, *y.kernels], key=lambda item: item[0])
    pairs = ((a, b) for a in x.cuts for b in y.cuts if a.length == b.length)
    cuts = []
    for mine, other in islice(pairs, _COMBINATIONS):
        axes = _axes(x, mine) | _axes(y, other)
        cuts.append(Cut(mine.length, tuple(axes[number] for number, _ in kernels)))
    return Chain(kernels, cuts, x.work + y.work)


def _axes(chain: Chain, cut: Cut) -> dict[int, int]:
    return {number: axis for (number, _), axis in zip(chain.kernels, cut.axes, strict=True)}


def _apart(chain: Chain, cut: Cut, number: int, conflicts: Sequence[_Conflict]) -> bool:
    """Tell whether each chunk of a kernel meets only the same chunk of those before it."""
    kernels, axes = dict(chain.kernels), _axes(chain, cut)
    seen = {n: accesses(kernels[n], axes[n]) for n in {number, *(c.number for c in conflicts)}}
    return all(
        c.place >= 0 and aligned(seen[c.number][c.place], seen[number][c.mine]) for c in conflicts
    )


def _packed(phase: Phase) -> Phase:
    """Put chains together that are too short to be worth a ticket each."""
    found: Phase = []
    short: Chain | None = None
    for chain in sorted(phase, key=lambda c: c.kernels[0][0]):
        if chain.work >= grid.GRAIN:
            found.append(chain)
        elif short is None or short.work >= grid.GRAIN:
            short = Chain(chain.kernels, [], chain.work)
            found.append(short)
        else:
            short.kernels = sorted([*short.kernels, *chain.kernels], key=lambda item: item[0])
            short.work += chain.work
    return found

"""Which kernels run side by side: phases, and the sequences of kernels in each.

A phase begins when the one before it is done. Its sequences do not depend on each other. A
sequence is run by one thread, or it is cut into chunks, each of which runs all its kernels in
turn: what a kernel reads of those before it was written by the same chunk. Some layers of a network
whose kernels can all be cut along the minibatch run in one phase, although each layer depends on
the one before.

Kernels are looked at in execution order. Each joins the sequences of the last phase that it depends
on, or begins a sequence in the phase after it. The cut depends on shapes alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from wengert.compile.emit.arrays import Strided
from wengert.compile.kernels import grid
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.grid import Grid
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.panels import ROWS
from wengert.compile.kernels.product import Product
from wengert.compile.lowering.narrow import (
    Access,
    accesses,
    aligned,
    cuttable,
    extent,
    memory_of,
    narrowed,
)
from wengert.compile.lowering.postpone import postponed

ALONE = 12
"""A program of less work than so many least chunks (`grid.GRAIN`) is not shared."""

SERIAL = 4
"""Kernels of less work than so many are not worth a phase of their own."""

LARGE = 1 << 21
"""The work of a product that shares no phase: it takes much longer than any barrier, and its own
chunks, which are cut along both axes, read its factors fewer times."""

MOST_PRODUCTS = 6
"""The most products of a chain. What depends on one of them waits for the whole chain, and the
arrays of a phase live until its end: gradients of weights would otherwise wait for those of all
layers, and all cotangents with them."""

NEAREST = 1 << 14
"""Bytes of a factor that may be read again by each chunk: the nearest cache keeps them."""

NEAR = 1 << 19
"""Bytes that the second cache keeps between the kernels of a chunk."""

_SMALL = 8
"""The part of a sequence's work that may run less well where the rest gains."""

_MOST = 16
_STRIP = 4
_WIDTH = 16
_LINES = 64
"""The fewest neighbours in memory that a chunk without products takes of each row: several lines of
the cache. What is a power of two apart goes to few places of it."""

_ALTERNATIVES = 4
_COMBINATIONS = 16
"""The most ways to cut chains together that are looked at: square arrays double them each time."""


class Walk(NamedTuple):
    """How a kernel goes along a cut: one step along an axis for each `span` places of the cut.

    A kernel that sums blocks of 800 rows goes along the rows with a span of 800. Rows left over,
    fewer than a span, are another kernel's.
    """

    axis: int
    span: int = 1


class Cut(NamedTuple):
    """How many places there are, and how each kernel of a sequence, by number, goes along them."""

    length: int
    walks: Mapping[int, Walk]


@dataclass(eq=False)
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

    @cached_property
    def grid(self) -> Grid | None:
        """The chunks; None if the kernels run one after the other, each as a whole.

        Asked for when the chain is complete.
        """
        if not self.cuts:
            return None
        length, align = self.cuts[0].length, self._align(self.cuts[0])
        most = max(_MOST, self._passed_on // NEAR)
        chunks = min(most, max(1, self.work // (_STRIP * grid.GRAIN)))
        step = -(-length // chunks)
        found = Grid(length, _even(length, -(-step // align) * align, align))
        return found if found.chunks > 1 else None

    def divides(self, cut: Cut) -> bool:
        """Tell whether there can be several chunks along a cut."""
        return self._align(cut) < cut.length

    def _align(self, cut: Cut) -> int:
        """Return the number of places along a cut of which chunks have a multiple."""
        length, walks = cut
        products = [
            (kernel, walks[number].axis < len(kernel.shape) - 1)
            for number, kernel in self.kernels
            if isinstance(kernel, Product)
        ]
        lines = [
            a.view
            for number, kernel in self.kernels
            if walks[number].span == 1
            for a in accesses(kernel, walks[number].axis)
            if a.axis >= 0 and a.view.strides[a.axis] == 1
        ]
        align = _WIDTH if products or lines else 1
        if not products and any(map(_has_rows, lines)):
            align = _LINES
        if products and length >= 4 * _WIDTH:
            align = 2 * _WIDTH
        # Few rows make bad tiles, and panels are worth their copying for many rows only.
        by_rows = [k for k, rows in products if rows]
        copying = sum(k.work for k in by_rows if k.panels)
        if by_rows and (length >= 2 * ROWS or copying > self.work // _SMALL):
            align = ROWS
        return math.lcm(align, *(walk.span for walk in walks.values()))

    @property
    def _passed_on(self) -> int:
        """The bytes of the memory that several of the kernels touch."""
        sizes: dict[Hashable, list[int]] = defaultdict(list)
        for _, kernel in self.kernels:
            found: dict[Hashable, int] = defaultdict(int)
            for x, _, _ in accesses(kernel, -1):
                low, high = extent(x)
                found[memory_of(x)] = max(found[memory_of(x)], high - low)
            for memory, size in found.items():
                sizes[memory].append(size)
        return sum(max(several) for several in sizes.values() if len(several) > 1)

    def walks(self) -> Iterator[tuple[Kernel, Walk | None]]:
        """Yield the kernels and how they go along the cut; None: each is run as a whole."""
        walks = self.cuts[0].walks if self.grid is not None else {}
        yield from ((kernel, walks.get(number)) for number, kernel in self.kernels)

    def parts(self, start: int, length: int) -> Iterator[Part]:
        """Yield what a chunk runs: `length` places of the cut, from a multiple of all spans on."""
        for number, kernel in self.kernels:
            walk = self.cuts[0].walks[number]
            first, end = start // walk.span, (start + length) // walk.span
            if first < end:
                yield Part(narrowed(kernel, walk.axis, end - first), walk, first)


class Part(NamedTuple):
    """A part of a kernel, how it goes along the cut, and where along its axis it begins."""

    kernel: Kernel
    walk: Walk
    first: int


def _has_rows(x: Strided) -> bool:
    """Tell whether a view goes along more than one axis."""
    return sum(n > 1 and step != 0 for n, step in zip(x.shape, x.strides, strict=True)) > 1


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
    followers: dict[int, set[int]] = defaultdict(set)
    for number, before in enumerate(conflicts):
        for conflict in before:
            followers[conflict.number].add(number)
    return [_packed(phase) for phase in postponed(made.phases, followers)]


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
    cuts = [Cut(kernel.shape[axis], {number: Walk(axis)}) for axis in cuttable(kernel)]
    return Chain([(number, kernel)], cuts, kernel.work)


def _joined(
    before: Sequence[Chain], number: int, kernel: Kernel, conflicts: Sequence[_Conflict]
) -> Chain | None:
    """Return the chain of all that a kernel waits for and of the kernel, if there can be one."""
    together = before[0]
    for other in before[1:]:
        together = _side_by_side(together, other)
    kernels = sorted([*together.kernels, (number, kernel)], key=lambda item: item[0])
    work = together.work + kernel.work
    products = [k for _, k in kernels if isinstance(k, Product)]
    if len(products) > MOST_PRODUCTS:
        return None
    large = any(map(_is_large, products))
    cuts = [] if large else list(_cuts_with(together, number, kernel, conflicts))
    joined = Chain(kernels, cuts, work)
    joined.cuts = list(filter(joined.divides, cuts))[:_ALTERNATIVES]
    return joined if joined.cuts or work < SERIAL * grid.GRAIN else None


def _is_large(kernel: Product) -> bool:
    """Tell whether pieces of a product would read again and again what is not very near."""
    first = max(0, len(kernel.shape) - 2)  # the axes before it count separate products
    sizes = [
        math.prod(n for n, step in zip(x.shape[first:], x.strides[first:], strict=True) if step)
        for x in kernel.heart
    ]
    separate = max(1, math.prod(kernel.shape[:first]))
    return kernel.work > LARGE * separate and min(sizes) * kernel.x.dtype.itemsize > NEAREST


def _side_by_side(x: Chain, y: Chain) -> Chain:
    """Return one chain of two; how they depend on each other is not looked at."""
    kernels = sorted([*x.kernels, *y.kernels], key=lambda item: item[0])
    pairs = ((a, b) for a in x.cuts for b in y.cuts if a.length == b.length)
    cuts = [Cut(a.length, {**a.walks, **b.walks}) for a, b in islice(pairs, _COMBINATIONS)]
    return Chain(kernels, cuts, x.work + y.work)


def _cuts_with(
    chain: Chain, number: int, kernel: Kernel, conflicts: Sequence[_Conflict]
) -> Iterator[Cut]:
    """Yield the ways to cut a chain and a kernel so that each chunk meets only itself."""
    if any(c.place < 0 for c in conflicts):
        return
    kernels = dict(chain.kernels)
    mine = {axis: accesses(kernel, axis) for axis in cuttable(kernel)}
    for cut in chain.cuts:
        seen = {c.number: accesses(kernels[c.number], cut.walks[c.number].axis) for c in conflicts}
        for axis, own in mine.items():
            pairs = [(c.number, seen[c.number][c.place], own[c.mine]) for c in conflicts]
            found = _extended(cut, number, kernel.shape[axis], pairs[0])
            if found is not None and all(
                aligned(x, y, found.walks[n].span, found.walks[number].span) for n, x, y in pairs
            ):
                yield found


def _extended(cut: Cut, number: int, length: int, pair: tuple[int, Access, Access]) -> Cut | None:
    """Return a cut along which one more kernel goes at the pace of a pair of accesses.

    Parameters
    ----------
    cut : Cut
        Of other kernels.
    number, length : int
        The kernel, and the length of its axis.
    pair : tuple of (int, Access, Access)
        The number of an earlier kernel, its access, and that of the new one to the same memory.
    """
    earlier, x, y = pair
    walk = cut.walks[earlier]
    if x.axis < 0 or y.axis < 0:
        return None
    places, step = y.view.strides[y.axis] * walk.span, x.view.strides[x.axis]
    if places <= 0 or step <= 0:
        return None
    if places % step == 0:
        span = places // step
        fits = length == cut.length // span
        return Cut(cut.length, {**cut.walks, number: Walk(y.axis, span)}) if fits else None
    finer, rest = divmod(step, places)
    if rest or cut.length != length // finer:
        return None
    walks = {n: Walk(w.axis, w.span * finer) for n, w in cut.walks.items()}
    return Cut(length, {**walks, number: Walk(y.axis)})


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

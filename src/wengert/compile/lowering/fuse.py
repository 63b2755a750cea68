"""Fusion: elementwise kernels move into the kernels that use them, or into those they use.

The passes look at every kernel once, in execution order. A kernel only ever moves to a place where
all that it reads has been written; what is written more than once, or in part, stays where it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.arrays import Counter as Counting
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.kernel import Kernel, Store
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.nodes import Node, Summary, replaced
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.reduce import Reduce
from wengert.compile.lowering.lower import Program
from wengert.compile.lowering.reindex import reindex
from wengert.compile.lowering.trim import trim

CHEAP = 2
"""The most additions that are done again rather than stored and read."""

DEAR = 8
"""The most additions that are done for one result of a reduction after another."""

MANY = 16
"""How many results there must be for vectors to be worth a loop of their own."""

MOST = 256
"""The most expressions that a kernel evaluates: registers run out long before."""

DEAREST = 64
"""The most additions that they may be worth if they come from several kernels. A long chain of dear
functions is slower in one loop than in several: fewer elements overlap in the processor."""


class _Uses:
    """How buffers are read and written by kernels.

    Attributes
    ----------
    writers, readers : Counter
        How many kernels write and read each.
    results : set of Buffer
        Those that are results.
    pinned : set of Buffer
        Those that must be in memory, because they are results or not read place by place.
    at_hand : set of Buffer
        Those made by kernels that may evaluate what is made of them.
    """

    def __init__(self, program: Program) -> None:
        self.writers = _count(kernel.writes for kernel in program.kernels)
        self.readers = _count(kernel.reads for kernel in program.kernels)
        self.results = {x.buffer for x in program.results}
        self.pinned: set[Buffer | None] = set(self.results)
        for kernel in program.kernels:
            whole = kernel.before.beside if isinstance(kernel, Reduce) else kernel.heart
            self.pinned.update(x.buffer for x in whole)
            self.pinned.update(x.buffer for x in kernel.under.beside)
        self.at_hand: set[Buffer | None] = {
            x.buffer for k in program.kernels if type(k) is not Map for x in k.writes
        }

    def is_settled(self, x: Strided) -> bool:
        """Tell whether a view shows the same at all times at which it may be read."""
        return self.writers[x.buffer] <= 1

    def are_settled(self, xs: Iterable[Strided]) -> bool:
        """Tell whether all views show the same at all times at which they may be read."""
        return all(map(self.is_settled, xs))


def _count(touched: Iterable[Iterable[Strided]]) -> Counter[Buffer | None]:
    """Return how many kernels touch each buffer."""
    return Counter(buffer for views in touched for buffer in {x.buffer for x in views})


def fuse(program: Program, aliases: Mapping[int, int]) -> None:
    """Carry out all passes and drop what nobody reads any more."""
    inline(program)
    hoist(program)
    trim(program)
    merge(program, aliases)
    drop_unread(program)


def inline(program: Program) -> None:
    """Let kernels evaluate what they read instead of reading it, where that is no more work."""
    uses = _Uses(program)
    made: dict[Buffer, _Value] = {}
    for kernel in program.kernels:
        _inline_into(kernel, made, uses)
        if type(kernel) is Map:
            for store in kernel.stores:
                buffer = store.target.buffer
                if buffer is not None and uses.writers[buffer] == 1:
                    made[buffer] = _Value(kernel, store, _under(kernel, store))
    drop_unread(program)


def _under(kernel: Map, store: Store) -> Summary:
    return kernel.under if len(kernel.stores) == 1 else Summary([store.value])


class _Value(NamedTuple):
    """What a kernel stores in a buffer, and what is under it."""

    kernel: Map
    store: Store
    under: Summary


def _inline_into(kernel: Kernel, made: Mapping[Buffer, _Value], uses: _Uses) -> None:
    under = kernel.evaluated
    count, cost = len(under.nodes), under.cost
    known: dict[Node, Node] = {}
    for leaf in under.leaves:
        source = made.get(leaf.buffer) if leaf.buffer is not None else None
        if source is None or source.kernel is kernel:
            continue
        if count + len(source.under.nodes) > MOST or cost + source.under.cost > DEAREST:
            continue
        if not _worth_it(source, leaf, uses):
            continue
        value = _seen_through(leaf, source, uses)
        if value is not None:
            known[leaf] = value
            count += len(source.under.nodes)
            cost += source.under.cost
            kernel.labels[:0] = [x for x in source.kernel.labels if x not in kernel.labels]
    if known:
        kernel.roots = replaced(kernel.roots, known)


def _seen_through(leaf: Strided, source: _Value, uses: _Uses) -> Node | None:
    """Return what `leaf` shows of a store, computed at the places of `leaf`."""
    store, found = source.store, source.under.leaves
    if not uses.are_settled([*found, *source.under.beside]):
        return None
    if leaf.shape == store.target.shape and _same_places(leaf, store.target):
        return store.value
    through = reindex(leaf, store.target)
    if through is None:
        return None
    views = {x: through(x) for x in found}
    if any(v is None or (v != x and isinstance(x.base, Counting)) for x, v in views.items()):
        return None
    return replaced([store.value], {x: v for x, v in views.items() if v is not None})[0]


def _same_places(x: Strided, y: Strided) -> bool:
    long = [i for i, n in enumerate(x.shape) if n > 1]
    return x.offset == y.offset and all(x.strides[i] == y.strides[i] for i in long)


def _worth_it(source: _Value, leaf: Strided, uses: _Uses) -> bool:
    """Tell whether evaluating again is no more work than storing and reading."""
    cost, size, times = source.under.cost, math.prod(source.kernel.shape), leaf.size
    if leaf.buffer in uses.results:
        return False
    if size == 1:
        return cost <= 2 * CHEAP
    if times <= size and uses.readers[leaf.buffer] == 1:
        return True
    if leaf.buffer in uses.pinned or times > 4 * size or cost > CHEAP:
        return False
    found = source.under.leaves
    return len(found) <= CHEAP and not any(
        x.buffer in uses.at_hand and x.size == size and 0 not in x.strides for x in found
    )


def hoist(program: Program) -> None:
    """Compute single numbers as early as possible, so that they are at hand for epilogues."""
    uses = _Uses(program)
    ready: dict[Buffer | None, int] = {}
    order = []
    for place, kernel in enumerate(program.kernels):
        after = place
        single = type(kernel) is Map and math.prod(kernel.shape) == 1
        if single and uses.are_settled([*kernel.reads, *kernel.writes]):
            after = max((ready.get(x.buffer, -1) for x in kernel.reads), default=-1)
        ready.update({x.buffer: after for x in kernel.writes})
        order.append((after, place))
    program.kernels[:] = [program.kernels[place] for _, place in sorted(order)]


def drop_unread(program: Program) -> None:
    """Drop what nobody reads, from the last kernel to the first."""
    wanted = {x.buffer for x in program.results}
    kept = []
    for kernel in reversed(program.kernels):
        if not isinstance(kernel, Check) and not any(x.buffer in wanted for x in kernel.writes):
            continue
        if not isinstance(kernel, Check):
            kernel.stores = [s for s in kernel.stores if s.target.buffer in wanted]
        wanted.update(x.buffer for x in kernel.reads)
        kept.append(kernel)
    program.kernels[:] = reversed(kept)


class _Made(NamedTuple):
    """What writes a buffer, and its place among the kernels."""

    place: int
    kernel: Kernel


def merge(program: Program, aliases: Mapping[int, int]) -> None:
    """Let kernels evaluate what is made of their results, while they are at hand."""
    uses = _Uses(program)
    made: dict[Buffer, _Made] = {}
    donors = _Donors(program, aliases)
    kept: list[Kernel] = []
    for place, kernel in enumerate(program.kernels):
        host = _host(kernel, made, uses) if type(kernel) is Map else None
        if host is not None and not donors.allow(kernel, place, host.place):
            host = None
        if host is None or not _absorb(host, kernel):
            kept.append(kernel)
            host = _Made(place, kernel)
        donors.note(kernel, host.place)
        for x in kernel.writes:
            if x.buffer is not None:
                made[x.buffer] = host
    program.kernels[:] = kept


class _Donors:
    """The inputs whose memory results take over: nobody may read them after that."""

    def __init__(self, program: Program, aliases: Mapping[int, int]) -> None:
        self._donors = {
            program.results[output].buffer: program.inputs[source].buffer
            for output, source in aliases.items()
        }
        self._last: dict[Buffer | None, int] = {}
        for place, kernel in enumerate(program.kernels):
            self._last.update({x.buffer: place for x in kernel.reads})
        self._seen: dict[Buffer | None, int] = {}

    def allow(self, kernel: Kernel, place: int, earlier: int) -> bool:
        """Tell whether nobody reads between `earlier` and `place` or later what is taken over."""
        donors = [self._donors[x.buffer] for x in kernel.writes if x.buffer in self._donors]
        return all(
            self._last.get(d, -1) <= place and self._seen.get(d, -1) <= earlier for d in donors
        )

    def note(self, kernel: Kernel, place: int) -> None:
        """Take note of the place at which a kernel reads."""
        for x in kernel.reads:
            self._seen[x.buffer] = max(place, self._seen.get(x.buffer, -1))


def _host(kernel: Kernel, made: Mapping[Buffer, _Made], uses: _Uses) -> _Made | None:
    """Return the last kernel that makes something `kernel` reads, if `kernel` may move there."""
    if not uses.are_settled([*kernel.reads, *kernel.writes]):
        return None
    found = [made[b] for b in (x.buffer for x in kernel.reads) if b is not None and b in made]
    if not found:
        return None
    last = max(found, key=lambda m: m.place)
    if not isinstance(last.kernel, Map | Reduce | Product):
        return None
    side = [x for x in kernel.evaluated.beside if x.buffer in made]
    if any(made[x.buffer].place == last.place for x in side if x.buffer is not None):
        return None
    return last


def _absorb(home: _Made, kernel: Kernel) -> bool:
    """Move the stores of `kernel` into its host, if they can be expressed there."""
    host = home.kernel
    views = kernel.evaluated.leaves
    stores = {store.target.buffer: store for store in host.stores}
    mine = {x: stores[x.buffer] for x in views if x.buffer in stores}
    first = next(iter(mine), None)
    if first is None or math.prod(host.shape) != math.prod(kernel.shape):
        return False
    through = reindex(mine[first].target, first)
    if through is None:
        return False
    known: dict[Node, Node] = {}
    for x in views:
        seen = through(x)
        if seen is None or (isinstance(x.base, Counting) and seen != x):
            return False
        if x in mine:
            if not _same_places(seen, mine[x].target):
                return False
            known[x] = mine[x].value
        else:
            known[x] = seen
    targets = [seen for x in kernel.writes if (seen := through(x)) is not None]
    if len(targets) < len(kernel.stores) or not _fits(host, kernel):
        return False
    values = replaced([store.value for store in kernel.stores], known)
    made = zip(targets, values, strict=True)
    host.stores = [*host.stores, *(Store(target, value) for target, value in made)]
    host.labels += [x for x in kernel.labels if x not in host.labels]
    return True


def _fits(host: Kernel, kernel: Kernel) -> bool:
    """Tell whether the host can evaluate what it does and what `kernel` does."""
    under = Summary([*host.roots, *kernel.roots])
    counts = any(isinstance(x.base, Counting) for x in under.leaves)
    if isinstance(host, Product) and (counts or under.beside):
        return False
    if isinstance(host, Reduce) and host.by_rows and math.prod(kernel.shape) >= MANY:
        return kernel.evaluated.cost <= DEAR
    return len(under.nodes) <= MOST and under.cost <= DEAREST

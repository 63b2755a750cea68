"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from wengert.compile.emit.access import (
    element_address,
    from_memory,
    prefetch_line,
    to_memory,
)
from wengert.compile.emit.arrays import Buffer, Shape, Strided
from wengert.compile.emit.expression import Lane, Lanes, State
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import memory_type, scalar_type, vector
from wengert.compile.emit.vectors import WIDTH, store_lanes, width_for
from wengert.compile.kernels.epilogue import FAR
from wengert.compile.kernels.fold import folding
from wengert.compile.kernels.grid import Grid, cut
from wengert.compile.kernels.kernel import Index, Kernel, Store
from wengert.compile.kernels.nest import Evaluation, Offsets, Space, along, masked
from wengert.compile.kernels.nodes import Node, Result, Summary
from wengert.graph.dtypes import BOOL, DType
from wengert.ops.lowering import Reducer

LANES = 64
"""Lanes of a long sum: several vectors, so that one addition need not wait for another."""

LIGHT = 2
"""The most additions a term may cost for so many lanes: there must be registers for all."""

LONG = 256
"""The length from which on a sum is long."""

LINE, SHORT, AHEAD = 64, 512, 4096
"""Bytes of a line of the cache, of the longest of short rows, and how far ahead is asked for them.
"""

DEAR = 3
"""The cost of combining two states from which on several rows combine their lanes together."""

FEW = 4
"""The fewest rows that do so."""


class Reduce(Kernel):
    """A reduction of `terms` over the axes `inner`, and what is stored of its results.

    Lanes stand for neighbouring results or for neighbouring terms, whichever are neighbours in more
    of what is read (`by_rows`).

    The tree: where lanes are terms, lane j of n takes the elements j, j + n, … of the last reduced
    axis, and the lanes are combined by halves (j with j + n / 2, then j + n / 4, …). Along other
    axes, and everywhere where lanes are results, the elements are taken in order. The number of
    lanes depends on the length alone.

    Attributes
    ----------
    whole : tuple of int
        The index space of which this kernel may be a part, which is reduced as the whole would be.
    """

    def __init__(  # noqa: PLR0913, PLR0917  (all that a reduction is)
        self,
        shape: Shape,
        inner: Shape,
        terms: Sequence[Node],
        reducer: Reducer,
        stores: Sequence[Store],
        results: Sequence[Result],
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__(shape, stores, labels)
        self.inner = inner
        self.terms = terms
        self.results = tuple(results)
        self.identity: Callable[..., Any] = reducer.identity
        self.combine: Callable[..., Any] = reducer.combine
        self.combining = reducer.cost
        self.whole = shape

    @property
    def terms(self) -> Sequence[Node]:
        """What is reduced."""
        return self._terms

    @terms.setter
    def terms(self, terms: Sequence[Node]) -> None:
        self._terms = tuple(terms)
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self._before: Summary | None = None
        self._evaluated: Summary | None = None

    @property
    def before(self) -> Summary:
        """What is under the terms."""
        if self._before is None:
            self._before = Summary(self._terms)
        return self._before

    @property
    def evaluated(self) -> Summary:
        """What is under the terms and what is stored."""
        if self._evaluated is None:
            self._evaluated = Summary(self.roots)
        return self._evaluated

    @property
    def roots(self) -> list[Node]:
        """The terms, then what is stored."""
        return [*self.terms, *(store.value for store in self.stores)]

    @roots.setter
    def roots(self, roots: Sequence[Node]) -> None:
        count = len(self.terms)
        self.terms = roots[:count]
        self.stores = [s._replace(value=v) for s, v in zip(self.stores, roots[count:], strict=True)]

    @property
    def heart(self) -> tuple[Strided, ...]:
        """The views of the terms."""
        return (*self.before.leaves, *self.before.beside)

    @property
    def by_rows(self) -> bool:
        """Whether results come one by one, since neighbours in memory are terms of one sum."""
        along = max((i for i, n in enumerate(self.inner) if n > 1), default=None)
        across = self.columns
        if along is None or across is None:
            return across is None
        rank, lengths = len(self.shape), (*self.whole, *self.inner)
        terms = results = 0
        for x in self.before.leaves:
            size = math.prod(n for n, step in zip(lengths, x.strides, strict=True) if step)
            terms += size * (x.strides[rank + along] == 1)
            results += size * (x.strides[across] == 1)
        return terms > 0 and terms >= results

    @property
    def columns(self) -> int | None:
        """The axis of the results that are neighbours in memory; None if there is one result."""
        steps = self.stores[0].target.strides
        long = [axis for axis, n in enumerate(self.whole) if n > 1]
        return min(reversed(long), key=lambda axis: abs(steps[axis]), default=None)

    @property
    def dtypes(self) -> tuple[DType, ...]:
        """The dtypes of the results."""
        return tuple(r.dtype for r in self.results)

    @property
    def space(self) -> Space:
        """The merged axes: those of the results, then those that are reduced."""
        return Space([self.shape, self.inner], [*self.views, *self.before.leaves])

    @property
    def work(self) -> int:
        """About how many additions it is worth."""
        return math.prod(self.shape) * math.prod(self.inner)

    @property
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""
        lengths = self.space.lengths[: self.space.rank] or (1,)
        return cut(lengths[0], self.work, LANES if len(lengths) == 1 else 1)

    def emit(self, function: Function, chunk: Index | None) -> None:
        """Emit the code of one chunk."""
        space = self.space
        if not space.empty:
            _Emitter(self, function, space).run(chunk)


class _Emitter:
    """Emits one reduction."""

    def __init__(self, kernel: Reduce, function: Function, space: Space) -> None:
        self.kernel = kernel
        self.function = function
        self.space = space
        self.rank = space.rank
        self.inner = space.lengths[space.rank :]
        self.columns = not kernel.by_rows
        last = self.rank - 1 if self.columns else len(space.lengths) - 1
        self.values = self.terms = Evaluation(function, space, kernel.evaluated.nodes, last)
        self.rows = self._rows_at_once()
        if self.rows > 1:
            self.terms = Evaluation(function, space, kernel.before.nodes, last)
            self.values = Evaluation(function, space, kernel.under.nodes, self.rank - 1)

    def _rows_at_once(self) -> int:
        """Return how many rows are reduced before their results are made, a lane for each.

        That is worth it where combining states is dear, or the lanes of a row are one register.
        """
        if self.columns or not self.rank or not self.inner:
            return 1
        rows = min(WIDTH, *map(self.function.module.machine.lanes, self.kernel.dtypes))
        worth = self.kernel.combining >= DEAR or self._lanes_of_a_row == rows
        return rows if worth and FEW <= rows <= self.space.lengths[self.rank - 1] else 1

    def run(self, chunk: Index | None) -> None:
        """Emit the loops over the results of one chunk."""
        function, last, grid = self.function, self.rank - 1, self.kernel.grid
        if self.rows > 1:
            self._run_by_rows(grid.bounds(function, chunk, self.rows if last == 0 else 1))
            return
        if not self.columns or not self.rank:
            bounds = grid.bounds(function, chunk)
            self.values.loops(self.rank, bounds, lambda at, _: self._result(Lanes(function), at))
            return
        most = LANES if self.kernel.before.cost <= LIGHT else WIDTH
        width = width_for(self.space.lengths[last], most)
        bounds = grid.bounds(function, chunk, width if last == 0 else 1)
        self.values.by_vectors(last, bounds, width, self._result)

    def _run_by_rows(self, bounds: tuple[Index, Index]) -> None:
        """Emit the loops over the results, some rows at a time."""
        function, space, last = self.function, self.space, self.rank - 1
        plain = all(space.strides[x][last] in {0, 1} for x in self.kernel.views)

        def row(offsets: Offsets, limits: tuple[Index, Index]) -> None:
            def body(lanes: Lanes, index: Index) -> None:
                here = space.advance(function, offsets, last, index)
                self.values.enter(last + 1, lanes, here)
                if lanes.width == 1:
                    state = self._halved(*self._entered_row(here), 1)
                else:
                    left = function.add(limits[1], function.mul(index, -1))
                    state = self._several_rows(here, left if lanes.mask else lanes.width)
                self._store(lanes, here, state)

            along(function, limits, self.rows, body, plain)

        self.values.loops(last, bounds, row)

    def _several_rows(self, offsets: Offsets, count: Index) -> State:
        """Emit the reduction of so many rows, up to `rows`; return a state with a lane for each."""
        function, kernel = self.function, self.kernel
        lanes = min(self._lanes_of_a_row, self.rows)
        sizes = [self.rows * lanes * dtype.itemsize for dtype in kernel.dtypes]
        memory = function.once(f"alloca [{sum(sizes)} x i8], align 64")
        aside = [function.element(memory, "i8", n) for n in accumulate(sizes[:-1], initial=0)]

        def row(i: Index, _: list[str]) -> None:
            here = self.space.advance(function, offsets, self.rank - 1, i)
            state = self._halved(*self._entered_row(here), lanes)
            for place, value in zip(aside, state, strict=True):
                kind, text = to_memory(function, value.text, value.dtype, f"<{lanes} x {{}}>")
                at = function.element(place, kind, i)
                function.do(f"store {kind} {text}, ptr {at}, align {value.dtype.itemsize}")

        function.loop(0, count, 1, row)
        name = folding(function.module, kernel.combine, kernel.dtypes, self.rows, lanes)
        function.invoke(name, aside)
        return tuple(self._read(place, d) for place, d in zip(aside, kernel.dtypes, strict=True))

    def _read(self, place: str, dtype: DType) -> Lane:
        """Return a lane for each row from memory."""
        shape = f"<{self.rows} x {{}}>"
        kind = shape.format(memory_type(dtype))
        text = self.function.value(f"load {kind}, ptr {place}, align {dtype.itemsize}")
        return Lane(from_memory(self.function, text, dtype, shape), dtype)

    def _entered_row(self, offsets: Offsets) -> tuple[Lanes, State]:
        """Emit one of several rows, with all that its terms need."""
        for level in range(self.rank + 1):
            self.terms.enter(level, Lanes(self.function), offsets)
        return self._row(offsets)

    def _result(self, lanes: Lanes, offsets: Offsets) -> None:
        """Emit the reduction of one result, or of one for each lane, and what is stored of it."""
        if self.columns:
            self._store(lanes, offsets, self._column(lanes, offsets))
        else:
            self._store(lanes, offsets, self._halved(*self._row(offsets), 1))

    def _store(self, lanes: Lanes, offsets: Offsets, state: State) -> None:
        """Emit what is stored of results."""
        for node, value in zip(self.kernel.results, state, strict=True):
            self.values.set(node, value, lanes.width > 1)
        self.values.finish(lanes, offsets)
        made = [self.values.value(store.value, lanes) for store in self.kernel.stores]
        for value, target in zip(made, self.kernel.writes, strict=True):
            steps = self.space.strides[target]
            step = steps[self.rank - 1] if self.rank else 1
            store_lanes(lanes, value, target, offsets[steps], step)

    def _column(self, lanes: Lanes, offsets: Offsets) -> State:
        first = self._carried(lanes, self._first(lanes))
        return self._state(self._walk(self.rank, lanes, offsets, first, len(self.inner)))

    def _walk(
        self, depth: int, lanes: Lanes, offsets: Offsets, carried: list[tuple[str, str]], left: int
    ) -> list[str]:
        """Emit the loops over `left` reduced axes, one term at a time."""
        if not left:
            return self._step(lanes, [value for _, value in carried])

        def turn(index: Index, values: list[str]) -> list[str]:
            here = self.space.advance(self.function, offsets, depth, index)
            self.values.enter(depth + 1, lanes, here)
            passed = [(kind, v) for (kind, _), v in zip(carried, values, strict=True)]
            return self._walk(depth + 1, lanes, here, passed, left - 1)

        return self.function.loop(0, self.space.lengths[depth], 1, turn, carried)

    @property
    def _lanes_of_a_row(self) -> int:
        length = self.inner[-1] if self.inner else 1
        return width_for(length, LANES if length >= LONG else WIDTH)

    def _ask_ahead(self, offsets: Offsets) -> None:
        """Ask for rows that come later, if they are far and so short that processors do not ask."""
        for x in self.kernel.before.leaves:
            steps, size = self.space.strides[x], x.dtype.itemsize
            pitch = steps[self.rank - 1] * size if self.rank else 0
            far = isinstance(x.base, Buffer) and x.size * size >= FAR
            if not far or steps[-1] != 1 or not LINE <= pitch <= SHORT:
                continue
            for byte in range(AHEAD, AHEAD + pitch, LINE):
                place = self.function.add(offsets[steps], byte // size)
                prefetch_line(self.function, element_address(self.function, x, place))

    def _row(self, offsets: Offsets) -> tuple[Lanes, State]:
        """Emit the reduction of one row; return lanes and the state in each, of all or of some.

        Lanes come in parts, each with statements of its own: what is read then is read in order.
        """
        count = max(1, self._lanes_of_a_row // WIDTH)
        lanes = Lanes(self.function, self._lanes_of_a_row // count)
        first = self._first(lanes)
        if not self.inner:
            return lanes, self._state(self._step(lanes, [x.text for x in first]))
        self._ask_ahead(offsets)
        size = len(first)

        def turn(here: Offsets, index: Index, values: list[str], left: int) -> list[str]:
            after = list(values)
            for part in range(count):
                some, used = lanes, left - part * lanes.width
                if used <= 0:
                    break
                if used < lanes.width:
                    some = masked(self.function, lanes.width, used, 0)
                at = self.function.add(index, part * lanes.width)
                place = self.space.advance(self.function, here, len(self.space.lengths) - 1, at)
                self.terms.enter(len(self.space.lengths), some, place)
                own = slice(part * size, (part + 1) * size)
                after[own] = self._step(some, values[own])
            return after

        def ends(here: Offsets, values: list[str]) -> list[str]:
            length, step = self.inner[-1], count * lanes.width
            whole = length // step * step
            carried = [(kind, v) for (kind, _), v in zip(given, values, strict=True)]
            sums = self.function.loop(0, whole, step, lambda i, v: turn(here, i, v, step), carried)
            return turn(here, whole, sums, length - whole)

        given = self._carried(lanes, first) * count
        values = self._around(self.rank, offsets, given, ends)
        parts = [self._state(values[i : i + size]) for i in range(0, len(values), size)]
        while len(parts) > 1:
            halves = zip(parts[: len(parts) // 2], parts[len(parts) // 2 :], strict=True)
            parts = [tuple(self.kernel.combine(lanes, x, y)) for x, y in halves]
        return lanes, parts[0]

    def _first(self, lanes: Lanes) -> State:
        return tuple(self.kernel.identity(lanes))

    def _around(
        self,
        depth: int,
        offsets: Offsets,
        carried: list[tuple[str, str]],
        ends: Callable[[Offsets, list[str]], list[str]],
    ) -> list[str]:
        """Emit the loops over all reduced axes but the last."""
        if depth == len(self.space.lengths) - 1:
            return ends(offsets, [value for _, value in carried])

        def turn(index: Index, values: list[str]) -> list[str]:
            here = self.space.advance(self.function, offsets, depth, index)
            self.terms.enter(depth + 1, Lanes(self.function), here)
            passed = [(kind, v) for (kind, _), v in zip(carried, values, strict=True)]
            return self._around(depth + 1, here, passed, ends)

        return self.function.loop(0, self.space.lengths[depth], 1, turn, carried)

    def _halved(self, wide: Lanes, state: State, lanes: int) -> State:
        """Combine the lanes by halves until so many are left."""
        while wide.width > lanes:
            half = wide.width // 2
            narrow = Lanes(self.function, half)
            parts = [tuple(wide.some(x, first, half) for x in state) for first in (0, half)]
            state = tuple(self.kernel.combine(narrow, *parts))
            wide = narrow
        return state

    def _step(self, lanes: Lanes, values: list[str]) -> list[str]:
        """Combine the state so far with the terms here, in the lanes that are in use."""
        state = self._state(values)
        terms = tuple(self.terms.value(term, lanes) for term in self.kernel.terms)
        after = self.kernel.combine(lanes, state, terms)
        if lanes.mask is not None and not self.columns:
            used = Lane(lanes.mask, BOOL)
            after = [lanes.where(used, x, y) for x, y in zip(after, state, strict=True)]
        return [x.text for x in after]

    def _state(self, values: Sequence[str]) -> State:
        return tuple(Lane(v, dtype) for v, dtype in zip(values, self.kernel.dtypes, strict=True))

    def _carried(self, lanes: Lanes, state: Any) -> list[tuple[str, str]]:
        return [(vector(scalar_type(x.dtype), lanes.width), x.text) for x in state]

"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.compile.emit.arrays import Shape, Strided
from wengert.compile.emit.expression import Lane, Lanes, State
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import scalar_type, vector
from wengert.compile.emit.vectors import WIDTH, store_lanes, width_for
from wengert.compile.kernels.grid import Grid, cut
from wengert.compile.kernels.kernel import Index, Kernel, Store
from wengert.compile.kernels.nest import Evaluation, Offsets, Space, masked
from wengert.compile.kernels.nodes import Node, Result, beside, leaves, ordered, total_cost
from wengert.graph.dtypes import BOOL, DType
from wengert.ops.lowering import Reducer

LANES = 64
"""Lanes of a long sum: several vectors, so that one addition need not wait for another."""

LIGHT = 2
"""The most additions a term may cost for so many lanes: there must be registers for all."""

LONG = 256
"""The length from which on a sum is long."""


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
        self.terms = list(terms)
        self.results = tuple(results)
        self.identity: Callable[..., Any] = reducer.identity
        self.combine: Callable[..., Any] = reducer.combine
        self.whole = shape

    @property
    def roots(self) -> list[Node]:
        """The terms, then what is stored."""
        return [*self.terms, *(store.value for store in self.stores)]

    @roots.setter
    def roots(self, roots: Sequence[Node]) -> None:
        count = len(self.terms)
        self.terms = list(roots[:count])
        self.stores = [s._replace(value=v) for s, v in zip(self.stores, roots[count:], strict=True)]

    @property
    def heart(self) -> tuple[Strided, ...]:
        """The views of the terms."""
        return (*leaves(self.terms), *beside(self.terms))

    @property
    def by_rows(self) -> bool:
        """Whether results come one by one, since neighbours in memory are terms of one sum."""
        along = max((i for i, n in enumerate(self.inner) if n > 1), default=None)
        across = self.columns
        if along is None or across is None:
            return across is None
        rank, lengths = len(self.shape), (*self.whole, *self.inner)
        terms = results = 0
        for x in leaves(self.terms):
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
        return Space([self.shape, self.inner], [*self.views, *leaves(self.terms)])

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
        self.values = Evaluation(function, space, ordered(kernel.roots), last)

    def run(self, chunk: Index | None) -> None:
        """Emit the loops over the results of one chunk."""
        function, last, grid = self.function, self.rank - 1, self.kernel.grid
        if not self.columns or not self.rank:
            bounds = grid.bounds(function, chunk)
            self.values.loops(self.rank, bounds, lambda at, _: self._result(Lanes(function), at))
            return
        most = LANES if total_cost(self.kernel.terms) <= LIGHT else WIDTH
        width = width_for(self.space.lengths[last], most)
        bounds = grid.bounds(function, chunk, width if last == 0 else 1)
        self.values.by_vectors(last, bounds, width, self._result)

    def _result(self, lanes: Lanes, offsets: Offsets) -> None:
        """Emit the reduction of one result, or of one for each lane, and what is stored of it."""
        state = self._column(lanes, offsets) if self.columns else self._row(lanes, offsets)
        for node, value in zip(self.kernel.results, state, strict=True):
            self.values.set(node, value, self.columns and lanes.width > 1)
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

    def _row(self, lanes: Lanes, offsets: Offsets) -> State:
        if not self.inner:
            return self._state(self._step(lanes, [x.text for x in self._first(lanes)]))
        length, depth = self.inner[-1], len(self.space.lengths) - 1
        wide = Lanes(self.function, width_for(length, LANES if length >= LONG else WIDTH))
        whole = length // wide.width * wide.width

        def ends(here: Offsets, values: list[str]) -> list[str]:
            def turn(some: Lanes, index: Index, state: list[str]) -> list[str]:
                place = self.space.advance(self.function, here, depth, index)
                self.values.enter(depth + 1, some, place)
                return self._step(some, state)

            carried = self._carried(wide, self._state(values))
            sums = self.function.loop(0, whole, wide.width, lambda i, v: turn(wide, i, v), carried)
            if whole == length:
                return sums
            return turn(masked(self.function, wide.width, length, whole), whole, sums)

        first = self._carried(wide, self._first(wide))
        values = self._around(self.rank, offsets, first, ends)
        return self._halved(wide, self._state(values))

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
            self.values.enter(depth + 1, Lanes(self.function), here)
            passed = [(kind, v) for (kind, _), v in zip(carried, values, strict=True)]
            return self._around(depth + 1, here, passed, ends)

        return self.function.loop(0, self.space.lengths[depth], 1, turn, carried)

    def _halved(self, wide: Lanes, state: State) -> State:
        """Combine the lanes by halves until one is left."""
        while wide.width > 1:
            half = wide.width // 2
            narrow = Lanes(self.function, half)
            parts = [tuple(wide.some(x, first, half) for x in state) for first in (0, half)]
            state = tuple(self.kernel.combine(narrow, *parts))
            wide = narrow
        return state

    def _step(self, lanes: Lanes, values: list[str]) -> list[str]:
        """Combine the state so far with the terms here, in the lanes that are in use."""
        state = self._state(values)
        terms = tuple(self.values.value(term, lanes) for term in self.kernel.terms)
        after = self.kernel.combine(lanes, state, terms)
        if lanes.mask is not None and not self.columns:
            used = Lane(lanes.mask, BOOL)
            after = [lanes.where(used, x, y) for x, y in zip(after, state, strict=True)]
        return [x.text for x in after]

    def _state(self, values: Sequence[str]) -> State:
        return tuple(Lane(v, dtype) for v, dtype in zip(values, self.kernel.dtypes, strict=True))

    def _carried(self, lanes: Lanes, state: Any) -> list[tuple[str, str]]:
        return [(vector(scalar_type(x.dtype), lanes.width), x.text) for x in state]

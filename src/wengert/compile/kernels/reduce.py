"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.compile.emit.arrays import Buffer, Shape, Strided
from wengert.compile.emit.ir import Function
from wengert.compile.kernels.columns import Columns
from wengert.compile.kernels.grid import Grid, cut
from wengert.compile.kernels.kernel import Index, Kernel, Store
from wengert.compile.kernels.nest import Space
from wengert.compile.kernels.nodes import Node, Result, Summary
from wengert.compile.kernels.reduction import LANES
from wengert.compile.kernels.rows import Rows
from wengert.compile.kernels.strips import Strips
from wengert.graph.dtypes import DType
from wengert.ops.lowering import Reducer

FAR = 1 << 22
"""Bytes of a matrix from which on some of its rows are summed at a time; smaller ones are as quick
column by column."""

PITCH = 1024
"""The fewest bytes from one of these rows to the next: shorter ones are near each other anyway."""

_FEW, _WIDE = 8, 16 * LANES
"""Into how few chunks the columns are cut then, and how many each has at least."""


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
        if len(lengths) > 1:
            return cut(lengths[0], self.work)
        if self.far_apart:
            return cut(lengths[0], self.work, _WIDE, _FEW)
        return cut(lengths[0], self.work, LANES)

    @property
    def far_apart(self) -> bool:
        """Whether neighbours in memory are results, and the terms of each of them far apart."""
        space = self.space
        if self.by_rows or len(space.lengths) != space.rank + 1 or not space.rank:
            return False
        return any(
            isinstance(x.base, Buffer)
            and space.strides[x][space.rank - 1] == 1
            and abs(space.strides[x][-1]) * x.dtype.itemsize >= PITCH
            and x.size * x.dtype.itemsize >= FAR
            for x in self.before.leaves
        )

    def emit(self, function: Function, chunk: Index | None) -> None:
        """Emit the code of one chunk."""
        space = self.space
        if space.empty:
            return
        if self.by_rows:
            Rows(self, function, space).run(chunk)
        elif self.far_apart:
            Strips(self, function, space).run(chunk)
        else:
            Columns(self, function, space).run(chunk)

"""Elementwise kernels."""

from __future__ import annotations

import math

from wengert.compile.emit.expression import Lanes
from wengert.compile.emit.ir import Function
from wengert.compile.emit.vectors import WIDTH, store_lanes, width_for
from wengert.compile.kernels.blocks import Blocks, Turned, turned_views
from wengert.compile.kernels.grid import Grid, cut
from wengert.compile.kernels.kernel import Index, Kernel
from wengert.compile.kernels.nest import Evaluation, Offsets, Space


class Map(Kernel):
    """``target[i] = value``: nothing but stores."""

    @property
    def space(self) -> Space:
        """The merged axes: the first is cut into chunks, the last is walked by vectors."""
        return Space([self.shape], self.views)

    @property
    def work(self) -> int:
        """About how many additions it is worth."""
        return math.prod(self.shape) * (1 + self.under.cost)

    @property
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""
        space = self.space
        lengths = space.lengths or (1,)
        turned = self._turned(space)
        by_vectors = len(lengths) == 1 or (turned is not None and turned.axis == 0)
        return cut(lengths[0], self.work, WIDTH if by_vectors else 1)

    def _turned(self, space: Space) -> Turned | None:
        return turned_views(space, self.under.leaves)

    def emit(self, function: Function, chunk: Index | None) -> None:
        """Emit the code of one chunk."""
        space = self.space
        if space.empty:
            return
        turned = self._turned(space)
        if turned is not None:
            space.ending_with(turned.axis)
        inside = Evaluation(function, space, self.under.nodes, space.rank - 1)
        if turned is None:
            self._emit_plainly(inside, chunk)
            return
        blocks = Blocks(function, space, inside, self.stores, turned.views)
        last, outermost = space.rank - 2, turned.axis == 0
        bounds = self.grid.bounds(function, chunk, blocks.lanes if outermost else 1)
        inside.loops(last, bounds, blocks.emit, last if outermost else 0)

    def _emit_plainly(self, values: Evaluation, chunk: Index | None) -> None:
        """Emit the loops over all axes, the last by vectors."""

        def store(lanes: Lanes, offsets: Offsets) -> None:
            self._store(values, lanes, offsets)

        space, function = values.space, values.function
        width = width_for(space.lengths[-1]) if space.rank else 1
        bounds = self.grid.bounds(function, chunk, width if space.rank == 1 else 1)
        if space.rank:
            values.by_vectors(space.rank - 1, bounds, width, store)
        else:
            values.loops(0, bounds, lambda at, _: store(Lanes(function), at))

    def _store(self, values: Evaluation, lanes: Lanes, offsets: Offsets) -> None:
        made = [values.value(store.value, lanes) for store in self.stores]
        for value, target in zip(made, self.writes, strict=True):
            steps = values.space.strides[target]
            store_lanes(lanes, value, target, offsets[steps], steps[-1] if steps else 1)

"""Elementwise kernels."""

from __future__ import annotations

from wengert.compile.blocks import Blocks, Turned, turned_views
from wengert.compile.expression import Lanes
from wengert.compile.grid import Grid, cut
from wengert.compile.ir import Function
from wengert.compile.kernel import Index, Kernel
from wengert.compile.nest import Evaluation, Offsets, Space, along
from wengert.compile.nodes import leaves, ordered, total_cost
from wengert.compile.vectors import WIDTH, store_lanes, width_for


class Map(Kernel):
    """``target[i] = value``: nothing but stores."""

    @property
    def space(self) -> Space:
        """The merged axes: the first is cut into chunks, the last is walked by vectors."""
        return Space([self.shape], self.views)

    @property
    def work(self) -> int:
        """About how many additions it is worth."""
        size = 1
        for n in self.shape:
            size *= n
        return size * (1 + total_cost(store.value for store in self.stores))

    @property
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""
        space = self.space
        lengths = space.lengths or (1,)
        turned = self._turned(space)
        by_vectors = len(lengths) == 1 or (turned is not None and turned.axis == 0)
        return cut(lengths[0], self.work, WIDTH if by_vectors else 1)

    def _turned(self, space: Space) -> Turned | None:
        return turned_views(space, leaves(store.value for store in self.stores))

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk."""
        space = self.space
        if space.empty:
            return
        values = [store.value for store in self.stores]
        turned = self._turned(space) if function.module.machine.masks else None
        bounds = self.grid.bounds(function, chunk)
        if turned is not None:
            space.ending_with(turned.axis)
        inside = Evaluation(function, space, ordered(values), space.rank - 1)
        if turned is None:
            self._loop(function, space, inside, bounds)
            return
        blocks = Blocks(function, space, inside, self.stores, turned.views)
        self._around(blocks, space.rank - 2 if turned.axis == 0 else 0, bounds)

    def _around(self, blocks: Blocks, chunked: int, bounds: tuple[Index, Index]) -> None:
        """Emit the loops around blocks; loop number `chunked` is cut into chunks."""
        function, space = blocks.function, blocks.space

        def inside(depth: int, offsets: Offsets) -> None:
            blocks.values.enter(depth, Lanes(function), offsets)
            limits = bounds if depth == chunked else (0, space.lengths[depth])
            if depth == space.rank - 2:
                blocks.emit(offsets, limits)
                return
            function.loop(
                *limits,
                1,
                lambda i, _: inside(depth + 1, space.advance(function, offsets, depth, i)),
            )

        inside(0, space.start())

    def _loop(
        self,
        function: Function,
        space: Space,
        values: Evaluation,
        bounds: tuple[Index, Index],
    ) -> None:
        def inside(depth: int, offsets: Offsets) -> None:
            values.enter(depth, Lanes(function), offsets)
            if depth == space.rank:
                self._store(values, Lanes(function), offsets)
                return
            limits = bounds if depth == 0 else (0, space.lengths[depth])
            if depth < space.rank - 1:
                function.loop(
                    *limits,
                    1,
                    lambda i, _: inside(depth + 1, space.advance(function, offsets, depth, i)),
                )
                return

            def body(lanes: Lanes, index: Index) -> None:
                here = space.advance(function, offsets, depth, index)
                values.enter(depth + 1, lanes, here)
                self._store(values, lanes, here)

            plain = all(s[-1] in {0, 1} for s in space.strides.values())
            along(function, limits, width_for(space.lengths[-1]), body, plain)

        inside(0, space.start())

    def _store(self, values: Evaluation, lanes: Lanes, offsets: Offsets) -> None:
        made = [values.value(store.value, lanes) for store in self.stores]
        for value, target in zip(made, self.writes, strict=True):
            steps = values.space.strides[target]
            store_lanes(lanes, value, target, offsets[steps], steps[-1] if steps else 1)

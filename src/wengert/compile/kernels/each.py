"""Plain loops around a body that reads and writes where it likes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from wengert.compile.emit.arrays import Shape, Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function
from wengert.compile.kernels.grid import Grid, cut
from wengert.compile.kernels.kernel import Index, Kernel
from wengert.graph.dtypes import INT64


class Each(Kernel):
    """``body(e, *index)`` for each index; ``body(e, *writes, *index)`` if it is movable.

    Attributes
    ----------
    movable : bool
        Whether what it writes may be laid out in any way.
    """

    def __init__(
        self,
        shape: Shape,
        body: Callable[..., None],
        reads: Sequence[Strided],
        writes: Sequence[Strided],
        parallel: bool,
        labels: Sequence[str] = (),
    ) -> None:
        super().__init__(shape, (), labels)
        self.body = body
        self._reads = tuple(reads)
        self._writes = list(writes)
        self._axes = shape or (1,)
        self._parallel = parallel
        self.movable = False

    def see(self, known: Mapping[Strided, Strided]) -> None:
        """Look at arrays otherwise, also at those that are written."""
        super().see(known)
        self._writes = [known.get(x, x) for x in self._writes]

    @property
    def heart(self) -> tuple[Strided, ...]:
        """The views that it reads."""
        return self._reads

    @property
    def writes(self) -> list[Strided]:
        """The views it writes."""
        return self._writes

    @property
    def work(self) -> int:
        """About how many additions it is worth."""
        return 16 * math.prod(self._axes)

    @property
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""
        return cut(self._axes[0], self.work if self._parallel else 0)

    def emit(self, function: Function, chunk: Index | None) -> None:
        """Emit the code of one chunk."""
        bounds = self.grid.bounds(function, chunk)
        targets = self._writes if self.movable else []

        def inside(index: tuple[Index, ...]) -> None:
            axis = len(index)
            if axis == len(self._axes):
                used = index[: len(self.shape)]
                self.body(Lanes(function), *targets, *(Lane(str(i), INT64) for i in used))
                return
            limits = bounds if axis == 0 else (0, self._axes[axis])
            function.loop(*limits, 1, lambda i, _: inside((*index, i)))

        if 0 not in self._axes:
            inside(())

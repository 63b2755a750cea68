"""Kernels make no more than is read.

The gradient of a padded convolution, for one, is made with its borders, which a slice then drops.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from wengert.compile.emit.arrays import Buffer, Shape, Strided, dense
from wengert.compile.kernels.each import Each
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.product import Product
from wengert.compile.lowering.lower import Program
from wengert.compile.lowering.reindex import Reindex, reindex


def trim(program: Program) -> None:
    """Let kernels, from the last to the first, make only those parts of arrays that are read."""
    uses = _Uses(program)
    for kernel in reversed(program.kernels):
        if not isinstance(kernel, Each) and all(map(uses.may_move, kernel.writes)):
            _trim(kernel, program, uses)


class _Uses:
    """Who writes and reads the buffers of a program, and what of them is a result."""

    def __init__(self, program: Program) -> None:
        self.readers: dict[Buffer | None, list[Kernel]] = defaultdict(list)
        self._results: dict[Buffer | None, list[Strided]] = defaultdict(list)
        self._writers: dict[Buffer | None, int] = defaultdict(int)
        self._fixed: set[Buffer | None] = set()
        for kernel in program.kernels:
            for x in kernel.writes:
                self._writers[x.buffer] += 1
            for buffer in {x.buffer for x in kernel.reads}:
                self.readers[buffer].append(kernel)
            whole = kernel.reads if isinstance(kernel, Each) else kernel.evaluated.beside
            self._fixed.update(x.buffer for x in whole)
        for x in program.results:
            self._results[x.buffer].append(x)

    def may_move(self, target: Strided) -> bool:
        """Tell whether what is written once may stand elsewhere."""
        return self._writers[target.buffer] == 1 and target.buffer not in self._fixed

    def views(self, target: Strided) -> list[Strided]:
        """Return what is read of what is written once, results included."""
        buffer = target.buffer
        read = [x for reader in self.readers[buffer] for x in reader.reads if x.buffer is buffer]
        return [*read, *self._results[buffer]]


def _trim(kernel: Kernel, program: Program, uses: _Uses) -> None:
    """Let a kernel make what is seen of what it makes."""
    seen: dict[Strided, Reindex] = {}
    owner: dict[Strided, Strided] = {}
    for target in kernel.writes:
        for view in uses.views(target):
            through = reindex(view, target)
            if through is None:
                return
            seen[view], owner[view] = through, target
    if not seen:
        return
    lows, highs = zip(*(through.bounds for through in seen.values()), strict=True)
    low = tuple(map(min, zip(*lows, strict=True)))
    shape = tuple(max(ends) - i + 1 for i, ends in zip(low, zip(*highs, strict=True), strict=True))
    if shape == kernel.shape:
        return
    moved = {target: _smaller(target, shape) for target in kernel.writes}
    known: dict[Strided, Strided] = {}
    for view, through in seen.items():
        origin = tuple(i - start for i, start in zip(through.origin, low, strict=True))
        new = through._replace(origin=origin)(moved[owner[view]])
        if new is None:
            return
        known[view] = new
    for reader in {id(r): r for t in kernel.writes for r in uses.readers[t.buffer]}.values():
        reader.see(known)
    program.results = tuple(known.get(x, x) for x in program.results)
    _restrict(kernel, low, shape, moved)


def _smaller(target: Strided, shape: Shape) -> Strided:
    """Return an array of its own of another shape, with its axes in the order of those of one."""
    order = sorted(range(len(shape)), key=lambda i: -target.strides[i])
    nbytes = math.prod(shape) * target.dtype.itemsize
    made = dense(Buffer(nbytes), [shape[i] for i in order], target.dtype)
    steps = dict(zip(order, made.strides, strict=True))
    return made.with_axes(shape, [steps[i] for i in range(len(shape))])


def _restrict(
    kernel: Kernel, low: Sequence[int], shape: Shape, moved: dict[Strided, Strided]
) -> None:
    """Let a kernel go through a part of its space, and write to other arrays."""
    factors = kernel.heart if isinstance(kernel, Product) else ()
    known = dict(moved)
    for x in (*kernel.evaluated.leaves, *factors):
        offset = sum(i * step for i, step in zip(low, x.strides, strict=False))
        known[x] = x.with_axes((*shape, *x.shape[len(shape) :]), x.strides, offset)
    kernel.shape = shape
    kernel.see(known)

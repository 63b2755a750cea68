"""Which axis of an intermediate array has its elements side by side, and which factors are copied.

A matrix product reads one factor, and writes its result, by vectors: along the columns as it is,
along the rows if it is turned round (zᵀ = yᵀ xᵀ). Kernels are looked at in execution order; each
product takes the orientation that needs the least copying, and what it makes is laid out that way.
Elementwise kernels lay their results out as most of what they read. Inputs, outputs and constants
are what they are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wengert.compile.arrays import Buffer, Strided, dense
from wengert.compile.each import Each
from wengert.compile.kernel import Kernel, Store
from wengert.compile.lower import Program
from wengert.compile.map import Map
from wengert.compile.nodes import Node, beside, leaves, replaced
from wengert.compile.product import Product
from wengert.compile.reduce import Reduce
from wengert.compile.reindex import reindex

_LINE = 64
"""Bytes: rows begin at multiples of it."""

_UNEVEN = 512
"""Bytes: rows that are multiples of it apart compete for the same places of the cache."""


@dataclass(slots=True)
class _Flexible:
    """An intermediate array whose layout is open: who touches it, and how it is seen."""

    kernels: list[Kernel] = field(default_factory=list)
    views: set[Strided] = field(default_factory=set)


def arrange(program: Program) -> None:
    """Choose the layouts and orientations; add the copies that are needed."""
    layouts = _Layouts(program)
    kept: list[Kernel] = []
    copies: dict[Strided, Strided] = {}
    for kernel in program.kernels:
        if isinstance(kernel, Product):
            _turn(kernel, layouts)
            axis = 2
        else:
            axis = _majority(kernel, layouts)
        for store in list(kernel.stores):
            layouts.decide(store.target, axis, isinstance(kernel, Product))
        if isinstance(kernel, Product):
            kept += _packed(kernel, copies)
        kept.append(kernel)
    program.kernels[:] = kept


class _Layouts:
    """The arrays whose layout is open."""

    def __init__(self, program: Program) -> None:
        writers: dict[Buffer, list[Strided]] = defaultdict(list)
        fixed = {x.buffer for x in program.results}
        touched: dict[Buffer, list[tuple[Kernel, Strided]]] = defaultdict(list)
        for kernel in program.kernels:
            for x in kernel.writes:
                if x.buffer is not None:
                    writers[x.buffer].append(x)
            if isinstance(kernel, Each):
                fixed.update(x.buffer for x in (*kernel.reads, *kernel.writes))
            fixed.update(x.buffer for x in beside(_roots(kernel)))
            for x in (*kernel.reads, *kernel.writes):
                if x.buffer is not None:
                    touched[x.buffer].append((kernel, x))
        self._open: dict[Buffer, _Flexible] = {}
        for buffer, (target, *others) in writers.items():
            if buffer.place == "arena" and buffer not in fixed and not others and target.whole:
                found = touched[buffer]
                kernels = list(dict.fromkeys(k for k, _ in found))
                self._open[buffer] = _Flexible(kernels, {x for _, x in found})

    def is_open(self, x: Strided) -> bool:
        """Tell whether the layout of an array may still be chosen."""
        return x.buffer in self._open

    def look_again(self, kernel: Kernel) -> None:
        """Take note of how a kernel sees arrays now."""
        for x in (*kernel.reads, *kernel.writes):
            if x.buffer is not None and x.buffer in self._open:
                self._open[x.buffer].views.add(x)

    def decide(self, target: Strided, axis: int, padded: bool) -> None:
        """Let the elements of what is written as `target` be neighbours along `axis`.

        Parameters
        ----------
        target : Strided
            How it is written; nothing happens if its layout is not open.
        axis : int
            An axis of `target`; negative: as it is.
        padded : bool
            Whether rows begin at a new line of the cache each.
        """
        if target.buffer is None:
            return
        found = self._open.pop(target.buffer, None)
        if found is None or axis < 0 or target.size == 0:
            return
        moved = _laid_out(target, axis, padded)
        views = {}
        for x in found.views:
            through = reindex(x, target)
            views[x] = None if through is None else through(moved)
        if any(x is None for x in views.values()):
            return
        known: dict[Node, Node] = {x: y for x, y in views.items() if y is not None}
        target.buffer.nbytes = _extent(moved) * target.dtype.itemsize
        for kernel in found.kernels:
            _replace(kernel, known)


def _laid_out(target: Strided, axis: int, padded: bool) -> Strided:
    """Return `target` with strides that have `axis` last."""
    order = sorted(range(len(target.shape)), key=lambda i: (i != axis, abs(target.strides[i])))
    strides = [0] * len(order)
    step, size = 1, target.dtype.itemsize
    for place, i in enumerate(order):
        strides[i] = step
        step *= target.shape[i]
        if place == 0 and padded and target.size > target.shape[i]:
            step = -(-step * size // _LINE) * _LINE // size
            if step * size % _UNEVEN == 0:
                step += _LINE // size
    return replace(target, strides=tuple(strides))


def _extent(x: Strided) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True))


def _roots(kernel: Kernel) -> list[Node]:
    terms = kernel.terms if isinstance(kernel, Reduce) else ()
    return [*terms, *(store.value for store in kernel.stores)]


def _replace(kernel: Kernel, known: dict[Node, Node]) -> None:
    """Let a kernel see some views otherwise."""
    if isinstance(kernel, Product):
        kernel.x, kernel.y = (_seen(v, known) for v in (kernel.x, kernel.y))
    if isinstance(kernel, Reduce):
        kernel.terms = replaced(kernel.terms, known)
    values = replaced([store.value for store in kernel.stores], known)
    targets = [_seen(store.target, known) for store in kernel.stores]
    kernel.stores = [Store(t, v) for t, v in zip(targets, values, strict=True)]


def _seen(x: Strided, known: dict[Node, Node]) -> Strided:
    found = known.get(x, x)
    assert isinstance(found, Strided)
    return found


def _majority(kernel: Kernel, layouts: _Layouts) -> int:
    """Return the axis along which most of what a kernel reads is contiguous, or -1."""
    votes: dict[int, int] = defaultdict(int)
    rank = len(kernel.shape)
    for x in leaves(_roots(kernel)):
        if layouts.is_open(x) or x.buffer is None:
            continue
        for axis in range(rank):
            if x.strides[axis] == 1 and x.shape[axis] > 1:
                votes[axis] += math.prod(x.shape)
    return max(votes, key=lambda axis: votes[axis], default=-1)


def _turn(kernel: Product, layouts: _Layouts) -> None:
    """Turn a product round if that needs less copying."""
    as_it_is = _copying(kernel.y, 2, kernel, layouts)
    turned = _copying(kernel.x, 1, kernel, layouts)
    if turned < as_it_is:
        kernel.turn()
        layouts.look_again(kernel)


def _copying(factor: Strided, axis: int, kernel: Product, layouts: _Layouts) -> int:
    """Return how many elements are not where vectors along `axis` of the result want them."""
    total = 0
    if factor.strides[axis] != 1 and factor.shape[axis] > 1:
        total += factor.size
    views = [*kernel.writes, *leaves(store.value for store in kernel.stores)]
    for x in views:
        if not layouts.is_open(x) and x.strides[axis] not in {0, 1} and x.shape[axis] > 1:
            total += 4 * x.size
    return total


def _packed(kernel: Product, copies: dict[Strided, Strided]) -> Iterable[Kernel]:
    """Yield the copy of the second factor that a product needs, if it needs one."""
    y = kernel.y
    if y.strides[2] == 1 or y.shape[2] <= 1:
        return
    if y not in copies:
        target = dense(Buffer(0), y.shape, y.dtype)
        target = _laid_out(target, 2, True)
        assert target.buffer is not None
        target.buffer.nbytes = _extent(target) * target.dtype.itemsize
        copies[y] = target
        yield Map(target.shape, [Store(target, y)], ["copy"])
    kernel.y = copies[y]

"""Which axis of an intermediate array has its elements side by side, and which factors are copied.

A matrix product reads one factor, and writes its result, by vectors: along the columns as it is,
along the rows if it is turned round (zᵀ = yᵀ xᵀ). Kernels are looked at in execution order; each
product takes the orientation that needs the least copying, and what it makes is laid out that way.
Elementwise kernels lay their results out as most of what they read. Inputs, outputs and constants
are what they are.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from wengert.compile.emit.arrays import Buffer, Strided, dense
from wengert.compile.emit.layout import ALIGNMENT
from wengert.compile.kernels.each import Each
from wengert.compile.kernels.kernel import Kernel, Store
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.panels import PAGE
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.tiling import cycles, tile
from wengert.compile.lowering.lower import Program
from wengert.compile.lowering.reindex import Reindex, reindex

_UNEVEN = 512
"""Bytes: rows that are multiples of it apart compete for the same places of the cache."""

_NEAREST = 1 << 14
"""Bytes that are in the nearest cache as a whole."""

_COPY = 8.0
"""Cycles that copying as many elements as a vector holds takes."""

_SCATTER = 2.0
"""Cycles that writing or reading an element takes whose neighbours are elsewhere."""

_SAME = 1.02
"""How much more than the least the cost of an orientation may be to pass for the same."""

_NEARLY = 1.05
"""How much more than the least the cost of an orientation may be, if it reads fewer lines."""

_Copies: TypeAlias = dict[Buffer | None, dict[tuple[Strided, int], Strided]]
"""By buffer: arrays in it, and copies of them that have the elements of an axis side by side."""


@dataclass(slots=True)
class _Flexible:
    """An intermediate array whose layout is open: how it is written, who touches it, all views."""

    target: Strided
    kernels: list[Kernel] = field(default_factory=list)
    views: set[Strided] = field(default_factory=set)


def arrange(program: Program, aliases: Mapping[int, int]) -> None:
    """Choose the layouts and orientations; add the copies that are needed.

    Parameters
    ----------
    program : Program
        What is changed.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    """
    layouts = _Layouts(program, aliases)
    kept: list[Kernel] = []
    copies: _Copies = {}
    for kernel in program.kernels:
        if isinstance(kernel, Product):
            _orient(kernel, layouts)
            axis = len(kernel.shape) - 1
        else:
            axis = _majority(kernel, layouts)
        for x in kernel.heart:
            layouts.follow(x, -1)
        for x in kernel.evaluated.leaves:
            layouts.follow(x, axis)
        for store in kernel.stores:
            layouts.decide(store.target, axis, isinstance(kernel, Product))
        if isinstance(kernel, Product):
            kept += _packed(kernel, layouts, copies)
            kernel.order_terms()
        kept.append(kernel)
        for x in kernel.writes:
            copies.pop(x.buffer, None)
    program.kernels[:] = kept


class _Layouts:
    """The arrays whose layout is open."""

    def __init__(self, program: Program, aliases: Mapping[int, int]) -> None:
        self._parameters = {program.inputs[source].buffer for source in aliases.values()}
        writers: dict[Buffer, list[Strided]] = defaultdict(list)
        fixed = {x.buffer for x in program.results}
        touched: dict[Buffer, list[tuple[Kernel, Strided]]] = defaultdict(list)
        for kernel in program.kernels:
            for x in kernel.writes:
                if x.buffer is not None:
                    writers[x.buffer].append(x)
            if isinstance(kernel, Each):
                fixed.update(x.buffer for x in kernel.reads)
                fixed.update(x.buffer for x in kernel.writes if not kernel.movable)
            fixed.update(x.buffer for x in kernel.evaluated.beside)
            for x in (*kernel.reads, *kernel.writes):
                if x.buffer is not None:
                    touched[x.buffer].append((kernel, x))
        self._wholes = {b: x for b, (x, *_) in writers.items() if _fills(x)}
        self._wholes.update({x.buffer: x for x in program.inputs if x.buffer is not None})
        self._open: dict[Buffer, _Flexible] = {}
        for buffer, (target, *others) in writers.items():
            if buffer.place == "arena" and buffer not in fixed and not others and _fills(target):
                found = touched[buffer]
                kernels = list(dict.fromkeys(k for k, _ in found))
                self._open[buffer] = _Flexible(target, kernels, {x for _, x in found})

    def is_open(self, x: Strided) -> bool:
        """Tell whether the layout of an array may still be chosen."""
        return x.buffer in self._open

    def is_parameter(self, x: Strided) -> bool:
        """Tell whether an array is changed by the program."""
        return x.buffer in self._parameters

    def whole(self, x: Strided) -> Strided:
        """Return the array that `x` is a view of, or what `x` shows, once and forwards."""
        own = tuple(i for i, s in enumerate(x.strides) if s)
        lowest = sum(x.strides[i] * (x.shape[i] - 1) for i in own if x.strides[i] < 0)
        seen = x.with_axes([x.shape[i] for i in own], [abs(x.strides[i]) for i in own], lowest)
        found = self._wholes.get(x.buffer) if x.buffer is not None else None
        return seen if found is None or found.size > seen.size else found

    def look_again(self, kernel: Kernel) -> None:
        """Take note of how a kernel sees arrays now."""
        for x in (*kernel.reads, *kernel.writes):
            if x.buffer is not None and x.buffer in self._open:
                self._open[x.buffer].views.add(x)

    def follow(self, x: Strided, axis: int) -> None:
        """Let the elements of an array whose writer left its layout open be as a reader likes.

        Parameters
        ----------
        x : Strided
            How it is read.
        axis : int
            The axis of `x` along which they are to be neighbours; negative: as it is.
        """
        found = self._open.get(x.buffer) if x.buffer is not None else None
        if found is not None:
            as_written = (x.shape, x.strides) == (found.target.shape, found.target.strides)
            self.decide(found.target, axis if as_written else -1, False)

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
        moved = laid_out(target, axis, padded)
        known: dict[Strided, Strided] = {}
        for x in found.views:
            through = reindex(x, target)
            seen = None if through is None else through(moved)
            if seen is None:
                return
            known[x] = seen
        self._wholes[target.buffer] = moved
        target.buffer.nbytes = _extent(moved) * target.dtype.itemsize
        for kernel in found.kernels:
            kernel.see(known)


def laid_out(target: Strided, axis: int, padded: bool) -> Strided:
    """Return `target` with strides that have `axis` last."""
    order = sorted(range(len(target.shape)), key=lambda i: (i != axis, abs(target.strides[i])))
    strides = [0] * len(order)
    step, size = 1, target.dtype.itemsize
    for place, i in enumerate(order):
        strides[i] = step
        step *= target.shape[i]
        if place == 0 and padded and target.size > target.shape[i]:
            step = -(-step * size // ALIGNMENT) * ALIGNMENT // size
            if step * size % _UNEVEN == 0 and target.size * size > _NEAREST:
                step += ALIGNMENT // size
    return target.with_axes(target.shape, strides)


def _fills(x: Strided) -> bool:
    """Tell whether a view is its whole buffer, with the axes in any order."""
    order = sorted(range(len(x.shape)), key=lambda i: -x.strides[i])
    return x.with_axes([x.shape[i] for i in order], [x.strides[i] for i in order]).whole


def _extent(x: Strided) -> int:
    return 1 + sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True))


def _majority(kernel: Kernel, layouts: _Layouts) -> int:
    """Return the axis along which most of what a kernel reads is contiguous, or -1."""
    votes: dict[int, int] = defaultdict(int)
    rank = len(kernel.shape)
    for x in kernel.evaluated.leaves:
        if layouts.is_open(x) or x.buffer is None:
            continue
        for axis in range(rank):
            if x.strides[axis] == 1 and x.shape[axis] > 1:
                votes[axis] += math.prod(x.shape)
    return max(votes, key=lambda axis: votes[axis], default=-1)


class _Choice(NamedTuple):
    """An orientation: whether vectors had better be made of the other factor, axes, and cost."""

    unsuited: bool
    rows: int
    columns: int
    cost: float


def _orient(kernel: Product, layouts: _Layouts) -> None:
    """Choose the axes of rows and columns that cost least, copies included.

    If two cost about the same, vectors are made of data rather than of parameters: threads share
    out the data, and whoever cuts columns copies nothing twice. Rows that would be pages apart are
    taken along another axis, if that costs hardly more: a tile then reads fewer lines.
    """
    rank = len(kernel.shape)
    x, y = kernel.x.strides, kernel.y.strides
    data_first = layouts.is_parameter(kernel.y) and not layouts.is_parameter(kernel.x)
    choices = [
        _Choice(
            (x[columns] == 0) == data_first,
            rows,
            columns,
            _cost(kernel, rows, columns, layouts),
        )
        for rows, columns in itertools.permutations(range(rank), 2)
        if not (x[columns] or y[rows]) or not (y[columns] or x[rows])
    ]
    least = min(choice.cost for choice in choices)
    _, rows, columns, _ = min(c for c in choices if c.cost <= _SAME * least)
    if abs(x[rows] or y[rows]) * kernel.x.dtype.itemsize >= PAGE:
        near = [c.rows for c in choices if c.columns == columns and c.cost <= _NEARLY * least]
        rows = min(near, key=lambda axis: abs(x[axis] or y[axis]))
    if (rows, columns) != (rank - 2, rank - 1):
        kernel.orient(rows, columns)
        layouts.look_again(kernel)


def _cost(kernel: Product, rows: int, columns: int, layouts: _Layouts) -> float:
    """Return about how many cycles a product takes in some orientation, copies included."""
    lengths = kernel.shape[rows], kernel.shape[columns]
    tiles = math.prod(kernel.shape) // max(1, math.prod(lengths)) * math.prod(kernel.inner)
    total = tiles * cycles(tile(kernel.machine, kernel.x.dtype, *lengths))
    factor = kernel.y if kernel.x.strides[columns] == 0 else kernel.x
    if factor.strides[columns] != 1 and lengths[1] > 1:
        copy = _source(factor, columns, layouts)
        lanes = kernel.machine.lanes(factor.dtype)
        scattered = _SCATTER * tiles * lengths[1]
        total += scattered if copy is None else _COPY / lanes * copy.array.size
    for x in (*kernel.writes, *kernel.under.leaves):
        if not layouts.is_open(x) and x.strides[columns] not in {0, 1} and lengths[1] > 1:
            total += _SCATTER * x.size
    return total


class _Source(NamedTuple):
    """An array, the axis of it that columns walk step by step, and how a factor looks at it."""

    array: Strided
    axis: int
    seen: Reindex


def _source(factor: Strided, columns: int, layouts: _Layouts) -> _Source | None:
    """Return what to copy so that the columns of a factor are side by side, if that can be."""
    array = layouts.whole(factor)
    seen = reindex(factor, array)
    if seen is None or len(seen.parts[columns]) != 1 or seen.parts[columns][0].step != 1:
        return None
    return _Source(array, seen.parts[columns][0].axis, seen)


def _packed(kernel: Product, layouts: _Layouts, copies: _Copies) -> Iterable[Kernel]:
    """Yield the copy of the second factor that a product needs, if it needs one."""
    y, columns = kernel.y, len(kernel.shape) - 1
    if kernel.panels or y.strides[columns] == 1 or y.shape[columns] <= 1 or y.size == 0:
        return
    found = _source(y, columns, layouts)
    if found is None:
        return
    key = found.array, found.axis
    known = copies.setdefault(found.array.buffer, {})
    if key not in known:
        target = laid_out(dense(Buffer(0), found.array.shape, y.dtype), found.axis, True)
        assert target.buffer is not None
        target.buffer.nbytes = _extent(target) * target.dtype.itemsize
        known[key] = target
        yield Map(target.shape, [Store(target, found.array)], ["copy"])
    seen = found.seen(known[key])
    if seen is not None:
        kernel.y = seen

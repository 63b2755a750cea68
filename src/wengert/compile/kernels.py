"""The kernels that a graph is lowered to: maps, reductions, loops. Each can emit itself."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from wengert.compile.arrays import Buffer, Shape, Strided, coalesce
from wengert.compile.expression import Lane, Lanes, State
from wengert.compile.grid import Grid, cut
from wengert.compile.ir import Carried, Function
from wengert.compile.types import scalar_type, vector
from wengert.compile.vectors import WIDTH, load_lanes, store_lanes, width_for
from wengert.graph.dtypes import INT64, DType
from wengert.ops.lowering import Reducer

Index = str | int
Strides = Sequence[Shape]

CALLS = 10
"""The cost of an expression that calls functions for one element: lanes would only add code."""


class Kernel(abc.ABC):
    """A loop nest that reads some arrays and writes others.

    Attributes
    ----------
    reads, writes : tuple of Strided
        What it touches.
    grid : Grid
        The chunks that threads may run side by side.
    """

    reads: tuple[Strided, ...]
    writes: tuple[Strided, ...]
    grid: Grid

    @abc.abstractmethod
    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk."""

    def reads_only_where_it_writes(self, buffer: Buffer) -> bool:
        """Tell whether each element of `buffer` is read just before that very place is written."""
        del buffer
        return False


def walk(
    function: Function,
    lengths: Shape,
    strides: Strides,
    offsets: Sequence[Index],
    body: Callable[[list[Index], list[str]], Sequence[str] | None],
    carried: Carried = (),
) -> list[str]:
    """Emit nested loops, with the offset of each array, around `body(offsets, carried values)`."""
    if not lengths:
        return list(body(list(offsets), [value for _, value in carried]) or ())

    def turn(index: Index, values: list[str]) -> list[str]:
        inner = [
            function.add(offset, function.mul(index, s[0]))
            for offset, s in zip(offsets, strides, strict=True)
        ]
        passed = [(kind, value) for (kind, _), value in zip(carried, values, strict=True)]
        return walk(function, lengths[1:], [s[1:] for s in strides], inner, body, passed)

    return function.loop(0, lengths[0], 1, turn, carried)


class Space:
    """The index space of a kernel's outputs, its axes merged where all arrays allow it.

    The first axis is the one that is cut into chunks, the last one is walked by vectors.
    """

    def __init__(self, shape: Shape, strides: Strides, work: int, scalar: bool = False) -> None:
        lengths, merged = coalesce(shape, strides)
        self.empty = 0 in lengths
        self.lengths = lengths or (1,)
        self.strides = merged if lengths else [(0,) for _ in strides]
        self.grid = cut(self.lengths[0], work, WIDTH if len(self.lengths) == 1 else 1)
        self._width = 1 if scalar else width_for(self.lengths[-1])

    def rows(
        self,
        function: Function,
        chunk: Index,
        offsets: Sequence[Index],
        row: Callable[[list[Index], Index, Index], None],
    ) -> None:
        """Emit loops over all axes but the last around ``row(offsets, start, stop)``."""
        if self.empty:
            return
        start, stop = self.grid.bounds(function, chunk)
        if len(self.lengths) == 1:
            row(list(offsets), start, stop)
            return

        def inside(at: list[Index], _: list[str]) -> None:
            row(at, 0, self.lengths[-1])

        def turn(index: Index, _: list[str]) -> None:
            at = [
                function.add(offset, function.mul(index, s[0]))
                for offset, s in zip(offsets, self.strides, strict=True)
            ]
            walk(function, self.lengths[1:-1], [s[1:-1] for s in self.strides], at, inside)

        function.loop(start, stop, 1, turn)

    def lanes(
        self,
        function: Function,
        bounds: tuple[Index, Index],
        body: Callable[[Lanes, Index], None],
    ) -> None:
        """Emit ``body(lanes, index)`` along the last axis: vectors, then what is left over."""
        start, stop = bounds
        width = self._width
        rest: Index
        if isinstance(stop, int) and isinstance(start, int):
            rest = start + (stop - start) // width * width
        else:
            rest = function.value(f"and i64 {stop}, {-width}")
        if width > 1:
            function.loop(start, rest, width, lambda i, _: body(Lanes(function, width), i))
        else:
            rest = start
        function.loop(rest, stop, 1, lambda i, _: body(Lanes(function), i))


class Map(Kernel):
    """``target[i] = expression(e, x[i], y[i], …)``."""

    def __init__(
        self,
        target: Strided,
        expression: Callable[..., Any],
        operands: Sequence[Strided],
        reads: Sequence[Strided] = (),
        cost: int = 1,
    ) -> None:
        self.target = target
        self.expression = expression
        self.operands = tuple(x.broadcast(target.shape) for x in operands)
        self.beside = tuple(reads)
        self.reads = self.operands + self.beside
        self.writes = (target,)
        strides = [target.strides, *(x.strides for x in self.operands)]
        self._space = Space(target.shape, strides, cost * target.size, cost >= CALLS)
        self.grid = self._space.grid

    def reads_only_where_it_writes(self, buffer: Buffer) -> bool:
        """Tell whether each element of `buffer` is read just before that very place is written."""
        target = self.target
        long = [i for i, n in enumerate(target.shape) if n > 1]
        return all(x.buffer is not buffer for x in self.beside) and all(
            (x.offset, x.dtype.itemsize) == (target.offset, target.dtype.itemsize)
            and all(x.strides[i] == target.strides[i] for i in long)
            for x in self.operands
            if x.buffer is buffer
        )

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk."""
        arrays = (self.target, *self.operands)
        steps = [s[-1] for s in self._space.strides]

        def row(offsets: list[Index], start: Index, stop: Index) -> None:
            fixed = {
                place: load_lanes(Lanes(function), x, offsets[place], 0).text
                for place, x in enumerate(arrays)
                if place and steps[place] == 0
            }

            def body(lanes: Lanes, index: Index) -> None:
                at = [
                    function.add(offset, function.mul(index, step))
                    for offset, step in zip(offsets, steps, strict=True)
                ]
                elements = [
                    lanes.splat(fixed[place], x.dtype)
                    if place in fixed
                    else load_lanes(lanes, x, at[place], steps[place])
                    for place, x in enumerate(arrays)
                    if place
                ]
                value = self.expression(lanes, *elements)
                store_lanes(lanes, value, self.target, at[0], steps[0])

            self._space.lanes(function, (start, stop), body)

        self._space.rows(function, chunk, [x.offset for x in arrays], row)


class Each(Kernel):
    """``body(e, *index)`` for each index: a plain loop that may write where it likes."""

    def __init__(
        self,
        shape: Shape,
        body: Callable[..., None],
        reads: Sequence[Strided],
        writes: Sequence[Strided],
        parallel: bool,
    ) -> None:
        self.shape = shape
        self.body = body
        self.reads = tuple(reads)
        self.writes = tuple(writes)
        self.axes = shape or (1,)
        work = 16 * math.prod(shape) if parallel else 0
        self.grid = cut(self.axes[0], work)

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk."""
        start, stop = self.grid.bounds(function, chunk)

        def inside(index: tuple[Index, ...]) -> None:
            axis = len(index)
            if axis == len(self.axes):
                used = index[: len(self.shape)]
                self.body(Lanes(function), *(Lane(str(i), INT64) for i in used))
                return
            bounds = (start, stop) if axis == 0 else (0, self.axes[axis])
            function.loop(*bounds, 1, lambda i, _: inside((*index, i)))

        if 0 not in self.axes:
            inside(())


class Reduce(Kernel):
    """A reduction over the last axes of the operands, all in one piece.

    The tree: along a reduced axis whose elements are neighbours, lane j of up to 16 takes the
    elements j, j + 16, …; the lanes are combined by halves (j with j + 8, then j + 4, …) and what
    is left over is added in order at the end. Along other axes the elements are taken in order.
    """

    def __init__(
        self,
        targets: Sequence[Strided],
        operands: Sequence[Strided],
        reducer: Reducer,
        lift: Callable[..., Any],
    ) -> None:
        self.writes = tuple(targets)
        self.reads = tuple(operands)
        self._identity: Callable[..., Any] = reducer.identity
        self._combine: Callable[..., Any] = reducer.combine
        self._lift = lift
        shape = targets[0].shape
        rank = len(shape)
        self._count = len(targets)
        outer = [t.strides for t in targets] + [x.strides[:rank] for x in operands]
        self._space = Space(shape, outer, operands[0].size)
        self._inner, self._inner_strides = coalesce(
            operands[0].shape[rank:], [x.strides[rank:] for x in operands]
        )
        self.grid = self._space.grid
        self._dtypes: tuple[DType, ...] = tuple(t.dtype for t in targets)

    @property
    def _by_columns(self) -> bool:
        """Whether lanes stand for neighbouring results rather than for neighbouring terms."""
        if any(s and s[-1] == 1 for s in self._inner_strides) or not self._inner:
            return not self._inner
        return self._space.lengths[-1] > 1

    def emit(self, function: Function, chunk: Index) -> None:
        """Emit the code of one chunk."""
        arrays = (*self.writes, *self.reads)

        def row(offsets: list[Index], start: Index, stop: Index) -> None:
            if self._by_columns:
                self._space.lanes(
                    function,
                    (start, stop),
                    lambda lanes, i: self._result(lanes, self._at(function, offsets, i)),
                )
            else:
                function.loop(
                    start,
                    stop,
                    1,
                    lambda i, _: self._result(Lanes(function), self._at(function, offsets, i)),
                )

        self._space.rows(function, chunk, [x.offset for x in arrays], row)

    def _at(self, function: Function, offsets: list[Index], index: Index) -> list[Index]:
        return [
            function.add(offset, function.mul(index, s[-1]))
            for offset, s in zip(offsets, self._space.strides, strict=True)
        ]

    def _result(self, lanes: Lanes, offsets: list[Index]) -> None:
        """Emit the reduction of one result, or of one for each lane."""
        places, terms = offsets[: self._count], offsets[self._count :]
        state = self._columns(lanes, terms) if self._by_columns else self._row(lanes, terms)
        for value, target, at, s in zip(
            state, self.writes, places, self._space.strides, strict=False
        ):
            store_lanes(lanes, value, target, at, s[-1])

    def _columns(self, lanes: Lanes, offsets: list[Index]) -> State:
        steps = [s[-1] for s in self._space.strides[self._count :]]

        def turn(at: list[Index], values: list[str]) -> list[str]:
            return self._step(lanes, at, steps, values)

        first = self._carried(lanes, self._identity(lanes))
        return self._state(
            walk(lanes.function, self._inner, self._inner_strides, offsets, turn, first)
        )

    def _row(self, lanes: Lanes, offsets: list[Index]) -> State:
        function = lanes.function
        length, steps = self._inner[-1], [s[-1] for s in self._inner_strides]
        wide = Lanes(function, width_for(length))
        whole = length // wide.width * wide.width

        def along(at: list[Index], values: list[str]) -> list[str]:
            def turn(some: Lanes, index: Index, state: list[str]) -> list[str]:
                here = [
                    function.add(offset, function.mul(index, step))
                    for offset, step in zip(at, steps, strict=True)
                ]
                return self._step(some, here, steps, state)

            sums, rest = values[: self._count], values[self._count :]
            carried = self._carried(wide, self._state(sums))
            sums = function.loop(0, whole, wide.width, partial(turn, wide), carried)
            carried = self._carried(lanes, self._state(rest))
            rest = function.loop(whole, length, 1, partial(turn, lanes), carried)
            return [*sums, *rest]

        first = [
            *self._carried(wide, self._identity(wide)),
            *self._carried(lanes, self._identity(lanes)),
        ]
        outer = [s[:-1] for s in self._inner_strides]
        values = walk(function, self._inner[:-1], outer, offsets, along, first)
        state = self._halved(wide, self._state(values[: self._count]))
        if whole == length:
            return state
        return tuple(self._combine(lanes, state, self._state(values[self._count :])))

    def _halved(self, wide: Lanes, state: State) -> State:
        """Combine the lanes by halves until one is left."""
        function = wide.function
        while wide.width > 1:
            half = wide.width // 2
            narrow = Lanes(function, half)
            parts: list[State] = []
            for first in (0, half):
                places = ", ".join(f"i32 {first + i}" for i in range(half))
                parts.append(tuple(_picked(wide, x, places, half) for x in state))
            state = tuple(self._combine(narrow, *parts))
            wide = narrow
        return state

    def _step(
        self, lanes: Lanes, offsets: list[Index], steps: Sequence[int], values: list[str]
    ) -> list[str]:
        """Combine the state so far with the element at `offsets`."""
        elements = [
            load_lanes(lanes, x, at, step)
            for x, at, step in zip(self.reads, offsets, steps, strict=True)
        ]
        lifted = self._lift(lanes, *elements)
        return [x.text for x in self._combine(lanes, self._state(values), lifted)]

    def _state(self, values: Sequence[str]) -> State:
        return tuple(Lane(v, dtype) for v, dtype in zip(values, self._dtypes, strict=True))

    def _carried(self, lanes: Lanes, state: Any) -> list[tuple[str, str]]:
        return [(vector(scalar_type(x.dtype), lanes.width), x.text) for x in state]


def _picked(lanes: Lanes, x: Lane, places: str, count: int) -> Lane:
    kind = vector(scalar_type(x.dtype), lanes.width)
    text = lanes.function.value(
        f"shufflevector {kind} {x.text}, {kind} poison, <{count} x i32> <{places}>"
    )
    if count == 1:
        text = lanes.function.value(f"extractelement <1 x {scalar_type(x.dtype)}> {text}, i64 0")
    return Lane(text, x.dtype)

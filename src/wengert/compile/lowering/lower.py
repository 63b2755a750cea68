"""From a graph to a list of kernels over buffers, by the lowerings of the primitives."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.compile.disk.lines import mark
from wengert.compile.emit import arrays
from wengert.compile.emit.arrays import Buffer, Immediate, Shape, Strided, dense, reshaped_strides
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels.check import Check, Requirement
from wengert.compile.kernels.each import Each
from wengert.compile.kernels.kernel import Kernel, Store
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.nodes import Apply, Node, Result
from wengert.compile.kernels.product import Product, matrices
from wengert.compile.kernels.reduce import Reduce
from wengert.compile.lowering import rounds
from wengert.compile.lowering.phases import Phase
from wengert.compile.lowering.reindex import reindex
from wengert.graph.dtypes import Array, DType, Scalar
from wengert.graph.graph import Graph
from wengert.graph.source import describe
from wengert.graph.variable import Aval, Operation, Variable
from wengert.ops.lower_reductions import adding
from wengert.ops.lowering import Reducer, identity


class LoweringError(NotImplementedError):
    """An operation has no native code."""


@dataclass(slots=True)
class Program:
    """What a graph becomes: kernels, and where its inputs and outputs are.

    Attributes
    ----------
    first_constant : int
        The slot of the first constant in the table, after those of inputs and outputs.
    kernels : list of Kernel
        In execution order.
    inputs : tuple of Strided
        The inputs, whose buffers are the first slots of the table.
    results : tuple of Strided
        Where the value of each output is when all kernels have run.
    constants : list of ndarray
        The values of the constants.
    known : dict
        The results of maps and reductions, by what they are made of: none is made twice. Checks,
        too.
    lasting : frozenset of int
        The outputs in memory that is seen also if the call fails.
    phases : list of Phase
        The kernels as they run side by side.
    arena_bytes : int
        The size of the memory for all intermediate values.
    """

    first_constant: int
    kernels: list[Kernel] = field(default_factory=list)
    inputs: tuple[Strided, ...] = ()
    results: tuple[Strided, ...] = ()
    constants: list[Array] = field(default_factory=list)
    known: dict[Hashable, tuple[Strided, ...]] = field(default_factory=dict)
    lasting: frozenset[int] = frozenset()
    phases: list[Phase] = field(default_factory=list)
    arena_bytes: int = 0

    def __str__(self) -> str:
        """Return a line for each kernel, with arrays numbered as they appear."""
        numbers: dict[Buffer, str] = {}
        for place, x in enumerate(self.inputs):
            if x.buffer is not None:
                numbers[x.buffer] = f"in{place}"
        lines = [f"{len(self.kernels)} kernels, arena of {self.arena_bytes} bytes"]
        lines += [f"  {kernel.line(numbers)}" for kernel in self.kernels]
        return "\n".join(lines)


def lower_graph(graph: Graph, machine: Machine) -> Program:
    """Return the kernels of `graph`.

    Raises
    ------
    LoweringError
        If an operation has no native code, naming it and its line.
    """
    first = len(graph.inputs) + len(graph.outputs)
    program = Program(first_constant=first)
    program.inputs = tuple(
        dense(Buffer(v.aval.nbytes, slot), v.shape, v.dtype) for slot, v in enumerate(graph.inputs)
    )
    program.results = _lower_operations(graph, program.inputs, program, machine)
    return program


def _lower_operations(
    graph: Graph, inputs: Sequence[Strided], program: Program, machine: Machine
) -> tuple[Strided, ...]:
    """Add the kernels of `graph` to the program and return where its outputs are."""
    known: dict[Variable, Strided] = dict(zip(graph.inputs, inputs, strict=True))
    for v in graph.free:
        known[v] = _constant(v.concrete("compiling a graph"), program)
    for op in graph.operations:
        outputs = graph.results(op)
        lowering = Lowering(program, tuple(v.aval for v in outputs), machine, _label(op))
        made = _lower_operation(op, lowering, [known[x] for x in op.inputs])
        for v, array in zip(outputs, made, strict=True):
            assert (array.shape, array.dtype) == (v.shape, v.dtype), (op, array)
            known[v] = array
    return tuple(known[v] for v in graph.outputs)


def _constant(value: Array, program: Program) -> Strided:
    if value.ndim == 0:
        return arrays.immediate(value.item(), value.dtype)
    slot = program.first_constant + len(program.constants)
    program.constants.append(np.ascontiguousarray(value).copy())
    return dense(Buffer(value.nbytes, slot), value.shape, value.dtype)


def _lower_operation(
    op: Operation, lowering: Lowering, operands: Sequence[Strided]
) -> tuple[Strided, ...]:
    lower = op.primitive.lower
    lowering.where = mark(op.source)
    if lower is None:
        raise LoweringError(
            f"{op.primitive.name}: has no native code yet{_where(op)}; run it outside wg.compile, "
            "or give its primitive a lowering."
        )
    try:
        result = lower(lowering, *operands, **op.params)
    except NotImplementedError as error:
        raise LoweringError(f"{error}{_where(op)}.") from None
    return result if op.primitive.several else (result,)


def _label(op: Operation) -> str:
    return f"{op.primitive.name}{_where(op)}"


def _where(op: Operation) -> str:
    place = describe(op.source)
    return f" ({place})" if place else ""


class Lowering:
    """Makes the kernels of one operation (see `ops.lowering.Kernels`)."""

    def __init__(
        self, program: Program, outputs: tuple[Aval, ...], machine: Machine, label: str
    ) -> None:
        self.outputs = outputs
        self.where = ""
        self._program = program
        self._kernels = program.kernels
        self._machine = machine
        self._label = label

    def require(
        self,
        x: Strided,
        *comparisons: tuple[str, int],
        failure: str,
        error: type[Exception] = IndexError,
    ) -> None:
        """Let the call fail unless all of `x` is as it must be; what is known is not looked at."""
        seen = [i for i, stride in enumerate(x.strides) if stride]
        once = x.with_axes([x.shape[i] for i in seen], [x.strides[i] for i in seen])
        requirement = Requirement(comparisons, failure, error)
        key = "require", once, comparisons, error
        if x.size == 0 or key in self._program.known:
            return
        known = self._known_values(x)
        if known is None or not requirement.holds(known):
            self._program.known[key] = ()
            self._kernels.append(Check(once, requirement, [self._label]))

    def _known_values(self, x: Strided) -> Array | None:
        """Return what `x` is a view of, if that is constant."""
        if isinstance(x.base, Immediate):
            return np.asarray(x.base.value)
        place = x.buffer.slot - self._program.first_constant if x.buffer is not None else -1
        return self._program.constants[place] if place >= 0 else None

    def empty(self, shape: Sequence[int], dtype: DType) -> Strided:
        """Return a new contiguous array, to be written."""
        return dense(Buffer(math.prod(shape) * dtype.itemsize), shape, dtype)

    def constant(self, value: Scalar, shape: Sequence[int], dtype: DType) -> Strided:
        """Return the array, stored nowhere, whose every element is one number."""
        return arrays.immediate(value, dtype).broadcast(tuple(shape))

    def number(self, x: Strided) -> Scalar | None:
        """Return the number that all elements of `x` are, if it stands in the code."""
        return x.base.value if isinstance(x.base, Immediate) else None

    def counter(self, shape: Sequence[int], axis: int) -> Strided:
        """Return the array of int64, stored nowhere, whose elements are their index on `axis`."""
        return arrays.counter(shape, axis)

    def view(
        self, x: Strided, shape: Sequence[int], strides: Sequence[int], offset: int = 0
    ) -> Strided:
        """Return other elements of the memory of `x`."""
        return x.with_axes(shape, strides, offset)

    def reshape(self, x: Strided, shape: Sequence[int]) -> Strided:
        """Return the elements in another shape: a view where the strides allow, else a copy."""
        strides = reshaped_strides(x.shape, x.strides, tuple(shape))
        if strides is None:
            return self.reshape(self.copy(x), shape)
        return x.with_axes(shape, strides)

    def copy(self, x: Strided) -> Strided:
        """Return the elements in new contiguous memory."""
        return self._mapped(self.empty(x.shape, x.dtype), x)

    def _mapped(self, target: Strided, value: Node) -> Strided:
        self._kernels.append(Map(target.shape, [Store(target, value)], [self._label]))
        return target

    def map(
        self,
        expression: Callable[..., Any],
        *xs: Strided,
        shape: Sequence[int] | None = None,
        dtype: DType | None = None,
        reads: Sequence[Strided] = (),
        cost: int = 1,
    ) -> Strided:
        """Return ``expression(e, *elements)`` for each index."""
        if shape is None:
            shape = np.broadcast_shapes(*(x.shape for x in xs))
        made = (expression, xs, tuple(shape), dtype or xs[0].dtype, tuple(reads), cost)
        key = ("map", *made)
        if key not in self._program.known:
            self._program.known[key] = (self._map(*made),)
        return self._program.known[key][0]

    def _map(
        self,
        expression: Callable[..., Any],
        xs: Sequence[Strided],
        shape: Shape,
        dtype: DType,
        reads: Sequence[Strided],
        cost: int,
    ) -> Strided:
        target = self.empty(shape, dtype)
        args = [x.broadcast(target.shape) for x in xs]
        return self._mapped(target, Apply(expression, args, target.dtype, cost, reads))

    def write(self, target: Strided, expression: Callable[..., Any], *xs: Strided) -> None:
        """Set the elements of `target`, a view of a new array."""
        args = [x.broadcast(target.shape) for x in xs]
        if expression is identity:
            self._mapped(target, args[0])
        else:
            self._mapped(target, Apply(expression, args, target.dtype))

    def each(
        self,
        shape: Sequence[int],
        body: Callable[..., None],
        *,
        reads: Sequence[Strided] = (),
        writes: Sequence[Strided],
        parallel: bool = False,
        movable: bool = False,
    ) -> None:
        """Run ``body(e, *index)`` for each index of `shape`."""
        made = Each(tuple(shape), body, reads, writes, parallel, [self._label])
        made.movable = movable
        self._kernels.append(made)

    def product(self, x: Strided, y: Strided, rank: int) -> Strided:
        """Return ``sum(x * y)`` over the axes from number `rank` on."""
        x, y = (v if isinstance(v.base, Buffer) else self._stored(v) for v in (x, y))
        x, y = _with_inner_axes_merged(x, y, rank)
        if not rounds.worth_blocks(x, y, rank):
            return self._product(x, y, rank)
        blocks = self._product(rounds.whole_blocks(x, rank), rounds.whole_blocks(y, rank), rank + 1)
        total = self.reduce(adding(x.dtype), (0,), blocks)[0]
        x, y = (rounds.left_over(v, rank) for v in (x, y))
        if not x.shape[rank]:
            return total
        rest = self._product(x, y, rank)
        return self.map(_sum, total, rest)

    def _product(self, x: Strided, y: Strided, rank: int) -> Strided:
        target = self.empty(x.shape[:rank], x.dtype)
        x, y, seen = matrices(x, y, target)
        result = Result(0, x.dtype)
        stores = [Store(seen, result)]
        made = Product(x, y, len(seen.shape), stores, result, self._machine, [self._label])
        self._kernels.append(made)
        return target

    def _stored(self, x: Strided) -> Strided:
        """Return a copy in memory, without repetition, of what is not in memory."""
        own = [i for i, step in enumerate(x.strides) if step]
        copy = self.copy(x.with_axes([x.shape[i] for i in own], [x.strides[i] for i in own]))
        steps = dict(zip(own, copy.strides, strict=True))
        return copy.with_axes(x.shape, [steps.get(i, 0) for i in range(len(x.shape))])

    def factors(self, z: Strided) -> tuple[Strided, Strided] | None:
        """Return the factors of `z`, over its axes and the inner ones, if it is a product."""
        made = [k for k in self._kernels if any(x.buffer is z.buffer for x in k.writes)]
        if len(made) != 1 or not isinstance(made[0], Product):
            return None
        kernel, rank = made[0], len(made[0].shape)
        through = reindex(z, kernel.stores[0].target)
        if through is None:
            return None
        found = []
        for v in kernel.heart:
            seen = through(v.with_axes(kernel.shape, v.strides[:rank]))
            if seen is None:
                return None
            shape, strides = (*z.shape, *kernel.inner), (*seen.strides, *v.strides[rank:])
            found.append(seen.with_axes(shape, strides))
        return found[0], found[1]

    def reduce(
        self,
        reducer: Reducer,
        axes: Sequence[int],
        *xs: Strided,
        lift: Callable[..., Any] | None = None,
        dtypes: Sequence[DType] | None = None,
    ) -> tuple[Strided, ...]:
        """Reduce over `axes` of the operands, which have one shape."""
        key = (reducer, tuple(axes), xs, lift, dtypes)
        if key not in self._program.known:
            self._program.known[key] = self._reduce(reducer, axes, xs, lift, dtypes)
        return self._program.known[key]

    def _reduce(
        self,
        reducer: Reducer,
        axes: Sequence[int],
        xs: Sequence[Strided],
        lift: Callable[..., Any] | None,
        dtypes: Sequence[DType] | None,
    ) -> tuple[Strided, ...]:
        dropped = set(axes)
        kept = [i for i in range(len(xs[0].shape)) if i not in dropped]
        order = [*kept, *sorted(dropped)]
        last = [x.with_axes([x.shape[i] for i in order], [x.strides[i] for i in order]) for x in xs]
        kinds = tuple(dtypes) if dtypes else tuple(x.dtype for x in xs)
        return self._reduced(reducer, len(kept), last, _terms(lift, kinds), kinds)

    def inline(self, graph: Graph, *xs: Strided) -> tuple[Strided, ...]:
        """Return the outputs of another graph for the inputs `xs`."""
        return _lower_operations(graph, xs, self._program, self._machine)

    def _reduced(
        self,
        reducer: Reducer,
        rank: int,
        xs: Sequence[Strided],
        terms: Callable[[Sequence[Strided]], list[Node]],
        dtypes: tuple[DType, ...],
    ) -> tuple[Strided, ...]:
        """Reduce over all axes from number `rank` on, in rounds of so many terms at most."""
        shape = xs[0].shape
        inner, merged = arrays.coalesce(shape[rank:], [x.strides[rank:] for x in xs])
        xs = [
            x.with_axes((*shape[:rank], *inner), (*x.strides[:rank], *steps))
            for x, steps in zip(xs, merged, strict=True)
        ]
        if math.prod(inner) <= rounds.LONGEST:
            targets = tuple(self.empty(shape[:rank], dtype) for dtype in dtypes)
            self._reduction(targets, inner, terms(xs), reducer)
            return targets
        if len(inner) > 1 and math.prod(inner[1:]) * 16 > rounds.LONGEST:
            partial = self._reduced(reducer, rank + 1, xs, terms, dtypes)
        else:
            partial = self._blocks(reducer, rank, xs, terms, dtypes)
        return self._reduced(reducer, rank, partial, list, dtypes)

    def _reduction(
        self, targets: Sequence[Strided], inner: Shape, terms: list[Node], reducer: Reducer
    ) -> None:
        results = [Result(place, target.dtype) for place, target in enumerate(targets)]
        stores = [Store(target, r) for target, r in zip(targets, results, strict=True)]
        shape = targets[0].shape
        self._kernels.append(Reduce(shape, inner, terms, reducer, stores, results, [self._label]))

    def _beside_each_other(
        self, xs: Sequence[Strided], rank: int, count: int, step: int, dtype: DType
    ) -> Strided:
        """Return a new array of the first axes and one of `count` blocks, laid out as `xs` are."""
        steps = [max(abs(x.strides[axis]) for x in xs) for axis in range(rank + 1)]
        steps[rank] *= step
        order = sorted(range(rank + 1), key=lambda axis: -steps[axis])
        shape = (*xs[0].shape[:rank], count)
        made = self.empty([shape[axis] for axis in order], dtype)
        return made.with_axes(shape, [made.strides[order.index(axis)] for axis in range(rank + 1)])

    def _blocks(
        self,
        reducer: Reducer,
        rank: int,
        xs: Sequence[Strided],
        terms: Callable[[Sequence[Strided]], list[Node]],
        dtypes: tuple[DType, ...],
    ) -> tuple[Strided, ...]:
        """Reduce blocks of the axis number `rank` and all axes after it: one result per block."""
        shape = xs[0].shape
        length = shape[rank]
        step = rounds.block(length, math.prod(shape[rank + 1 :]))
        whole, rest = divmod(length, step)
        count = whole + (rest > 0)
        partial = tuple(self._beside_each_other(xs, rank, count, step, dtype) for dtype in dtypes)
        for first, blocks, size in ((0, whole, step), (whole, 1 if rest else 0, rest)):
            if not blocks:
                continue
            inner = (size, *shape[rank + 1 :])
            parts = [
                x.with_axes(
                    (*shape[:rank], blocks, *inner),
                    (*x.strides[:rank], x.strides[rank] * step, *x.strides[rank:]),
                    first * step * x.strides[rank],
                )
                for x in xs
            ]
            targets = [
                t.with_axes((*shape[:rank], blocks), t.strides, first * t.strides[rank])
                for t in partial
            ]
            self._reduction(targets, inner, terms(parts), reducer)
        return partial


def _with_inner_axes_merged(x: Strided, y: Strided, rank: int) -> tuple[Strided, Strided]:
    """Return factors whose axes from number `rank` on are merged where both walk them as one."""
    inner, steps = arrays.coalesce(x.shape[rank:], [v.strides[rank:] for v in (x, y)])
    x, y = (
        v.with_axes((*v.shape[:rank], *inner), (*v.strides[:rank], *own))
        for v, own in zip((x, y), steps, strict=True)
    )
    return x, y


def _sum(e: Any, x: Any, y: Any) -> Any:
    return e.add(x, y)


def _terms(
    lift: Callable[..., Any] | None, dtypes: Sequence[DType]
) -> Callable[[Sequence[Strided]], list[Node]]:
    """Return what makes the terms of a reduction of its operands."""
    if lift is None:
        return list

    def part(place: int) -> Callable[..., Any]:
        return lambda e, *elements: lift(e, *elements)[place]

    def terms(xs: Sequence[Strided]) -> list[Node]:
        return [Apply(part(place), xs, dtype) for place, dtype in enumerate(dtypes)]

    return terms

"""The batching rule of a primitive against a loop over the examples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from tests.ops.running import (
    Array,
    Function,
    Variables,
    assert_close,
    float_outputs,
    function_of,
    generator,
    outputs,
    random_like,
    reverse,
    trace,
    values,
    variables,
    varied,
)
from wengert.ad.batching import batch
from wengert.graph.graph import Graph
from wengert.graph.primitive import Primitive, Sample

EXACT = 1e-10


def patterns(count: int) -> Iterator[tuple[bool, ...]]:
    """Yield which operands are batched: every choice of up to three operands, then some."""
    if count <= 3:
        yield from (p for p in itertools.product((True, False), repeat=count) if any(p))
        return
    yield (True,) * count
    for i in range(count):
        yield tuple(j == i for j in range(count))
        yield tuple(j != i for j in range(count))


def lanes_of(rng: np.random.Generator, x: Array, size: int) -> list[Array]:
    """Return `size` different arrays like `x`, with elements drawn from those of `x`."""
    lanes = []
    for lane in range(size):
        mixed = rng.permutation(np.asarray(x).ravel()).reshape(x.shape)
        lanes.append((mixed * (1 - 0.03 * lane)).astype(x.dtype) if x.dtype.kind == "f" else mixed)
    return lanes


def check_batch(primitive: Primitive, sample: Sample) -> None:
    """The batching rule equals a loop, and binds as many operations for any batch size."""
    if not sample.inputs:
        return

    def f(xs: Variables) -> Variables:
        return outputs(primitive, xs, sample.params)

    count = len(sample.inputs)
    if primitive.per_lane:
        compare_with_loop(primitive, f, sample.inputs, (True,) * count)
        _check_lanes_differ(primitive, f, sample)
        return
    for pattern in patterns(count):
        compare_with_loop(primitive, f, sample.inputs, pattern)
    graph, everything = trace(f, sample.inputs), (True,) * count
    stacked = [np.stack([x, x]) for x in sample.inputs]
    compare_with_loop(primitive, lambda xs: batch(graph, xs, everything, 2)[0], stacked, everything)


def _check_lanes_differ(primitive: Primitive, f: Function, sample: Sample) -> None:
    """Check that a primitive batched although no operand is gives each lane its own result."""
    pattern = (False,) * len(sample.inputs)
    graph = trace(f, sample.inputs)
    found, flags = batch(graph, variables(sample.inputs), pattern, 3)
    one, lanes = graph(*sample.inputs)[0], values(found)[0]
    assert flags[0], f"{primitive.name}: no lanes"
    assert lanes.shape == (3, *one.shape), f"{primitive.name}: lanes of shape {lanes.shape}"
    distinct = {lane.tobytes() for lane in lanes}
    assert len(distinct) == (3 if one.size else 1), f"{primitive.name}: two lanes are equal"
    assert len({count_batched(graph, sample.inputs, pattern, n) for n in (1, 2, 7)}) == 1


def check_batch_of_derivative(primitive: Primitive, sample: Sample) -> None:
    """The same for the operations that the primitive's pullback binds."""
    if primitive.per_lane or not (sample.differentiable and float_outputs(primitive, sample)):
        return
    count = len(sample.differentiable)
    f = function_of(primitive, sample)
    y_bars = random_like(generator(primitive), float_outputs(primitive, sample))

    def gradient(xs: Variables) -> Variables:
        return reverse(f, xs[:count], xs[count:])

    arrays = (*varied(sample), *y_bars)
    for pattern in ((True,) * len(arrays), (True,) * count + (False,) * len(y_bars)):
        compare_with_loop(primitive, gradient, arrays, pattern)


def compare_with_loop(
    primitive: Primitive, f: Function, inputs: Sequence[Array], pattern: tuple[bool, ...]
) -> None:
    rng, size = generator(primitive), 3
    what = f"{primitive.name}: batched {pattern} over {[x.shape for x in inputs]}"
    graph = trace(f, inputs)
    lanes = [
        lanes_of(rng, x, size) if b else [x] * size for x, b in zip(inputs, pattern, strict=True)
    ]
    stacked = [np.stack(n) if b else n[0] for n, b in zip(lanes, pattern, strict=True)]
    found, flags = batch(graph, variables(stacked), pattern, size)
    loop = [graph(*one) for one in zip(*lanes, strict=True)]
    for position, (y, flag) in enumerate(zip(found, flags, strict=True)):
        wanted = np.stack([result[position] for result in loop])
        actual = y.concrete("a test")
        assert flag == (actual.ndim == wanted.ndim), f"{what}: the flag is {flag}"
        actual = actual if flag else np.broadcast_to(actual, wanted.shape)
        assert actual.dtype == wanted.dtype, f"{what}: {actual.dtype}, wanted {wanted.dtype}"
        assert_close(what, [actual], [wanted], EXACT)
    counts = {count_batched(graph, inputs, pattern, n) for n in (1, 2, 7)}
    assert len(counts) == 1, f"{what}: binds {counts} operations, depending on the size"


def count_batched(
    graph: Graph, inputs: Sequence[Array], pattern: tuple[bool, ...], size: int
) -> int:
    """Return how many operations batching the graph binds."""
    arrays = [np.stack([x] * size) if b else x for x, b in zip(inputs, pattern, strict=True)]
    batched = trace(lambda xs: batch(graph, xs, pattern, size)[0], arrays)
    return len(batched.operations)

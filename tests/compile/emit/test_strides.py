"""Elements that are a few places apart are read and written together, without those between."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.fences import Fence
from tests.compile.programs import F, compiled, graph_of, reference, same_bits
from wengert.compile.native.executable import compile_graph

pytestmark = pytest.mark.usefixtures("every_processor")

RNG = np.random.default_rng(4)
STEPS = (1, 2, 3, 4, 5)


def parts(x):
    """Return every element of the rows of `x`, every second one, …"""
    return tuple(F.getitem(x, (slice(None), slice(None, None, step))) for step in STEPS)


def between_zeros(x):
    """Return the rows of `x` with zeros between the elements: none, one, …"""
    rows, length = x.shape
    apart = F.expand_dims(x, 2)
    made = []
    for step in STEPS:
        zeros = F.broadcast_to(apart * 0, (rows, length, step - 1))
        made.append(F.reshape(F.concat([apart * 3, zeros], axis=2), (rows, length * step)))
    return tuple(made)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int16", "uint8"])
@pytest.mark.parametrize("length", [2, 7, 37, 64, 133])
def test_rows_are_read_and_written_in_steps(length, dtype):
    x = RNG.integers(0, 9, (5, length)).astype(dtype)

    def f(x):
        return (*(part * 2 for part in parts(x)), *between_zeros(x))

    graph = graph_of(f, x)
    same_bits(compiled(graph, [x]), reference(graph, [x]))


@pytest.mark.parametrize("length", [33, 64, 133])
def test_nothing_behind_the_last_element_is_touched(length):
    x = RNG.standard_normal((1, length)).astype(np.float32)
    graph = graph_of(lambda x: tuple(part * 2.0 for part in parts(x)), x)
    fence = Fence(x)
    outputs = [Fence(np.ones(v.shape, v.dtype)) for v in graph.outputs]
    compile_graph(graph, {})([fence.array], [output.array for output in outputs])
    same_bits([output.array for output in outputs], reference(graph, [x]))

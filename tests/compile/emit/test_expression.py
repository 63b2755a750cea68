"""What lanes that are not in use may do."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.fences import Fence
from tests.compile.programs import F, graph_of, same_bits
from wengert.compile.native.executable import compile_graph


@pytest.mark.parametrize("length", [3, 33, 47])
@pytest.mark.usefixtures("every_processor")
def test_lanes_that_are_not_in_use_read_nothing(length):
    x = Fence(np.arange(7.0 * length).reshape(7, length)).array
    at = np.array([-1, 0, 6])
    graph = graph_of(lambda v, i: F.take(v, i, axis=0), x, at)
    (y,) = (np.empty(v.shape, v.dtype) for v in graph.outputs)
    compile_graph(graph, {})([x, at], [y])
    same_bits([y], [x[at]])


@pytest.mark.parametrize("source", ["int32", "int64", "float32"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "bool"])
@pytest.mark.usefixtures("every_processor")
def test_lanes_that_are_not_in_use_write_nothing(dtype, source):
    for length in (9, 17, 33, 1089):
        x = np.arange(length, dtype=source)
        graph = graph_of(lambda v: F.astype(v, np.dtype(dtype)), x)
        y = Fence(np.empty(length, dtype)).array
        compile_graph(graph, {})([x], [y])
        same_bits([y], [x.astype(dtype)])

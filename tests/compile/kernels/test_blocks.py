"""Elementwise kernels that read along one axis and write along another."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, reference, same_bits, shared_finely

RNG = np.random.default_rng(8)
DTYPES = ("bool", "int8", "uint16", "int32", "float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("every_processor")
def test_transposed_operands_in_many_chunks(dtype, monkeypatch):
    shapes = [(300, 200), (64, 80), (33, 100), (8, 1000), (513, 17), (3, 70, 90)]
    xs = [RNG.integers(0, 2, shape).astype(dtype) for shape in shapes]
    ys = [RNG.integers(0, 2, shape[::-1]).astype(dtype) for shape in shapes]

    def f(*operands):
        pairs = zip(operands[: len(xs)], operands[len(xs) :], strict=True)
        return tuple(F.permute_dims(x, range(x.ndim)[::-1]) + y for x, y in pairs)

    graph = graph_of(f, *xs, *ys)
    wanted = reference(graph, [*xs, *ys])
    same_bits(compiled(graph, [*xs, *ys]), wanted)
    shared_finely(monkeypatch)
    for threads in (1, 2):
        same_bits(compiled(graph, [*xs, *ys], threads), wanted)

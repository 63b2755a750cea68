"""Lesser processors than the one at hand: a bit of everything. The slow tests run all on each."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compile.fuzz.generator import program
from tests.compile.fuzz.oracle import compare, expectations
from tests.compile.fuzz.running import run
from tests.compile.kernels.test_convolutions import check, example, traced
from tests.compile.kernels.test_sums_and_products import check_product
from tests.compile.programs import F, compiled, graph_of, reference, samples_graph
from tests.compile.test_every_lowering import agree, every_primitive
from tests.compile.test_training_steps import Training, adam
from tests.ops.running import samples_of
from wengert.compile.emit import llvm

floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
RNG = np.random.default_rng(4)


@pytest.fixture(autouse=True, params=llvm.processors())
def lesser_processor(request, monkeypatch):
    monkeypatch.setenv("WENGERT_CPU", request.param)


@every_primitive
def test_every_primitive(primitive):
    graph, inputs = samples_graph(primitive, samples_of(primitive, np.float32))
    agree(primitive, compiled(graph, inputs), reference(graph, inputs))


@floats
def test_products(dtype):
    cases = list(itertools.product((1, 5, 29), (1, 31), (4, 7, 33)))
    xs = [RNG.standard_normal((m, k)).astype(dtype) for m, k, _ in cases]
    ys = [RNG.standard_normal((k, n)).astype(dtype) for _, k, n in cases]

    def f(*operands):
        return tuple(map(F.matmul, operands[: len(xs)], operands[len(xs) :]))

    found = compiled(graph_of(f, *xs, *ys), [*xs, *ys], threads=2)
    for x, y, z in zip(xs, ys, found, strict=True):
        check_product(x, y, z)


@floats
def test_a_convolution_and_its_gradients(dtype):
    geometry = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    arrays = example(dtype, geometry)
    check(geometry, arrays, compiled(traced(geometry, *arrays), arrays))


@floats
def test_a_training_step(dtype):
    training = Training(F.tanh, "cross_entropy", adam, dtype)
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    for a, w in zip(training.compiled(2), training.reference(), strict=True):
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, w, rtol=0, atol=tolerance * np.abs(w).max())
        else:
            np.testing.assert_array_equal(a, w)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs(seed):
    drawn = program(seed)
    wrong = compare(run(drawn, 1, taken=True), expectations(drawn.graph, drawn.inputs))
    assert not wrong

"""Convolutions and their gradients in native code: right for every geometry, without windows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert as wg
from tests.compile.kernels.test_sums_and_products import MACHINES, floats
from tests.compile.programs import compiled, reference, same_bits, shared_finely
from wengert.compile.native import translate
from wengert.compile.native.executable import compile_graph
from wengert.graph.graph import Graph

pytestmark = pytest.mark.usefixtures("any_processor")

RNG = np.random.default_rng(5)
GEOMETRIES = [
    {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for stride, padding, dilation, groups in itertools.product(
        (1, (2, 1), 3), (0, (1, 2)), (1, (1, 2)), (1, 2)
    )
]


def gradients(geometry):
    """Return a function of image, weight and cotangent: the convolution and both gradients."""

    def f(x, w, c):
        def dot(x, w):
            return wg.sum(wg.conv2d(x, w, **geometry) * c)

        return (wg.conv2d(x, w, **geometry), *wg.grad(dot, argnums=(0, 1))(x, w))

    return f


def traced(geometry, *arrays):
    """Return the graph of the convolution and both gradients."""
    return wg.trace(gradients(geometry))(*map(wg.tensor, arrays))


def example(dtype, geometry, images=3, size=9, channels=8):
    """Return an image, a weight and a cotangent."""
    x = RNG.standard_normal((images, channels, size, size + 2)).astype(dtype)
    w = RNG.standard_normal((8, channels // geometry["groups"], 3, 2)).astype(dtype)
    shape = wg.conv2d(x, w, **geometry).shape
    return x, w, RNG.standard_normal(shape).astype(dtype)


def check(geometry, arrays, found):
    """Compare with the reference, by the bound for sums of products in any order."""
    eps = np.finfo(arrays[0].dtype).eps
    wide = [a.astype(np.float64) for a in arrays]
    graph = traced(geometry, *wide)
    sizes = reference(graph, [np.abs(a) for a in wide])
    wanted = reference(graph, wide)
    _, w, c = arrays
    terms = (w[0].size, w.size // w.shape[1], c.size // c.shape[1])
    for z, exact, size, depth in zip(found, wanted, sizes, terms, strict=True):
        assert np.all(np.abs(z - exact) <= (2 * depth + 2) * eps * size)


@floats
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_every_geometry(geometry, dtype, monkeypatch):
    arrays = example(dtype, geometry)
    graph = traced(geometry, *arrays)
    found = compiled(graph, arrays)
    check(geometry, arrays, found)
    shared_finely(monkeypatch)
    same_bits(compiled(graph, arrays, threads=2), found)


@floats
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.vector_bytes}x{m.registers}")
@pytest.mark.parametrize("images", [1, 17])
def test_every_machine(machine, images, dtype, monkeypatch):
    monkeypatch.setattr(translate, "machine", lambda: machine)
    geometry = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
    arrays = example(dtype, geometry, images=images)
    check(geometry, arrays, compiled(traced(geometry, *arrays), arrays))


@pytest.mark.parametrize("images", [1, 16])
def test_no_window_is_ever_in_memory(images):
    geometry = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    arrays = example(np.float32, geometry, images=images, size=30)
    x, w, c = arrays
    graph = traced(geometry, *arrays)
    # Other layouts of the operands, and the cotangent with a margin; windows are 6 times the image.
    margin = c.nbytes * 2
    for output in graph.outputs:
        alone = compile_graph(Graph(graph.inputs, [output]), {})
        assert alone.arena_bytes <= 1.3 * (x.nbytes + w.nbytes + margin)
    # Both gradients may be computed side by side, each with copies of its own.
    windows = c.size // c.shape[1] * w[0].size * x.itemsize
    assert compile_graph(graph, {}).arena_bytes < windows

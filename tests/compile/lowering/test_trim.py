"""Kernels make what is read of their results, and no more."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import F, compiled, graph_of, reference, same_bits
from wengert.compile.emit.llvm import machine
from wengert.compile.lowering.lower import lower_graph
from wengert.compile.lowering.trim import trim

RNG = np.random.default_rng(3)


def shapes_of(function, *arrays, after=True):
    """Return the spaces of the kernels of a function, largest first, trimmed or not."""
    program = lower_graph(graph_of(function, *arrays), machine())
    if after:
        trim(program)
    return sorted((k.shape for k in program.kernels), key=math.prod, reverse=True)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def check(function, *arrays):
    graph = graph_of(function, *arrays)
    same_bits(compiled(graph, arrays), reference(graph, arrays))


@pytest.mark.parametrize("index", [(slice(2, 9),), (slice(0, 4), slice(3, 5)), (slice(9, 1, -2),)])
def test_only_the_part_that_a_slice_shows_is_made(index):
    x, y = draw(10, 12), draw(12)
    size = np.empty((10, 12))[index].size

    def f(x, y):
        return F.absolute(F.getitem(x + y, index) * 2.0)

    assert math.prod(shapes_of(f, x, y, after=False)[0]) == 120
    assert math.prod(shapes_of(f, x, y)[0]) < 120
    assert math.prod(shapes_of(f, x, y)[0]) >= size
    check(f, x, y)


def test_parts_that_are_read_separately_are_made_together():
    x = draw(20, 6)

    def f(x):
        y = x * 3.0
        return F.getitem(y, (slice(4, 7),)) + F.getitem(y, (slice(9, 12),))

    assert shapes_of(f, x)[0] == (8, 6)
    check(f, x)


def test_sums_and_products_of_which_a_part_is_wanted():
    x, y = draw(30, 20), draw(20, 40)

    def f(x, y):
        part = F.getitem(F.matmul(x, y), (slice(3, 8), slice(30, 40)))
        return part, F.getitem(F.sum(x, axis=1), (slice(1, 3),))

    shapes = shapes_of(f, x, y)
    assert (5, 10) in shapes
    assert (2,) in shapes
    graph = graph_of(f, x, y)
    for found, wanted in zip(compiled(graph, [x, y]), reference(graph, [x, y]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_what_is_read_as_a_whole_is_left_alone():
    x = draw(10, 12)

    def f(x):
        y = x * 3.0
        return F.getitem(y, (slice(1, 2),)), y + 1.0

    assert shapes_of(f, x) == shapes_of(f, x, after=False)
    check(f, x)


def test_what_is_read_at_computed_places_is_left_alone():
    x, index = draw(10), np.array([1, 2, 2])

    def f(x, i):
        return F.take(x * 3.0, i, axis=0)

    assert (10,) in shapes_of(f, x, index)
    check(f, x, index)


def test_the_gradient_of_a_padded_convolution_is_made_without_its_borders():
    x, w = wg.tensor(draw(2, 3, 12, 12)), wg.tensor(draw(4, 3, 3, 3))

    def loss(x):
        return wg.sum(wg.nn.functional.conv2d(x, w, padding=1) ** 2)

    step = wg.compile(wg.grad(loss))
    products = [math.prod(k.shape) for k in step.plan(x).kernels if k.kind == "product"]
    assert sorted(products) == [2 * 3 * 12 * 12, 2 * 4 * 12 * 12]
    np.testing.assert_allclose(step(x).numpy(), wg.grad(loss)(x).numpy(), rtol=1e-4, atol=1e-4)

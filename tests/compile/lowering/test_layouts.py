"""Copies of factors of products: one for all that need it, and never of what was there before."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import F, results_of
from wengert.compile.emit.arrays import Buffer, dense
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels.product import Product
from wengert.compile.lowering.layouts import arrange, laid_out
from wengert.compile.lowering.lower import Lowering, Program

FLOAT32 = np.dtype(np.float32)
ROWS, INNER, COLUMNS = 8, 40, 64  # too few rows for panels
MACHINE = Machine(vector_bytes=64, registers=32, fma=True, masks=True, avx512=True)
SHORT = Machine(vector_bytes=32, registers=16, fma=True, masks=False)


@pytest.mark.parametrize("written", [False, True])
def test_what_is_written_is_copied_again(written):
    x = dense(Buffer(4 * ROWS * INNER, 0), (ROWS, INNER), FLOAT32)
    weights = dense(Buffer(4 * COLUMNS * INNER, 1), (COLUMNS, INNER), FLOAT32)
    program = Program(first_constant=4, inputs=(x, weights))
    lowering = Lowering(program, (), MACHINE, "test")

    def product():
        shape = ROWS, COLUMNS, INNER
        left, right = x.with_axes(shape, (INNER, 0, 1)), weights.with_axes(shape, (0, INNER, 1))
        return lowering.product(left, right, 2)

    first = product()
    if written:
        lowering.write(weights, lambda e, w: e.add(w, 1), weights)
    program.results = first, product()
    arrange(program, {})
    one, other = (k for k in program.kernels if isinstance(k, Product))
    assert "copy" in {label for k in program.kernels for label in k.labels}
    assert (one.y.buffer is not other.y.buffer) == written


def test_short_vectors_make_copies_dearer():
    x = dense(Buffer(4 * ROWS * INNER, 0), (ROWS, INNER), FLOAT32)
    weights = dense(Buffer(4 * COLUMNS * INNER, 1), (COLUMNS, INNER), FLOAT32)
    shape = ROWS, COLUMNS, INNER
    copied = []
    for machine in (MACHINE, SHORT):
        program = Program(first_constant=4, inputs=(x, weights))
        left, right = x.with_axes(shape, (INNER, 0, 1)), weights.with_axes(shape, (0, INNER, 1))
        program.results = (Lowering(program, (), machine, "test").product(left, right, 2),)
        arrange(program, {})
        copied.append("copy" in {label for k in program.kernels for label in k.labels})
    assert copied == [True, False]


@pytest.mark.parametrize(("rows", "pitch"), [(32, 128), (33, 144)])
def test_rows_are_spread_over_the_cache_only_if_they_do_not_fit_into_it(rows, pitch):
    x = dense(Buffer(4 * rows * 128), (rows, 128), FLOAT32)
    assert laid_out(x, 1, True).strides == (pitch, 1)


@pytest.mark.parametrize("parameter", [0, 1, None])
def test_vectors_are_made_of_data_where_it_costs_the_same(parameter):
    n = 64
    inputs = tuple(dense(Buffer(4 * n * n, slot), (n, n), FLOAT32) for slot in range(2))
    program = Program(first_constant=4, inputs=inputs)
    shape = n, n, n
    left, right = inputs[0].with_axes(shape, (n, 0, 1)), inputs[1].with_axes(shape, (0, n, 1))
    Lowering(program, (), MACHINE, "test").product(left, right, 2)
    arrange(program, {} if parameter is None else {0: parameter})
    (product,) = (k for k in program.kernels if isinstance(k, Product))
    rows = inputs[parameter or 0]
    assert product.x.buffer is rows.buffer


def test_rows_that_would_be_pages_apart_are_taken_along_another_axis():
    n, far, inner = 8, 4096, 16
    x = dense(Buffer(4 * n * far, 0), (n, far), FLOAT32)
    weights = dense(Buffer(4 * n * inner * 64, 1), (inner, 64), FLOAT32)
    program = Program(first_constant=3, inputs=(x, weights))
    shape = n, n, 64, inner
    left, right = x.with_axes(shape, (far, 1, 0, n)), weights.with_axes(shape, (0, 0, 1, 64))
    program.results = (Lowering(program, (), MACHINE, "test").product(left, right, 3),)
    arrange(program, {})
    (product,) = program.kernels
    assert isinstance(product, Product)
    assert product.x.strides[:-1] == (far, 1, 0)


def test_a_factor_without_axes_does_not_hide_that_the_factors_change_places():
    x = np.arange(33.0 * 5 * 5).reshape(33, 5, 5)

    def body(x):
        ones = F.ones((33, 5, 64), dtype=np.dtype(np.float64))
        along_rows = F.matmul(x, ones)
        along_columns = F.matmul(F.permute_dims(ones, (0, 2, 1)), x)
        return along_rows + F.permute_dims(along_columns, (0, 2, 1))

    (found,) = results_of(body, x)
    sums = x.sum(2)[:, :, None] + x.sum(1)[:, :, None]
    np.testing.assert_array_equal(found, np.broadcast_to(sums, found.shape))

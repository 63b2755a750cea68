"""What products decide for a processor: what is copied, what is done together."""

from __future__ import annotations

import numpy as np
import pytest

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels import panels
from wengert.compile.kernels.kernel import Store
from wengert.compile.kernels.nodes import Result
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.tiling import Split, covering


def product_on(vector_bytes, shape, turned=False):
    """Return a product for a processor with vectors of so many bytes, its rows turned or not."""
    rows, terms, columns = shape
    wide = vector_bytes == 64
    made = Machine(vector_bytes, 32 if wide else 16, fma=True, masks=wide)
    dtype = np.dtype(np.float32)
    x, y = Buffer(4 * rows * terms, 0), Buffer(4 * terms * columns, 1)
    space = rows, columns, terms
    left = Strided(x, dtype, space, (1, 0, rows) if turned else (terms, 0, 1))
    right = Strided(y, dtype, space, (0, 1, columns))
    result = Result(0, dtype)
    target = Strided(Buffer(4 * rows * columns, 2), dtype, space[:2], (columns, 1))
    return Product(left, right, 2, [Store(target, result)], result, made)


@pytest.mark.parametrize(("terms", "vector_bytes"), [(256, 32), (1024, 64)])
def test_smaller_factors_are_copied_where_vectors_are_short(terms, vector_bytes):
    shape = 300, terms, 256
    assert product_on(vector_bytes, shape).panels
    assert not product_on(vector_bytes, (300, terms - 1, 256)).panels
    assert not product_on(vector_bytes, (panels.ROWS - 1, terms, 256)).panels


def test_factors_whose_vectors_are_in_two_lines_are_copied():
    assert product_on(64, (64, 100, 100)).panels
    assert not product_on(64, (63, 100, 100)).panels
    assert not product_on(64, (64, 80, 100)).panels  # near enough
    assert not product_on(64, (64, 100, 112)).panels  # each vector is a line
    assert not product_on(32, (64, 100, 100)).panels


def test_rows_of_tiles_that_are_short_of_a_line_are_copied_together():
    shape = 1024, 1024, 256
    for vector_bytes, together in ((32, 2), (64, 4)):
        assert panels.Layout(product_on(vector_bytes, shape, turned=True)).together == together
        assert panels.Layout(product_on(vector_bytes, shape)).together == 0


def test_tiles_take_few_instructions_where_vectors_are_long():
    square, alone = (256, 256, 256), (13, 2)
    assert largest(product_on(64, square)) == (6, 4)
    assert largest(product_on(64, (1024, 1024, 1024))) == (6, 4)
    assert largest(product_on(64, (1024, 1024, 256), turned=True)) == alone  # panels are far away
    assert largest(product_on(64, (1024, 2048, 64), turned=True)) == (6, 4)  # no panels
    assert largest(product_on(32, square)) == (6, 2)


def test_the_last_tile_begins_early_rather_than_be_smaller_if_that_is_cheap():
    assert product_on(64, (256, 256, 256)).tiling.rows == Split(43, 6, overlap=2)
    assert product_on(64, (10, 256, 256)).tiling.rows == Split(2, 5)
    assert product_on(64, (252, 256, 256)).tiling.rows == Split(42, 6)


@pytest.mark.parametrize("length", range(1, 30))
def test_parts_cover_a_length(length):
    for size in range(1, length + 1):
        parts = covering(length, size)
        places = [range(parts.start(i), parts.start(i) + size) for i in range(parts.parts)]
        assert sorted({place for part in places for place in part}) == list(range(length))
        assert sum(map(len, places)) == length + parts.overlap
        assert [part.start for part in places[:-1]] == [size * i for i in range(parts.parts - 1)]


def largest(kernel):
    """Return the most rows and vectors of a tile."""
    return kernel.tiling.rows.most, kernel.tiling.vectors.most


@pytest.mark.parametrize(("terms", "at_once"), [(7, 1), (8, 2), (9, 3)])
def test_small_tiles_add_two_terms_in_a_turn(terms, at_once):
    kernel = product_on(32, (4, terms, 24))
    module = Module(kernel.machine)
    kernel.emit(Function(module), None)
    (tile,) = (text for text in module.text().split("define ") if "phi" in text and "fma" in text)
    assert tile.count("call <8 x float> @llvm.fma") == 12 * at_once

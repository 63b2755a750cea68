"""Sums over rows that are far apart: as without strips, bit by bit, and read in order."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, reference, same_bits, shared_finely
from wengert.compile.emit.llvm import machine
from wengert.compile.kernels import reduce, strips
from wengert.compile.kernels.reduce import Reduce
from wengert.compile.lowering import rounds
from wengert.compile.lowering.pipeline import prepare

pytestmark = pytest.mark.usefixtures("any_processor")

RNG = np.random.default_rng(3)
dtypes = pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.int16], ids=["float32", "float64", "int16"]
)


@pytest.fixture
def everywhere(monkeypatch):
    """Sum in narrow strips even what is small and near."""
    monkeypatch.setattr(reduce, "FAR", 0)
    monkeypatch.setattr(reduce, "PITCH", 0)
    monkeypatch.setattr(strips, "STRIP", 512)


def column_by_column(graph, inputs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduce, "FAR", 1 << 40)
        return compiled(graph, inputs)


def drawn(shape, dtype):
    return (RNG.standard_normal(shape) * 9).astype(dtype)


def sums(x):
    return F.sum(x, axis=0), F.max(x, axis=0), F.argmin(x, axis=0), F.prod(x, axis=0)


@dtypes
@pytest.mark.parametrize("rows", [2, 7, 8, 9, 61])
@pytest.mark.parametrize("columns", [2, 31, 64, 65, 200, 331])
def test_strips_change_no_bit(rows, columns, dtype, everywhere, monkeypatch):
    x = drawn((rows, columns), dtype)
    x[rows // 2, columns // 3] = 7
    if dtype != np.int16:
        x[1, columns // 2], x[0, 0] = np.nan, -0.0
    graph = graph_of(sums, x)
    found = compiled(graph, [x])
    same_bits(found, column_by_column(graph, [x]))
    shared_finely(monkeypatch)
    same_bits(compiled(graph, [x], 2), found)


@pytest.mark.parametrize("columns", [5, 70, 300])
def test_terms_and_what_is_made_of_their_sums(columns, everywhere, monkeypatch):
    """A row, a column and a number take part in the terms, and epilogues in what is stored."""
    x, y, w = (RNG.standard_normal(shape) for shape in ((37, columns), 37, columns))

    def f(x, y, w):
        centred = F.exp(x - w) * F.expand_dims(y, 1)
        return (
            F.tanh(F.sum(centred * 0.1, axis=0) + w),
            F.logsumexp(x, axis=0),
            F.matmul(y, x),
            F.sum(x * x, axis=0) / F.sum(x, axis=0),
        )

    graph = graph_of(f, x, y, w)
    found = compiled(graph, [x, y, w])
    for value, wanted in zip(found, reference(graph, [x, y, w]), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-11, atol=1e-11)
    same_bits(found, column_by_column(graph, [x, y, w]))
    shared_finely(monkeypatch)
    same_bits(compiled(graph, [x, y, w], 3), found)


def test_blocks_of_rows(everywhere, monkeypatch):
    monkeypatch.setattr(rounds, "LONGEST", 16)
    x = RNG.standard_normal((75, 90)).astype(np.float32)
    graph = graph_of(sums, x)
    found = compiled(graph, [x])
    same_bits(found, column_by_column(graph, [x]))
    np.testing.assert_allclose(found[0], x.sum(0, dtype=np.float64), rtol=1e-5, atol=1e-5)


def reduction_of(function, *shapes):
    arrays = [np.empty(shape, np.float32) for shape in shapes]
    kernels = prepare(graph_of(function, *arrays), {}, machine()).kernels
    return next(kernel for kernel in kernels if isinstance(kernel, Reduce))


def test_only_far_rows_of_large_arrays_are_summed_in_strips():
    assert reduction_of(lambda x: F.sum(x, axis=0), (1000, 2000)).far_apart
    assert not reduction_of(lambda x: F.sum(x, axis=0), (1000, 1000)).far_apart
    assert not reduction_of(lambda x: F.sum(x, axis=0), (20_000, 100)).far_apart
    assert not reduction_of(lambda x: F.sum(x, axis=1), (1000, 2000)).far_apart
    assert not reduction_of(F.sum, (1000, 2000)).far_apart


def test_columns_of_far_rows_are_cut_into_few_chunks():
    kernel = reduction_of(lambda x: F.sum(x, axis=0), (1000, 5000))
    assert 2 <= kernel.grid.chunks <= 8
    assert kernel.grid.step >= 1024


@pytest.mark.parametrize("length", [1024, 1025, 1797, 2000, 4999, 5000, 10_007, 100_000])
def test_blocks_leave_little_over(length):
    step = rounds.block(length)
    assert rounds.LONGEST // 2 < step <= rounds.LONGEST
    assert step % 16 == 0
    assert length % step <= length % rounds.LONGEST
    assert length % step < 64


def test_rows_are_summed_from_their_beginning_to_their_end():
    """The sums of a row's blocks are beside each other: the matrix is read as it lies."""
    kernel = reduction_of(lambda x: F.sum(x, axis=1), (300, 5000))
    target = kernel.writes[0]
    rows, blocks = kernel.shape.index(300), kernel.shape.index(6)
    assert target.strides[rows] > target.strides[blocks]
    assert kernel.space.lengths[:2] == (300, 6)

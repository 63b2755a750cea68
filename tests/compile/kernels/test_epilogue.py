"""What is stored of products: the same bits in loops and unrolled, for tiles of all shapes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, same_bits, shared_finely
from wengert.compile.emit.ir import Module
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels import epilogue, panels, product
from wengert.compile.kernels.tiling import Tiling, covering, split
from wengert.compile.native import translate

RNG = np.random.default_rng(5)
MACHINES = (
    Machine(16, 16, False, False),
    Machine(32, 16, True, False),
    Machine(64, 32, True, True),
)
SHAPES = [*itertools.product((1, 5, 13, 29), (3, 16, 21, 70)), (40, 1)]


def stored(x, y, each, row, column, one):
    """Return products with what differs at each place, by rows, by columns, and nowhere."""
    z = F.matmul(x, y)
    rows, columns = F.exp(row), F.tanh(column * one)
    return F.tanh(z * columns + rows) * each, z + F.sqrt(one * one) * rows


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.vector_bytes}x{m.registers}")
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_loops_give_the_bits_of_unrolled_code(machine, dtype, monkeypatch):
    monkeypatch.setattr(translate, "machine", lambda: machine)
    inputs = []
    for rows, columns in SHAPES:
        shapes = (rows, 7), (7, columns), (rows, columns), (rows, 1), (columns,), ()
        inputs += [np.asarray(RNG.standard_normal(shape), dtype) for shape in shapes]

    def f(*operands):
        groups = [operands[i : i + 6] for i in range(0, len(operands), 6)]
        return tuple(value for group in groups for value in stored(*group))

    graph = graph_of(f, *inputs)
    found = []
    for dear in (0, 10**6):
        monkeypatch.setattr(epilogue, "DEAR", dear)
        found.append(compiled(graph, inputs))
    same_bits(*found)
    for i, (first, second) in enumerate(zip(found[0][::2], found[0][1::2], strict=True)):
        x, y, each, row, column, one = (a.astype(np.longdouble) for a in inputs[6 * i : 6 * i + 6])
        z, rows = x @ y, np.exp(row)
        # A sum of 7 terms, and functions of a few units in the last place, of slope 1 at most.
        bound = 20 * np.finfo(dtype).eps * (np.abs(x) @ np.abs(y) + (1 + np.abs(one)) * rows + 1)
        wanted = np.tanh(z * np.tanh(column * one) + rows) * each
        assert np.all(np.abs(first - wanted) <= bound * np.abs(each))
        assert np.all(np.abs(second - z - np.abs(one) * rows) <= bound)


def test_a_dear_epilogue_is_code_for_one_vector(monkeypatch):
    x, y = (RNG.standard_normal((96, 96)).astype(np.float32) for _ in range(2))
    graph = graph_of(lambda x, y: F.tanh(F.matmul(x, y)), x, y)
    lengths = []

    def text(module):
        lengths.append(len(original(module)))
        return original(module)

    original = Module.text
    monkeypatch.setattr(Module, "text", text)
    for dear in (0, 10**6):
        monkeypatch.setattr(epilogue, "DEAR", dear)
        compiled(graph, [x, y])
    assert 4 * lengths[0] < lengths[1]


def cut_by(parts):
    """Return how to cut rows into tiles of at most four by a rule, columns into two vectors."""

    def tile(machine, dtype, rows, columns, *_):
        lanes = machine.lanes(dtype)
        return Tiling(parts(rows, min(rows, 4)), split(max(1, -(-columns // lanes)), 2), lanes)

    return tile


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.vector_bytes}x{m.registers}")
@pytest.mark.parametrize("dear", [0, 10**6], ids=["loops", "unrolled"])
@pytest.mark.parametrize("copied", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("turned", [False, True], ids=["rows", "turned"])
def test_rows_that_two_tiles_have_are_stored_once(machine, dear, copied, turned, monkeypatch):
    monkeypatch.setattr(translate, "machine", lambda: machine)
    monkeypatch.setattr(epilogue, "DEAR", dear)
    if copied:
        for name, value in (("FAR", 0), ("ROWS", 2), ("FEW", 2), ("PAGE", 1 << 20)):
            monkeypatch.setattr(panels, name, value)
        monkeypatch.setattr(panels, "STRIP", 1 << 12)
    for rows in (4, 5, 6, 7, 8, 11):
        shapes = (rows, 41), ((200, rows) if turned else (rows, 200)), (200, 41), (41,), (rows, 1)
        dtype = np.float64 if rows % 2 else np.float32
        inputs = [RNG.standard_normal(shape).astype(dtype) for shape in shapes]

        def step(w, x, y, column, row):
            x = F.permute_dims(x, (1, 0)) if turned else x
            product = F.matmul(x, y)
            return w * row - F.tanh(column) * product, product + column

        graph = graph_of(step, *inputs)
        found = []
        for parts in (split, covering):
            monkeypatch.setattr(product, "tile", cut_by(parts))
            found.append(compiled(graph, inputs, o0=0))
        same_bits(*found)
        with monkeypatch.context() as patch:
            shared_finely(patch)
            same_bits(compiled(graph, inputs, threads=2, o0=0), found[0])

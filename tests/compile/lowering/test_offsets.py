"""Intermediate arrays in the memory of outputs, and when they must not stand there."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import (
    F,
    assert_apart,
    compiled,
    graph_of,
    reference,
    same_bits,
    shared_finely,
)
from wengert.compile.emit.llvm import machine
from wengert.compile.lowering.pipeline import prepare

RNG = np.random.default_rng(7)
N = 40


def draw(*shape):
    return RNG.integers(-2, 3, shape).astype(np.float64)


def lent(function, *inputs, lasting=()):
    """Return the program of a function, and the number of outputs whose memory is lent."""
    graph = graph_of(function, *inputs)
    program = prepare(graph, {}, machine(), lasting)
    return program, assert_apart(program)


def first_and_last(x, w):
    """Return an array that is made at the end of a row of products."""
    for _ in range(2):
        x = F.relu(F.matmul(w, F.relu(F.matmul(x, w))))
    return F.matmul(w, F.matmul(x, w)), F.sum(x)


@pytest.mark.parametrize("grain", ["as it is", "finely"])
def test_what_is_over_before_an_output_is_made_stands_in_its_memory(grain, monkeypatch):
    if grain == "finely":
        shared_finely(monkeypatch)
    inputs = draw(N, N), draw(N, N)
    program, count = lent(first_and_last, *inputs)
    assert count == 1
    assert program.arena_bytes < 3 * N * N * 8
    graph = graph_of(first_and_last, *inputs)
    for threads in (1, 2):
        same_bits(compiled(graph, inputs, threads), reference(graph, inputs))


def test_what_an_output_is_made_of_stands_elsewhere():
    program, count = lent(lambda x, w: (F.matmul(F.matmul(x, w), w),), draw(N, N), draw(N, N))
    assert count == 0
    assert program.arena_bytes >= N * N * 8


def test_what_is_too_large_stands_elsewhere():
    def f(x, w):
        return F.sum(F.matmul(F.relu(F.matmul(F.relu(F.matmul(x, w)), w)), w), axis=0)

    assert lent(f, draw(N, N), draw(N, N))[1] == 0


def test_memory_of_an_input_that_an_output_takes_over_is_not_lent():
    inputs = draw(N, N), draw(N, N)
    graph = graph_of(first_and_last, *inputs)
    program = prepare(graph, {0: 0}, machine())
    assert assert_apart(program) == 0
    same_bits(compiled(graph, inputs, o0=0), reference(graph, inputs))


def looked_up(x, w, rows):
    """Return an array that is made after rows are looked up, which may fail."""
    x = F.relu(F.matmul(x, w))
    y = F.matmul(F.relu(F.matmul(F.take(x, rows, axis=0), w)), w)
    return F.matmul(F.matmul(y, w), w), F.sum(x)


def test_what_lasts_is_lent_after_all_checks():
    """Kernels that write there do nothing after a failure."""
    inputs = draw(N, N), draw(N, N), RNG.integers(0, N, N)
    program, count = lent(looked_up, *inputs, lasting=[0])
    assert count == 1
    slot = len(program.inputs)
    writers = [k for k in program.kernels if any(x.buffer.slot == slot for x in k.writes)]
    assert len(writers) > 1
    assert all(kernel.lasting for kernel in writers)


def test_what_lasts_is_not_lent_before_a_check():
    """What the check looks at, and all before it, is made earlier."""

    def f(x, w):
        rows = F.astype(F.matmul(F.relu(F.matmul(x, w)), w), np.dtype("int64"))
        return F.matmul(F.take(x, F.getitem(rows, (0,)), axis=0), w)

    inputs = draw(N, N), draw(N, N)
    assert lent(f, *inputs)[1] == 1
    assert lent(f, *inputs, lasting=[0])[1] == 0


def test_integers_do_not_stand_in_what_lasts():
    """They may say where something is: they are read until the end, also after a failure."""

    def f(x, w, rows):
        looked = F.matmul(F.take(x, rows, axis=0), w)
        order = F.argsort(looked, axis=1)
        count = F.sum(order * F.flip(order, 1), axis=0)
        return F.matmul(F.relu(F.matmul(F.matmul(x, w) + count, w)), w)

    inputs = draw(N, N), draw(N, N), RNG.integers(0, N, N)
    program, count = lent(f, *inputs, lasting=[0])
    assert count == 1
    kinds = [x.dtype.kind for k in program.kernels for x in k.writes if x.buffer.slot == 3]
    assert "i" not in kinds
    program, _ = lent(f, *inputs)
    kinds = [x.dtype.kind for k in program.kernels for x in k.writes if x.buffer.slot == 3]
    assert "i" in kinds

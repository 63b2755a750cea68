"""Thousands of random programs: native code gives what the reference gives, however it is made."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.fuzz.generator import program
from tests.compile.fuzz.oracle import compare, expectations
from tests.compile.fuzz.running import changed, failure, run
from tests.compile.programs import same_bits
from wengert.compile.emit import llvm

BLOCK = 25


def expected(drawn):
    """Return what is expected, or the error that a call must raise."""
    try:
        return expectations(drawn.graph, drawn.inputs), None
    except (ZeroDivisionError, IndexError) as error:
        return None, type(error)


def check(seed, monkeypatch):
    """Run the program number `seed` as it is, cut otherwise, and on a lesser processor."""
    drawn = program(seed)
    wanted, error = expected(drawn)
    rng = np.random.default_rng(seed)
    if wanted is None:
        lasting = np.flatnonzero(rng.integers(0, 2, len(drawn.graph.outputs)))
        for threads in (1, 2):
            with changed(rng, tree=True) as how:
                found = failure(drawn, threads, lasting.tolist())
            assert type(found) is error, f"program {seed}, {how}: {found}"
        return
    whole = run(drawn, 1, taken=False)
    agree(seed, whole, wanted, "as it is")
    with changed(rng, tree=False) as how:
        cut = run(drawn, int(rng.integers(1, 3)), taken=bool(rng.integers(2)))
    same_bits(cut, whole, f"program {seed}, {how}")
    with changed(rng, tree=True) as how:
        agree(seed, run(drawn, 2, taken=True), wanted, how)
    for processor in llvm.processors():
        with monkeypatch.context() as patch:
            patch.setenv("WENGERT_CPU", processor)
            found = run(drawn, 1, taken=True)
            agree(seed, found, wanted, processor)


def agree(seed, found, wanted, how):
    wrong = compare(found, wanted)
    assert not wrong, f"program {seed}, {how}: {wrong}"


@pytest.mark.parametrize("first", range(0, 8, 4))
def test_some(first, monkeypatch):
    for seed in range(first, first + 4):
        check(seed, monkeypatch)


def test_one_that_rounds_where_a_slope_is_zero(monkeypatch):
    check(200200, monkeypatch)


@pytest.mark.parametrize("seed", [20024, 20414, 20438, 20861, 20969])
def test_some_that_fail(seed, monkeypatch):
    assert expected(program(seed))[0] is None
    check(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 2100, BLOCK))
def test_many(first, monkeypatch):
    for seed in range(first, first + BLOCK):
        check(seed, monkeypatch)

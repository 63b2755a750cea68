"""Telling whether another program has the processor's second hardware thread."""

import itertools

from wengert.bench import neighbour
from wengert.bench.neighbour import Neighbour


def scripted(monkeypatch, *seconds):
    """Let the loops last so many seconds: in turn chain, idle, chain."""
    times = itertools.chain(seconds, itertools.repeat(1.0))
    monkeypatch.setattr(neighbour, "_seconds", lambda loop: next(times))
    monkeypatch.setattr(neighbour, "CALIBRATION", 1)
    return Neighbour()


def test_idle_instructions_that_take_twice_as_long_tell_of_a_neighbour(monkeypatch):
    found = scripted(monkeypatch, 1, 1, 1, 1, 2, 1, 1, 1.1, 1)
    assert [found.absent(), found.absent()] == [False, True]


def test_a_slower_clock_tells_nothing(monkeypatch):
    assert scripted(monkeypatch, 1, 1, 1, 3, 3, 3).absent()


def test_an_interrupt_of_the_chain_does_not_raise_the_best_rate(monkeypatch):
    found = scripted(monkeypatch, 1, 1, 1, 9, 1, 1)
    assert found.absent()
    assert found.best == 1


def test_a_better_rate_is_learnt(monkeypatch):
    found = scripted(monkeypatch, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    assert [found.absent(), found.best, found.absent()] == [True, 1, False]


def test_the_loops_run_and_their_rate_is_a_number():
    found = Neighbour()
    assert 0.1 < found.best < 10
    assert found.absent() in {True, False}

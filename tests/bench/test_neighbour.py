"""Telling whether another program has the processor's second hardware thread."""

import itertools

from wengert.bench import neighbour
from wengert.bench.neighbour import Neighbour


def scripted(monkeypatch, *rates):
    """Let idle instructions start at such rates, after one of 1 that is confirmed."""
    seconds = itertools.chain.from_iterable((rate, 1.0) for rate in (1, 1, 1, *rates))
    monkeypatch.setattr(neighbour, "_seconds", lambda loop: next(seconds))
    monkeypatch.setattr(neighbour, "CALIBRATION", 1)
    return Neighbour()


def test_idle_instructions_that_take_twice_as_long_tell_of_a_neighbour(monkeypatch):
    found = scripted(monkeypatch, 0.5, 1, 0.9)
    assert [found.absent() for _ in range(3)] == [False, True, True]


def test_a_rate_that_is_not_confirmed_is_not_believed(monkeypatch):
    found = scripted(monkeypatch, 9, 1, 9, 9, 9, 0.5)
    assert [found.absent(), found.best] == [True, 1]
    assert [found.absent(), found.best] == [False, 1]


def test_a_better_rate_is_learnt(monkeypatch):
    found = scripted(monkeypatch, 2, 2, 2, 1)
    assert [found.absent(), found.best, found.absent()] == [True, 2, False]


def test_the_loops_run_and_their_rate_is_a_number():
    found = Neighbour()
    assert 0.1 < found.best < 10
    assert found.absent() in {True, False}

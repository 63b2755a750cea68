"""Telling whether another program has the processor's second hardware thread."""

import pytest

from wengert.bench import neighbour
from wengert.bench.neighbour import IssueRate, judged


def reply(*groups):
    return {"median": 99.0, "minimum": 98.0, "groups": groups}


def test_calls_beside_another_program_on_the_processor_do_not_count():
    alone = [(float(i), 1.0 - i / 100) for i in range(1, 6)]
    (one,) = judged([{"a": reply(*alone, (70.0, 0.55), (80.0, 0.5))}])
    assert one["a"]["alone"]
    assert (one["a"]["median"], one["a"]["minimum"]) == (3.0, 1.0)


def test_if_one_worker_is_hardly_ever_alone_all_calls_of_all_workers_count():
    quiet, loud = reply(*[(1.0, 1.0)] * 20), reply(*[(1.0, 1.0)] * 3, *[(2.0, 0.5)] * 17)
    first, second = judged([{"a": quiet, "b": loud}, {"a": quiet, "b": quiet}])
    assert [first[name]["alone"] for name in "ab"] == [False, False]
    assert [first[name]["median"] for name in "ab"] == [99.0, 99.0]
    assert [second[name]["alone"] for name in "ab"] == [True, True]


def test_single_rates_that_are_too_high_change_nothing():
    groups = [(1.0, 1.0)] * 60 + [(5.0, 9.0)] * 2
    (one,) = judged([{"a": reply(*groups)}])
    assert (one["a"]["alone"], one["a"]["median"]) == (True, 1.0)


def test_one_threshold_holds_for_all_rounds():
    before, after = ({"a": reply(*[(1.0, rate)] * 10)} for rate in (0.5, 1.0))
    assert [one["a"]["alone"] for one in judged([before])] == [True]  # nothing better is known
    assert [one["a"]["alone"] for one in judged([before, after])] == [False, True]


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_a_single_long_call_is_alone_or_not(rate):
    other = {"a": reply(*[(1.0, 1.0)] * 9)}
    (one, _) = judged([{"a": reply((1.0, rate))}, other])
    assert one["a"]["alone"] == (rate == 1.0)


def test_the_rate_is_of_idle_turns_to_turns_of_the_chain(monkeypatch):
    times = iter([3.0, 2.0])
    monkeypatch.setattr(neighbour, "_seconds", lambda loop: next(times))
    assert IssueRate()() == 1.5


def test_the_loops_run():
    assert IssueRate()() > 0

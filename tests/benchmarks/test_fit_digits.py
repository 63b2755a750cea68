"""The benchmark of whole trainings: what is trained, and how the times are told."""

import json

import pytest

from benchmarks import fit_digits
from benchmarks.fit_digits import Case, tables, timed
from benchmarks.peers import digits
from wengert.bench.harness import cores_for

ANSWER = {"imports": 1.0, "fits": [8.0, 2.0, 9.0, 3.0], "worked": [7.0, 1.0, 2.0, 6.0]}


def test_times_by_their_names():
    assert timed(Case("wengert", 0.3), ANSWER) == {
        "first, code on the disk": 8.0,
        "with imports": 9.0,
        "again": 3.0,
        "again, of processors": 2.0,
    }
    assert timed(Case("wengert", cold=True), ANSWER) == {"first, nothing on the disk": 8.0}


def test_what_keeps_no_code_has_one_first_training():
    found = timed(fit_digits.PEER, ANSWER)
    assert found["first, nothing on the disk"] == found["first, code on the disk"] == 8.0


def test_ratios_are_taken_within_rounds():
    times = {"no dropout": [1.0, 10.0], "as by default": [2.0, 10.0], "scikit-learn": [6.0, 60.0]}
    page, reached = tables(
        {name: {"again": values} for name, values in times.items()}, {"no dropout": [0.5, 1.0]}
    )
    row = page.splitlines()[-1]
    assert "**6.00** [6.00, 6.00], target ≥ 5: met" in row
    assert "**4.50** [3.75, 5.25], target ≥ 5: missed" in row
    assert reached.endswith("no dropout 75.0 %.")


def test_without_scikit_learn_there_are_times_alone():
    times = {"no dropout": {"again": [1.0]}, "as by default": {"again": [2.0]}}
    page, _ = tables(times, {})
    assert page.splitlines()[-1].endswith("| – | – |")


SYSTEMS = ["wengert", pytest.param("scikit-learn", marks=pytest.mark.peers)]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_training_learns_the_digits(system, capsys):
    if system == "scikit-learn":
        pytest.importorskip("sklearn")
    processors = ",".join(map(str, cores_for(None)))
    digits.main(system, "0", "1", processors)
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["fits"]) == len(answer["worked"]) == 1
    assert answer["accuracies"][0] > 0.95

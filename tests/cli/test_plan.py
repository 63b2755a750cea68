"""The command `wengert plan`: what it prints, and how mistakes end."""

from __future__ import annotations

import pytest

from wengert.bench.memory import prediction_memory, training_memory
from wengert.bench.workload import Workload
from wengert.cli.main import main


def plan(*arguments):
    """Run the command and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["plan", *arguments])
    return ended.value.code


def test_prediction_and_training_are_shown_for_every_optimiser(capsys):
    assert plan("--net", "8-16-4", "--batch", "10") == 0
    title, heads, *rows = capsys.readouterr().out.splitlines()
    assert title == "8-16-4 (10)"
    assert heads.split()[:6] == ["weights", "state", "batch", "arena", "scratch", "total"]
    names = [row.split("  ")[0].strip() for row in rows]
    assert names == ["prediction", "training, sgd", "training, momentum", "training, adam"]
    assert all("848 B" in row for row in rows)  # 8·16 + 16 + 16·4 + 4 numbers of four bytes


def test_details_show_kernels_and_arrays(capsys):
    assert plan("--net", "8-16-4", "--optimizer", "sgd", "--details") == 0
    shown = capsys.readouterr().out
    assert "training, momentum" not in shown
    assert "operations" in shown
    assert "array of" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["mnits"], "There is no network 'mnits'"), (["--batch", "0"], "--batch must be from 1")],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, message, capsys):
    assert plan(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_momentum_keeps_the_weights_once_and_adam_twice():
    sgd, momentum, adam = (
        training_memory(Workload((8, 16, 4), 10, optimizer=name))
        for name in ("sgd", "momentum", "adam")
    )
    weights = sgd.parameters
    assert 0 <= momentum.state - weights < 100
    assert 0 <= adam.state - 2 * weights < 200
    predict = prediction_memory(Workload((8, 16, 4), 10))
    assert predict.parameters == weights
    assert predict.total < sgd.total

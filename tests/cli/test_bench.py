"""The command `wengert bench`, in this process: what it prints, and how mistakes end."""

from __future__ import annotations

import pytest

from wengert.cli.main import main

BRIEF = ["--rounds", "1", "--seconds", "0.002"]


def bench(*arguments):
    """Run the command and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    return ended.value.code


def test_a_network_is_measured_beside_numpy(capsys):
    assert bench("--net", "5-4-3", "--batch", "6", "--against", "numpy", *BRIEF) == 0
    shown = capsys.readouterr()
    assert "5-4-3 (6), 1 thread" in shown.out
    rows = [line.split("│")[1:-1] for line in shown.out.splitlines() if line.startswith("│")]
    assert [row[0].strip() for row in rows] == ["Wengert", "NumPy by hand"]
    assert all(row[4].strip().endswith(" %") for row in rows)
    assert rows[0][-1].strip().endswith(" B")
    assert "time than NumPy by hand." in shown.out
    assert "GFLOP/s" in shown.out.splitlines()[-2] + shown.out.splitlines()[-1]
    assert shown.err.startswith("5-4-3 (6): Wengert ")


def test_a_library_that_cannot_is_left_out_with_the_reason(capsys):
    arguments = ["--net", "5-4-3", "--activation", "gelu", "--against", "numpy"]
    assert bench(*arguments, *BRIEF) == 0
    shown = capsys.readouterr()
    assert "NumPy by hand skipped for 5-4-3 (32) gelu: NumPy has no error function" in shown.err
    assert "NumPy" not in shown.out


def test_what_hinders_the_processes_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("WENGERT_CPU", "abacus")
    assert bench("--net", "5-3", *BRIEF) == 2
    assert "WENGERT_CPU=abacus: this processor can stand for " in capsys.readouterr().err


def test_quiet_shows_the_tables_only(capsys):
    assert bench("--net", "5-3", "--quiet", *BRIEF) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnits"], "There is no network 'mnits'"),
        (["--net", "10"], "--net must be two or more widths"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--against", "keras"], "--against must be jax, torch"),
        (["--batch", "many"], "'many' is not a valid integer"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, message, capsys):
    assert bench(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1

"""The command itself, in a process of its own: help, version, Ctrl-C, pipes, what it loads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wengert

COMMAND = [sys.executable, "-W", "error", "-m", "wengert.cli"]


def run(*arguments, **settings):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, **settings
    )


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"wengert {wengert.__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_teaches_with_examples(arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "wengert train digits" in done.stdout
    assert "wengert train houses.csv --target price" in done.stdout
    assert "wengert predict runs/houses-1 new.csv" in done.stdout


@pytest.mark.parametrize("command", ["train", "predict", "bench"])
def test_each_command_has_examples(command):
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout


def test_an_unknown_command_is_one_sentence():
    done = run("trian")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "trian" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WENGERT_THREADS", "0"),
        ("WENGERT_CACHE", "yes"),
        ("WENGERT_CPU", "abacus"),
        ("WENGERT_PRINT_PASSES", "none"),
    ],
)
def test_an_environment_variable_that_makes_no_sense_is_one_sentence(name, value):
    done = run("plan", "tiny", env={**os.environ, "WENGERT_CACHE": "0", name: value})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"Error: {name}")
    assert value in done.stderr


def test_help_loads_neither_the_network_nor_rich():
    code = """
import atexit, sys
from wengert.cli.main import main
atexit.register(lambda: print("loaded", *sys.modules))
main(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & {"rich", "safetensors", "llvmlite", "wengert.nn", "wengert.train"}


def test_a_narrow_terminal_encoding_is_no_mistake(tmp_path):
    (tmp_path / "data.csv").write_text("x,y\n" + "".join(f"{i},{i * 1.5}\n" for i in range(20)))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    arguments = ("train", "data.csv", "--target", "y", "--epochs", "1")
    done = run(*arguments, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "The run is in runs" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_ctrl_c_leaves_a_whole_run_and_no_traceback(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "train", "digits", "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if line.startswith("Epoch 1/"):
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("Stopped by Ctrl-C after epoch ")
    assert "accuracy" in out
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-1"]
    predicted = run("predict", "runs/digits-1", "digits", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_a_killed_training_leaves_nothing_that_looks_like_a_run(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "train", "digits", "--epochs", "100000"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stderr:
            if line.startswith("Epoch 1/"):
                break
        process.kill()
    left = list((tmp_path / "runs").iterdir())
    assert [path.name for path in left] == [".digits-1.partial"]
    done = run("predict", str(left[0]), "digits", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not a run of `wengert train`" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes are those of POSIX")
def test_a_reader_that_leaves_early_is_no_mistake(tmp_path):
    done = run("train", "digits", "--epochs", "1", "--hidden", "8", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    command = " ".join([*COMMAND, "predict", "run", "digits", "--quiet", "| head -n 1"])
    piped = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout == "line,prediction,probability\n"
    assert piped.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("arguments", [("--help",), ("train", "table.csv", "--target", "y")])
def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path, arguments):
    (tmp_path / "table.csv").write_text("x,y\n" + "".join(f"{i},{i * 1.5}\n" for i in range(20)))
    more = () if arguments == ("--help",) else ("--epochs", "1", "--hidden", "4")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments, *more],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last == "Error: The output cannot be written: No space left on device."
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="the shell is that of POSIX")
def test_closed_streams_are_no_mistake(tmp_path):
    command = " ".join([*COMMAND, "train digits --epochs 1 --hidden 4 --out run >&- 2>&-"])
    done = subprocess.run(command, shell=True, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert run("predict", "run", "digits", cwd=tmp_path).returncode == 0


def test_a_narrow_terminal_loses_no_number(tmp_path):
    environment = {**os.environ, "COLUMNS": "20"}
    arguments = ("train", "digits", "--epochs", "1", "--hidden", "4", "--quiet")
    done = run(*arguments, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert (
        "│ part                 │ accuracy │ cross-entropy │  rows │".replace("│", "┃")
        in done.stdout
    )
    assert "…" not in done.stdout

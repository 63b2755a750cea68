"""``wengert train``: what it prints, writes, and how it refuses bad input."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from wengert.cli.main import main
from wengert.train.loop import Trainer
from wengert.train.options import Options


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command line in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, [str(each) for each in arguments])

    return run


@pytest.fixture
def write(tmp_path):
    def write(*lines, name="data.csv", encoding="utf-8"):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding=encoding)
        return name

    return write


def sales(count=40):
    return [
        "size,kind,sold",
        *(f"{i},{'abc'[i % 3]},{'yes' if i > 20 else 'no'}" for i in range(count)),
    ]


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(result, *, code=2):
    """Check that a command ended with one sentence and return it."""
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().splitlines()
    assert "Traceback" not in result.output
    assert len(lines) == 1, result.stderr
    return lines[0]


QUICK = ("--epochs", 3, "--hidden", 4)


def test_a_csv_file_is_trained_on(run, write, tmp_path):
    result = run("train", write(*sales()), "--target", "sold", *QUICK)
    assert result.exit_code == 0, result.output
    assert everything(tmp_path / "runs") == sorted(
        [
            "data-1",
            *(
                f"data-1/{name}"
                for name in (
                    "config.json",
                    "curve.svg",
                    "metrics.csv",
                    "model.safetensors",
                    "preprocessing.json",
                )
            ),
        ]
    )
    assert "Columns: 1 number (size) and 1 category (kind: 3)." in result.stderr
    assert "classification into 2 classes" in result.stderr
    for word in ("accuracy", "train", "validation", "test", "baseline: always 'no'"):
        assert word in result.stdout
    assert "The run is in runs/data-1." in result.stdout
    assert "Next: wengert predict runs/data-1 NEW.csv" in result.stdout


def test_all_choices_arrive(run, write, tmp_path):
    result = run(
        *("train", write(*sales()), "--target", "size", "--hidden", "5,6", "--activation", "tanh"),
        *("--optimizer", "sgd", "--lr", "0.02", "--batch-size", 7, "--epochs", 2),
        *("--dropout", 0.1, "--weight-decay", 0.01, "--validation", 0.2, "--test", 0.25),
        *("--seed", 9, "--task", "regression", "--ignore", "kind", "--out", "here/run"),
    )
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "here" / "run" / "config.json").read_text())
    assert config["options"] == {
        "hidden": [5, 6],
        "activation": "tanh",
        "optimizer": "sgd",
        "lr": 0.02,
        "batch_size": 7,
        "epochs": 2,
        "dropout": 0.1,
        "weight_decay": 0.01,
        "validation": 0.2,
        "test": 0.25,
        "seed": 9,
    }
    assert config["task"] == "regression"
    assert config["network"]["inputs"] == 2
    assert "R²" in result.stdout
    assert "RMSE" in result.stdout


def test_quiet_shows_the_table_only(run, write):
    result = run("train", write(*sales()), "--target", "sold", *QUICK, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "accuracy" in result.stdout
    assert "Next:" not in result.stdout


def test_force_replaces_a_run(run, write, tmp_path):
    arguments = ("train", write(*sales()), "--target", "sold", *QUICK, "--out", "run")
    assert run(*arguments).exit_code == 0
    before = everything(tmp_path)
    assert "--out run exists" in refused(run(*arguments))
    assert run(*arguments, "--force", "--seed", 1).exit_code == 0
    assert everything(tmp_path) == before
    assert json.loads((tmp_path / "run" / "config.json").read_text())["options"]["seed"] == 1


NUMBERS = ["x,y", *(f"{i},{i % 2}" for i in range(20))]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([""], r"data\.csv is empty\."),
        (["x,y"], r"data\.csv has a header but no rows\."),
        (["x,y", "1,2", "1,2,3"], r"data\.csv, line 3: 3 cells, but the header has 2\."),
        (["x,y,x", "1,2,3"], r"more than one column is called 'x'\."),
        (["x,z", "1,2"], r"data\.csv has no column 'y'; its columns are x, z\."),
        (["x,y", *(f"{i},same" for i in range(20))], r"'y' has one class only, 'same'"),
        ([*NUMBERS, "big,0"], r"data\.csv, line 22, column 'x': 'big' is not a number"),
        ([*NUMBERS, "nan,0"], r"data\.csv, line 22, column 'x': 'nan' is not finite"),
        ([*NUMBERS, "1,inf"], r"data\.csv, line 22, column 'y': 'inf' is not finite"),
        (NUMBERS[:6], r"5 rows with a target: at least 10 are needed"),
        (['"x\nz",y', *(f"{i},{'abc'[i % 3]}" for i in range(20)), "big,a"], r"'x\\nz': 'big' is"),
    ],
)
def test_a_bad_file_ends_with_one_sentence_and_no_run(run, write, tmp_path, lines, sentence):
    name = write(*lines)
    assert re.search(sentence, refused(run("train", name, "--target", "y")))
    assert everything(tmp_path) == [name]


def test_a_column_name_of_two_lines_is_quoted_on_one(run, write):
    name = write('"x\nz",y', "1,2")
    assert "its columns are x z, y." in refused(run("train", name, "--target", "q"))


def test_a_file_in_another_encoding(run, write):
    name = write("x,y", "é,1", encoding="latin-1")
    assert "line 2: byte 0xe9 is not UTF-8" in refused(run("train", name, "--target", "y"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.csv", "--target", "y"], "There is no file nothing.csv."),
        ([".", "--target", "y"], ". is a directory; give a CSV file."),
        (["digit"], "There is no file digit. Did you mean 'digits'?"),
        (["data.csv"], "Say which column of data.csv to predict with --target"),
        (["data.csv", "--target", "Y1"], "Did you mean 'y'?"),
        (["digits", "--target", "label"], "The target of digits is 'digit', not 'label'."),
        (["digits", "--hidden", "8,x"], "--hidden must be whole numbers separated by commas"),
        (["digits", "--hidden", "-3"], "--hidden must list widths from 1"),
        (["digits", "--lr", "-1"], "--lr must be a number above 0, got -1.0."),
        (["digits", "--lr", "fast"], "Invalid value for '--lr': 'fast' is not a valid float."),
        (["digits", "--epochs", "0"], "--epochs must be a whole number at least 1, got 0."),
        (["digits", "--epochs", "1.5"], "'1.5' is not a valid integer."),
        (["digits", "--batch-size", "0"], "--batch-size must be a whole number at least 1"),
        (["digits", "--dropout", "1"], "--dropout must be a number at least 0 and below 1"),
        (["digits", "--weight-decay", "-1"], "--weight-decay must be a number at least 0"),
        (["digits", "--validation", "2"], "--validation must be a number above 0 and below 1"),
        (["digits", "--seed", "-1"], "--seed must be a whole number from 0"),
        (["digits", "--activation", "relo"], "Did you mean 'relu'?"),
        (["digits", "--optimizer", "lion"], "--optimizer must be adam or sgd, got 'lion'."),
        (["digits", "--task", "guess"], "--task must be classification or regression"),
        (["digits", "--epoch", "3"], "No such option '--epoch'"),
        (["digits", "--out", "data.csv"], "--out data.csv is a file"),
        (["digits", "--out", "data.csv/run"], "--out data.csv/run cannot be written"),
        (["digits", "--out", "."], "--out . has no name of its own"),
        ([], "Missing argument 'DATA'."),
    ],
)
def test_a_bad_choice_ends_with_one_sentence_and_no_run(run, write, tmp_path, arguments, sentence):
    write(*NUMBERS)
    assert sentence in refused(run("train", *arguments, "--quiet"))
    assert everything(tmp_path) == ["data.csv"]


def test_a_loss_that_is_no_number_ends_with_one_sentence_and_no_run(run, write, tmp_path):
    name = write("x,y", *(f"{i},{i * 1.5}" for i in range(40)))
    arguments = ("--target", "y", "--lr", "1e30", "--optimizer", "sgd", "--quiet")
    sentence = refused(run("train", name, *arguments))
    assert re.search(
        r"The loss became (nan|inf) in epoch \d+ of 40: .* try a smaller --lr", sentence
    )
    assert everything(tmp_path) == [name]


@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c_ends_with_one_sentence_and_code_130(run, write, tmp_path, monkeypatch, epoch):
    train_epoch = Trainer._train_epoch

    def interrupted(self, number):
        train_epoch(self, number)
        if number == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train_epoch", interrupted)
    result = run("train", write(*sales()), "--target", "sold", *QUICK, "--quiet")
    sentence = refused(result, code=130)
    if epoch == 1:
        assert sentence == "Stopped by Ctrl-C before the first epoch ended; nothing was written."
        assert everything(tmp_path) == ["data.csv"]
    else:
        assert sentence == (
            "Stopped by Ctrl-C after epoch 2 of 3; the run so far is in runs/data-1."
        )
        assert "accuracy" in result.stdout
        assert (tmp_path / "runs" / "data-1" / "config.json").exists()


def test_help_states_the_defaults_that_hold(run):
    text = " ".join(run("train", "--help").output.split())
    defaults = Options()
    for name, value in [
        ("hidden", "256"),
        ("batch-size", defaults.batch_size),
        ("epochs", defaults.epochs),
        ("dropout", defaults.dropout),
        ("weight-decay", 0),
        ("validation", defaults.validation),
        ("test", defaults.test),
        ("seed", defaults.seed),
        ("optimizer", defaults.optimizer),
    ]:
        described = text.split(f"--{name} ")[1].split("--")[0]
        assert f"[default: {value}]" in described, name
    assert defaults.hidden == (256,)


def test_a_long_cell_is_shortened(run, write):
    path = write("x,y", "9" * 5000 + ",1", *(f"{i},{i % 2}" for i in range(30)))
    message = refused(run("train", path, "--target", "y"))
    assert f"line 2, column 'x': '{'9' * 40}…' is not finite" in message


def test_a_weight_decay_out_of_bounds_is_named(run, write):
    path = write("x,y", *(f"{i},{i % 2}" for i in range(40)))
    result = run("train", path, "--target", "y", "--weight-decay", "1e300", "--epochs", "2")
    assert result.exit_code == 2
    assert (
        "try a smaller --lr than 0.001, or a smaller --weight-decay than 1e+300." in result.stderr
    )
    assert "RuntimeWarning" not in result.stderr

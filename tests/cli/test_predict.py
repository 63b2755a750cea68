"""``wengert predict``: predictions as CSV, remarks beside them, and refusals."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from wengert.cli.main import main
from wengert.train import fit

ROWS = [f"{i},{'abc'[i % 3]},{'yes' if i > 20 else 'no'}" for i in range(40)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data.csv").write_text("\n".join(["size,kind,sold", *ROWS]))
    result = fit(
        folder / "data.csv",
        target="sold",
        hidden=(8,),
        epochs=5,
        out=folder / "run",
        progress=False,
    )
    return folder, result


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A directory with the run and some files, and the result that the run came from."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained[0] / "run", "run")
    (tmp_path / "new.csv").write_text("kind,size\na,1\nb,39\n")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["predict", *arguments])


def refused(result):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    return lines[0]


def test_predictions_are_those_of_the_network_in_memory(place, trained):
    result = run("run", "new.csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    expected = trained[1].predict(place / "new.csv")
    assert [row["line"] for row in rows] == ["2", "3"]
    assert [row["prediction"] for row in rows] == expected.values.tolist()
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows], expected.probabilities.max(axis=1), atol=1e-6
    )
    assert result.stderr == ""


def test_predictions_go_to_a_file(place):
    on_screen = run("run", "new.csv").stdout
    result = run("run", "new.csv", "--out", "answers.csv")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert (place / "answers.csv").read_text() == on_screen
    assert "2 predictions written to answers.csv." in result.stderr


def test_the_score_is_reported_where_the_target_is_there(place, trained):
    result = run("run", str(trained[0] / "data.csv"))
    assert "Accuracy " in result.stderr
    assert "on 40 rows with a known sold." in result.stderr
    assert "Most of these rows were trained on: this score is no test." in result.stderr
    (place / "other.csv").write_text("size,kind,sold\n1,a,no\n39,b,yes\n")
    result = run("run", "other.csv")
    assert "on 2 rows with a known sold." in result.stderr
    assert "trained on" not in result.stderr


def test_remarks_go_to_standard_error_and_can_be_silenced(place):
    (place / "odd.csv").write_text("size;kind;more\n1,5;z;x\n")
    loud, quiet = run("run", "odd.csv"), run("run", "odd.csv", "--quiet")
    assert loud.stdout == quiet.stdout
    assert quiet.stderr == ""
    for remark in (
        "Cells are separated by semicolons.",
        "Numbers are written with a decimal comma.",
        "Left out: 1 column the network was not trained with (more).",
        "Column 'kind': 'z' was not in the training rows (1 row)",
    ):
        assert remark in loud.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing", "new.csv"], "There is no run nothing."),
        (
            ["new.csv", "new.csv"],
            "new.csv is a file; give the directory that",
        ),
        ([".", "new.csv"], ". is not a run of `wengert train`: it has no config.json."),
        (["run", "nothing.csv"], "There is no file nothing.csv."),
        (
            ["run", "bare.csv"],
            "bare.csv lacks the column 'kind' that the network",
        ),
        (["run", "text.csv"], "text.csv, line 3, column 'size': 'big' is not a number"),
        (["run", "ragged.csv"], "ragged.csv, line 3: 1 cell, but the header has 2."),
        (["run", "digits"], "digits: its features"),
        (
            ["run", "new.csv", "--out", "bare.csv"],
            "--out bare.csv exists; replace it with --f",
        ),
        (["run", "new.csv", "--out", "new.csv", "--force"], "--out new.csv is the file to"),
        (["run", "new.csv", "--out", "run", "--force"], "--out run exists."),
        (["run", "new.csv", "--out", "no/where.csv"], "--out no/where.csv cannot be written"),
        (["run", "new.csv", "--out", ""], "--out needs the name of a file."),
        (
            ["run", "scored.csv", "--out", "scored.csv", "--force"],
            "--out scored.csv is the file to",
        ),
        (["run"], "Missing argument 'DATA'."),
    ],
)
def test_bad_input_ends_with_one_sentence(place, arguments, sentence):
    (place / "bare.csv").write_text("size\n1\n")
    (place / "scored.csv").write_text("size,kind,sold\n1,a,no\n")
    (place / "text.csv").write_text("size,kind\n1,a\nbig,b\n")
    (place / "ragged.csv").write_text("size,kind\n1,a\n2\n")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert sentence in refused(run(*arguments))
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damaged_weights_are_refused(place, damage):
    weights = place / "run" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "missing":
        weights.unlink()
    else:
        content[-1] ^= 64
        weights.write_bytes(content if damage == "flipped" else content[:-20])
    sentence = refused(run("run", "new.csv"))
    assert "model.safetensors" in sentence
    assert ("incomplete" if damage == "missing" else "truncated or tampered with") in sentence


def test_a_score_without_a_loss_shows_a_dash(place):
    (place / "strange.csv").write_text("size,kind,sold\n1,a,maybe\n")
    assert "cross-entropy –, on 1 row" in run("run", "strange.csv").stderr


NOT_OURS = {
    "deep": ("config.json", lambda value: None, "config.json is damaged: it is not JSON."),
    "no network": (
        "config.json",
        lambda value: value | {"network": {}},
        "do not describe the network in model.safetensors (KeyError: 'inputs'); train it again.",
    ),
    "no columns": (
        "preprocessing.json",
        lambda value: value | {"columns": []},
        "do not describe the network in model.safetensors (ValueError: a network of 4 → 8 → 2 for",
    ),
}


@pytest.mark.parametrize("name", NOT_OURS)
def test_files_that_do_not_fit_together_are_refused(place, name):
    file, changed, sentence = NOT_OURS[name]
    path = place / "run" / file
    value = changed(json.loads(path.read_text()))
    path.write_text("[" * 100_000 if value is None else json.dumps(value))
    if file != "config.json":
        config = json.loads((place / "run" / "config.json").read_text())
        config["sha256"][file] = hashlib.sha256(path.read_bytes()).hexdigest()
        (place / "run" / "config.json").write_text(json.dumps(config))
    assert sentence in refused(run("run", "new.csv"))

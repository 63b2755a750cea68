"""Predicting CSV files: columns by name, unknown values, scores, and damaged runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wengert.data import UserError, dataset_from_arrays
from wengert.train import fit, load_run
from wengert.train.loop import load_weights
from wengert.train.rundir import CONFIG, METRICS, PREPROCESSING, WEIGHTS

HEADER = "size,kind,sold"


def rows(count):
    return [f"{i},{'abc'[i % 3]},{['no', 'yes'][i % 2]}" for i in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def sold(folder):
    """A run that predicts a class."""
    path = folder / "sold.csv"
    path.write_text("\n".join([HEADER, *rows(30)]))
    fit(path, target="sold", hidden=(4,), epochs=2, out=folder / "sold", progress=False)
    return folder / "sold"


@pytest.fixture(scope="module")
def size(folder):
    """A run that predicts a number."""
    path = folder / "size.csv"
    path.write_text("\n".join([HEADER, *rows(30)]))
    fit(path, target="size", hidden=(4,), epochs=2, out=folder / "size", progress=False)
    return folder / "size"


@pytest.fixture
def write(tmp_path):
    def write(*lines):
        path = tmp_path / "new.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_columns_are_found_by_name_in_any_order(sold, write):
    run = load_run(sold)
    straight = run.predict(write("size,kind", "1,a", "2,b"))
    turned = run.predict(write("kind,size", "a,1", "b,2"))
    assert np.array_equal(straight.probabilities, turned.probabilities)
    assert straight.lines == (2, 3)
    assert straight.score is None
    assert straight.notes == ()


def test_extra_columns_are_left_out_and_said(sold, write):
    run = load_run(sold)
    predictions = run.predict(write("size,extra,kind,more", "1,x,a,y"))
    assert predictions.notes == (
        "Left out: 2 columns the network was not trained with (extra, more).",
    )
    expected = run.predict(write("size,kind", "1,a")).probabilities
    assert np.array_equal(predictions.probabilities, expected)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("size,sold", r"lacks the column 'kind' that the network was trained with\."),
        ("Size,kind", r"lacks the column 'size' .* Did you mean 'Size'\?"),
        ("a,b", r"lacks 2 columns 'size', 'kind' that"),
    ],
)
def test_missing_columns_are_refused_by_name(sold, write, header, message):
    with pytest.raises(UserError, match=message):
        load_run(sold).predict(write(header, "1,2"))


def test_probabilities_are_those_of_the_chosen_class(sold, write):
    predictions = load_run(sold).predict(write("size,kind", "1,a", "29,c"))
    assert set(predictions.values) <= {"no", "yes"}
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0)
    lines = predictions.to_csv().splitlines()
    assert lines[0] == "line,prediction,probability"
    line, label, chance = lines[1].split(",")
    assert (line, label) == ("2", predictions.values[0])
    assert float(chance) == pytest.approx(predictions.probabilities[0].max(), abs=1e-6)


def test_numbers_come_back_in_their_unit(size, write):
    predictions = load_run(size).predict(write("kind,sold", "a,no", "b,yes"))
    assert predictions.probabilities is None
    assert predictions.values.dtype == np.float64
    lines = predictions.to_csv().splitlines()
    assert lines[0] == "line,prediction"
    assert float(lines[2].split(",")[1]) == pytest.approx(predictions.values[1], rel=1e-8)


def test_the_score_is_that_of_the_rows_with_a_target(sold, write):
    predictions = load_run(sold).predict(write(HEADER, "1,a,no", "2,b,", "3,c,yes", "4,a,perhaps"))
    assert len(predictions.values) == 4
    assert predictions.score.rows == 3
    truth = np.array(["no", "yes", "perhaps"])
    assert predictions.score.score == (predictions.values[[0, 2, 3]] == truth).mean()
    assert predictions.notes == (
        "Target 'sold': 'perhaps' was not among the training classes (1 row, counted as wrong).",
    )


def test_a_regression_is_scored_in_its_unit(size, write):
    predictions = load_run(size).predict(write("size,kind,sold", "1,a,no", "20,b,yes"))
    error = np.sqrt(np.mean((predictions.values - [1.0, 20.0]) ** 2))
    assert predictions.score.error == pytest.approx(error, rel=1e-5)


def test_unknown_categories_and_missing_cells_are_said(sold, write):
    predictions = load_run(sold).predict(write("size,kind", ",a", "1,z", "2,"))
    assert len(predictions.values) == 3
    assert len(predictions.notes) == 2
    assert predictions.notes[0].startswith("Column 'size': 1 missing cell taken as the training me")
    assert "a missing cell, 'z' was not in the training rows (2 rows)" in predictions.notes[1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["size,kind", "1,a", "big,a"], r"line 3, column 'size': 'big' is not a number"),
        (["size,kind", "nan,a"], r"line 2, column 'size': 'nan' is not finite"),
        (["size,kind", "1,NaN"], r"line 2, column 'kind': 'NaN' is not a value"),
        (["size,kind", "1e300,a"], r"Column 'size' has numbers too large for float32"),
        (["size,kind", "1"], r"line 2: 1 cell, but the header has 2"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(sold, write, lines, message):
    with pytest.raises(UserError, match=message):
        load_run(sold).predict(write(*lines))


def test_a_text_as_the_target_of_a_regression_is_refused(size, write):
    with pytest.raises(UserError, match=r"line 2, column 'size': 'big' is not a number\."):
        load_run(size).predict(write(HEADER, "big,a,no"))


def test_a_row_far_from_training_whose_answer_is_not_finite_is_refused():
    x = np.linspace(0.0, 1e-3, 30)[:, None]
    result = fit((x, np.arange(30) * 1.5), hidden=(4,), epochs=1, progress=False)
    huge = {name: np.full(v.shape, 1e30) for name, v in result.model.state_dict().items()}
    load_weights(result.model, {name: v.astype(np.float32) for name, v in huge.items()})
    with pytest.raises(UserError, match=r"The row at 0 is so far from the training rows"):
        result.predict([[1e30]])


def test_whole_numbers_written_otherwise_are_the_same_class(folder, write):
    path = folder / "classes.csv"
    path.write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(30)))
    result = fit(path, target="y", hidden=(4,), epochs=1, progress=False)
    assert result.predict(write("x,y", "1,1.0", "2,0")).notes == ()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([[1.0]], r"need the shape \(rows, 2\), got \(1, 1\)"),
        (3.0, r"need the shape \(rows, 2\), got \(\)"),
        ([["a", "b"]], r"are not an array of numbers"),
        ([[1.0, 2.0], [3.0, np.nan]], r"must be finite; row 1, column 'x1' is nan"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(features, message):
    x = np.arange(40.0).reshape(20, 2)
    result = fit((x, x[:, 0] / 3), hidden=(), epochs=1, progress=False)
    with pytest.raises(UserError, match=message):
        result.predict(features)


def test_categories_need_a_file(sold):
    with pytest.raises(UserError, match=r"trained with categories \(kind\): predict a CSV file"):
        load_run(sold).predict([[1.0, 2.0]])


def test_a_data_set_with_other_columns_is_refused():
    x = np.arange(40.0).reshape(20, 2)
    result = fit((x, x[:, 0] / 3), hidden=(), epochs=1, progress=False)
    other = dataset_from_arrays(x, x[:, 0] / 3, feature_names=["a", "b"])
    with pytest.raises(UserError, match=r"\(a, b\) are not those of training \(x0, x1\)"):
        result.predict(other)


def test_labels_with_commas_are_quoted(folder, write):
    path = folder / "commas.csv"
    path.write_text("x,y\n" + '1,"a, ""b"""\n2,"c\nd"\n' * 10)
    result = fit(path, target="y", hidden=(8,), epochs=60, lr=0.05, progress=False)
    text = result.predict(write("x", "1", "2")).to_csv()
    assert '\n2,"a, ""b""",' in text
    assert '\n3,"c\nd",' in text


def copy_run(source, target):
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("name", [WEIGHTS, PREPROCESSING])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_a_damaged_run_is_refused(sold, tmp_path, name, damage):
    run = copy_run(sold, tmp_path / "run")
    content = bytearray((run / name).read_bytes())
    if damage == "missing":
        (run / name).unlink()
    elif damage == "flipped":
        content[-3] ^= 1
        (run / name).write_bytes(content)
    else:
        (run / name).write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    message = r"incomplete: it has no" if damage == "missing" else r"SHA-256 is not the one in"
    with pytest.raises(UserError, match=message):
        load_run(run)


def change_config(run, change):
    config = json.loads((run / CONFIG).read_text())
    change(config)
    (run / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("network"), r"is damaged: .*network"),
        (lambda config: config["network"].update(hidden=[5]), r"is damaged: "),
        (lambda config: config["network"].update(activation="exp"), r"is damaged: .*'exp'"),
        (lambda config: config.pop("sha256"), r"is not the file that training wrote"),
        (lambda config: config.update(sha256=[]), r"is not the file that training wrote"),
    ],
)
def test_a_changed_configuration_is_refused(sold, tmp_path, change, message):
    run = copy_run(sold, tmp_path / "run")
    change_config(run, change)
    with pytest.raises(UserError, match=message):
        load_run(run)


def test_files_that_prediction_does_not_need_may_go(sold, tmp_path, write):
    run = copy_run(sold, tmp_path / "run")
    (run / METRICS).unlink()
    assert len(load_run(run).predict(write("size,kind", "1,a")).values) == 1

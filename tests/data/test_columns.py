"""From a CSV file to typed columns: which are numbers, which categories, which left out."""

from __future__ import annotations

import numpy as np
import pytest

from wengert.data import CategoryColumn, NumberColumn, UserError, read_csv


@pytest.fixture
def write(tmp_path):
    def write(header, *rows):
        path = tmp_path / "data.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return str(path)

    return write


def rows(count, form="{i},{k},{y}"):
    """Rows with a number, a category of three, and a class of two."""
    return [form.format(i=i, k="abc"[i % 3], y=["no", "yes"][i % 2]) for i in range(count)]


def test_numbers_and_categories_are_told_apart_and_said(write):
    frame = read_csv(write("size,kind,sold", *rows(12)), "sold")
    size, kind = frame.columns
    assert isinstance(size, NumberColumn)
    assert isinstance(kind, CategoryColumn)
    assert size.values.tolist() == list(range(12))
    assert kind.values[:3].tolist() == ["a", "b", "c"]
    assert frame.target.classes == ("no", "yes")
    assert frame.notes[1] == "Columns: 1 number (size) and 1 category (kind: 3)."
    assert frame.notes[2] == ("Target 'sold': classification into 2 classes (its cells are texts).")


def test_missing_cells_are_kept_as_missing_and_said(write):
    frame = read_csv(write("size,kind,sold", ",b,no", "1,,yes", *rows(12)), "sold")
    size, kind = frame.columns
    assert np.isnan(size.values[0])
    assert kind.values[1] == ""
    assert frame.notes[1].endswith("Missing cells: size 1, kind 1.")


def test_rows_without_a_target_are_left_out_and_said(write):
    frame = read_csv(write("size,kind,sold", "5,a,", *rows(12)), "sold")
    assert frame.rows == 12
    assert len(frame.columns[0].values) == 12
    assert "Left out: 1 row without a target." in frame.notes


def test_a_text_among_numbers_is_refused_with_its_line(write):
    message = (
        r"data\.csv, line 14, column 'size': 'big' is not a number; leave a missing cell empty, "
        r"or take the column as categories with --category 'size'\."
    )
    with pytest.raises(UserError, match=message):
        read_csv(write("size,kind,sold", *rows(12), "big,a,no"), "sold")


def test_a_column_of_numbers_can_be_taken_as_categories(write):
    path = write("size,kind,sold", *rows(12), "big,a,no")
    frame = read_csv(path, "sold", category=["size"])
    assert isinstance(frame.columns[0], CategoryColumn)


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-Infinity"])
def test_numbers_that_are_not_finite_are_refused(write, cell):
    with pytest.raises(UserError, match=rf"line 14, column 'size': '{cell}' is not finite"):
        read_csv(write("size,kind,sold", *rows(12), f"{cell},a,no"), "sold")


def test_nan_is_no_category(write):
    with pytest.raises(UserError, match=r"line 14, column 'kind': 'nan' is not a value"):
        read_csv(write("size,kind,sold", *rows(12), "1,nan,no"), "sold")


def test_columns_of_names_and_empty_columns_are_left_out_and_said(write):
    lines = [f"{i},person {i},,{['no', 'yes'][i % 2]}" for i in range(30)]
    frame = read_csv(write("size,who,note,sold", *lines), "sold")
    assert [column.name for column in frame.columns] == ["size"]
    notes = " ".join(frame.notes)
    assert "column 'who', whose 30 different texts look like names, not categories" in notes
    assert "column 'note', which is empty" in notes


def test_ignored_columns_are_not_looked_at(write):
    frame = read_csv(write("size,kind,sold", *rows(12), "x,a,no"), "sold", ignore=["size"])
    assert [column.name for column in frame.columns] == ["kind"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"target": "solt"},
            r"no column 'solt'; its columns are size, kind, sold\. "
            r"Did you mean 'sold'\?",
        ),
        ({"target": "zzz"}, r"no column 'zzz'; its columns are size, kind, sold\.$"),
        ({"target": None}, r"Say which column of .* to predict with --target"),
        ({"target": "sold", "ignore": ["siz"]}, r"no column 'siz'.*Did you mean 'size'\?"),
        ({"target": "sold", "category": ["sold"]}, r"'sold' cannot be ignored or made a category"),
        ({"target": "sold", "ignore": ["size", "kind"]}, r"no column to learn from"),
        (
            {"target": "sold", "task": "regression"},
            r"line 2, column 'sold': 'no' is not a number\.",
        ),
    ],
)
def test_wrong_choices_are_refused(write, arguments, message):
    with pytest.raises(UserError, match=message):
        read_csv(write("size,kind,sold", *rows(12)), **arguments)


def targets(*cells):
    return [f"{i},{cell}" for i, cell in enumerate(cells)]


@pytest.mark.parametrize(
    ("cells", "task", "classes"),
    [
        (["0", "1"] * 5, "classification", ("0", "1")),
        (["10.0", "9", "9.0", "10"] * 5, "classification", ("9", "10")),
        (["0.5", "1"] * 5, "regression", ()),
        ([str(i) for i in range(30)], "regression", ()),
        (["0", "1", "2"], "regression", ()),
        (["b", "a"] * 5, "classification", ("a", "b")),
        (["true", "false"] * 5, "classification", ("false", "true")),
    ],
)
def test_the_target_decides_the_task(write, cells, task, classes):
    frame = read_csv(write("x,y", *targets(*cells)), "y")
    assert frame.target.task == task
    assert frame.target.classes == classes


def test_class_indices_belong_to_the_sorted_classes(write):
    frame = read_csv(write("x,y", *targets(*["10", "9"] * 5)), "y")
    assert frame.target.classes == ("9", "10")
    assert frame.target.values.tolist() == [1, 0] * 5


def test_a_decision_that_can_be_changed_says_how(write):
    frame = read_csv(write("x,y", *targets(*["0", "1"] * 5)), "y")
    assert frame.notes[-1] == (
        "Target 'y': classification into 2 classes (whole numbers, 2 different ones); "
        "--task regression changes that."
    )


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_task_can_be_chosen(write, task):
    frame = read_csv(write("x,y", *targets(*["0", "1"] * 5)), "y", task=task)
    assert frame.target.task == task
    assert frame.notes[-1].endswith("(as asked).")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a"] * 12, r"'y' has one class only, 'a': there is nothing to learn"),
        (["1"] * 12, r"'y' has one class only, '1'"),
        (["1.5"] * 12, r"'y' is 1\.5 in every row"),
        ([""] * 12, r"the target column 'y' is empty"),
        ([f"w{i}" for i in range(12)], r"'y' has 12 different labels in 12 rows"),
        (["1", "2.5"] * 6 + ["x"], r"line 14, column 'y': 'x' is not a number; .*--task class"),
        (["1", "2.5"] * 6 + ["nan"], r"line 14, column 'y': 'nan' is not finite"),
        (["a", "b"] * 6 + ["nan"], r"line 14, column 'y': 'nan' is not a value"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(write, cells, message):
    with pytest.raises(UserError, match=message):
        read_csv(write("x,y", *targets(*cells)), "y")

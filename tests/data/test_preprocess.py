"""Preprocessing: learned from training rows only, kept as JSON, honest about the unknown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wengert.data import (
    CategoryColumn,
    Frame,
    NumberColumn,
    Preprocessor,
    Target,
    UserError,
    fit_preprocessor,
)

TRAIN = np.array([0, 1, 2, 3])
REST = np.array([4, 5])


def frame(one_unit=False, target=None):
    columns = (
        NumberColumn("size", np.array([1.0, 2.0, 3.0, np.nan, 100.0, np.nan])),
        CategoryColumn("kind", np.array(["b", "a", "", "a", "z", "b"])),
    )
    if one_unit:
        columns = (columns[0], NumberColumn("width", np.array([1.0, 1.0, 1.0, 1.0, 5.0, 5.0])))
    target = target or Target("y", "regression", (), np.array([2.0, 4.0, 6.0, 8.0, 90.0, 90.0]))
    return Frame("data", columns, target, one_unit=one_unit)


def take(columns, rows):
    return [type(each)(each.name, each.values[rows]) for each in columns]


def test_numbers_are_standardised_by_the_training_rows_alone():
    coded = fit_preprocessor(frame(), TRAIN).encode(frame().columns)
    assert coded.dtype == np.float32
    scale = np.std([1.0, 2.0, 3.0])
    expected = [-1 / scale, 0, 1 / scale, 0, 98 / scale, 0]
    np.testing.assert_allclose(coded[:, 0], expected, rtol=1e-6)


def test_categories_become_one_column_each_and_unknown_ones_none():
    preprocessor = fit_preprocessor(frame(), TRAIN)
    assert preprocessor.columns[1].categories == ("", "a", "b")
    coded = preprocessor.encode(frame().columns)[:, 1:]
    assert coded.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert preprocessor.width == 4


def test_missing_and_unknown_cells_are_said():
    preprocessor = fit_preprocessor(frame(), TRAIN)
    assert preprocessor.remarks(take(frame().columns, REST)) == (
        "Column 'size': 1 missing cell taken as the training mean 2.",
        "Column 'kind': 'z' was not in the training rows (1 row); no category is set there.",
    )
    assert preprocessor.remarks(take(frame().columns, TRAIN[:3])) == ()


def test_the_target_of_a_regression_goes_there_and_back():
    coding = fit_preprocessor(frame(), TRAIN).target
    values = frame().target.values
    assert coding.mean == 5.0
    coded = coding.encode(values)
    assert coded.shape == (6, 1)
    assert coded.dtype == np.float32
    np.testing.assert_allclose(coding.decode(coded), values, rtol=1e-6)


def test_columns_of_one_unit_share_mean_and_scale():
    size, width = fit_preprocessor(frame(one_unit=True), TRAIN).columns
    values = [1.0, 2.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    assert (size.mean, size.scale) == (width.mean, width.scale)
    assert size.mean == pytest.approx(np.mean(values))
    assert size.scale == pytest.approx(np.std(values))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e17, -3e-30])
def test_a_constant_column_is_not_blown_up(value):
    column = NumberColumn("x", np.full(6, value))
    constant = Frame("data", (column,), frame().target)
    coding = fit_preprocessor(constant, TRAIN).columns[0]
    assert coding.scale == 1.0


def test_a_column_missing_in_all_training_rows_is_zero():
    column = NumberColumn("x", np.array([np.nan] * 4 + [7.0, 8.0]))
    coding = fit_preprocessor(Frame("data", (column,), frame().target), TRAIN).columns[0]
    assert (coding.mean, coding.scale) == (0.0, 1.0)


@pytest.mark.parametrize(
    "target", [None, Target("y", "classification", ("no", "yes"), np.array([0, 1, 0, 1, 0, 1]))]
)
def test_json_keeps_everything(target):
    preprocessor = fit_preprocessor(frame(target=target), TRAIN)
    text = json.dumps(preprocessor.to_json())
    assert Preprocessor.from_json(json.loads(text)) == preprocessor


def test_numbers_too_large_for_the_deviation_are_refused():
    column = NumberColumn("x", np.array([1e200, -1e200, 1e308, 0.0, 0.0, 0.0]))
    with pytest.raises(UserError, match=r"Column 'x' has numbers too large to standardise"):
        fit_preprocessor(Frame("data", (column,), frame().target), TRAIN)


def test_a_number_far_beyond_training_is_refused():
    column = NumberColumn("x", np.array([1.0, 2.0, 3.0, 4.0, 1e300, 0.0]))
    preprocessor = fit_preprocessor(Frame("data", (column,), frame().target), TRAIN)
    with pytest.raises(UserError, match=r"Column 'x' has numbers too large for float32"):
        preprocessor.encode([column])


@pytest.mark.parametrize("value", [1e30, 1e17 + 16, 0.1, -3.0])
def test_a_constant_column_becomes_zeros_however_large_it_is(value):
    columns = (NumberColumn("size", np.full(7, value)),)
    target = Target("y", "regression", (), np.arange(7.0))
    made = fit_preprocessor(Frame("data", columns, target), np.arange(5))
    assert made.columns[0].scale == 1
    assert made.encode(columns).tolist() == [[0.0]] * 7

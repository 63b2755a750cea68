"""Arrays as data sets, and the digits that come with the package."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np
import pytest

import wengert.data
from wengert.data import Dataset, UserError, dataset_from_arrays, load_digits


def test_digits_are_the_numbers_of_the_file():
    file = resources.files("wengert.data").joinpath("digits", "digits.csv.gz")
    _, *lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    numbers = [[float(cell) for cell in line.split(",")] for line in lines]
    digits = load_digits()
    assert digits.features.tolist() == [row[:-1] for row in numbers]
    assert digits.targets.tolist() == [str(int(row[-1])) for row in numbers]


def test_digits_are_whole_grey_levels_of_every_class():
    digits = load_digits()
    assert digits.features.shape == (1797, 64)
    assert digits.features.dtype == np.float32
    assert set(np.unique(digits.features)) == set(range(17))
    assert digits.classes == tuple("0123456789")
    counts = [int((digits.targets == label).sum()) for label in digits.classes]
    assert counts == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.feature_names[:2] == ("pixel_0_0", "pixel_0_1")
    assert digits.one_unit


def test_the_first_digit_looks_like_a_zero():
    image = load_digits().features[0].reshape(8, 8)
    assert image[4].tolist() == [0, 5, 8, 0, 0, 9, 8, 0]


@pytest.mark.peers
def test_digits_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    ours = load_digits()
    assert np.array_equal(ours.features, theirs.data)
    assert np.array_equal(ours.targets.astype(int), theirs.target)


def test_digits_ship_with_their_origin_and_licence():
    origin = resources.files(wengert.data).joinpath("digits", "ORIGIN.md").read_text("utf-8")
    for word in ("Alpaydin", "Kaynak", "CC BY 4.0", "10.24432/C50P49", "What was changed"):
        assert word in origin


@pytest.mark.parametrize(
    ("targets", "task", "classes"),
    [
        ([0, 1] * 6, "classification", ("0", "1")),
        (np.array([True, False] * 6), "classification", ("False", "True")),
        (["cat", "dog"] * 6, "classification", ("cat", "dog")),
        (np.linspace(0, 1, 12), "regression", ()),
        (range(12), "regression", ()),
    ],
)
def test_the_targets_decide_the_task(targets, task, classes):
    data = dataset_from_arrays(np.zeros((12, 2)), targets)
    assert data.task == task
    assert data.classes == classes
    assert data.frame().target.task == task
    assert data.feature_names == ("x0", "x1")


@pytest.mark.parametrize(
    ("features", "targets", "task", "message"),
    [
        (["a", "b"], [0, 1], None, r"features are not an array of numbers"),
        ([1.0, 2.0], [0, 1], None, r"features need the shape \(rows, columns\), got \(2,\)"),
        (
            [[1.0], [2.0]],
            [0, 1, 2],
            None,
            r"targets need the shape \(2,\), one per row, got \(3,\)",
        ),
        ([[1.0], [2.0]], ["a", "b"], "regression", r"targets of regression must be numbers"),
        ([[1.0], [2.0]], [0.5, np.nan], None, r"the target of row 1 is nan"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(features, targets, task, message):
    with pytest.raises(UserError, match=message):
        dataset_from_arrays(features, targets, task=task)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_features_must_be_finite(bad):
    features = np.ones((12, 2))
    features[3, 1] = bad
    data = dataset_from_arrays(features, [0, 1] * 6)
    with pytest.raises(
        UserError, match=r"row 3, column 'x1' is (nan|inf); features must be finite"
    ):
        data.frame()


def test_a_data_set_of_wrong_shapes_is_refused():
    data = Dataset(np.zeros((2, 3), np.float32), np.zeros(2), ("a",), "y", "regression")
    with pytest.raises(
        UserError, match=r"shape \(2, 3\) do not go with 2 targets and 1 feature na"
    ):
        data.frame()


def test_a_data_set_without_columns_is_refused():
    data = Dataset(np.zeros((2, 0), np.float32), np.arange(2.0), (), "y", "regression")
    with pytest.raises(UserError, match=r"no features to learn from"):
        data.frame()

"""Data that is already numbers: arrays with names, and the digits that come with Wengert."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.data.errors import UserError, counted
from wengert.data.frame import Features, Frame, NumberColumn, Target, Task
from wengert.data.target import class_target, number_target, number_task, whole_labels

_MATRIX = 2  # dimensions


@dataclass(frozen=True)
class Dataset:
    """Features and targets as arrays.

    Attributes
    ----------
    features : ndarray, shape (rows, columns), float32
        One row per sample; finite.
    targets : ndarray, shape (rows,), str or float64
        Class labels as texts, or numbers.
    feature_names : tuple of str
        The name of each column.
    target_name : str
        What the targets are called.
    task : {"classification", "regression"}
        Whether the targets are classes or numbers.
    name : str
        A short name, used for the run directory.
    one_unit : bool
        Whether all features have one unit, as the pixels of an image do: they are then
        standardised with one mean and one scale, not each with its own.
    """

    features: Features
    targets: npt.NDArray[Any]
    feature_names: tuple[str, ...]
    target_name: str
    task: Task
    name: str = "data"
    one_unit: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The class labels in order; empty for regression."""
        return self._target().classes

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.features)

    def frame(self) -> Frame:
        """Return the data as typed columns, ready for training.

        Raises
        ------
        UserError
            If shapes disagree, a value is not finite, or there is nothing to learn.
        """
        if self.features.shape != (len(self.targets), len(self.feature_names)):
            raise UserError(
                f"{self.name}: features of shape {self.features.shape} do not go with "
                f"{counted(len(self.targets), 'target')} and "
                f"{counted(len(self.feature_names), 'feature name')}."
            )
        if not self.features.size:
            raise UserError(f"{self.name}: there are no features to learn from.")
        bad = np.argwhere(~np.isfinite(self.features))
        if len(bad):
            row, column = (int(each) for each in bad[0])
            raise UserError(
                f"{self.name}: row {row}, column {self.feature_names[column]!r} is "
                f"{self.features[row, column]}; features must be finite numbers."
            )
        columns = tuple(
            NumberColumn(name, self.features[:, index].astype(np.float64))
            for index, name in enumerate(self.feature_names)
        )
        return Frame(
            self.name,
            columns,
            self._target(),
            one_unit=self.one_unit,
            notes=(
                f"Read {self.name}: {counted(len(self), 'row')}, "
                f"{counted(len(columns), 'column')} of numbers.",
                f"Target {self.target_name!r}: {self.task}.",
            ),
        )

    def _target(self) -> Target:
        """Return the targets in the common form."""
        if self.task == "classification":
            return class_target(self.target_name, self.targets.astype(np.str_))
        values = self.targets.astype(np.float64)
        if not np.all(np.isfinite(values)):
            row = int(np.argmin(np.isfinite(values)))
            raise UserError(
                f"{self.name}: the target of row {row} is {values[row]}; it must be finite."
            )
        return number_target(self.target_name, values)


def dataset_from_arrays(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    feature_names: Sequence[str] | None = None,
    target_name: str = "target",
    task: Task | None = None,
    name: str = "arrays",
) -> Dataset:
    """Make a data set from arrays.

    Parameters
    ----------
    features : array_like, shape (rows, columns)
        Numbers.
    targets : array_like, shape (rows,)
        Class labels (texts, booleans or whole numbers) or numbers.
    feature_names : sequence of str, optional
        By default ``x0``, ``x1``, ….
    target_name : str, optional
        What the targets are called.
    task : {"classification", "regression"}, optional
        By default the targets decide, see `wengert.data.target.number_task`.
    name : str, optional
        A short name of the data.

    Returns
    -------
    Dataset
        The data.

    Raises
    ------
    UserError
        If the arrays do not go together, are not numbers, or hold NaN or infinity.

    Examples
    --------
    >>> data = dataset_from_arrays([[0.0, 1.0], [2.0, 3.0]] * 5, ["cat", "dog"] * 5)
    >>> data.task, data.classes, data.feature_names
    ('classification', ('cat', 'dog'), ('x0', 'x1'))
    """
    try:
        with np.errstate(over="ignore"):
            table = np.asarray(features, dtype=np.float32)
    except (ValueError, TypeError):
        raise UserError(f"{name}: the features are not an array of numbers.") from None
    if table.ndim != _MATRIX:
        raise UserError(f"{name}: features need the shape (rows, columns), got {table.shape}.")
    values = np.asarray(targets)
    if values.shape != (len(table),):
        raise UserError(
            f"{name}: targets need the shape ({len(table)},), one per row, got {values.shape}."
        )
    if feature_names is None:
        feature_names = [f"x{index}" for index in range(table.shape[1])]
    texts, chosen = _array_targets(values, task, name)
    return Dataset(table, texts, tuple(feature_names), target_name, chosen, name)


def _array_targets(
    values: npt.NDArray[Any], task: Task | None, name: str
) -> tuple[npt.NDArray[Any], Task]:
    """Return targets as labels or as numbers, and the task."""
    if values.dtype.kind not in "biuf":
        if task == "regression":
            raise UserError(f"{name}: targets of regression must be numbers, got {values.dtype}.")
        return values.astype(np.str_), "classification"
    numbers = values.astype(np.float64)
    if not np.all(np.isfinite(numbers)):
        row = int(np.argmin(np.isfinite(numbers)))
        raise UserError(f"{name}: the target of row {row} is {numbers[row]}; it must be finite.")
    chosen = task or ("classification" if values.dtype.kind == "b" else number_task(numbers)[0])
    if chosen == "regression":
        return numbers, chosen
    if values.dtype.kind == "b":
        return values.astype(np.str_), chosen
    whole = np.all(numbers == np.floor(numbers))
    return (whole_labels(numbers) if whole else values.astype(np.str_)), chosen


def load_digits() -> Dataset:
    """Return 1,797 handwritten digits, the data set of ``wengert train digits``.

    Returns
    -------
    Dataset
        Images of 8 × 8 grey levels from 0 (white) to 16 (black) as 64 features, row by row, with
        the digit as label. Origin, authors and licence (CC BY 4.0) are in
        ``wengert/data/digits/ORIGIN.md``.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.features.shape, digits.classes[:3]
    ((1797, 64), ('0', '1', '2'))
    """
    file = resources.files("wengert.data").joinpath("digits", "digits.csv.gz")
    header, _, body = gzip.decompress(file.read_bytes()).partition(b"\n")
    names = header.decode("ascii").split(",")
    table = _numbers_below_100(body).reshape(-1, len(names)).astype(np.float32)
    return Dataset(
        features=np.ascontiguousarray(table[:, :-1]),
        targets=whole_labels(table[:, -1].astype(np.float64)),
        feature_names=tuple(names[:-1]),
        target_name=names[-1],
        task="classification",
        name="digits",
        one_unit=True,
    )


def _numbers_below_100(text: bytes) -> npt.NDArray[np.uint8]:
    """Return whole numbers of one or two digits, each of which another sign ends."""
    signs = np.frombuffer(text, np.uint8) - ord("0")  # what is no digit becomes at least 10
    is_digit = signs < 10  # noqa: PLR2004
    ends = np.flatnonzero(~is_digit)
    numbers: npt.NDArray[np.uint8] = signs[ends - 1]
    numbers += 10 * np.where(is_digit[ends - 2], signs[ends - 2], 0)
    return numbers

"""Rows to predict: the columns that a trained network needs, found by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.data.columns import category_column, number_column
from wengert.data.dataset import Dataset
from wengert.data.errors import UserError, counted, did_you_mean, listing
from wengert.data.frame import Column, NumberColumn
from wengert.data.preprocess import NumberCoding, Preprocessor, TargetCoding
from wengert.data.table import Table, read_table
from wengert.data.target import target_numbers

UNKNOWN_CLASS = -1


@dataclass(frozen=True)
class Incoming:
    """Rows to predict.

    Attributes
    ----------
    columns : tuple of NumberColumn or CategoryColumn
        The columns of the preprocessor, in its order.
    lines : tuple of int
        A number for each row that the user knows it by: its line of the file, or its index.
    answers : ndarray, shape (scored,), int64 or float64, or None
        The true targets where the data has them: indices of classes (-1 for a label that training
        never saw), or numbers.
    answered : ndarray, shape (scored,), int64
        The rows that `answers` belongs to.
    notes : tuple of str
        What the user should be told.
    """

    columns: tuple[Column, ...]
    lines: tuple[int, ...]
    answers: npt.NDArray[Any] | None
    answered: npt.NDArray[np.int64]
    notes: tuple[str, ...]


def incoming_from_csv(path: str | Path, preprocessor: Preprocessor) -> Incoming:
    """Read the columns that a trained network needs from a CSV file.

    Extra columns are left out; the target column may be absent.

    Parameters
    ----------
    path : str or Path
        The file; its first line names the columns, in any order.
    preprocessor : Preprocessor
        What the network was trained with.

    Returns
    -------
    Incoming
        All rows of the file.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a column, or has a text in a column of numbers.
    """
    table = read_table(path)
    names = [coding.name for coding in preprocessor.columns]
    _refuse_absent(table, names)
    every = range(len(table.lines))
    columns: tuple[Column, ...] = tuple(
        number_column(table, coding.name, every)
        if isinstance(coding, NumberCoding)
        else category_column(table, coding.name, every)
        for coding in preprocessor.columns
    )
    notes = list(table.notes)
    extra = [name for name in table.names if name not in {*names, preprocessor.target.name}]
    if extra:
        notes.append(
            f"Left out: {counted(len(extra), 'column')} the network was not trained "
            f"with ({listing(extra)})."
        )
    answers, answered, note = _answers(table, preprocessor.target)
    return Incoming(columns, table.lines, answers, answered, (*notes, *note))


def incoming_from_dataset(data: Dataset, preprocessor: Preprocessor) -> Incoming:
    """Take the columns that a trained network needs from a data set.

    Raises
    ------
    UserError
        If the feature names are not those of training, or a value is not finite.
    """
    names = tuple(coding.name for coding in preprocessor.columns)
    if names != data.feature_names:
        raise UserError(
            f"{data.name}: its features ({listing(data.feature_names)}) are not those of "
            f"training ({listing(names)})."
        )
    frame = data.frame()
    texts = list(data.targets.astype(np.str_)) if data.task == "classification" else None
    answers: npt.NDArray[Any] | None = None
    if data.task == preprocessor.target.task:
        if texts is None:
            answers = data.targets.astype(np.float64)
        else:
            answers = class_indices(texts, preprocessor.target.classes)
    rows = np.arange(len(data))
    return Incoming(frame.columns, tuple(range(len(data))), answers, rows, ())


def incoming_from_array(features: npt.ArrayLike, preprocessor: Preprocessor) -> Incoming:
    """Take an array whose columns are those of training, in their order.

    Parameters
    ----------
    features : array_like, shape (rows, columns)
        Finite numbers; the network must have been trained on columns of numbers only.
    preprocessor : Preprocessor
        What the network was trained with.

    Returns
    -------
    Incoming
        All rows.

    Raises
    ------
    UserError
        If the shape or a value does not fit.
    """
    codings = preprocessor.columns
    categories = [each.name for each in codings if not isinstance(each, NumberCoding)]
    if categories:
        raise UserError(
            f"The network was trained with categories ({listing(categories)}): "
            "predict a CSV file, not an array."
        )
    try:
        table = np.asarray(features, dtype=np.float64)
    except (ValueError, TypeError):
        raise UserError("The rows to predict are not an array of numbers.") from None
    if not table.ndim or table.shape[1:] != (len(codings),):
        raise UserError(
            f"The rows to predict need the shape (rows, {len(codings)}), got {table.shape}."
        )
    if not np.all(np.isfinite(table)):
        row, column = (int(each) for each in np.argwhere(~np.isfinite(table))[0])
        raise UserError(
            f"The rows to predict must be finite; row {row}, column {codings[column].name!r} "
            f"is {table[row, column]}."
        )
    columns = tuple(
        NumberColumn(coding.name, table[:, index]) for index, coding in enumerate(codings)
    )
    return Incoming(columns, tuple(range(len(table))), None, np.arange(0), ())


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the index of each label's class, -1 where there is no such class.

    Examples
    --------
    >>> class_indices(["b", "?", "a"], ("a", "b")).tolist()
    [1, -1, 0]
    """
    known = {label: index for index, label in enumerate(classes)}
    return np.array([known.get(label, UNKNOWN_CLASS) for label in labels], dtype=np.int64)


def _refuse_absent(table: Table, names: Sequence[str]) -> None:
    """Raise a UserError if the table lacks a column that the network needs."""
    absent = [name for name in names if name not in table.names]
    if absent:
        hint = did_you_mean(absent[0], table.names) if len(absent) == 1 else ""
        noun = "the column" if len(absent) == 1 else f"{len(absent)} columns"
        raise UserError(
            f"{table.path} lacks {noun} {listing(map(repr, absent))} "
            f"that the network was trained with.{hint}"
        )


def _answers(
    table: Table, target: TargetCoding
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the true targets of a table, the rows that have one, and what to say of them."""
    nothing = np.arange(0)
    if target.name not in table.names:
        return None, nothing, ()
    cells = table.column(target.name)
    rows = np.array([row for row, cell in enumerate(cells) if cell], dtype=np.int64)
    if not len(rows):
        return None, nothing, (f"The target column {target.name!r} is empty: no score.",)
    filled = [cells[row] for row in rows]
    if not target.classes:
        numbers = [table.number(cell) for cell in filled]
        return target_numbers(table, target.name, rows, numbers, "regression"), rows, ()
    known = set(target.classes)
    labels = [cell if cell in known else _as_whole(table, cell) for cell in filled]
    answers = class_indices(labels, target.classes)
    strange = sorted({label for label in labels if label not in known})
    if not strange:
        return answers, rows, ()
    wrong = counted(int((answers == UNKNOWN_CLASS).sum()), "row")
    note = (
        f"Target {target.name!r}: {listing(map(repr, strange))} was not among the training "
        f"classes ({wrong}, counted as wrong)."
    )
    return answers, rows, (note,)


def _as_whole(table: Table, cell: str) -> str:
    """Return a whole number as training writes its class: ``"3.0"`` as ``"3"``."""
    number = table.number(cell)
    whole = number is not None and np.isfinite(number) and number == int(number)
    return str(int(number)) if number is not None and whole else cell

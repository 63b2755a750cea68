"""The target: which task it makes, its classes, and which rows have none."""

from __future__ import annotations

import numpy as np

from wengert.data.errors import UserError, counted
from wengert.data.frame import Floats, Indices, Target, Task, Texts
from wengert.data.table import MISSING_ADVICE, Table, place, refuse_nan

MOST_NUMBER_CLASSES = 20
ROWS_PER_CLASS = 5
TEXTS = "its cells are texts"


def number_task(values: Floats) -> tuple[Task, str]:
    """Decide what a numeric target is, and say why.

    Whole numbers are classes where there are at most 20 different ones with on average at least
    5 rows each; all other numbers are quantities.

    Parameters
    ----------
    values : ndarray, shape (rows,), float64
        The target, finite.

    Returns
    -------
    task : {"classification", "regression"}
        The decision.
    why : str
        The reason, as a part of a sentence.

    Examples
    --------
    >>> import numpy as np
    >>> number_task(np.array([0.0, 1.0] * 10))
    ('classification', 'whole numbers, 2 different ones')
    >>> number_task(np.array([0.5, 1.25, 3.0]))
    ('regression', 'numbers that are not all whole')
    """
    if not np.all(values == np.floor(values)):
        return "regression", "numbers that are not all whole"
    different = len(np.unique(values))
    why = f"whole numbers, {different:,} different ones"
    few = different <= MOST_NUMBER_CLASSES and different * ROWS_PER_CLASS <= len(values)
    return ("classification" if few else "regression"), why


def class_target(name: str, labels: Texts) -> Target:
    """Make a classification target from one label per row.

    Parameters
    ----------
    name : str
        The target's name.
    labels : ndarray, shape (rows,), str
        The labels; none is empty.

    Returns
    -------
    Target
        Its classes are in order of number where all labels are whole numbers, else of text.

    Raises
    ------
    UserError
        If there is one class only, or nearly every row has a class of its own.
    """
    texts, indices = np.unique(labels, return_inverse=True)
    if len(texts) == 1:
        raise UserError(
            f"The target {name!r} has one class only, {str(texts[0])!r}: there is nothing to learn."
        )
    if len(texts) * 2 > len(labels):
        raise UserError(
            f"The target {name!r} has {counted(len(texts), 'different label')} in "
            f"{counted(len(labels), 'row')}: too few rows for each class."
        )
    order = sorted(range(len(texts)), key=lambda index: label_order(str(texts[index])))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    classes = tuple(str(texts[index]) for index in order)
    return Target(name, "classification", classes, rank[indices.reshape(-1)])


def number_target(name: str, values: Floats) -> Target:
    """Make a regression target.

    Raises
    ------
    UserError
        If all values are equal.
    """
    if np.all(values == values[0]):
        raise UserError(
            f"The target {name!r} is {values[0]:g} in every row: there is nothing to learn."
        )
    return Target(name, "regression", (), values)


def label_order(label: str) -> tuple[int, int, str]:
    """Return the key that sorts labels: whole numbers by value, then texts.

    Examples
    --------
    >>> sorted(["b", "10", "9", "a"], key=label_order)
    ['9', '10', 'a', 'b']
    """
    try:
        return 0, int(label), label
    except ValueError:
        return 1, 0, label


def whole_labels(values: Floats) -> Texts:
    """Return whole numbers as class labels: 3.0 is the class ``"3"``."""
    return np.array([str(int(value)) for value in values])


def column_target(table: Table, name: str, task: Task | None) -> tuple[Target, Indices, str]:
    """Read the target column of a table.

    Parameters
    ----------
    table : Table
        The file.
    name : str
        The target column.
    task : {"classification", "regression"} or None
        The task, or None to let `number_task` decide; a target of texts means classification.

    Returns
    -------
    target : Target
        The target of the rows that have one.
    kept : ndarray of int64
        The indices of those rows.
    why : str
        The reason for the task, as a part of a sentence.

    Raises
    ------
    UserError
        If no row has a target, it is not finite, a number is asked for and a text is found, or
        there is nothing to learn.
    """
    cells = table.column(name)
    kept = np.array([row for row, cell in enumerate(cells) if cell], dtype=np.int64)
    if not len(kept):
        raise UserError(f"{table.path}: the target column {name!r} is empty.")
    filled = [cells[row] for row in kept]
    numbers = [table.number(cell) for cell in filled]
    texts = sum(number is None for number in numbers)
    # As for other columns: mostly numbers means numbers, and a stray text is then a mistake.
    numeric = texts * 2 < len(numbers) if task is None else task == "regression" or not texts
    if not numeric:
        refuse_nan(table, name, kept)
        why = "as asked" if task else TEXTS
        return class_target(name, np.array(filled)), kept, why
    values = target_numbers(table, name, kept, numbers, task)
    chosen, why = (task, "as asked") if task else number_task(values)
    if chosen == "regression":
        return number_target(name, values), kept, why
    whole = np.all(values == np.floor(values))
    labels = whole_labels(values) if whole else np.array(filled)
    return class_target(name, labels), kept, why


def target_numbers(
    table: Table, name: str, rows: Indices, numbers: list[float | None], task: Task | None
) -> Floats:
    """Return the target as finite numbers, or raise a UserError naming the first bad line."""
    for row, number in zip(rows, numbers, strict=True):
        if number is None:
            advice = "" if task else "; if the target is a class, say --task classification"
            raise UserError(f"{place(table, name, row)} is not a number{advice}.")
        if not np.isfinite(number):
            raise UserError(f"{place(table, name, row)} is not finite; {MISSING_ADVICE}.")
    return np.array(numbers, dtype=np.float64)

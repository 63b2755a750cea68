"""Deciding which columns of a CSV file are numbers and which are categories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wengert.data.errors import UserError, counted, did_you_mean, listing
from wengert.data.frame import CategoryColumn, Column, Frame, Indices, NumberColumn, Task
from wengert.data.table import MISSING_ADVICE, Table, place, read_table, refuse_nan
from wengert.data.target import TEXTS, column_target

MOST_CATEGORIES = 100
FEW_ROWS = 20


def read_csv(
    path: str,
    target: str | None,
    *,
    task: Task | None = None,
    ignore: Sequence[str] = (),
    category: Sequence[str] = (),
) -> Frame:
    """Read a CSV file to learn from.

    A column is of numbers where more than half of its filled cells are numbers; a text in it is
    then an error. Any other column is of categories. A column of texts that nearly every row has
    its own of, or of more than 100 different ones, is left out, as are empty columns; the notes of
    the result say so.

    Parameters
    ----------
    path : str
        A file in UTF-8 whose first line names the columns; see `wengert.data.table.read_table`.
    target : str or None
        The column to predict.
    task : {"classification", "regression"}, optional
        The task; by default the target decides, see `wengert.data.target.number_task`.
    ignore : sequence of str, optional
        Columns to leave out.
    category : sequence of str, optional
        Columns to take as categories whatever they hold.

    Returns
    -------
    Frame
        The rows that have a target.

    Raises
    ------
    UserError
        If the file, a column or the target cannot be used.
    """
    table = read_table(path)
    target = _checked_target(table, target, (*ignore, *category))
    goal, kept, why = column_target(table, target, task)
    notes = [
        f"Read {table.path}: {counted(len(table.lines), 'row')}, "
        f"{counted(len(table.names), 'column')}.",
        *table.notes,
    ]
    if len(kept) < len(table.lines):
        notes.append(f"Left out: {counted(len(table.lines) - len(kept), 'row')} without a target.")
    columns: list[Column] = []
    for name in table.names:
        if name == target or name in ignore:
            continue
        column, problem = _column(table, name, kept, forced=name in category)
        if column is None:
            notes.append(f"Left out: column {name!r}, {problem}.")
        else:
            columns.append(column)
    if not columns:
        raise UserError(f"{table.path} has no column to learn from beside the target {target!r}.")
    notes += [_columns_note(columns), _target_note(goal.name, goal.classes, why, task)]
    return Frame(path, tuple(columns), goal, notes=tuple(note for note in notes if note))


def number_column(
    table: Table, name: str, rows: Iterable[int | np.int64], advice: str = MISSING_ADVICE
) -> NumberColumn:
    """Read a column as numbers; a missing cell becomes NaN.

    Raises
    ------
    UserError
        At the first of the rows with a text, NaN or infinity, naming line, column and cell.
    """
    cells = table.column(name)
    values = []
    for row in rows:
        cell = cells[row]
        if not cell:
            values.append(np.nan)
            continue
        number = table.number(cell)
        if number is None:
            raise UserError(f"{place(table, name, row)} is not a number; {advice}.")
        if not np.isfinite(number):
            raise UserError(f"{place(table, name, row)} is not finite; {MISSING_ADVICE}.")
        values.append(number)
    return NumberColumn(name, np.array(values, dtype=np.float64))


def category_column(table: Table, name: str, rows: Iterable[int | np.int64]) -> CategoryColumn:
    """Read a column as categories; a missing cell is the empty text.

    Raises
    ------
    UserError
        At the first of the rows that spells NaN.
    """
    rows = list(rows)
    refuse_nan(table, name, rows)
    cells = table.column(name)
    return CategoryColumn(name, np.array([cells[row] for row in rows], dtype=np.str_))


def _column(table: Table, name: str, rows: Indices, *, forced: bool) -> tuple[Column | None, str]:
    """Type one column, or return None and the reason to leave it out."""
    cells = table.column(name)
    filled = [cells[row] for row in rows if cells[row]]
    if not filled:
        return None, "which is empty"
    if forced:
        return category_column(table, name, rows), ""
    numbers = sum(table.number(cell) is not None for cell in filled)
    if numbers * 2 > len(filled):
        advice = f"{MISSING_ADVICE}, or take the column as categories with --category {name!r}"
        return number_column(table, name, rows, advice), ""
    different = len(set(filled))
    if different > MOST_CATEGORIES or (len(rows) >= FEW_ROWS and different * 2 > len(rows)):
        return None, f"whose {different:,} different texts look like names, not categories"
    return category_column(table, name, rows), ""


def _checked_target(table: Table, target: str | None, others: Iterable[str]) -> str:
    """Return the target's name, or raise a UserError for columns that the file lacks."""
    columns = f"its columns are {listing(table.names)}"
    if target is None:
        raise UserError(f"Say which column of {table.path} to predict with --target; {columns}.")
    target = target.strip()
    if target not in table.names:
        hint = did_you_mean(target, table.names)
        raise UserError(f"{table.path} has no column {target!r}; {columns}.{hint}")
    for name in others:
        if name not in table.names:
            hint = did_you_mean(name, table.names)
            raise UserError(f"{table.path} has no column {name!r}; {columns}.{hint}")
        if name == target:
            raise UserError(f"The target {target!r} cannot be ignored or made a category.")
    return target


def _columns_note(columns: Sequence[Column]) -> str:
    """Say which columns are numbers, which are categories, and where cells are missing."""
    numbers = [column for column in columns if isinstance(column, NumberColumn)]
    categories = [column for column in columns if isinstance(column, CategoryColumn)]
    parts = []
    if numbers:
        names = listing(column.name for column in numbers)
        parts.append(f"{counted(len(numbers), 'number')} ({names})")
    if categories:
        names = listing(f"{each.name}: {len(np.unique(each.values))}" for each in categories)
        plural = "category" if len(categories) == 1 else "categories"
        parts.append(f"{len(categories)} {plural} ({names})")
    missing = listing(f"{each.name} {gaps:,}" for each in columns if (gaps := count_missing(each)))
    note = f"Columns: {' and '.join(parts)}."
    return f"{note} Missing cells: {missing}." if missing else note


def count_missing(column: Column) -> int:
    """Return the number of missing cells of a column."""
    if isinstance(column, NumberColumn):
        return int(np.isnan(column.values).sum())
    return int((column.values == "").sum())


def _target_note(name: str, classes: Sequence[str], why: str, task: Task | None) -> str:
    """Say what the target was taken for, and how to change that where it can be changed."""
    if classes:
        what, other = f"classification into {len(classes)} classes", "regression"
    else:
        what, other = "regression", "classification"
    change = "" if task or why == TEXTS else f"; --task {other} changes that"
    return f"Target {name!r}: {what} ({why}){change}."

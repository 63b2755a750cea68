"""Reading a CSV file: cells as texts, with the line each row starts on."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from wengert.data.errors import UserError, counted, listing

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
MISSING_ADVICE = "leave a missing cell empty"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_SHOWN = 40
_LOOK_AHEAD_ROWS = 50
_LOOK_AHEAD_CHARACTERS = 1 << 16


@dataclass(frozen=True)
class Table:
    """The named columns of a CSV file, as texts without surrounding blanks.

    Attributes
    ----------
    path : str
        The file, as the user named it.
    names : tuple of str
        The column names.
    columns : tuple of tuple of str
        The cells of each column; a missing cell is the empty text.
    lines : tuple of int
        The line of the file that each row starts on; the first line is 1.
    decimal : str
        The decimal sign of the file, a point or a comma.
    notes : tuple of str
        What the user should be told about the file.
    """

    path: str
    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    decimal: str
    notes: tuple[str, ...]

    def column(self, name: str) -> tuple[str, ...]:
        """Return the cells of the column called `name`."""
        return self.columns[self.names.index(name)]

    def number(self, cell: str) -> float | None:
        """Return the number that `cell` spells (NaN and infinity included), or None for a text."""
        if self.decimal == "," and "." not in cell:
            cell = cell.replace(",", ".", 1)
        if "_" in cell:
            return None
        try:
            return float(cell)
        except ValueError:
            return None


def read_table(path: str | Path) -> Table:
    """Read a CSV file in UTF-8 whose first line holds the column names.

    Commas, semicolons or tabs may separate the cells: the header decides. Where cells are separated
    by semicolons or tabs, numbers may be written with a decimal comma. Columns without a name are
    left out. All of this is said in the notes.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Table
        At least one named column and one row.

    Raises
    ------
    UserError
        If there is no such file, it is not CSV in UTF-8, a row has not as many cells as the
        header, two columns have one name, or there is no row.
    """
    shown = str(path)
    text = _read_text(path, shown)
    separator = _separator(text, shown)
    records = _records(text, separator, shown)
    header = next(records, None)
    if header is None:
        raise UserError(f"{shown} is empty.")
    names = _checked_names(header[1], shown)
    lines: list[int] = []
    rows: list[list[str]] = []
    for line, cells in records:
        if len(cells) != len(names):
            raise UserError(
                f"{shown}, line {line}: {counted(len(cells), 'cell')}, "
                f"but the header has {len(names)}."
            )
        lines.append(line)
        rows.append(cells)
    if not rows:
        raise UserError(f"{shown} has a header but no rows.")
    return _table(shown, names, rows, lines, separator)


def place(table: Table, name: str, row: int | np.int64) -> str:
    """Return file, line, column and content of a cell, to begin an error sentence with."""
    cell = table.column(name)[row]
    if len(cell) > _SHOWN:
        cell = f"{cell[:_SHOWN]}…"
    return f"{table.path}, line {table.lines[row]}, column {name!r}: {cell!r}"


def refuse_nan(table: Table, name: str, rows: Iterable[int | np.int64]) -> None:
    """Raise a UserError at the first of the rows where a column of texts spells NaN."""
    cells = table.column(name)
    for row in rows:
        if cells[row] in ("nan", "NaN"):
            raise UserError(f"{place(table, name, row)} is not a value; {MISSING_ADVICE}.")


def _table(
    shown: str, names: list[str], rows: list[list[str]], lines: list[int], separator: str
) -> Table:
    """Turn rows into columns, leave out those without a name, and say what was found."""
    columns = list(zip(*rows, strict=True))
    notes = []
    if separator != ",":
        notes.append(f"Cells are separated by {SEPARATORS[separator]}s.")
    decimal = _decimal(columns, separator)
    if decimal == ",":
        notes.append("Numbers are written with a decimal comma.")
    unnamed = names.count("")
    if unnamed:
        notes.append(f"Left out: {counted(unnamed, 'column')} without a name.")
    kept = [index for index, name in enumerate(names) if name]
    return Table(
        path=shown,
        names=tuple(names[index] for index in kept),
        columns=tuple(columns[index] for index in kept),
        lines=tuple(lines),
        decimal=decimal,
        notes=tuple(notes),
    )


def _read_text(path: str | Path, shown: str) -> str:
    """Return the text of a file, or raise a UserError that says what is wrong with it."""
    try:
        content = Path(path).read_bytes()
    except IsADirectoryError:
        raise UserError(f"{shown} is a directory; give a CSV file.") from None
    except FileNotFoundError:
        raise UserError(f"There is no file {shown}.") from None
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise UserError(f"{shown!r} is not a file name.") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{shown} is UTF-16 text; save it as CSV in UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{shown}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; "
            "save the file as CSV in UTF-8."
        ) from None
    if "\0" in text:
        raise UserError(f"{shown} is not a text file: it holds null characters.")
    if not text.strip():
        raise UserError(f"{shown} is empty.")
    return text


def _records(text: str, separator: str, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record starts and its cells; blank lines are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield line, [cell.strip() for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{shown}, line {line}: not valid CSV: {error}.") from None


def _separator(text: str, shown: str) -> str:
    """Return the separator that cuts the header into most cells.

    Where two cut it into equally many, the one that cuts the next rows alike is taken.
    """
    head = text[:_LOOK_AHEAD_CHARACTERS]
    found = {separator: _widths(head, separator, shown) for separator in SEPARATORS}
    most = max(widths[0] for widths in found.values())
    if most <= 1:
        return ","
    candidates = [separator for separator, widths in found.items() if widths[0] == most]
    if len(candidates) > 1:
        regular = [each for each in candidates if set(found[each]) == {most}]
        if len(regular) != 1:
            names = " or ".join(SEPARATORS[each] for each in candidates)
            raise UserError(f"{shown}: it is not clear whether {names} separates the cells.")
        return regular[0]
    return candidates[0]


def _widths(text: str, separator: str, shown: str) -> list[int]:
    """Return the number of cells of the first records, read with one separator."""
    widths = []
    try:
        for _, cells in islice(_records(text, separator, shown), _LOOK_AHEAD_ROWS):
            widths.append(len(cells))
    except UserError:
        # A quotation that this separator breaks tells against it, or is reported by the real read.
        widths.append(0)
    return widths


def _checked_names(header: list[str], shown: str) -> list[str]:
    """Return the column names, or raise a UserError for names given twice."""
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise UserError(f"{shown}: more than one column is called {listing(map(repr, twice))}.")
    if not any(header):
        raise UserError(f"{shown}: the first line must hold the column names.")
    return header


def _decimal(columns: list[tuple[str, ...]], separator: str) -> str:
    """Return the decimal sign: a comma only if cells show one and none shows a decimal point."""
    if separator == ",":
        return "."
    cells = [cell for column in columns for cell in column if "," in cell]
    if not any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells):
        return "."
    points = any(
        re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", cell) for column in columns for cell in column
    )
    return "." if points else ","

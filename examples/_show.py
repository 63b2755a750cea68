"""What the examples share: headings, arrays in little room, and two columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import wengert as wg

WIDTH = 92


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'─' * min(len(text), WIDTH)}")


def array(x: object) -> np.ndarray:
    """Return the values of a tensor, gradients or not, as a NumPy array."""
    return np.asarray(x.detach() if isinstance(x, wg.Tensor) else x)


def short(x: object, most: int = 6, digits: int = 6) -> str:
    """Return the first few elements of an array, flattened, as text."""
    values = array(x).ravel()
    shown = " ".join(f"{value:.{digits}g}" for value in values[:most])
    return f"{shown} …" if values.size > most else shown


def difference(x: object, y: object) -> float:
    """Return the largest difference of two arrays of one shape."""
    first, second = array(x), array(y)
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape} are not alike.")
    return float(np.max(np.abs(first - second), initial=0.0))


def side_by_side(
    by_hand: Mapping[str, object], found: Mapping[str, object], equations: Mapping[str, str]
) -> None:
    """Print each equation, what it gives, what backpropagation gives, and how far they differ."""
    for name, equation in equations.items():
        print(f"{name} = {equation}    shape {array(by_hand[name]).shape}")
        print(f"    by hand          {short(by_hand[name])}")
        gap = difference(by_hand[name], found[name])
        print(f"    backpropagation  {short(found[name])}    difference {gap:.1e}")


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Print rows of text and numbers in columns; all but the first are set to the right."""
    cells = [head, *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        first, *rest = zip(row, widths, strict=True)
        columns = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]
        print("  ".join(columns).rstrip())
        if number == 0:
            print("  ".join("─" * width for width in widths))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)

"""Turning typed columns into the numbers that a network reads, and its answers back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wengert.data.errors import UserError, counted, listing
from wengert.data.frame import (
    CategoryColumn,
    Column,
    Features,
    Floats,
    Frame,
    Indices,
    NumberColumn,
    Target,
    Task,
)


@dataclass(frozen=True)
class NumberCoding:
    """A column of numbers becomes ``(value - mean) / scale``; a missing cell becomes 0.

    Attributes
    ----------
    name : str
        The column's name.
    mean, scale : float
        Mean and standard deviation of the training rows, in the column's unit. The scale of a
        constant column is 1.
    """

    name: str
    mean: float
    scale: float

    width = 1

    def encode(self, column: Column) -> Features:
        """Return the column as an array of shape (rows, 1), float32."""
        values = (np.asarray(column.values, dtype=np.float64) - self.mean) / self.scale
        return np.where(np.isnan(values), 0.0, values).astype(np.float32)[:, None]


@dataclass(frozen=True)
class CategoryCoding:
    """A column of categories becomes one 0-or-1 number per category seen in training.

    A category never seen in training becomes zeros only.

    Attributes
    ----------
    name : str
        The column's name.
    categories : tuple of str
        The categories of the training rows, sorted; the empty text stands for a missing cell.
    """

    name: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of features that the column becomes."""
        return len(self.categories)

    def encode(self, column: Column) -> Features:
        """Return the column as an array of shape (rows, categories), float32."""
        known = np.array(self.categories, dtype=np.str_)
        matches: npt.NDArray[np.bool_] = column.values[:, None] == known
        return matches.astype(np.float32)

    def unknown(self, column: Column) -> dict[str, int]:
        """Return the categories of `column` that training never saw, with their counts."""
        texts, counts = np.unique(column.values, return_counts=True)
        return {
            str(text): int(count)
            for text, count in zip(texts, counts, strict=True)
            if str(text) not in self.categories
        }


Coding: TypeAlias = NumberCoding | CategoryCoding


@dataclass(frozen=True)
class TargetCoding:
    """How the target is given to the network.

    Attributes
    ----------
    name : str
        The target's name.
    task : {"classification", "regression"}
        What is predicted.
    classes : tuple of str
        The class labels; the network answers with one number for each. Empty for regression.
    mean, scale : float
        For regression: the network answers with ``(value - mean) / scale``. Else 0 and 1.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    mean: float = 0.0
    scale: float = 1.0

    @property
    def width(self) -> int:
        """The number of values that the network answers with."""
        return len(self.classes) or 1

    def encode(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return class indices as int64 of shape (rows,), or numbers as float32 of (rows, 1)."""
        if self.classes:
            return values.astype(np.int64)
        scaled: Floats = (values - self.mean) / self.scale
        return scaled.astype(np.float32)[:, None]

    def decode(self, answers: npt.NDArray[Any]) -> Floats:
        """Return the network's answers of a regression, shape (rows, 1), in the target's unit."""
        return answers[:, 0].astype(np.float64) * self.scale + self.mean


@dataclass(frozen=True)
class Preprocessor:
    """All that is needed to feed rows to a trained network, learned from its training rows.

    Attributes
    ----------
    columns : tuple of NumberCoding or CategoryCoding
        The columns in order.
    target : TargetCoding
        The target.
    """

    columns: tuple[Coding, ...]
    target: TargetCoding

    @property
    def width(self) -> int:
        """The number of features: the width of the network's input."""
        return sum(coding.width for coding in self.columns)

    def encode(self, columns: Sequence[Column]) -> Features:
        """Return rows as features.

        Parameters
        ----------
        columns : sequence of NumberColumn or CategoryColumn
            The columns of `self.columns`, in that order.

        Returns
        -------
        ndarray, shape (rows, width), float32
            The features.

        Raises
        ------
        UserError
            If a number is so far from those of training that float32 cannot hold it.
        """
        with np.errstate(over="ignore"):
            blocks = [
                coding.encode(column) for coding, column in zip(self.columns, columns, strict=True)
            ]
        for coding, block in zip(self.columns, blocks, strict=True):
            if not np.all(np.isfinite(block)):
                raise UserError(
                    f"Column {coding.name!r} has numbers too large for float32; "
                    "correct them or leave the column out."
                )
        return np.ascontiguousarray(np.concatenate(blocks, axis=1))

    def remarks(self, columns: Sequence[Column]) -> tuple[str, ...]:
        """Say which cells of `columns` are missing, and which categories training never saw."""
        notes = []
        for coding, column in zip(self.columns, columns, strict=True):
            if isinstance(coding, NumberCoding):
                gaps = int(np.isnan(column.values).sum())
                if gaps:
                    notes.append(
                        f"Column {coding.name!r}: {counted(gaps, 'missing cell')} "
                        f"taken as the training mean {coding.mean:.6g}."
                    )
            elif unknown := coding.unknown(column):
                names = listing(repr(text) if text else "a missing cell" for text in unknown)
                notes.append(
                    f"Column {coding.name!r}: {names} was not in the training rows "
                    f"({counted(sum(unknown.values()), 'row')}); no category is set there."
                )
        return tuple(notes)

    def to_json(self) -> dict[str, Any]:
        """Return the preprocessor as a value that JSON can hold."""
        columns: list[dict[str, Any]] = []
        for coding in self.columns:
            if isinstance(coding, NumberCoding):
                columns.append(
                    {
                        "name": coding.name,
                        "kind": "number",
                        "mean": coding.mean,
                        "scale": coding.scale,
                    }
                )
            else:
                columns.append(
                    {"name": coding.name, "kind": "category", "categories": list(coding.categories)}
                )
        goal = self.target
        target: dict[str, Any] = {"name": goal.name, "task": goal.task}
        if goal.classes:
            target["classes"] = list(goal.classes)
        else:
            target |= {"mean": goal.mean, "scale": goal.scale}
        return {"columns": columns, "target": target}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessor:
        """Return the preprocessor that `to_json` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `value` is something else.
        """
        columns: list[Coding] = []
        for each in value["columns"]:
            if each["kind"] == "number":
                columns.append(
                    NumberCoding(str(each["name"]), float(each["mean"]), float(each["scale"]))
                )
            else:
                columns.append(CategoryCoding(str(each["name"]), tuple(each["categories"])))
        goal = value["target"]
        target = TargetCoding(
            name=str(goal["name"]),
            task=goal["task"],
            classes=tuple(goal.get("classes", ())),
            mean=float(goal.get("mean", 0.0)),
            scale=float(goal.get("scale", 1.0)),
        )
        return cls(tuple(columns), target)


def fit_preprocessor(frame: Frame, rows: Indices) -> Preprocessor:
    """Learn how to encode a frame from some of its rows, the training rows.

    Parameters
    ----------
    frame : Frame
        The data.
    rows : ndarray of int64
        The training rows; no other row is looked at.

    Returns
    -------
    Preprocessor
        With one coding per column.

    Raises
    ------
    UserError
        If a column's numbers are too large to take their standard deviation.
    """
    numbers = [column.values[rows] for column in frame.columns if isinstance(column, NumberColumn)]
    shared = _mean_and_scale(np.stack(numbers), "features") if frame.one_unit else None
    columns: list[Coding] = []
    for column in frame.columns:
        if isinstance(column, CategoryColumn):
            categories = tuple(str(text) for text in np.unique(column.values[rows]))
            columns.append(CategoryCoding(column.name, categories))
        else:
            mean, scale = shared or _mean_and_scale(column.values[rows], column.name)
            columns.append(NumberCoding(column.name, mean, scale))
    return Preprocessor(tuple(columns), _target_coding(frame.target, rows))


def _target_coding(target: Target, rows: Indices) -> TargetCoding:
    """Learn how to encode the target from the training rows."""
    if target.classes:
        return TargetCoding(target.name, target.task, target.classes)
    mean, scale = _mean_and_scale(target.values[rows].astype(np.float64), target.name)
    return TargetCoding(target.name, target.task, (), mean, scale)


def _mean_and_scale(values: Floats, name: str) -> tuple[float, float]:
    """Return mean and standard deviation of the present values; the scale is never 0."""
    present = values[~np.isnan(values)]
    if not len(present):
        return 0.0, 1.0
    if present.min() == present.max():
        return float(present[0]), 1.0  # exactly: the mean of large numbers is off by large ones
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(present.mean()), float(present.std())
    if not np.isfinite(mean) or not np.isfinite(scale):
        raise UserError(f"Column {name!r} has numbers too large to standardise.")
    # Rounding leaves a constant column a deviation of a few units in the last place of its mean.
    constant = scale <= 1e-12 * max(abs(mean), np.finfo(np.float64).tiny)
    return mean, (1.0 if constant else scale)

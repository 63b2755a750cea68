"""Typed columns: the common form of a CSV file, a data set and a pair of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Task: TypeAlias = Literal["classification", "regression"]
Floats: TypeAlias = npt.NDArray[np.float64]
Features: TypeAlias = npt.NDArray[np.float32]
Indices: TypeAlias = npt.NDArray[np.int64]
Texts: TypeAlias = npt.NDArray[np.str_]


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers.

    Attributes
    ----------
    name : str
        The column's name.
    values : ndarray, shape (rows,), float64
        The numbers; NaN marks a missing cell.
    """

    name: str
    values: Floats


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts, each of which is one of a few categories.

    Attributes
    ----------
    name : str
        The column's name.
    values : ndarray, shape (rows,), str
        The categories; the empty text marks a missing cell.
    """

    name: str
    values: Texts


Column: TypeAlias = NumberColumn | CategoryColumn


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes
    ----------
    name : str
        The column's name.
    task : {"classification", "regression"}
        Whether a class or a number is predicted.
    classes : tuple of str
        The class labels in order; empty for regression.
    values : ndarray, shape (rows,), int64 or float64
        The index of each row's class, or each row's number.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    values: Indices | Floats


@dataclass(frozen=True)
class Frame:
    """Rows of typed columns with their target.

    Attributes
    ----------
    name : str
        A short name of the data.
    columns : tuple of NumberColumn or CategoryColumn
        The columns to learn from.
    target : Target
        What is to be predicted.
    one_unit : bool
        Whether all columns are numbers of one unit, as the pixels of an image are: they then share
        one mean and one scale.
    notes : tuple of str
        What was decided and why, in sentences for the user.
    """

    name: str
    columns: tuple[Column, ...]
    target: Target
    one_unit: bool = False
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.target.values)

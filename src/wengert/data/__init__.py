"""Data: the digits that come with Wengert, CSV files, arrays, and what a network makes of them.

Examples
--------
>>> from wengert.data import load_digits
>>> digits = load_digits()
>>> len(digits), digits.task
(1797, 'classification')
"""

from __future__ import annotations

from wengert.data.columns import read_csv
from wengert.data.dataset import Dataset, dataset_from_arrays, load_digits
from wengert.data.errors import UserError
from wengert.data.frame import CategoryColumn, Frame, NumberColumn, Target
from wengert.data.preprocess import Preprocessor, fit_preprocessor
from wengert.data.split import Split, split_rows

__all__ = [
    "CategoryColumn",
    "Dataset",
    "Frame",
    "NumberColumn",
    "Preprocessor",
    "Split",
    "Target",
    "UserError",
    "dataset_from_arrays",
    "fit_preprocessor",
    "load_digits",
    "read_csv",
    "split_rows",
]

"""Training a network on data, and predicting with it: ``wg.train.fit`` and ``wengert train``."""

from __future__ import annotations

from wengert.data.errors import UserError
from wengert.train.options import Options
from wengert.train.predictor import Predictions, Predictor, load_run
from wengert.train.result import Interrupted, Result
from wengert.train.training import fit

__all__ = [
    "Interrupted",
    "Options",
    "Predictions",
    "Predictor",
    "Result",
    "UserError",
    "fit",
    "load_run",
]

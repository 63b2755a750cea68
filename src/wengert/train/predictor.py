"""Predicting with a trained network, in the same process or from a run directory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert import nn
from wengert.data.dataset import Dataset, load_digits
from wengert.data.errors import UserError
from wengert.data.incoming import (
    Incoming,
    incoming_from_array,
    incoming_from_csv,
    incoming_from_dataset,
)
from wengert.data.preprocess import Preprocessor, TargetCoding
from wengert.interop.safetensors import WeightsFileError, parse_arrays
from wengert.train.loop import answer, load_weights
from wengert.train.metrics import Score, log_probabilities, measure
from wengert.train.network import Architecture
from wengert.train.rundir import CONFIG, PREPROCESSING, WEIGHTS, read_checked, read_config

DIGITS = "digits"


@dataclass(frozen=True)
class Predictions:
    """What a network says of some rows.

    Attributes
    ----------
    values : ndarray, shape (rows,), str or float64
        The most probable class of each row, or its number in the target's unit.
    probabilities : ndarray, shape (rows, classes), float64, or None
        The probability of each class; None for regression.
    lines : tuple of int
        The line of the file that each row starts on, or its index in an array.
    target : TargetCoding
        Name, task and classes of the target.
    score : Score or None
        How good the predictions are, where the data holds the truth.
    notes : tuple of str
        What the user should be told about the rows.
    """

    values: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64] | None
    lines: tuple[int, ...]
    target: TargetCoding
    score: Score | None
    notes: tuple[str, ...]

    def to_csv(self) -> str:
        """Return the predictions as CSV: line, prediction and, for classes, its probability."""
        if self.probabilities is None:
            rows = [
                f"{line},{value:.9g}" for line, value in zip(self.lines, self.values, strict=True)
            ]
            return "\n".join(["line,prediction", *rows]) + "\n"
        best = self.probabilities.max(axis=1)
        rows = [
            f"{line},{_quoted(str(value))},{chance:.6f}"
            for line, value, chance in zip(self.lines, self.values, best, strict=True)
        ]
        return "\n".join(["line,prediction,probability", *rows]) + "\n"


@dataclass(frozen=True)
class Predictor:
    """A trained network with all that is needed to feed it.

    Attributes
    ----------
    model : wengert.nn.Module
        The network.
    preprocessor : Preprocessor
        How rows are encoded.
    source : str
        The data that the network was trained on: its name, or the file it was read from.
    """

    model: nn.Module
    preprocessor: Preprocessor
    source: str

    def predict(self, data: str | Path | Dataset | npt.ArrayLike) -> Predictions:
        """Predict rows.

        Parameters
        ----------
        data : str, Path, Dataset or array_like of shape (rows, columns)
            A CSV file, ``"digits"``, a data set, or numbers in the order of the training columns.

        Returns
        -------
        Predictions
            One for each row.

        Raises
        ------
        UserError
            If the data cannot be read or does not fit the training columns.
        """
        incoming = self._incoming(data)
        notes = (*incoming.notes, *self.preprocessor.remarks(incoming.columns))
        answers = answer(self.model, self.preprocessor.encode(incoming.columns))
        lost = np.flatnonzero(~np.all(np.isfinite(answers), axis=1))
        if len(lost):
            raise UserError(
                f"The row at {incoming.lines[lost[0]]} is so far from the training rows that the "
                "network's answer is not finite."
            )
        target = self.preprocessor.target
        score = self._score(answers, incoming)
        if not target.classes:
            values = target.decode(answers)
            return Predictions(values, None, incoming.lines, target, score, notes)
        labels = np.array(target.classes)[answers.argmax(axis=1)]
        chances = np.exp(log_probabilities(answers))
        return Predictions(labels, chances, incoming.lines, target, score, notes)

    def _incoming(self, data: str | Path | Dataset | npt.ArrayLike) -> Incoming:
        """Return the rows that `data` stands for."""
        if isinstance(data, str) and data == DIGITS:
            data = load_digits()
        if isinstance(data, Dataset):
            return incoming_from_dataset(data, self.preprocessor)
        if isinstance(data, (str, Path)):
            return incoming_from_csv(data, self.preprocessor)
        return incoming_from_array(data, self.preprocessor)

    def _score(self, answers: npt.NDArray[Any], incoming: Incoming) -> Score | None:
        """Compare the answers with the truth, where there is one."""
        if incoming.answers is None or not len(incoming.answered):
            return None
        target = self.preprocessor.target
        expected = target.encode(incoming.answers)
        return measure(answers[incoming.answered], expected, target)


def load_run(path: str | Path) -> Predictor:
    """Load the network of a finished run.

    Parameters
    ----------
    path : str or Path
        A directory that ``wengert train`` or `fit` wrote.

    Returns
    -------
    Predictor
        The network with its best weights.

    Raises
    ------
    UserError
        If this is no run, or a file of it is missing, truncated or tampered with.
    """
    folder = Path(path)
    config = read_config(folder)
    coding = read_checked(folder, PREPROCESSING, config)
    content = read_checked(folder, WEIGHTS, config)
    try:
        preprocessor = Preprocessor.from_json(json.loads(coding))
        architecture = Architecture.from_json(config["network"])
        sizes = (preprocessor.width, preprocessor.target.width)
        if sizes != (architecture.inputs, architecture.outputs):
            raise ValueError(
                f"a network of {architecture.widths()} for {sizes} columns and answers"
            )
        model = architecture.build()
        load_weights(model, parse_arrays(content, str(folder / WEIGHTS)))
    except WeightsFileError as error:
        raise UserError(str(error)) from None
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, MemoryError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise UserError(
            f"The run {folder} is damaged: {CONFIG} and {PREPROCESSING} do not describe the "
            f"network in {WEIGHTS} ({reason}); train it again."
        ) from None
    return Predictor(model, preprocessor, str(config.get("data", "")))


def _quoted(text: str) -> str:
    """Return a text as a CSV cell."""
    if any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text

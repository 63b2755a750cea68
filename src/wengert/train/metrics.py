"""How good answers are: losses, scores and the trivial baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.data.frame import Indices
from wengert.data.preprocess import TargetCoding


@dataclass(frozen=True)
class Score:
    """How well one part of the rows is predicted.

    Attributes
    ----------
    rows : int
        The number of rows.
    loss : float
        Classification: mean cross-entropy in nats. Regression: mean squared error of the
        standardised target, so that 1 is what the mean reaches.
    score : float
        Classification: accuracy from 0 to 1. Regression: R², at most 1; NaN where the target does
        not vary.
    error : float or None
        Regression: root of the mean squared error, in the target's unit.
    """

    rows: int
    loss: float
    score: float
    error: float | None = None


@dataclass(frozen=True)
class Epoch:
    """What was measured after one epoch, with dropout switched off.

    Attributes
    ----------
    number : int
        The epoch; the first is 1.
    train, validation : Score
        The training rows (at most 5,000 of them) and the validation rows.
    """

    number: int
    train: Score
    validation: Score


def score_name(target: TargetCoding) -> str:
    """Return what the score of a task is called."""
    return "accuracy" if target.classes else "R²"


def loss_name(target: TargetCoding) -> str:
    """Return what the loss of a task is called."""
    return "cross-entropy" if target.classes else "MSE (standardised)"


def log_probabilities(answers: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the logarithms of the class probabilities that a network's answers stand for.

    Parameters
    ----------
    answers : ndarray, shape (rows, classes)
        The network's answers.

    Returns
    -------
    ndarray, shape (rows, classes), float64
        Natural logarithms.

    Examples
    --------
    >>> import numpy as np
    >>> np.exp(log_probabilities(np.array([[1000.0, 1000.0]]))).tolist()
    [[0.5, 0.5]]
    """
    shifted: npt.NDArray[np.float64] = answers.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def measure(answers: npt.NDArray[Any], expected: npt.NDArray[Any], target: TargetCoding) -> Score:
    """Compare a network's answers with the truth.

    Parameters
    ----------
    answers : ndarray, shape (rows, classes) or (rows, 1)
        The network's answers.
    expected : ndarray, shape (rows,) or (rows, 1)
        The truth as `TargetCoding.encode` gives it; a class of -1 counts as wrong, and its loss is
        left out.
    target : TargetCoding
        The target.

    Returns
    -------
    Score
        Loss and score.
    """
    with np.errstate(all="ignore"):
        return _measure(answers, expected, target)


def _measure(answers: npt.NDArray[Any], expected: npt.NDArray[Any], target: TargetCoding) -> Score:
    """Do the work of `measure`; answers that are not finite give a loss that is not finite."""
    if not target.classes:
        numbers = expected.astype(np.float64)
        loss = float(np.sum((answers - numbers) ** 2))
        return score_of(len(expected), loss, 0, float(np.var(numbers)), target)
    logs = log_probabilities(answers)
    known = np.flatnonzero(expected >= 0)
    loss = float(-logs[known, expected[known]].mean()) if len(known) else math.nan
    right = int((answers.argmax(axis=1) == expected).sum())
    return score_of(len(expected), loss * len(expected), right, 0.0, target)


def score_of(rows: int, loss: float, right: int, spread: float, target: TargetCoding) -> Score:
    """Return the score of some rows.

    Parameters
    ----------
    rows : int
        How many, at least 1.
    loss : float
        The sum of their losses.
    right : int
        How many are classified rightly.
    spread : float
        The variance of the target of a regression.
    target : TargetCoding
        The target.
    """
    mean = loss / rows
    if target.classes:
        return Score(rows, mean, right / rows)
    score = 1.0 - mean / spread if spread > 0 else math.nan
    return Score(rows, mean, score, math.sqrt(mean) * target.scale)


def baseline(
    expected: npt.NDArray[Any], train: Indices, test: Indices, target: TargetCoding
) -> tuple[str, Score]:
    """Return what an answer that ignores the columns reaches on the test rows.

    Parameters
    ----------
    expected : ndarray
        The truth of all rows, as `TargetCoding.encode` gives it.
    train, test : ndarray of int64
        The rows that the answer is learned from, and those it is tried on.
    target : TargetCoding
        The target.

    Returns
    -------
    name : str
        The answer: the most frequent class (its loss is that of the class shares), or the mean.
    score : Score
        How good it is.
    """
    if not target.classes:
        answers = np.zeros((len(test), 1))
        return f"the mean, {target.mean:.6g}", measure(answers, expected[test], target)
    counts = np.bincount(expected[train], minlength=len(target.classes))
    # A class without training rows would make the loss infinite: half a row stands for it.
    logs = np.log(np.maximum(counts, 0.5) / len(train))
    answers = np.broadcast_to(logs, (len(test), len(logs)))
    name = f"always {target.classes[int(counts.argmax())]!r}"
    return name, measure(answers, expected[test], target)

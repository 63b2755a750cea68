"""What a training gives: the network, its scores, and the files of its run directory."""

from __future__ import annotations

import dataclasses
import math
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import wengert as wg
from wengert import nn
from wengert.data.dataset import Dataset
from wengert.interop.safetensors import dump_arrays
from wengert.train.curve import curve_svg
from wengert.train.loop import copy_weights
from wengert.train.metrics import Epoch, Score, loss_name, score_name
from wengert.train.network import Architecture
from wengert.train.options import Options
from wengert.train.predictor import Predictions, Predictor
from wengert.train.rundir import (
    CONFIG,
    CURVE,
    FORMAT,
    METRICS,
    PREPROCESSING,
    VERSION,
    WEIGHTS,
    digest,
    to_json_text,
    write_file,
)


@dataclass(frozen=True)
class Result:
    """A finished training.

    Attributes
    ----------
    predictor : Predictor
        The network with the weights of the best epoch, and how its rows are encoded.
    architecture : Architecture
        The network's shape.
    options : Options
        The choices.
    history : tuple of Epoch
        What was measured after each epoch.
    best_epoch : int
        The epoch with the lowest validation loss, whose weights are kept.
    scores : dict of str to Score
        Of ``"train"``, ``"validation"``, ``"test"`` and ``"baseline"`` rows; the baseline is tried
        on the test rows.
    baseline_name : str
        The answer that the baseline gives.
    seconds : float
        How long the training took.
    interrupted : bool
        Whether Ctrl-C stopped it before the last epoch.
    path : Path or None
        The run directory.
    """

    predictor: Predictor
    architecture: Architecture
    options: Options
    history: tuple[Epoch, ...]
    best_epoch: int
    scores: dict[str, Score]
    baseline_name: str
    seconds: float
    interrupted: bool
    path: Path | None

    @property
    def model(self) -> nn.Module:
        """The trained network."""
        return self.predictor.model

    def predict(self, data: str | Path | Dataset | npt.ArrayLike) -> Predictions:
        """Predict rows; see `Predictor.predict`."""
        return self.predictor.predict(data)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training.

    Attributes
    ----------
    result : Result or None
        The training of the epochs done so far; None if there were none.
    """

    def __init__(self, message: str, result: Result | None) -> None:
        super().__init__(message)
        self.result = result


def write_run(stage: Path, result: Result) -> None:
    """Write all files of a run into a directory.

    The weights and the metrics of two trainings with the same data, options and program are equal
    to the last bit.

    Parameters
    ----------
    stage : Path
        An empty directory.
    result : Result
        The training.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    target = result.predictor.preprocessor.target
    title = f"{Path(result.predictor.source).name}: training of {result.architecture.widths()}"
    curve = curve_svg(
        result.history, result.best_epoch, title, loss_name(target), score_name(target)
    )
    checked: dict[str, str | bytes] = {
        PREPROCESSING: to_json_text(result.predictor.preprocessor.to_json()),
        WEIGHTS: dump_arrays(copy_weights(result.model), {"producer": "wengert"}),
    }
    for name, content in checked.items():
        write_file(stage / name, content)
    write_file(stage / METRICS, metrics_csv(result.history))
    write_file(stage / CURVE, curve)
    # The configuration comes last: a directory without it is not a run.
    sums = {name: digest(content) for name, content in checked.items()}
    write_file(stage / CONFIG, to_json_text(_config(result) | {"sha256": sums}))


def metrics_csv(history: tuple[Epoch, ...]) -> str:
    """Return the measurements after each epoch as CSV, with all digits."""
    head = "epoch,train_loss,train_score,validation_loss,validation_score"
    rows = [
        f"{each.number},{each.train.loss!r},{each.train.score!r},"
        f"{each.validation.loss!r},{each.validation.score!r}"
        for each in history
    ]
    return "\n".join([head, *rows]) + "\n"


def _config(result: Result) -> dict[str, Any]:
    """Return what config.json holds, without the checksums."""
    target = result.predictor.preprocessor.target
    scores = {name: _plain(score) for name, score in result.scores.items()}
    scores["baseline"]["answer"] = result.baseline_name
    return {
        "format": FORMAT,
        "version": VERSION,
        "program": {
            "wengert": wg.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": result.predictor.source,
        "target": target.name,
        "task": target.task,
        "loss": loss_name(target),
        "score": score_name(target),
        "options": result.options.to_json(),
        "network": result.architecture.to_json(),
        "epochs_done": len(result.history),
        "best_epoch": result.best_epoch,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "results": scores,
    }


def _plain(score: Score) -> dict[str, Any]:
    """Return a score for JSON: NaN becomes null, an error that does not exist is left out."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in dataclasses.asdict(score).items()
        if value is not None
    }

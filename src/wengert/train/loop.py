"""The training loop: minibatches, epochs, and the weights of the best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import wengert as wg
from wengert.data.errors import UserError
from wengert.data.frame import Features, Indices
from wengert.data.preprocess import TargetCoding
from wengert.data.split import Split
from wengert.train.metrics import Epoch, Score, measure
from wengert.train.options import SGD_MOMENTUM, Options

if TYPE_CHECKING:
    from wengert.train.progress import Reporter

MOST_ROWS_AT_ONCE = 4096
MOST_ROWS_PER_EPOCH_SCORE = 5000
_SHUFFLE_STREAM = 1

Weights = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Samples:
    """All rows as the network sees them.

    Attributes
    ----------
    features : ndarray, shape (rows, width), float32
        The encoded columns.
    expected : ndarray, shape (rows,) int64 or (rows, 1) float32
        The encoded target.
    split : Split
        Which rows are for training, validation and test.
    target : TargetCoding
        The target.
    """

    features: Features
    expected: npt.NDArray[Any]
    split: Split
    target: TargetCoding


@dataclass(frozen=True)
class Progress:
    """The state after some whole epochs; replaced as one, so that an interrupt finds it whole.

    Attributes
    ----------
    history : tuple of Epoch
        The epochs so far.
    best : int
        The epoch with the lowest validation loss, from 1; 0 before the first.
    weights : dict of str to ndarray
        The weights after that epoch.
    """

    history: tuple[Epoch, ...]
    best: int
    weights: Weights


class Trainer:
    """Trains a network epoch by epoch and keeps the best weights.

    Parameters
    ----------
    model : wengert.nn.Module
        The network; its parameters are changed.
    samples : Samples
        The rows.
    options : Options
        Batch size, optimiser and the rest.
    reporter : Reporter
        Told of every batch and epoch.

    Attributes
    ----------
    progress : Progress
        The state after the last whole epoch.
    """

    def __init__(
        self, model: wg.nn.Module, samples: Samples, options: Options, reporter: Reporter
    ) -> None:
        self.model = model
        self.samples = samples
        self.options = options
        self.reporter = reporter
        self.criterion = wg.nn.CrossEntropyLoss() if samples.target.classes else wg.nn.MSELoss()
        self.optimizer = make_optimizer(model, options)
        self.progress = Progress((), 0, {})
        self._compiled = wg.compile(self._update)
        # Its own stream: the order of rows must not depend on how many numbers the split drew.
        key = np.random.SeedSequence([options.seed, _SHUFFLE_STREAM])
        self._shuffle = np.random.Generator(np.random.Philox(key))

    def compile(self) -> Iterator[str]:
        """Compile the step for each size of minibatch, and say how long each took."""
        size, rows = self.options.batch_size, len(self.samples.split.train)
        self.model.train()
        for count in dict.fromkeys((min(size, rows), rows % size or min(size, rows))):
            begun = time.perf_counter()
            self._compiled.prepare(*self._minibatch(self.samples.split.train[:count]))
            took = 1000 * (time.perf_counter() - begun)
            last = "" if count in {size, rows} else ", the last of an epoch"
            yield f"Compiled the training step for batches of {count:,} rows{last}: {took:.0f} ms."

    def run(self) -> None:
        """Train for all epochs.

        Raises
        ------
        UserError
            If the loss stops being a finite number.
        """
        with np.errstate(all="ignore"):  # a loss that is not finite is told in a sentence
            for number in range(1, self.options.epochs + 1):
                self._train_epoch(number)
                self._close_epoch(number)

    def _train_epoch(self, number: int) -> None:
        """Make one pass over the training rows in random order."""
        size = self.options.batch_size
        order = self._shuffle.permutation(self.samples.split.train)
        self.model.train()
        for start in range(0, len(order), size):
            loss = self._step(order[start : start + size])
            if not math.isfinite(loss):
                raise UserError(self._divergence(number, loss))
            self.reporter.batch(number, start + size, len(order))

    def _step(self, rows: Indices) -> float:
        """Make one step of the optimiser and return the loss before it."""
        return float(self._compiled(*self._minibatch(rows)).item())

    def _minibatch(self, rows: Indices) -> tuple[Features, npt.NDArray[Any]]:
        """Return the features and the targets of some rows."""
        return self.samples.features[rows], self.samples.expected[rows]

    def _update(self, features: wg.Tensor, expected: wg.Tensor) -> wg.Tensor:
        """Do what a step does; this is what is compiled."""
        loss: wg.Tensor = self.criterion(self.model(features), expected)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _close_epoch(self, number: int) -> None:
        """Measure the network after an epoch and keep its weights if they are the best so far."""
        split = self.samples.split
        record = Epoch(
            number=number,
            train=self.score(split.train[:MOST_ROWS_PER_EPOCH_SCORE]),
            validation=self.score(split.validation),
        )
        if not math.isfinite(record.validation.loss) or not math.isfinite(record.train.loss):
            raise UserError(self._divergence(number, record.train.loss))
        before = self.progress
        history = (*before.history, record)
        if before.best and record.validation.loss >= history[before.best - 1].validation.loss:
            self.progress = Progress(history, before.best, before.weights)
        else:
            self.progress = Progress(history, number, copy_weights(self.model))
        self.reporter.epoch(record)

    def score(self, rows: Indices) -> Score:
        """Measure the network on some rows, with dropout switched off."""
        answers = answer(self.model, self.samples.features[rows])
        return measure(answers, self.samples.expected[rows], self.samples.target)

    def restore_best(self) -> None:
        """Put the best weights back into the network."""
        load_weights(self.model, self.progress.weights)

    def _divergence(self, number: int, loss: float) -> str:
        """Say that training came apart, and what to try."""
        decay = self.options.weight_decay
        other = f", or a smaller --weight-decay than {decay:g}" if decay else ""
        return (
            f"The loss became {loss} in epoch {number} of {self.options.epochs}: training came "
            f"apart; try a smaller --lr than {self.options.rate:g}{other}."
        )


def make_optimizer(model: wg.nn.Module, options: Options) -> wg.optim.Optimizer:
    """Return the optimiser that the options ask for, over all parameters of a network."""
    decay = options.weight_decay
    if options.optimizer == "adam":
        return wg.optim.Adam(model.parameters(), lr=options.rate, weight_decay=decay)
    return wg.optim.SGD(
        model.parameters(), lr=options.rate, momentum=SGD_MOMENTUM, weight_decay=decay
    )


def answer(model: wg.nn.Module, features: Features) -> npt.NDArray[Any]:
    """Return a network's answers for some rows.

    Parameters
    ----------
    model : wengert.nn.Module
        The network; it is put into evaluation mode.
    features : ndarray, shape (rows, width), float32
        The rows; at least one.

    Returns
    -------
    ndarray, shape (rows, outputs), float32
        The answers.
    """
    model.eval()
    chunks = []
    with wg.no_grad():
        for start in range(0, len(features), MOST_ROWS_AT_ONCE):
            chunk = wg.asarray(features[start : start + MOST_ROWS_AT_ONCE])
            chunks.append(np.array(model(chunk).numpy()))
    return np.concatenate(chunks)


def copy_weights(model: wg.nn.Module) -> Weights:
    """Return a copy of a network's weights."""
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def load_weights(model: wg.nn.Module, weights: Weights) -> None:
    """Put weights into a network."""
    model.load_state_dict({name: wg.tensor(value) for name, value in weights.items()})

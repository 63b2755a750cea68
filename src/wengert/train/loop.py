"""The training loop: minibatches, epochs, and the weights of the best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.random import Generator, Philox, SeedSequence

import wengert as wg
from wengert import nn, optim
from wengert.data.errors import UserError
from wengert.data.frame import Features, Indices
from wengert.data.preprocess import TargetCoding
from wengert.data.split import Split
from wengert.train.metrics import Epoch, Score, score_of
from wengert.train.minibatches import Minibatches
from wengert.train.network import without_dropout
from wengert.train.options import SGD_MOMENTUM, Options
from wengert.train.steps import cross_entropy, scoring, squared_error, training_step

if TYPE_CHECKING:
    from wengert.train.progress import Reporter

MOST_ROWS_AT_ONCE = 4096
MOST_ROWS_PER_EPOCH_SCORE = 5000
ROWS_SCORED_AT_ONCE = 128
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

    def minibatches(self, size: int, rows: int) -> Minibatches:
        """Return what copies up to so many rows at a pass into minibatches."""
        return Minibatches(self.features, self.expected, size, rows)


class Part(NamedTuple):
    """Rows that are scored.

    Attributes
    ----------
    rows : ndarray of int64
        Their indices.
    minibatches : Minibatches
        What copies them.
    spread : float
        For regression, the variance of the target.
    """

    rows: Indices
    minibatches: Minibatches
    spread: float


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
        self, model: nn.Sequential, samples: Samples, options: Options, reporter: Reporter
    ) -> None:
        self.model = model
        self.samples = samples
        self.options = options
        self.reporter = reporter
        self.progress = Progress((), 0, {})
        rows = samples.split.train
        self._minibatches = samples.minibatches(min(options.batch_size, len(rows)), len(rows))
        self._watched = self.part(rows[:MOST_ROWS_PER_EPOCH_SCORE])
        self._validation = self.part(samples.split.validation)
        classes = bool(samples.target.classes)
        loss = cross_entropy if classes else squared_error
        optimizer = make_optimizer(model, options)
        self._step = wg.compile(training_step(model, loss, optimizer))
        self._sums = wg.compile(scoring(without_dropout(model), loss, classes))
        # Its own stream: the order of rows must not depend on how many numbers the split drew.
        key = SeedSequence([options.seed, _SHUFFLE_STREAM])
        self._shuffle = Generator(Philox(key))

    def compile(self) -> Iterator[str]:
        """Compile the step and the scoring, and say how long each took."""
        self.model.train()
        rows = self.samples.split.train
        yield _prepare("training step", self._step, self._minibatches, rows)
        with wg.no_grad():
            said = _prepare("scoring", self._sums, self._watched.minibatches, self._watched.rows)
        yield said

    def run(self) -> None:
        """Train for all epochs.

        Raises
        ------
        UserError
            If the loss stops being a finite number.
        """
        self.model.train()
        with np.errstate(all="ignore"):  # a loss that is not finite is told in a sentence
            for number in range(1, self.options.epochs + 1):
                self._train_epoch(number)
                self._close_epoch(number)

    def _train_epoch(self, number: int) -> None:
        """Make one pass over the training rows in random order."""
        step, report, size = self._step, self.reporter.batch, self._minibatches.size
        order = self._shuffle.permutation(self.samples.split.train)
        done = 0
        for features, expected in self._minibatches.of(order):
            loss = step(features, expected).item()
            if not math.isfinite(loss):
                raise UserError(self._divergence(number, loss))
            done += size
            report(number, done, len(order))

    def _close_epoch(self, number: int) -> None:
        """Measure the network after an epoch and keep its weights if they are the best so far."""
        record = Epoch(number, self.score(self._watched), self.score(self._validation))
        if not math.isfinite(record.validation.loss) or not math.isfinite(record.train.loss):
            raise UserError(self._divergence(number, record.train.loss))
        before = self.progress
        history = (*before.history, record)
        if before.best and record.validation.loss >= history[before.best - 1].validation.loss:
            self.progress = Progress(history, before.best, before.weights)
        else:
            self.progress = Progress(history, number, copy_weights(self.model))
        self.reporter.epoch(record)

    def part(self, rows: Indices) -> Part:
        """Return some rows, at least one, to be scored."""
        samples = self.samples
        size = min(ROWS_SCORED_AT_ONCE, len(samples.split.train))  # one for all parts
        minibatches = samples.minibatches(size, len(rows))
        expected = samples.expected[rows]
        spread = 0.0 if samples.target.classes else float(np.var(expected.astype(np.float64)))
        return Part(rows, minibatches, spread)

    def score(self, part: Part) -> Score:
        """Measure the network on some rows, with dropout switched off."""
        loss, right = 0.0, 0
        with wg.no_grad():
            for minibatch in part.minibatches.of(part.rows):
                more_loss, more_right = self._sums(*minibatch)
                loss += more_loss.item()
                right += more_right.item()
        return score_of(len(part.rows), loss, right, part.spread, self.samples.target)

    def restore_best(self) -> None:
        """Put the best weights back into the network, and switch dropout off."""
        self.model.eval()
        load_weights(self.model, self.progress.weights)

    def _divergence(self, number: int, loss: float) -> str:
        """Say that training came apart, and what to try."""
        decay = self.options.weight_decay
        other = f", or a smaller --weight-decay than {decay:g}" if decay else ""
        return (
            f"The loss became {loss} in epoch {number} of {self.options.epochs}: training came "
            f"apart; try a smaller --lr than {self.options.rate:g}{other}."
        )


def _prepare(name: str, compiled: Any, minibatches: Minibatches, rows: Indices) -> str:
    """Compile a function of minibatches, and say how long it took."""
    begun = time.perf_counter()
    compiled.prepare(*next(minibatches.of(rows)))
    took = 1000 * (time.perf_counter() - begun)
    return f"Compiled the {name} for batches of {minibatches.size:,} rows: {took:.0f} ms."


def make_optimizer(model: nn.Module, options: Options) -> optim.Optimizer:
    """Return the optimiser that the options ask for, over all parameters of a network."""
    decay = options.weight_decay
    if options.optimizer == "adam":
        return optim.Adam(model.parameters(), lr=options.rate, weight_decay=decay)
    return optim.SGD(model.parameters(), lr=options.rate, momentum=SGD_MOMENTUM, weight_decay=decay)


def answer(model: nn.Module, features: Features) -> npt.NDArray[Any]:
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


def copy_weights(model: nn.Module) -> Weights:
    """Return a copy of a network's weights."""
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Put weights into a network."""
    model.load_state_dict({name: wg.tensor(value) for name, value in weights.items()})

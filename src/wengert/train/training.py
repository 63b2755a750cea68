"""Training from data to result: the function behind ``wengert train``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

import wengert as wg
from wengert.data.columns import read_csv
from wengert.data.dataset import Dataset, dataset_from_arrays, load_digits
from wengert.data.errors import UserError, did_you_mean
from wengert.data.frame import Frame, Task
from wengert.data.preprocess import Preprocessor, fit_preprocessor
from wengert.data.split import Split, split_rows
from wengert.train.loop import Samples, Trainer
from wengert.train.metrics import Score, baseline, score_name
from wengert.train.network import Architecture
from wengert.train.options import TASKS, Options, one_of
from wengert.train.predictor import DIGITS, Predictor
from wengert.train.progress import ConsoleReporter, Reporter
from wengert.train.report import print_report
from wengert.train.result import Interrupted, Result, write_run
from wengert.train.rundir import Destination, refuse_taken, staged

Source: TypeAlias = str | Path | Dataset | tuple[npt.ArrayLike, npt.ArrayLike]


def fit(  # noqa: PLR0913  (each choice is an argument of its own name)
    data: Source,
    *,
    target: str | None = None,
    hidden: Sequence[int] = Options.hidden,
    activation: str = Options.activation,
    optimizer: str = Options.optimizer,
    lr: float | None = None,
    batch_size: int = Options.batch_size,
    epochs: int = Options.epochs,
    dropout: float = Options.dropout,
    weight_decay: float = Options.weight_decay,
    validation: float = Options.validation,
    test: float = Options.test,
    seed: int = Options.seed,
    task: Task | None = None,
    ignore: Sequence[str] = (),
    category: Sequence[str] = (),
    out: str | Path | None = None,
    force: bool = False,
    progress: bool = True,
) -> Result:
    """Train a multilayer perceptron and keep the weights of its best epoch.

    The rows are cut into training, validation and test parts. Columns are standardised (numbers) or
    become one 0-or-1 number per category, as the training rows say; the number to predict in a
    regression is standardised inside and reported in its own unit. The best epoch is the one with
    the lowest validation loss. The seed of Wengert's generator is set.

    Parameters
    ----------
    data : str, Path, Dataset or (features, targets)
        ``"digits"``, a CSV file, a data set, or two arrays of shapes (rows, columns) and (rows,).
    target : str, optional
        The column of a CSV file to predict; needed there, and only there.
    hidden : sequence of int, optional
        The widths of the hidden layers; none for a linear model.
    activation : {"relu", "tanh", "sigmoid"}, optional
        The function after each hidden layer.
    optimizer : {"adam", "sgd"}, optional
        Adam, or gradient descent with momentum 0.9.
    lr : float, optional
        The learning rate; by default 0.001 for Adam and 0.05 for SGD.
    batch_size, epochs : int, optional
        Rows per step, and passes over the training rows.
    dropout : float, optional
        The share of hidden values set to zero in training, in [0, 1).
    weight_decay : float, optional
        The strength of the pull of all parameters towards zero.
    validation, test : float, optional
        The shares of rows held out.
    seed : int, optional
        Decides the split, the first weights, the order of rows and the dropout: the same seed,
        data, options and program give the same bits.
    task : {"classification", "regression"}, optional
        By default the target decides, and the decision is said.
    ignore, category : sequence of str, optional
        Columns of a CSV file to leave out, or to take as categories whatever they hold.
    out : str or Path, optional
        The run directory to write; nothing is written by default.
    force : bool, optional
        Replace a run that is already there.
    progress : bool, optional
        Show decisions, progress and the final table.

    Returns
    -------
    Result
        The network, its scores and its history.

    Raises
    ------
    UserError
        If the data or an option cannot be used, or the loss stops being finite.
    Interrupted
        At Ctrl-C. A subclass of KeyboardInterrupt; its `result` is the training of the whole
        epochs so far, already written to `out`, or None if there were none.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 60)[:, None]
    >>> result = fit((x, 3 * x[:, 0] + 0.01), hidden=(), epochs=60, lr=0.05, progress=False)
    >>> bool(result.scores["test"].score > 0.99)
    True
    """
    widths: Any = hidden  # one layer may be given as its width
    options = Options(
        tuple(widths) if isinstance(widths, Iterable) else (widths,),
        activation,
        optimizer,
        lr,
        batch_size,
        epochs,
        dropout,
        weight_decay,
        validation,
        test,
        seed,
    )
    destination = None if out is None else Destination(Path(out), force=force)
    reporter = ConsoleReporter() if progress else Reporter()
    if destination is not None:
        refuse_taken(destination)
    frame = load_source(data, target, task, ignore, category)
    result = carry_out(plan_training(frame, options), destination, reporter)
    if progress:
        print_report(result)
    return result


def load_source(
    data: Source,
    target: str | None = None,
    task: Task | None = None,
    ignore: Sequence[str] = (),
    category: Sequence[str] = (),
) -> Frame:
    """Return the typed columns that a source of data stands for.

    Parameters are those of `fit`.

    Raises
    ------
    UserError
        If the data cannot be used.
    """
    if task is not None:
        one_of("--task", task, TASKS)
    if isinstance(data, (str, Path)) and str(data) != DIGITS:
        hint = did_you_mean(str(data), [DIGITS])
        if hint and not Path(data).exists():
            raise UserError(f"There is no file {data}.{hint}")
        return read_csv(str(data), target, task=task, ignore=ignore, category=category)
    if ignore or category:
        raise UserError("--ignore and --category are for the columns of a CSV file.")
    if isinstance(data, (str, Path)):
        data = load_digits()
    elif isinstance(data, tuple):
        data = dataset_from_arrays(*data, task=task, target_name=target or "target")
    elif not isinstance(data, Dataset):
        raise UserError(
            "The data must be 'digits', a CSV file, a Dataset or a tuple (features, targets), "
            f"got {type(data).__name__}."
        )
    if target not in (None, data.target_name):
        raise UserError(f"The target of {data.name} is {data.target_name!r}, not {target!r}.")
    if task not in (None, data.task):
        raise UserError(f"The targets of {data.name} are for {data.task}, not for {task}.")
    return data.frame()


@dataclass(frozen=True)
class Plan:
    """A training that is decided but not begun.

    Attributes
    ----------
    frame : Frame
        The data.
    options : Options
        The choices.
    split : Split
        Which rows are for what.
    preprocessor : Preprocessor
        How rows are encoded, learned from the training rows.
    architecture : Architecture
        The network's shape.
    """

    frame: Frame
    options: Options
    split: Split
    preprocessor: Preprocessor
    architecture: Architecture

    def notes(self) -> tuple[str, ...]:
        """Say all that was decided, in sentences for the user."""
        split = self.split
        return (
            *self.frame.notes,
            f"Split: {len(split.train):,} training, {len(split.validation):,} validation and "
            f"{len(split.test):,} test rows (seed {self.options.seed}).",
            *self.preprocessor.remarks(self.frame.columns),
            self.architecture.sentence(),
        )


def plan_training(frame: Frame, options: Options) -> Plan:
    """Split the rows and learn from the training part how to encode them.

    Raises
    ------
    UserError
        If there are too few rows, or numbers too large.
    """
    split = split_rows(frame.target, options.validation, options.test, options.seed)
    preprocessor = fit_preprocessor(frame, split.train)
    outputs = preprocessor.target.width
    architecture = Architecture.from_options(preprocessor.width, outputs, options)
    return Plan(frame, options, split, preprocessor, architecture)


def carry_out(plan: Plan, destination: Destination | None, reporter: Reporter) -> Result:
    """Train, and write the run directory.

    Parameters
    ----------
    plan : Plan
        What to train.
    destination : Destination or None
        Where the run goes, if anywhere.
    reporter : Reporter
        Told of decisions and progress.

    Returns
    -------
    Result
        The training.

    Raises
    ------
    UserError, Interrupted
        As `fit`.
    """
    if destination is None:
        result = _train(plan, reporter, None)
    else:
        with staged(destination) as (stage, final):
            result = _train(plan, reporter, final)
            write_run(stage, result)
    if result.interrupted:
        kept = f"; the run so far is in {result.path}" if result.path else ""
        done = f"{len(result.history)} of {plan.options.epochs}"
        raise Interrupted(f"Stopped by Ctrl-C after epoch {done}{kept}.", result)
    return result


def _train(plan: Plan, reporter: Reporter, path: Path | None) -> Result:
    """Train one network and measure it."""
    options, target = plan.options, plan.preprocessor.target
    reporter.notes(plan.notes())
    features = plan.preprocessor.encode(plan.frame.columns)
    samples = Samples(features, target.encode(plan.frame.target.values), plan.split, target)
    wg.manual_seed(options.seed)
    trainer = Trainer(plan.architecture.build(), samples, options, reporter)
    begun = time.perf_counter()
    interrupted = False
    try:
        reporter.notes(trainer.compile())
        reporter.begin(options.epochs, score_name(target))
        trainer.run()
    except KeyboardInterrupt:
        if not trainer.progress.history:
            message = "Stopped by Ctrl-C before the first epoch ended; nothing was written."
            raise Interrupted(message, None) from None
        interrupted = True
    finally:
        reporter.close()
    seconds = time.perf_counter() - begun
    trainer.restore_best()
    scores, trivial = _final_scores(trainer)
    return Result(
        predictor=Predictor(trainer.model, plan.preprocessor, plan.frame.name),
        architecture=plan.architecture,
        options=options,
        history=trainer.progress.history,
        best_epoch=trainer.progress.best,
        scores=scores,
        baseline_name=trivial,
        seconds=seconds,
        interrupted=interrupted,
        path=path,
    )


def _final_scores(trainer: Trainer) -> tuple[dict[str, Score], str]:
    """Measure the best weights and the baseline."""
    samples = trainer.samples
    split = samples.split
    name, trivial = baseline(samples.expected, split.train, split.test, samples.target)
    scores = {
        "train": trainer.score(trainer.part(split.train)),
        "validation": trainer.score(trainer.part(split.validation)),
        "test": trainer.score(trainer.part(split.test)),
        "baseline": trivial,
    }
    return scores, name

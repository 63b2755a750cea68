"""Telling the user how the training goes: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wengert.train.metrics import Epoch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_SECONDS_BETWEEN_UPDATES = 0.1
_PLAIN_LINES = 10


class Reporter:
    """Hears of every note, batch and epoch; this one keeps silent."""

    def notes(self, sentences: Iterable[str]) -> None:
        """Pass on what was decided."""

    def begin(self, epochs: int, score_name: str) -> None:
        """Begin a training of so many epochs."""

    def batch(self, epoch: int, rows_done: int, rows: int) -> None:
        """Hear that a batch is done."""

    def epoch(self, record: Epoch) -> None:
        """Hear what was measured after an epoch."""

    def close(self) -> None:
        """End the training."""


class ConsoleReporter(Reporter):
    """Writes to standard error.

    On a terminal it shows a bar with loss, score and the time left; elsewhere a line for about
    every tenth of the epochs.
    """

    def __init__(self) -> None:
        self._console: Console | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._epochs = 0
        self._score_name = ""
        self._begun = 0.0
        self._updated = 0.0

    def notes(self, sentences: Iterable[str]) -> None:
        """Write each sentence on a line of its own."""
        for sentence in sentences:
            sys.stderr.write(f"{one_line(sentence)}\n")
        sys.stderr.flush()

    def begin(self, epochs: int, score_name: str) -> None:
        """Show an empty bar, if there is a terminal."""
        from rich.console import Console

        self._epochs, self._score_name = epochs, score_name
        self._begun = self._updated = time.perf_counter()
        self._console = Console(stderr=True, highlight=False)
        if self._console.is_terminal:
            self._bar = _bar(self._console)
            self._task = self._bar.add_task("", total=epochs, count=f"1/{epochs}", text="")
            self._bar.start()

    def batch(self, epoch: int, rows_done: int, rows: int) -> None:
        """Move the bar, a few times a second."""
        if self._bar is None or self._task is None:
            return
        now = time.perf_counter()
        if now - self._updated > _SECONDS_BETWEEN_UPDATES:
            self._updated = now
            done = epoch - 1 + min(rows_done / rows, 1.0)
            self._bar.update(self._task, completed=done, count=f"{epoch}/{self._epochs}")

    def epoch(self, record: Epoch) -> None:
        """Show what was measured."""
        name = self._score_name
        if self._bar is not None and self._task is not None:
            count = f"{record.number}/{self._epochs}"
            held = show_score(record.validation.score, name)
            text = f"loss {record.train.loss:.4f}, validation {name} {held}"
            self._bar.update(self._task, completed=record.number, count=count, text=text)
            return
        every = max(1, self._epochs // _PLAIN_LINES)
        if record.number % every == 0 or record.number in (1, self._epochs):
            per_epoch = (time.perf_counter() - self._begun) / record.number
            left = per_epoch * (self._epochs - record.number)
            text = summary(record, name)
            sys.stderr.write(f"Epoch {record.number}/{self._epochs}: {text}, {left:.0f} s left\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def summary(record: Epoch, score_name: str) -> str:
    """Describe an epoch in a few words."""
    score = show_score(record.train.score, score_name)
    held = show_score(record.validation.score, score_name)
    return (
        f"loss {record.train.loss:.4f}, {score_name} {score}; "
        f"validation {record.validation.loss:.4f}, {held}"
    )


def show_score(score: float, score_name: str) -> str:
    """Write an accuracy in percent, R² as a number, and a dash for NaN.

    Examples
    --------
    >>> show_score(0.9814, "accuracy"), show_score(0.5, "R²"), show_score(float("nan"), "R²")
    ('98.1 %', '0.500', '–')
    """
    if score != score:  # noqa: PLR0124  (NaN is the only number that differs from itself)
        return "–"
    # Adding zero turns the -0.0 of a score that rounds to nothing into 0.0.
    return f"{100 * score:.1f} %" if score_name == "accuracy" else f"{round(score, 3) + 0.0:.3f}"


def show_number(value: float) -> str:
    """Write a quantity with about four digits.

    Examples
    --------
    >>> show_number(19521.086), show_number(0.0123456)
    ('19,521', '0.01235')
    """
    whole = 1e3 <= abs(value) < 1e15  # noqa: PLR2004  (four digits left of the point, and legible)
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def one_line(text: str) -> str:
    """Return a text without line breaks, whatever names of columns it quotes."""
    return " ".join(text.split())


def _bar(console: Console) -> Bar:
    """Return the bar with its columns: 80 signs for up to 999 epochs."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("epoch {task.fields[count]}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("left", markup=False),
        console=console,
    )

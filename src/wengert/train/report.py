"""The final table of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wengert.train.metrics import loss_name, score_name
from wengert.train.progress import show_number, show_score

if TYPE_CHECKING:
    from rich.console import Console

    from wengert.train.result import Result

_WIDE = 200


def print_report(result: Result, console: Console | None = None) -> None:
    """Print scores and losses of all parts beside the trivial baseline.

    Parameters
    ----------
    result : Result
        The training.
    console : rich.console.Console, optional
        Where to print; by default standard output.
    """
    from rich.console import Console
    from rich.table import Table

    # Wide enough for every column: a narrow terminal wraps lines, and loses no number.
    console = console or Console(highlight=False, markup=False, soft_wrap=True, width=_WIDE)
    target = result.predictor.preprocessor.target
    table = Table(title=f"{target.name}, best epoch {result.best_epoch}", title_justify="left")
    table.add_column("part", no_wrap=True)
    for head in (score_name(target), loss_name(target)):
        table.add_column(head, justify="right", no_wrap=True)
    if not target.classes:
        table.add_column("RMSE", justify="right", no_wrap=True)
    table.add_column("rows", justify="right")
    for name, score in result.scores.items():
        table.add_row(
            f"baseline: {result.baseline_name}" if name == "baseline" else name,
            show_score(score.score, score_name(target)),
            f"{score.loss:.4f}",
            *([] if score.error is None else [show_number(score.error)]),
            f"{score.rows:,}",
        )
    console.print(table)
    done = f"Trained {len(result.history)} of {result.options.epochs} epochs"
    console.print(f"{done} in {result.seconds:.1f} s.")
    if result.best_epoch == result.options.epochs > 1:
        console.print("The last epoch was the best: more --epochs may do better.")
    if result.path is not None:
        console.print(f"The run is in {result.path}.")

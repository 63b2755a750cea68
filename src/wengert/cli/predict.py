"""``wengert predict``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wengert.train.predictor import Predictions

_EPILOG = """
\b
Examples:
  wengert predict runs/houses-1 new.csv
  wengert predict runs/houses-1 new.csv --out prices.csv
  wengert predict runs/digits-1 digits | head

Columns are found by name, in any order; those that the network was not trained with are left
out. The target column may be missing; where it is there, the score is reported. The answer
is CSV: the line of each row in DATA, the prediction, and for a class its probability.
"""


@click.command(epilog=_EPILOG, short_help="Predict the rows of a CSV file with a trained network.")
@click.argument("run")
@click.argument("data")
@click.option(
    "--out", metavar="FILE", help="Write the predictions to a file, not to standard output."
)
@click.option("--force", is_flag=True, help="Replace the file that --out names.")
@click.option("--quiet", is_flag=True, help="Show the predictions only.")
def predict(run: str, data: str, out: str | None, force: bool, quiet: bool) -> None:
    """Predict the rows of DATA with the network of RUN, a directory that wengert train wrote.

    DATA is a CSV file, or the word digits.
    """
    from wengert.data.errors import UserError, counted
    from wengert.train.predictor import load_run
    from wengert.train.progress import ConsoleReporter, Reporter
    from wengert.train.rundir import write_file_whole

    if out is not None and os.path.lexists(out) and not (force and Path(out).is_file()):
        advice = "; replace it with --force" if Path(out).is_file() else ""
        raise UserError(f"--out {out} exists{advice}.")
    if out is not None and not Path(out).name:
        raise UserError("--out needs the name of a file.")
    if out is not None and Path(data).exists() and Path(out).exists() and Path(out).samefile(data):
        raise UserError(f"--out {out} is the file to predict; name another one.")
    predictor = load_run(run)
    predictions = predictor.predict(data)
    reporter = Reporter() if quiet else ConsoleReporter()
    reporter.notes((*predictions.notes, *_score(predictions, seen=predictor.source == data)))
    if out is None:
        click.echo(predictions.to_csv(), nl=False)
        return
    write_file_whole(Path(out), predictions.to_csv())
    reporter.notes([f"{counted(len(predictions.lines), 'prediction')} written to {out}."])


def _score(predictions: Predictions, *, seen: bool) -> list[str]:
    """Say how good the predictions are, where the data holds the truth.

    If the network was trained on the same data, say that this is no test.
    """
    from wengert.data.errors import counted
    from wengert.train.metrics import loss_name, score_name
    from wengert.train.progress import show_number, show_score

    score, target = predictions.score, predictions.target
    if score is None:
        return []
    name = score_name(target)
    if score.error is None:
        loss = f"{score.loss:.4f}" if math.isfinite(score.loss) else "–"
        more = f"{loss_name(target)} {loss}"
    else:
        more = f"RMSE {show_number(score.error)}"
    caution = ["Most of these rows were trained on: this score is no test."] if seen else []
    return [
        f"{name[0].upper()}{name[1:]} {show_score(score.score, name)}, {more}, "
        f"on {counted(score.rows, 'row')} with a known {target.name}.",
        *caution,
    ]

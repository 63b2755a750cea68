"""``wengert train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wengert.cli.group import stop

_EPILOG = """
\b
Examples:
  wengert train digits
  wengert train houses.csv --target price
  wengert train flowers.csv --target species --hidden 64,32 --epochs 100
  wengert train houses.csv --target price --hidden none      (linear regression)
  wengert train digits --optimizer sgd --lr 0.1 --seed 7 --out runs/sgd

A CSV file names its columns in the first line; commas, semicolons or tabs separate the
cells. Columns of texts become categories, a missing cell is an empty one, and whether the
target is a class or a number is decided from its cells. All of this is said before training.

The run directory holds config.json, preprocessing.json, metrics.csv, model.safetensors and
curve.svg. It appears when the training is done, whole or not at all. Ctrl-C ends the
training early: the whole epochs so far are written as a run, and the exit code is 130.
"""


@click.command(epilog=_EPILOG, short_help="Train a network on a CSV file or on digits.")
@click.argument("data")
@click.option("--target", metavar="COLUMN", help="The column to predict; needed for a CSV file.")
@click.option(
    "--hidden", metavar="N,N,…", help="Widths of the hidden layers, or none.  [default: 256]"
)
@click.option("--activation", metavar="relu|tanh|sigmoid", help="After each hidden layer.")
@click.option("--optimizer", metavar="adam|sgd", help="sgd has momentum 0.9.  [default: adam]")
@click.option("--lr", type=float, help="Learning rate.  [default: 0.001 for adam, 0.05 for sgd]")
@click.option("--batch-size", type=int, metavar="ROWS", help="Rows per step.  [default: 32]")
@click.option("--epochs", type=int, metavar="N", help="Passes over the rows.  [default: 40]")
@click.option(
    "--dropout", type=float, help="Share of hidden values dropped, 0 to 1.  [default: 0.3]"
)
@click.option("--weight-decay", type=float, help="Pull of the weights to zero.  [default: 0]")
@click.option(
    "--validation",
    type=float,
    metavar="SHARE",
    help="Share of rows that choose the best epoch.  [default: 0.15]",
)
@click.option(
    "--test",
    type=float,
    metavar="SHARE",
    help="Share of rows for the final score.  [default: 0.15]",
)
@click.option("--seed", type=int, help="The same seed gives the same bits.  [default: 0]")
@click.option(
    "--task",
    metavar="classification|regression",
    help="What to predict, if the decision from the target is not wanted.",
)
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave a column out; repeatable.")
@click.option(
    "--category",
    multiple=True,
    metavar="COLUMN",
    help="Take a column as categories though it holds numbers; repeatable.",
)
@click.option(
    "--out", metavar="DIRECTORY", help="The run directory.  [default: runs/NAME-1, -2, …]"
)
@click.option("--force", is_flag=True, help="Replace the run that --out names.")
@click.option("--quiet", is_flag=True, help="Show the final table only.")
def train(data: str, out: str | None, force: bool, quiet: bool, **choices: Any) -> None:
    """Train a network on DATA: a CSV file, or the word digits.

    The rows are cut into training, validation and test parts. The weights of the epoch with the
    lowest validation loss are kept, and the final table compares them with the trivial answer.
    """
    from wengert.train.options import Options, parse_hidden
    from wengert.train.progress import ConsoleReporter, Reporter
    from wengert.train.report import print_report
    from wengert.train.result import Interrupted
    from wengert.train.rundir import Destination, refuse_taken, run_name
    from wengert.train.training import carry_out, load_source, plan_training

    source = {name: choices.pop(name) for name in ("target", "task", "ignore", "category")}
    given = {name: value for name, value in choices.items() if value is not None}
    if "hidden" in given:
        given["hidden"] = parse_hidden(given["hidden"])
    options = Options(**given)
    if out is None:
        destination = Destination(Path("runs") / run_name(data), numbered=True)
    else:
        destination = Destination(Path(out), force=force)
    refuse_taken(destination)
    plan = plan_training(load_source(data, **source), options)
    try:
        result = carry_out(plan, destination, Reporter() if quiet else ConsoleReporter())
    except Interrupted as interrupt:
        if interrupt.result is not None:
            print_report(interrupt.result)
        stop(str(interrupt))
    print_report(result)
    if not quiet:
        rows = "digits" if data == "digits" else "NEW.csv"
        click.echo(f"Next: wengert predict {result.path} {rows}")

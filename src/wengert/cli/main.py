"""The ``wengert`` command: help, version, and its subcommands.

Only click is loaded here; each command loads what it needs when it runs.
"""

from __future__ import annotations

import click

from wengert.cli.bench import bench
from wengert.cli.group import OneSentenceGroup
from wengert.cli.plan import plan
from wengert.cli.predict import predict
from wengert.cli.train import train

_EXAMPLES = """
\b
Examples:
  wengert train digits                       1,797 handwritten digits, in seconds
  wengert train houses.csv --target price    a table of your own
  wengert predict runs/houses-1 new.csv      predictions for its new rows
  wengert plan --net 784-256-10 --batch 64   how much memory it needs, before it runs
  wengert bench --net 784-256-10             how quick a training step is here

Each command explains itself: wengert train --help
"""


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version and exit."""
    if wanted and not context.resilient_parsing:
        from wengert import __version__

        click.echo(f"wengert {__version__}")
        context.exit()


@click.group(
    cls=OneSentenceGroup,
    invoke_without_command=True,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """Train neural networks by backpropagation, predict with them, and measure them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


main.add_command(train)
main.add_command(plan)
main.add_command(predict)
main.add_command(bench)

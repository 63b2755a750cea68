"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_NETWORK = (
    click.argument("networks", nargs=-1, metavar="[NETWORK]..."),
    click.option("--net", metavar="N-N-…", help="A network of your own: widths, input first."),
    click.option("--batch", type=int, metavar="ROWS", help="Rows of a minibatch.  [default: 32]"),
    click.option("--activation", metavar="relu|tanh|gelu", help="After each hidden layer."),
    click.option("--optimizer", metavar="sgd|momentum|adam", help="momentum is SGD with 0.9."),
    click.option("--dropout", type=float, help="Share of hidden values dropped.  [default: 0]"),
)


def network_options(command: F) -> F:
    """Add the arguments by which networks are chosen: see `wengert.bench.choices`."""
    return reduce(lambda made, option: option(made), reversed(_NETWORK), command)

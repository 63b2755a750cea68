"""What a user asks `wengert bench` to measure, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wengert.bench.harness import cores_for
from wengert.bench.measure import PEERS
from wengert.bench.nets import NETS
from wengert.bench.workload import ACTIVATIONS, OPTIMIZERS, Workload
from wengert.data.errors import UserError, did_you_mean
from wengert.train.options import MOST_UNITS, one_of

DEFAULT_NETS = ("digits", "mnist")
DEFAULT_BATCH = 32
MOST_ROWS = 10_000_000
AGAINST = ("jax", "torch", "torch.compile", "sklearn", "numpy")


@dataclass(frozen=True)
class Lengths:
    """How long and how often to measure; checked when made.

    Attributes
    ----------
    seconds : float
        Length of one measurement, above 0.
    rounds : int
        How often everything is measured in turn, at least 1.
    seed : int
        Seed of the order within a round.
    """

    seconds: float = 0.2
    rounds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check both."""
        if not 0 < self.seconds <= 60:  # noqa: PLR2004  (a minute)
            raise UserError(f"--seconds must be above 0 and at most 60, got {self.seconds:g}.")
        if self.rounds < 1:
            raise UserError(f"--rounds must be at least 1, got {self.rounds}.")


def parse_net(text: str) -> tuple[int, ...]:
    """Return the widths that a text lists, input first.

    Parameters
    ----------
    text : str
        Whole numbers joined by dashes.

    Raises
    ------
    UserError
        If it is something else, or no classifier.

    Examples
    --------
    >>> parse_net("784-256-10")
    (784, 256, 10)
    """
    parts = text.split("-")
    if len(parts) == 1 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UserError(
            f"--net must be two or more widths joined by dashes, input first, such as "
            f"784-256-128-10; got {text!r}."
        )
    widths = tuple(map(int, parts))
    for width in widths:
        if not 1 <= width <= MOST_UNITS:
            raise UserError(f"--net must list widths from 1 to {MOST_UNITS:,}, got {width}.")
    if widths[-1] == 1:
        raise UserError("--net must end in the number of classes, at least 2, got 1.")
    return widths


def choose_workloads(
    names: Sequence[str],
    net: str | None = None,
    batch: int | None = None,
    **differences: Any,
) -> dict[str, Workload]:
    """Return the workloads asked for, by name.

    Parameters
    ----------
    names : sequence of str
        Networks that have a name; none stands for the default ones.
    net : str, optional
        A network of the user's own, instead.
    batch : int, optional
        Rows of a minibatch; by default those of the named network, or 32.
    differences : object
        ``activation``, ``optimizer`` and ``dropout``; None where not given.

    Raises
    ------
    UserError
        If a choice makes no sense.
    """
    if names and net is not None:
        raise UserError(f"Give the name of a network or --net, not both: {names[0]} and {net}.")
    for name in names:
        if name not in NETS:
            known = ", ".join(NETS)
            hint = did_you_mean(name, NETS)
            raise UserError(f"There is no network {name!r}: choose of {known}, or --net.{hint}")
    given = {key: value for key, value in differences.items() if value is not None}
    _check(batch, given)
    found = {name: NETS[name] for name in names or DEFAULT_NETS}
    if net is not None:
        found = {net: Workload(parse_net(net), DEFAULT_BATCH)}
    if batch is not None:
        given["batch"] = batch
    return {name: replace(workload, **given) for name, workload in found.items()}


def _check(batch: int | None, given: dict[str, Any]) -> None:
    """Check what does not depend on the network."""
    if batch is not None and not 1 <= batch <= MOST_ROWS:
        raise UserError(f"--batch must be from 1 to {MOST_ROWS:,}, got {batch}.")
    if "activation" in given:
        one_of("--activation", given["activation"], ACTIVATIONS)
    if "optimizer" in given:
        one_of("--optimizer", given["optimizer"], OPTIMIZERS)
    if not 0 <= given.get("dropout", 0.0) < 1:
        raise UserError(f"--dropout must be at least 0 and below 1, got {given['dropout']:g}.")


def choose_peers(texts: Sequence[str]) -> list[str]:
    """Return Wengert and the libraries that texts list, separated by commas.

    Raises
    ------
    UserError
        If one is unknown.

    Examples
    --------
    >>> choose_peers(["torch,jax"])
    ['wengert', 'jax', 'torch']
    """
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        one_of("--against", name, AGAINST)
    return [name for name in PEERS if name == "wengert" or name in names]


def check_threads(threads: int) -> None:
    """Raise a UserError unless there are processors for so many threads."""
    if threads < 1:
        raise UserError(f"--threads must be at least 1, got {threads}.")
    try:
        cores_for(threads)
    except ValueError as error:
        raise UserError(str(error)) from None

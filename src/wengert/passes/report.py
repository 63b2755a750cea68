"""What the passes changed, to be looked at."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

from wengert.graph.errors import SettingError
from wengert.graph.graph import Graph

_VARIABLE = "WENGERT_PRINT_PASSES"
NAMES = ("fold", "simplify", "cse", "dce", "lower", "fuse", "arrange", "place")
"""All passes: those over graphs, then those of the compiler over kernels."""


class Change(NamedTuple):
    """What one run of a pass has changed. Printed: a heading, and the graph after it.

    Attributes
    ----------
    name : str
        The pass.
    round : int
        Which round of all passes it belongs to, from 1.
    before, after : Graph
        The graph that it was given, and the one that it made.
    """

    name: str
    round: int
    before: Graph
    after: Graph

    @property
    def heading(self) -> str:
        """The pass, and how many operations there were and are, by primitive: one line."""
        before, after = _counts(self.before), _counts(self.after)
        names = sorted({*before, *after}, key=lambda name: (after[name] - before[name], name))
        parts = [
            f"{name} {after[name] - before[name]:+d}"
            for name in names
            if after[name] != before[name]
        ]
        total = f"{before.total()} → {after.total()}"
        return f"{self.round} {self.name:<9}{total:<14}{', '.join(parts)}".rstrip()

    def __str__(self) -> str:
        """Return the printed form."""
        return f"after {self.heading}\n{self.after}"


class PassReport:
    """All that the passes have changed. Printed: one line for each, and the final graph.

    Attributes
    ----------
    before, after : Graph
        What was traced, and what native code is made of.
    changes : tuple of Change
        The runs of passes that changed something, in order.
    """

    def __init__(self, before: Graph, after: Graph, changes: Collection[Change]) -> None:
        self.before = before
        self.after = after
        self.changes = tuple(changes)

    def __str__(self) -> str:
        """Return the printed form."""
        counts = f"{_counts(self.before).total()} → {_counts(self.after).total()}"
        lines = [f"passes of {self.before.name}: {counts} operations"]
        lines += [f"  {change.heading}" for change in self.changes]
        return "\n".join([*lines, "", str(self.after)])

    def __repr__(self) -> str:
        """Return a one-line summary."""
        names = ", ".join(change.name for change in self.changes)
        return f"<PassReport of {self.before.name}: {names or 'no change'}>"


def _counts(graph: Graph) -> Counter[str]:
    """Return how many operations there are of each primitive, also inside others."""
    found = Counter(op.primitive.name for op in graph.operations)
    for op in graph.operations:
        inner = op.params.get("graph")
        if isinstance(inner, Graph):
            found += _counts(inner)
    return found


def wanted(known: Collection[str]) -> frozenset[str]:
    """Return the passes among `known` that the environment asks to print.

    ``WENGERT_PRINT_PASSES=all`` asks for all passes, ``WENGERT_PRINT_PASSES=cse,fuse`` for these.

    Raises
    ------
    SettingError
        If it names a pass that does not exist.
    """
    names = [name for name in os.environ.get(_VARIABLE, "").split(",") if name]
    if unknown := [name for name in names if name not in {*NAMES, "all"}]:
        raise SettingError(
            f"{_VARIABLE}: there is no pass {unknown[0]!r}; give all or any of {', '.join(NAMES)}."
        )
    return frozenset(known if "all" in names else {*names} & {*known})


def printer(known: Collection[str]) -> Callable[[Change], None] | None:
    """Return what prints changes to the standard error, if the environment asks for any."""
    chosen = wanted(known)
    if not chosen:
        return None

    def note(change: Change) -> None:
        if change.name in chosen:
            sys.stderr.write(f"{change}\n\n")

    return note

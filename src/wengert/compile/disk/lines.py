"""The user's lines in the messages of compiled code: numbers, until somebody has to read them.

Code that is kept on disk serves whenever the same operations are compiled, wherever they stand in
the user's files. Its messages therefore name the operation, and the line is filled in afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from wengert.graph.graph import Graph
from wengert.graph.source import Source, describe
from wengert.graph.variable import Operation

_MARK = re.compile("\0(\\d+:\\d+)\0")
_NUMBER = re.compile("\0(\\d+)\0")


def mark(source: Source | None) -> str:
    """Return what stands for a line in a message while code is made, for this process alone."""
    return "" if source is None else f"\0{id(source[0])}:{source[1]}\0"


class Lines:
    """The lines that the operations of a graph were made by, each once.

    Parameters
    ----------
    graph : Graph
        The graph; operations of graphs among the parameters of an operation come after it.
    """

    def __init__(self, graph: Graph) -> None:
        self._sources: list[Source] = []
        self._known: dict[tuple[int, int], int] = {}
        for op in _all_operations(graph):
            source = op.source
            if source is None or (id(source[0]), source[1]) in self._known:
                continue
            self._known[id(source[0]), source[1]] = len(self._sources)
            self._sources.append(source)
        self._numbers = {mark(source): number for number, source in enumerate(self._sources)}

    def number(self, op: Operation) -> int:
        """Return the number of the line of `op`, -1 if it is unknown."""
        source = op.source
        return -1 if source is None else self._known.get((id(source[0]), source[1]), -1)

    def numbered(self, message: str) -> str:
        """Return a message with a number instead of each mark; lines unknown here are left out."""

        def replace(found: re.Match[str]) -> str:
            number = self._numbers.get(found[0])
            return "" if number is None else f"\0{number}\0"

        return _MARK.sub(replace, message)

    def filled(self, message: str) -> str:
        """Return a message with the lines themselves, ``" (train.py:12)"``, instead of numbers."""
        return _NUMBER.sub(lambda found: f" ({describe(self._sources[int(found[1])])})", message)


def graphs_in(value: Any) -> Iterator[Graph]:
    """Yield the graphs that a parameter of an operation is or holds."""
    if isinstance(value, Graph):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from graphs_in(item)


def _all_operations(graph: Graph) -> Iterator[Operation]:
    for op in graph.operations:
        yield op
        for value in op.params.values():
            for inner in graphs_in(value):
                yield from _all_operations(inner)

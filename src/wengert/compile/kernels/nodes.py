"""What a kernel computes at one place of its index space: a graph of scalar expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_not
from typing import Any, TypeAlias

from wengert.compile.emit.arrays import Strided
from wengert.graph.dtypes import DType


class Apply:
    """An expression of other nodes.

    Attributes
    ----------
    expression : callable
        ``expression(e, *elements)`` makes the value (see `ops.lowering.Expressions`).
    args : tuple of Node
        The elements.
    dtype : dtype
        Of the value.
    cost : int
        About how many additions it is worth.
    beside : tuple of Strided
        The arrays that the expression reads at places of its own choice.
    """

    __slots__ = ("args", "beside", "cost", "dtype", "expression")

    def __init__(
        self,
        expression: Callable[..., Any],
        args: Sequence[Node],
        dtype: DType,
        cost: int = 1,
        beside: Sequence[Strided] = (),
    ) -> None:
        self.expression = expression
        self.args = tuple(args)
        self.dtype = dtype
        self.cost = cost
        self.beside = tuple(beside)

    def with_args(self, args: Sequence[Node]) -> Apply:
        """Return the same expression of other nodes."""
        return Apply(self.expression, args, self.dtype, self.cost, self.beside)


class Result:
    """The number `place` of what the heart of a kernel gives: a sum, an entry of a product."""

    __slots__ = ("dtype", "place")

    def __init__(self, place: int, dtype: DType) -> None:
        self.place = place
        self.dtype = dtype


Node: TypeAlias = Apply | Strided | Result
"""A view (the element of an array at this place), a result, or an expression."""


def ordered(roots: Iterable[Node]) -> list[Node]:
    """Return all nodes under `roots`, each once and after those that it needs."""
    done: dict[Node, None] = {}
    for root in roots:
        if isinstance(root, Apply):
            _visit(root, done)
        else:
            done[root] = None
    return list(done)


def _visit(root: Apply, done: dict[Node, None]) -> None:
    """Add all nodes under a node, and the node, that are not there yet."""
    stack = [(root, iter(root.args))] if root not in done else []
    while stack:
        node, rest = stack[-1]
        for arg in rest:
            if not isinstance(arg, Apply):
                done[arg] = None
            elif arg not in done:
                stack.append((arg, iter(arg.args)))
                break
        else:
            done[node] = None
            stack.pop()


class Summary:
    """What is under some nodes.

    Attributes
    ----------
    nodes : list of Node
        All of them, each after those that it needs.
    leaves, beside : list of Strided
        The views among them, and the arrays that are read at places of their own choice.
    cost : int
        What evaluating them once costs, in additions.
    """

    __slots__ = ("beside", "cost", "leaves", "nodes")

    def __init__(self, roots: Iterable[Node]) -> None:
        self.nodes = ordered(roots)
        applied = [node for node in self.nodes if isinstance(node, Apply)]
        self.leaves = [node for node in self.nodes if isinstance(node, Strided)]
        self.beside = [x for node in applied for x in node.beside]
        self.cost = sum(node.cost for node in applied)


def replaced(roots: Sequence[Node], known: Mapping[Node, Node]) -> list[Node]:
    """Return `roots` with some of the nodes under them replaced."""
    made: dict[Node, Node] = dict(known)
    for node in ordered(roots):
        if node in made:
            continue
        if isinstance(node, Apply):
            args = [made[a] for a in node.args]
            changed = any(map(is_not, args, node.args))
            made[node] = node.with_args(args) if changed else node
        else:
            made[node] = node
    return [made[root] for root in roots]

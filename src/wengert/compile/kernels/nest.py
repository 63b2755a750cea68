"""Loop nests: an index space whose axes are merged, and the nodes evaluated on the way in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from wengert.compile.emit.arrays import Shape, Strided, coalesce
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function
from wengert.compile.emit.vectors import load_lanes
from wengert.compile.kernels.nodes import Apply, Node, Result
from wengert.graph.dtypes import INT64

Index: TypeAlias = str | int
Offsets: TypeAlias = Mapping[Shape, Index]
Known: TypeAlias = tuple[Mapping[Node, Lane], Mapping[Node, bool]]
"""The values of nodes, and whether each is a vector."""


class Space:
    """An index space, in groups of axes; within a group, axes that all views walk as one merge.

    The axes of the first group are ordered as the memory of the first view has them.

    Attributes
    ----------
    lengths : tuple of int
        Of the merged axes, in the order of the loops.
    rank : int
        How many of them belong to the first group.
    strides : dict of Strided to tuple of int
        How each view walks the merged axes.
    """

    def __init__(self, groups: Sequence[Shape], views: Iterable[Strided]) -> None:
        found = list(dict.fromkeys(views))
        order = _order(found[0])
        groups = [tuple(groups[0][i] for i in order), *groups[1:]]
        rank, width = len(order), sum(map(len, groups))
        padded = [
            (*(x.strides[i] for i in order), *x.strides[rank:], *[0] * (width - len(x.strides)))
            for x in found
        ]
        parts: list[list[Shape]] = [[] for _ in found]
        lengths: list[Shape] = []
        start = 0
        for group in groups:
            part = [s[start : start + len(group)] for s in padded]
            merged, strides = coalesce(group, part)
            lengths.append(merged)
            for mine, s in zip(parts, strides, strict=True):
                mine.append(s)
            start += len(group)
        self.lengths: Shape = tuple(n for group in lengths for n in group)
        self.rank = len(lengths[0])
        self.strides: dict[Strided, Shape] = {
            x: tuple(n for part in mine for n in part) for x, mine in zip(found, parts, strict=True)
        }

    def ending_with(self, axis: int) -> None:
        """Let the loop over `axis` be the last but one."""
        rest = [i for i in range(len(self.lengths) - 1) if i != axis]
        order = [*rest, axis, len(self.lengths) - 1]
        self.lengths = tuple(self.lengths[i] for i in order)
        self.strides = {x: tuple(s[i] for i in order) for x, s in self.strides.items()}

    @property
    def empty(self) -> bool:
        """Whether there is no index."""
        return 0 in self.lengths[: self.rank]

    def start(self) -> dict[Shape, Index]:
        """Return the offset of each way of walking, before the first loop."""
        return dict.fromkeys(self.strides.values(), 0)

    @staticmethod
    def advance(
        function: Function, offsets: Offsets, axis: int, index: Index
    ) -> dict[Shape, Index]:
        """Return the offsets at an index of the loop over `axis`."""
        return {
            s: function.add(offset, function.mul(index, s[axis])) if s[axis] else offset
            for s, offset in offsets.items()
        }

    def level(self, node: Strided) -> int:
        """Return how many loops must be entered before the place of a view is known."""
        return max((i + 1 for i, s in enumerate(self.strides[node]) if s), default=0)


def _order(target: Strided) -> list[int]:
    """Return the axes in the order in which the memory of `target` has them."""
    return sorted(range(len(target.shape)), key=lambda axis: -abs(target.strides[axis]))


def along(
    function: Function,
    bounds: tuple[Index, Index],
    width: int,
    body: Callable[[Lanes, Index], None],
    masks: bool = True,
) -> None:
    """Emit ``body(lanes, index)`` for the indices within `bounds`, `width` at a time.

    What is left over is done under a mask where the machine and `masks` allow it, else one by one.
    """
    start, stop = bounds
    masks = masks and function.module.machine.masks
    if not masks and isinstance(start, int) and isinstance(stop, int):
        width = min(width, 1 << max(stop - start, 1).bit_length() - 1)
    if width == 1:
        function.loop(start, stop, 1, lambda i, _: body(Lanes(function), i))
        return
    rest: Index
    if isinstance(start, int) and isinstance(stop, int):
        rest = start + (stop - start) // width * width
    else:
        rest = function.value(f"and i64 {stop}, {-width}")
    function.loop(start, rest, width, lambda i, _: body(Lanes(function, width), i))
    if rest == stop:
        return
    if not masks:
        function.loop(rest, stop, 1, lambda i, _: body(Lanes(function), i))
        return
    if isinstance(rest, int):
        body(masked(function, width, stop, rest), rest)
    else:
        left = function.value(f"icmp slt i64 {rest}, {stop}")
        function.when(left, lambda: body(masked(function, width, stop, rest), rest))


def masked(function: Function, width: int, stop: Index, start: Index) -> Lanes:
    """Return `width` lanes of which those from `start` up to `stop` are in use."""
    if isinstance(stop, int) and isinstance(start, int):
        used = stop - start
        mask = f"<{', '.join(f'i1 {str(i < used).lower()}' for i in range(width))}>"
        return Lanes(function, width, mask, used)
    lanes = Lanes(function, width)
    numbers = Lane(f"<{', '.join(f'i64 {i}' for i in range(width))}>", INT64)
    left = function.value(f"sub i64 {stop}, {start}")
    return Lanes(function, width, lanes.compare("<", numbers, lanes.splat(left, INT64)).text)


class Evaluation:
    """The values of nodes inside a loop nest: each is made where it is first known.

    Parameters
    ----------
    function : Function
        Where the code goes.
    space : Space
        The loops.
    nodes : sequence of Node
        In an order in which each comes after those it needs.
    vector : int
        The loop that vectors walk.
    """

    def __init__(
        self, function: Function, space: Space, nodes: Sequence[Node], vector: int
    ) -> None:
        self.function = function
        self.space = space
        self.vector = vector
        self._known: dict[Node, Lane] = {}
        self.given: dict[Strided, Lane] = {}
        """Views that have been read already, by vectors."""
        self._wide: dict[Node, bool] = {}
        self._levels: dict[Node, int] = {}
        self.late: list[Node] = []
        self._at: dict[int, list[Node]] = {}
        for node in nodes:
            self._sort_in(node)

    def _sort_in(self, node: Node) -> None:
        if isinstance(node, Result):
            self.late.append(node)
            self._levels[node] = -1
            return
        if isinstance(node, Strided):
            level = self.space.level(node)
        else:
            under = [self._levels[a] for a in node.args]
            level = -1 if -1 in under else max(under, default=0)
        self._levels[node] = level
        if level < 0:
            self.late.append(node)
        else:
            self._at.setdefault(level, []).append(node)

    def enter(self, level: int, lanes: Lanes, offsets: Offsets) -> None:
        """Evaluate the nodes that are known when `level` loops have been entered."""
        for node in self._at.get(level, ()):
            self.make(node, lanes, offsets)

    def finish(self, lanes: Lanes, offsets: Offsets) -> None:
        """Evaluate the nodes that need results, which must be known by now."""
        for node in self.late:
            if not isinstance(node, Result):
                self.make(node, lanes, offsets)

    def set(self, node: Node, value: Lane, wide: bool) -> None:
        """State the value of a node."""
        self._known[node] = value
        self._wide[node] = wide

    def known(self) -> Known:
        """Return the values of all nodes so far."""
        return dict(self._known), dict(self._wide)

    def recall(self, known: Known) -> None:
        """State the values that were known elsewhere."""
        values, wide = known
        self._known, self._wide = dict(values), dict(wide)

    def make(self, node: Node, lanes: Lanes, offsets: Offsets) -> None:
        """Evaluate one node."""
        if isinstance(node, Strided):
            if node in self.given:
                self.set(node, self.given[node], True)
                return
            steps = self.space.strides[node]
            step = steps[self.vector] if lanes.width > 1 else 0
            some = lanes if step else Lanes(self.function)
            self.set(node, load_lanes(some, node, offsets[steps], step), bool(step))
            return
        assert isinstance(node, Apply)
        wide = any(self._wide[a] for a in node.args)
        some = lanes if wide else Lanes(self.function)
        args = [self.value(a, some) for a in node.args]
        self.set(node, node.expression(some, *args), wide)

    def value(self, node: Node, lanes: Lanes) -> Lane:
        """Return the value of a node, in every lane if it is one for all."""
        value = self._known[node]
        if self._wide[node] or lanes.width == 1:
            return value
        return lanes.splat(value.text, value.dtype)

    def loops(
        self,
        stop: int,
        bounds: tuple[Index, Index],
        inside: Callable[[Offsets, tuple[Index, Index]], None],
        cut: int = 0,
    ) -> None:
        """Emit the loops over the first `stop` axes, and what they evaluate on the way in.

        Parameters
        ----------
        stop : int
            How many loops.
        bounds : pair of index
            The bounds of the loop over axis `cut`; the others walk all of theirs.
        inside : callable
            ``inside(offsets, bounds)`` emits what they contain; the bounds are those of the next
            axis.
        cut : int
            The axis that is cut into chunks.
        """
        function, space = self.function, self.space

        def enter(depth: int, offsets: Offsets) -> None:
            self.enter(depth, Lanes(function), offsets)
            whole = 0, space.lengths[depth] if depth < len(space.lengths) else 1
            limits = bounds if depth == cut else whole
            if depth == stop:
                inside(offsets, limits)
                return
            function.loop(
                *limits,
                1,
                lambda i, _: enter(depth + 1, space.advance(function, offsets, depth, i)),
            )

        enter(0, space.start())

    def by_vectors(
        self,
        last: int,
        bounds: tuple[Index, Index],
        width: int,
        inside: Callable[[Lanes, Offsets], None],
    ) -> None:
        """Emit the loops up to the one over axis `last`, and ``inside(lanes, offsets)`` in it.

        That loop takes `width` places at a time; `bounds` are those of the first loop.
        """
        function, space = self.function, self.space
        plain = all(s[last] in {0, 1} for s in space.strides.values())

        def row(offsets: Offsets, limits: tuple[Index, Index]) -> None:
            def body(lanes: Lanes, index: Index) -> None:
                here = space.advance(function, offsets, last, index)
                self.enter(last + 1, lanes, here)
                inside(lanes, here)

            along(function, limits, width, body, plain)

        self.loops(last, bounds, row)

"""What the rows of the comparison with peers are made of.

A row draws a `Case` with hypothesis: inputs, our function and a peer's. The peer is PyTorch in
float64, or NumPy for what PyTorch has no counterpart of. Axes are drawn negative too; arrays are
contiguous or not, 0-d, empty, broadcast.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.running import public_functions
from wengert.graph.bind import bind
from wengert.graph.primitive import registry

Array = Any
Draw = Callable[[Any], Any]


ops = public_functions()


class _Peer:
    """A function of PyTorch, which is imported when one is first called."""

    def __init__(self, *path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> _Peer:
        return _Peer(*self._path, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        found = importlib.import_module("torch")
        for name in self._path:
            found = getattr(found, name)
        return found(*args, **options)


torch: Any = _Peer()


@dataclass
class Case:
    """Our function and the peer's, to be called with `inputs`; `vary` says what has derivatives."""

    inputs: tuple[Array, ...]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    vary: tuple[int, ...] = ()
    numpy: bool = False  # the peer takes NumPy arrays


Row = Callable[[Draw], Case]
ROWS: dict[str, Row] = {}
COMPOSITES: dict[str, Row] = {}
"""Functions composed of several primitives."""


def row(name: str, table: dict[str, Row] = ROWS) -> Callable[[Row], Row]:
    def add(function: Row) -> Row:
        table[name] = function
        return function

    return add


def emit(name: str, **params: Any) -> Callable[..., Any]:
    return lambda *xs: bind(registry[name], xs, params)


# ---- what rows are drawn from --------------------------------------------------------------

sides = st.integers(0, 3)
shapes = st.lists(sides, max_size=3).map(tuple)
lists = st.lists(sides, min_size=1, max_size=3).map(tuple)
full_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def normal(rng: np.random.Generator, of: tuple[int, ...]) -> Array:
    return rng.standard_normal(of)


def positive(rng: np.random.Generator, of: tuple[int, ...]) -> Array:
    return np.exp(rng.uniform(-2, 2, of))


def nonzero(rng: np.random.Generator, of: tuple[int, ...]) -> Array:
    x = rng.standard_normal(of)
    return x + np.where(x < 0, -0.1, 0.1)


def distinct(rng: np.random.Generator, of: tuple[int, ...]) -> Array:
    """Draw numbers at least 0.1 apart, for what has kinks at ties."""
    n = math.prod(of)
    return (rng.permutation(n) - n / 2 + rng.uniform(0, 0.9, n)).reshape(of)


def laid_out(draw: Draw, x: Array) -> Array:
    """Return `x` in a memory layout of the draw's choice."""
    x = np.asarray(x)
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed"]))
    if layout == "F":
        return np.array(x, order="F")
    if layout == "strided" and x.ndim:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    return np.flip(np.flip(x).copy()) if layout == "reversed" else x


def array(draw: Draw, of: tuple[int, ...], values: Callable[..., Array] = normal) -> Array:
    return laid_out(draw, values(np.random.default_rng(draw(seeds)), of))


def mask(draw: Draw, of: tuple[int, ...]) -> Array:
    return laid_out(draw, normal(np.random.default_rng(draw(seeds)), of) > 0)


def integers(draw: Draw, of: tuple[int, ...], low: int, high: int) -> Array:
    return laid_out(draw, np.random.default_rng(draw(seeds)).integers(low, high, of))


def broadcastable(draw: Draw, count: int) -> list[tuple[int, ...]]:
    """Draw shapes that broadcast together."""
    wide = draw(shapes)
    found = []
    for _ in range(count):
        kept = draw(st.integers(0, len(wide)))
        tail = wide[len(wide) - kept :]
        found.append(tuple(n if draw(st.booleans()) else 1 for n in tail))
    return found


def one_axis(draw: Draw, rank: int) -> int:
    return draw(st.integers(-rank, rank - 1))


def some_axes(draw: Draw, rank: int) -> Any:
    """Draw None, one axis, or several, counted from either end."""
    if rank == 0 or draw(st.booleans()):
        return None
    axes = draw(st.sets(st.integers(0, rank - 1), min_size=1))
    signed = tuple(a - rank * draw(st.booleans()) for a in axes)
    return signed[0] if len(signed) == 1 else signed


def listed(axis: Any, rank: int) -> tuple[int, ...]:
    axes = range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(a % rank for a in axes)

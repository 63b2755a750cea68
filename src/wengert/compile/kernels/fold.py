"""The lanes of several rows combined at once: what is left is a vector with a lane for each row.

A row's lanes are combined by halves, of which most lanes would do nothing. Here two vectors at a
time give one: the lower halves of the rows in both, combined with the upper halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.emit.expression import Lane, Lanes, State
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.types import scalar_type, vector
from wengert.compile.emit.vectors import load_lanes, store_lanes
from wengert.graph.dtypes import DType


def folding(
    module: Module, combine: Callable[..., Any], dtypes: Sequence[DType], rows: int, lanes: int
) -> str:
    """Return the name of the function that combines the `lanes` of each of some `rows`.

    Its parameters, after the control block, are the addresses of the scalars of a state: each of
    all lanes of the first row, then of the second, …. The results take the place of the first of
    them. There are as many rows as a vector has lanes, or some powers of two more than `lanes`.
    """
    function = Function(module, ())
    wide = Lanes(function, rows)
    places = [Strided(Buffer(0), dtype, (rows * lanes,), (1,)) for dtype in dtypes]
    states: list[State] = [
        tuple(load_lanes(wide, place, rows * number, 1) for place in places)
        for number in range(lanes)
    ]
    while lanes > 1:
        pairs = zip(states[::2], states[1::2], strict=True)
        states = [_combined(wide, combine, pair, lanes) for pair in pairs]
        lanes //= 2
    for place, value in zip(places, states[0], strict=True):
        store_lanes(wide, value, place, 0, 1)
    return module.define(function)


def _combined(
    wide: Lanes, combine: Callable[..., Any], pair: tuple[State, State], lanes: int
) -> State:
    """Return the rows of two states, each of half as many lanes."""
    half = lanes // 2
    lower = [first + k for first in range(0, 2 * wide.width, lanes) for k in range(half)]
    parts = (lower, [place + half for place in lower])
    halves = [
        tuple(_chosen(wide, x, y, places) for x, y in zip(*pair, strict=True)) for places in parts
    ]
    return tuple(combine(wide, *halves))


def _chosen(wide: Lanes, x: Lane, y: Lane, places: Sequence[int]) -> Lane:
    """Return a vector of lanes of two, numbered through."""
    kind = vector(scalar_type(x.dtype), wide.width)
    return Lane(wide.function.shuffle(kind, x.text, y.text, places), x.dtype)

"""Random programs: operations of all kinds on arrays of all shapes and dtypes, and derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tests.compile.fuzz.operations import DTYPES, FLOATS, OPERATIONS, WEIGHTS, Rng, Unfit
from tests.compile.programs import F, graph_of
from tests.ops.running import Function, forward, reverse
from wengert.graph.graph import Graph
from wengert.graph.variable import Variable

Array = Any

LENGTHS = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 70, 130)
LARGEST = 20_000
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310, -1e-40, 3e38, 1e300, 0.5)


class Program(NamedTuple):
    """A graph, values for its inputs, and which outputs may take over which inputs' memory."""

    graph: Graph
    inputs: list[Array]
    aliases: dict[int, int]


def shape_of(rng: Rng) -> tuple[int, ...]:
    shape = tuple(int(n) for n in rng.choice(LENGTHS, rng.choice(5, p=(0.05, 0.2, 0.4, 0.25, 0.1))))
    return shape if np.prod(shape, dtype=int) <= LARGEST else shape_of(rng)


def array_of(rng: Rng, shape: tuple[int, ...], dtype: str, kind: str) -> Array:
    """Return numbers: "plain" ones, small "whole" ones, or also "special" ones."""
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    if dtype not in FLOATS:
        low, high = (-100, 100) if dtype[0] == "i" else (0, 200)
        return np.asarray(rng.integers(low, high, shape)).astype(dtype)
    if kind == "whole":
        return np.asarray(rng.integers(-2, 3, shape)).astype(dtype)
    x = np.asarray(rng.standard_normal(shape))
    if kind == "special":
        odd = rng.random(shape) < 0.2
        x = np.where(odd, rng.choice(SPECIAL, shape), x)
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def program(seed: int, steps: int = 12) -> Program:
    """Return the program number `seed`."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(["plain", "plain", "whole", "whole", "special"]))
    inputs = [_input(rng, kind) for _ in range(rng.integers(1, 5))]
    order = rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))
    body_seed, count = int(rng.integers(1 << 30)), int(rng.integers(2, steps + 1))

    def body(xs: tuple[Variable, ...]) -> tuple[Variable, ...]:
        return _body(np.random.default_rng(body_seed), xs, count)

    graph = graph_of(lambda *xs: _derived(body, xs, int(order)), *inputs)
    return Program(graph, inputs, _aliases(rng, graph, inputs))


def _input(rng: Rng, kind: str) -> Array:
    return array_of(rng, shape_of(rng), str(rng.choice(DTYPES)), kind)


def _aliases(rng: Rng, graph: Graph, inputs: list[Array]) -> dict[int, int]:
    taken: dict[int, int] = {}
    for i, v in enumerate(graph.outputs):
        fits = [
            j
            for j, a in enumerate(inputs)
            if (a.shape, a.dtype) == (v.shape, v.dtype) and j not in taken.values()
        ]
        if fits and rng.random() < 0.5:
            taken[i] = int(rng.choice(fits))
    return taken


def _derived(body: Function, xs: tuple[Variable, ...], order: int) -> tuple[Variable, ...]:
    """Return the outputs; with `order` 1 gradients too, 2 theirs, 3 directional derivatives."""
    floats = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]

    def smooth(some: tuple[Variable, ...]) -> tuple[Variable, ...]:
        chosen = dict(zip(floats, some, strict=True))
        made = body(tuple(chosen.get(i, x) for i, x in enumerate(xs)))
        return tuple(y for y in made if y.dtype.kind == "f")

    found, mine = body(xs), tuple(xs[i] for i in floats)
    if not mine or order == 0 or not any(y.dtype.kind == "f" for y in found):
        return found
    if order == 3:
        dots = [F.ones(x.shape, dtype=x.dtype) for x in mine]
        return (*found, *forward(smooth, mine, dots))
    gradient = _gradient(smooth)
    return (*found, *(gradient if order == 1 else _gradient(gradient))(mine))


def _gradient(f: Function) -> Function:
    """Return the function that gives the gradients of the sum of all outputs of `f`."""

    def gradient(xs: tuple[Variable, ...]) -> tuple[Variable, ...]:
        bars = [F.ones(y.shape, dtype=y.dtype) for y in f(xs)]
        return reverse(f, xs, bars)

    return gradient


def _body(rng: Rng, xs: tuple[Variable, ...], count: int) -> tuple[Variable, ...]:
    """Apply some operations and return the last results, small enough to be compared."""
    known = list(xs)
    names = list(OPERATIONS)
    weights = np.array([WEIGHTS.get(name, 1.0) for name in names])
    made = 0
    for _ in range(20 * count):
        name = str(rng.choice(names, p=weights / weights.sum()))
        x = known[_recent(rng, len(known))]
        y = known[_recent(rng, len(known))]
        try:
            z = OPERATIONS[name](rng, x, y)
        except (Unfit, TypeError, ValueError, IndexError):
            continue
        if np.prod(z.shape, dtype=int) > LARGEST:
            continue
        known.append(z)
        made += 1
        if made == count:
            break
    results = known[len(xs) :] or known
    return tuple(results[-3:])


def _recent(rng: Rng, count: int) -> int:
    """Return a place, more often one of the last."""
    return int(count - 1 - min(count - 1, rng.geometric(0.3) - 1))

"""What the reference says of a program: what holds to the bit, and how far the rest may be off."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert.graph.graph import Graph
from wengert.graph.variable import Operation, Variable
from wengert.ops.lowering import Inexact

Array = Any

EXACT = 2
RUNS = 4
"""How often the reference is evaluated with noise."""


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
JUMPS = {"sign", "floor", "round", "floor_divide", "remainder", "pow", "sort", *COMPARISONS}
JUMPS |= {"argmax", "argmin", "max_with_index", "logical_not", "logical_and", "logical_or"}
"""Operations that may turn a last bit into any difference."""

ROUNDED = {"add", "sub", "mul", "div", "cotangent_mul", "square", "sqrt"}
"""Operations that round what they are given to the last bit, which is another for other operands,
also where the slope is zero."""

EXTREMES = {"max", "min", "maximum", "minimum", "max_with_index"}


class Expected(NamedTuple):
    """An output.

    Attributes
    ----------
    value : ndarray
        What the reference says.
    certain : {2, 1, 0, -1}
        2: every bit must agree. 1: it may be off by rounding. 0: some elements may be others.
        -1: nothing is known, since sums overflow in one order and not in another.
    spread : ndarray
        About how far it may be off.
    """

    value: Array
    certain: int
    spread: Array


def expectations(graph: Graph, inputs: list[Array]) -> list[Expected]:
    """Return what is expected of each output."""
    with np.errstate(all="ignore"):
        values, certain = _evaluated(graph, inputs, None)
        noisy = [_evaluated(graph, inputs, np.random.default_rng(i))[0] for i in range(RUNS)]
        found = []
        for v in graph.outputs:
            value = values[v]
            spread = np.zeros(value.shape)
            if certain[v] < EXACT:
                for other in noisy:
                    spread = np.maximum(spread, _distance(other[v], value))
            found.append(Expected(value, certain[v], spread))
    return found


def _alike(x: Array, y: Array) -> Array:
    return (x == y) | (np.isnan(x) & np.isnan(y))


def _distance(x: Array, y: Array) -> Array:
    """Return how far apart numbers are: 0 for two NaN, infinite for one."""
    away = np.abs(x.astype(np.float64) - y.astype(np.float64))
    return np.where(_alike(x, y), 0, np.where(np.isnan(away), np.inf, away))


def _evaluated(
    graph: Graph, inputs: list[Array], noise: np.random.Generator | None
) -> tuple[dict[Variable, Array], dict[Variable, int]]:
    """Evaluate all operations, with noise of the size of what inexact ones may be off."""
    values: dict[Variable, Array] = dict(zip(graph.inputs, inputs, strict=True))
    values.update({v: v.concrete("a test") for v in graph.free})
    certain = dict.fromkeys(values, EXACT)
    for op in graph.operations:
        arguments = [np.array(values[x]) for x in op.inputs]
        made = op.primitive.evaluate(*arguments, **op.params)
        made = made if op.primitive.several else (made,)
        here = _is_exact(op, [values[x] for x in op.inputs])
        for v, y in zip(graph.results(op), made, strict=True):
            least = min((certain[x] for x in op.inputs), default=EXACT)
            least = 0 if least < EXACT and _jumps(op) else least
            certain[v] = least if here else min(least, -1 if _may_overflow(op, values) else 1)
            values[v] = np.array(y)
            if noise is None or values[v].dtype.kind != "f":
                continue
            if not here:
                values[v] = _disturbed(op, values[v], [values[x] for x in op.inputs], noise)
            elif least < EXACT and op.primitive.name in ROUNDED:
                values[v] = _off(values[v], np.abs(values[v]), 1.0, noise)
    return values, certain


def _may_overflow(op: Operation, values: dict[Variable, Array]) -> bool:
    lower = op.primitive.lower
    if not (isinstance(lower, Inexact) and lower.normwise):
        return False
    xs = [values[x] for x in op.inputs if values[x].dtype.kind == "f"]
    limit = np.finfo(xs[0].dtype).max ** 0.4 if xs else 1.0
    if op.primitive.name == "prod":  # an overflow before or after a zero
        return any(np.log(np.fmax(np.abs(x), 1)).sum() > np.log(limit) for x in xs)
    return any(_largest(x) > limit for x in xs)


def _largest(x: Array) -> float:
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def _jumps(op: Operation) -> bool:
    if op.primitive.name == "cast":
        return bool(op.params["dtype"].kind != "f")
    return op.primitive.name in JUMPS


def _disturbed(op: Operation, y: Array, xs: list[Array], noise: np.random.Generator) -> Array:
    lower = op.primitive.lower
    if not isinstance(lower, Inexact):
        return y
    size, units = np.abs(y), float(lower.units)
    if not units:  # sums may cancel, and the last bits of many terms add up
        floats = [x for x in (y, xs[0]) if x.dtype.kind == "f"]
        terms = np.sqrt(xs[0].size * xs[-1].size / max(y.size, 1))
        size, units = np.full(y.shape, max(map(_largest, floats))), max(lower.normwise, terms / 8)
    return _off(y, size, units, noise)


def _off(y: Array, size: Array, units: float, noise: np.random.Generator) -> Array:
    """Return `y` with noise of some units in the last place of `size`."""
    off = noise.choice((-1.0, 1.0, 0.5), y.shape) * units * np.finfo(y.dtype).eps
    return np.where(np.isfinite(y), (y + off * size).astype(y.dtype), y)


def _is_exact(op: Operation, xs: list[Array]) -> bool:
    """Tell whether native code must give every bit of an operation on these values."""
    name, kind = op.primitive.name, xs[0].dtype.kind if xs else "f"
    if name in EXTREMES and kind == "f":
        zeros = np.signbit(np.concatenate([x[x == 0] for x in xs]))
        return bool(zeros.all() or not zeros.any())  # which of 0 and -0 comes out is open
    if not isinstance(op.primitive.lower, Inexact):
        return True
    if kind != "f" or name not in {"sum", "contract"}:
        return kind != "f"
    if not all(_is_whole(x) for x in xs):
        return False
    if name == "contract" and _is_outer(**op.params) and not all(map(np.all, xs)):
        return False  # whether -0 or 0 comes out is open
    sizes = [np.abs(x).astype(np.float64) for x in xs]
    most = op.primitive.evaluate(*sizes, **op.params)
    return bool(np.max(most, initial=0) < 2.0 ** (np.finfo(xs[0].dtype).nmant - 6))


def _is_outer(spec: str) -> bool:
    operands, result = spec.split("->")
    return set(operands) - {","} == set(result)


def _is_whole(x: Array) -> bool:
    """Tell whether all numbers are multiples of 1/8."""
    return bool(np.isfinite(x).all() and (x * 8 == np.rint(x * 8)).all())


def compare(found: list[Array], wanted: list[Expected]) -> str:
    """Return what is wrong, or nothing."""
    for number, (a, (w, certain, spread)) in enumerate(zip(found, wanted, strict=True)):
        if (a.shape, a.dtype) != (w.shape, w.dtype):
            return f"output {number}: {a.shape} {a.dtype}, wanted {w.shape} {w.dtype}"
        with np.errstate(all="ignore"):
            wrong = _different(a, w) if certain == EXACT else _far(a, w, spread)
        few = {0: max(1, wrong.size // 3), -1: wrong.size}.get(certain, 0)
        if wrong.sum() > few:
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            how = "exactly" if certain == EXACT else f"within about {spread[place]}"
            return (
                f"output {number}{place}: {a[place]!r}, wanted {w[place]!r} {how}; "
                f"{int(wrong.sum())} of {wrong.size} elements are wrong"
            )
    return ""


def _different(a: Array, w: Array) -> Array:
    """Tell where bits differ; one NaN is as good as another."""
    same = _alike(a, w)
    if w.dtype.kind == "f":
        same &= (np.signbit(a) == np.signbit(w)) | np.isnan(w)
    return ~same


def _far(a: Array, w: Array, spread: Array) -> Array:
    """Tell where numbers are further apart than rounding explains."""
    most = 16 * spread
    if a.dtype.kind == "f":
        limits = np.finfo(a.dtype)
        size = np.where(np.isfinite(w), np.abs(w), 0).astype(np.float64)
        most = most + 64 * limits.eps * size + limits.tiny
    return ~((_distance(a, w) <= most) | np.isinf(spread))

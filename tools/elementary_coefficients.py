"""Derive the polynomials of `wengert.compile.elementary` and write its `coefficients` module.

``python -m tools.elementary_coefficients`` prints the module; it takes half a minute.

Each polynomial minimises the largest relative error of the function that it serves, by Lawson's
iteration: least squares over Chebyshev nodes whose weights are multiplied by the errors until these
are level. The coefficients are rounded one by one, lowest first, and the others fitted again to
make up for it. Arithmetic has 60 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp as _shared

mp = _shared.clone()
mp.dps = 60

NODES = 160
"""Chebyshev nodes of a fit."""

ROUNDS = 24
"""Iterations of a first fit; a third of it after each rounding."""

HALF_LN2 = mp.log(2) / 2
QUARTER = mp.pi / 4 * mp.mpf("1.01")


class Fit(NamedTuple):
    """A polynomial P of a given degree: ``weight(x) * (P(x) - target(x))`` is made small.

    Attributes
    ----------
    name : str
        Of the constant.
    meaning : str
        What it approximates, and where.
    target, weight : callable
        Functions of one number of mpmath.
    interval : tuple of float
        Where; 0 is never a node.
    degrees : dict of str to int
        The degree for each dtype.
    """

    name: str
    meaning: str
    target: Callable[[Any], Any]
    weight: Callable[[Any], Any]
    interval: tuple[Any, Any]
    degrees: dict[str, int]


def _odd(function: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return target and weight of P in ``f(x) = x + x³ P(x²)``, as functions of x²."""

    def target(z: Any) -> Any:
        x = mp.sqrt(z)
        return (function(x) - x) / x**3

    def weight(z: Any) -> Any:
        x = mp.sqrt(z)
        return x**3 / function(x)

    return target, weight


def _log_tail(x: Any) -> Any:
    return (mp.log1p(x) - x + x**2 / 2) / x**3


def _log2_tail(z: Any) -> Any:
    x = mp.sqrt(z)
    return 2 / mp.log(2) * (mp.atanh(x) - x - x**3 / 3) / x**5


FITS = (
    Fit(
        "EXP",
        "expm1(x) = x + x² P(x) for |x| <= log(2) / 2",
        lambda x: (mp.expm1(x) - x) / x**2,
        lambda x: x**2 / mp.expm1(x),
        (-HALF_LN2 * 1.0001, HALF_LN2 * 1.0001),
        {"float32": 4, "float64": 9},
    ),
    Fit(
        "EXP_NEAR",
        "the same for |x| <= log(2) / 30, by errors relative to exp(x)",
        lambda x: (mp.expm1(x) - x) / x**2,
        lambda x: x**2,
        (-HALF_LN2 / 15, HALF_LN2 / 15),
        {"float32": 1, "float64": 4},
    ),
    Fit(
        "EXPM1",
        "the same for |x| <= log(2) / 2 + 0.1",
        lambda x: (mp.expm1(x) - x) / x**2,
        lambda x: x**2 / mp.expm1(x),
        (-HALF_LN2 - mp.mpf("0.1001"), HALF_LN2 + mp.mpf("0.1001")),
        {"float32": 5, "float64": 11},
    ),
    Fit(
        "LOG",
        "log(1 + x) = x + x² P(x) for 3/4 <= 1 + x <= 3/2",
        lambda x: (mp.log1p(x) - x) / x**2,
        lambda x: x**2 / mp.log1p(x),
        (mp.mpf("-0.25"), mp.mpf("0.5")),
        {"float32": 8, "float64": 18},
    ),
    Fit(
        "LOG_NEAR",
        "the same for |x| <= 0.043",
        lambda x: (mp.log1p(x) - x) / x**2,
        lambda x: x**2 / mp.log1p(x),
        (mp.mpf("-0.043"), mp.mpf("0.043")),
        {"float64": 8},
    ),
    Fit(
        "LOG_TAIL",
        "log(1 + x) = x - x² / 2 + x³ P(x) for |x| <= 0.043",
        _log_tail,
        lambda x: x**3 / mp.log1p(x),
        (mp.mpf("-0.043"), mp.mpf("0.043")),
        {"float32": 3, "float64": 9},
    ),
    Fit(
        "SIN",
        "sin(x) = x + x³ P(x²) for |x| <= π / 4",
        *_odd(mp.sin),
        (mp.mpf(0), QUARTER**2),
        {"float32": 2, "float64": 5},
    ),
    Fit(
        "COS",
        "cos(x) = 1 - x² / 2 + x⁴ P(x²) for |x| <= π / 4",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
        (mp.mpf(0), QUARTER**2),
        {"float32": 2, "float64": 5},
    ),
    Fit(
        "LOG2",
        "log2(1 + x) = x P(x) for 3/4 <= 1 + x <= 3/2, for results in float32",
        lambda x: mp.log1p(x) / mp.log(2) / x,
        lambda x: x * mp.log(2) / mp.log1p(x),
        (mp.mpf("-0.25"), mp.mpf("0.5")),
        {"float64": 11},
    ),
    Fit(
        "LOG2_TAIL",
        "log2((1 + x) / (1 - x)) = 2 / log(2) (x + x³ / 3) + x⁵ P(x²) for |x| <= 1/5",
        _log2_tail,
        lambda z: z**2 * mp.log(2) / 2,
        (mp.mpf(0), mp.mpf("0.0401")),
        {"float64": 7},
    ),
    Fit(
        "TANH",
        "tanh(x) = x + x³ P(x²) for |x| <= 0.7",
        *_odd(mp.tanh),
        (mp.mpf(0), mp.mpf("0.49")),
        {"float32": 4, "float64": 11},
    ),
)


def nodes(interval: tuple[Any, Any]) -> list[Any]:
    """Return Chebyshev nodes of an interval."""
    low, high = interval
    middle, radius = (low + high) / 2, (high - low) / 2
    return [middle + radius * mp.cos((2 * i + 1) * mp.pi / (2 * NODES)) for i in range(NODES)]


def _least_squares(rows: Sequence[Sequence[Any]], values: Sequence[Any], weights: Any) -> list[Any]:
    """Solve the normal equations; 60 digits are many more than they lose."""
    count = len(rows[0])
    matrix, right = mp.zeros(count), mp.zeros(count, 1)
    for row, value, weight in zip(rows, values, weights, strict=True):
        scaled = [weight * r for r in row]
        for i in range(count):
            right[i] += scaled[i] * value
            for j in range(i, count):
                matrix[i, j] += scaled[i] * row[j]
    for i in range(count):
        for j in range(i):
            matrix[i, j] = matrix[j, i]
    return list(mp.lu_solve(matrix, right))


def fitted(fit: Fit, dtype: str) -> tuple[list[float], float]:
    """Return the rounded coefficients, lowest first, and the largest error that they leave."""
    kind = np.dtype(dtype).type
    count = fit.degrees[dtype] + 1
    places = nodes(fit.interval)
    sizes = [abs(fit.weight(x)) for x in places]
    rest = [s * fit.target(x) for s, x in zip(sizes, places, strict=True)]
    columns = [[s * x**j for s, x in zip(sizes, places, strict=True)] for j in range(count)]
    weights = [mp.mpf(1)] * NODES
    done: list[float] = []
    for place in range(count):
        rows = list(zip(*columns[place:], strict=True))
        for _ in range(ROUNDS // 3 if place else ROUNDS):
            found = _least_squares(rows, rest, weights)
            errors = [
                abs(sum(c * r for c, r in zip(found, row, strict=True)) - v)
                for row, v in zip(rows, rest, strict=True)
            ]
            weights = [w * e for w, e in zip(weights, errors, strict=True)]
            whole = sum(weights)
            weights = [w / whole for w in weights]
        done.append(float(kind(float(found[0]))))
        rest = [v - done[-1] * c for v, c in zip(rest, columns[place], strict=True)]
    return done, float(max(abs(v) for v in rest))


def reciprocal(degree: int) -> list[float]:
    """Return the coefficients of 1 / x on [1, 2] with the least relative error.

    The error of the best polynomial is Chebyshev's: ``1 - x P(x) = T(3 - 2x) / T(3)``.
    """
    before, now = [mp.mpf(1)], [mp.mpf(3), mp.mpf(-2)]  # T in powers of x
    for _ in range(degree):
        twice = [6 * c for c in now] + [mp.mpf(0)]
        for i, c in enumerate(now):
            twice[i + 1] -= 4 * c
        for i, c in enumerate(before):
            twice[i] -= c
        before, now = now, twice
    return [float(-c / now[0]) for c in now[1:]]


def module() -> str:
    """Return the text of the module of coefficients."""
    lines = [
        '"""Polynomials, lowest coefficient first; made by `tools.elementary_coefficients`."""'
    ]
    lines += ["", "from __future__ import annotations", ""]
    lines += ["from wengert.graph.dtypes import FLOAT32, FLOAT64, DType", ""]
    lines += ["Table = dict[DType, tuple[float, ...]]"]
    for fit in FITS:
        tables = {dtype: fitted(fit, dtype) for dtype in fit.degrees}
        bounds = ", ".join(f"{error:.1e} in {dtype}" for dtype, (_, error) in tables.items())
        lines += _table(fit.name, {d: c for d, (c, _) in tables.items()})
        lines += [f'"""{fit.meaning}.', "", f"Largest relative errors: {bounds}.", '"""']
    lines += _table("RECIPROCAL", dict.fromkeys(("float32", "float64"), reciprocal(3)))
    lines += ['"""1 / x for 1 <= x <= 2, to a relative error of 1/577."""', ""]
    return "\n".join(lines)


def _table(name: str, tables: dict[str, list[float]]) -> list[str]:
    lines = ["", f"{name}: Table = {{"]
    for dtype, coefficients in tables.items():
        lines += [f"    {dtype.upper()}: ("]
        lines += [f"        {c!r}," for c in coefficients]
        lines += ["    ),"]
    return [*lines, "}"]


if __name__ == "__main__":
    print(module())  # noqa: T201

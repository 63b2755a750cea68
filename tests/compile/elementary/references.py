"""What elementary functions are, in higher precision, and numbers to try them at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp

Array = Any

BOUNDS = {np.dtype(np.float32): 1.5, np.dtype(np.float64): 2.0}
"""Units in the last place that the functions promise."""


def _logistic(x: Array) -> Array:
    u = np.exp(-np.abs(x))
    return np.where(x < 0, u, 1) / (1 + u)


def erf_wide(x: Array) -> Array:
    """Return the error function, to all digits of float64 only."""
    return np.vectorize(math.erf, [np.float64])(x)


class Reference(NamedTuple):
    """A function for numbers of mpmath and for wide arrays, and where it is interesting.

    Attributes
    ----------
    exact, wide : callable
        The function, of a number of mpmath and of an array.
    ranges : tuple of (float, float)
        Intervals worth a dense look.
    start : float
        Where the domain begins.
    """

    exact: Callable[[Any], Any]
    wide: Callable[[Array], Array]
    ranges: tuple[tuple[float, float], ...]
    start: float = -np.inf


_BOTH = ((-0.4, 0.4), (-2.0, 2.0), (-20.0, 20.0))
_EXPONENT = ((-104.0, 89.0), (-746.0, 710.0))

REFERENCES = {
    "exp": Reference(mp.exp, np.exp, (*_BOTH, *_EXPONENT)),
    "expm1": Reference(mp.expm1, np.expm1, (*_BOTH, *_EXPONENT)),
    "log": Reference(mp.log, np.log, ((0.7, 1.6), (0.0, 100.0)), 0.0),
    "log1p": Reference(mp.log1p, np.log1p, ((-0.6, 0.6), (-1.0, 100.0)), -1.0),
    "sin": Reference(mp.sin, np.sin, (*_BOTH, (-1e3, 1e3), (-2e6, 2e6))),
    "cos": Reference(mp.cos, np.cos, (*_BOTH, (-1e3, 1e3), (-2e6, 2e6))),
    "erf": Reference(mp.erf, erf_wide, _BOTH),
    "tanh": Reference(mp.tanh, np.tanh, _BOTH),
    "sigmoid": Reference(lambda x: 1 / (1 + mp.exp(-x)), _logistic, (*_BOTH, *_EXPONENT)),
}


def points(name: str, dtype: Any, count: int, seed: int = 0) -> Array:
    """Return numbers of the domain: all magnitudes, limits of the dtype, and dense ranges."""
    rng = np.random.default_rng(seed)
    dtype, limits = np.dtype(dtype), np.finfo(dtype)
    reference = REFERENCES[name]
    patterns = rng.integers(0, 2**limits.bits, count, np.uint64, endpoint=False)
    numbers = patterns.astype(f"u{dtype.itemsize}").view(dtype)
    parts = [numbers, extremes(dtype)]
    parts += [rng.uniform(a, b, count).astype(dtype) for a, b in reference.ranges]
    parts += [(sign * np.exp2(rng.uniform(-60, 8, count))).astype(dtype) for sign in (1, -1)]
    x = np.concatenate(parts)
    return x[np.isfinite(x) & (x > reference.start)]


def extremes(dtype: Any) -> Array:
    """Return both zeros, ±1 and the neighbours, the smallest and the largest numbers."""
    dtype, limits = np.dtype(dtype), np.finfo(dtype)
    one = dtype.type(1)
    sizes = [0, limits.smallest_subnormal, limits.tiny, limits.max, one]
    sizes += [np.nextafter(one, dtype.type(0)), np.nextafter(one, dtype.type(2))]
    sizes += [np.nextafter(limits.tiny, dtype.type(0))]
    return np.array([*sizes, *(-s for s in sizes)], dtype)


def exact_units(name: str, x: Array, y: Array) -> Array:
    """Return the errors of ``y = f(x)``, in units in the last place of the exact value."""
    limits = np.finfo(y.dtype)
    errors = np.zeros(y.shape)
    with mp.workprec(200):
        for place, (argument, value) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            exact = REFERENCES[name].exact(mp.mpf(argument))
            if not np.isfinite(value):
                last = mp.mpf(float(limits.max))
                errors[place] = 0 if abs(exact) > last and (value > 0) == (exact > 0) else np.inf
                continue
            exponent = mp.frexp(exact)[1] - 1 if exact else limits.minexp
            unit = mp.ldexp(1, max(int(exponent), int(limits.minexp)) - limits.nmant)
            errors[place] = float(abs(mp.mpf(value) - exact) / unit)
    return errors

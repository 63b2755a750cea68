"""Derivatives by finite differences, with steps relative to each coordinate's own magnitude."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = Any
EPS = float(np.finfo(np.float64).eps)
STEP = 2e-5
_ULPS = 4
_TRUNCATION = 1e-6


def flat(arrays: Sequence[Array]) -> Array:
    """Return all elements of `arrays` as one float64 vector."""
    return np.concatenate([np.zeros(0), *(np.asarray(a, np.float64).ravel() for a in arrays)])


def central(f: Callable[[float], Array], h: float) -> tuple[Array, Array]:
    """Return f'(0) from two central differences by Richardson, and a bound of its error.

    The bound holds if `f` is smooth and computed to a few units in the last place.
    """
    wide_high, wide_low, high, low = f(h), f(-h), f(h / 2), f(-h / 2)
    coarse, fine = (wide_high - wide_low) / (2 * h), (high - low) / h
    size = np.maximum(np.abs(high), np.abs(low))
    rounding = 2 * _ULPS * EPS * size / h
    return (4 * fine - coarse) / 3, rounding + _TRUNCATION * np.abs(coarse - fine)


def jacobian(
    f: Callable[[Sequence[Array]], Array], xs: Sequence[Array], position: int
) -> tuple[Array, Array]:
    """Return d f / d xs[position] and the bound of its error: arrays (outputs, elements of x).

    Each coordinate is moved by little, relative to its own magnitude. If no output shows so small a
    move, it is moved further, as long as that agrees with what was seen before.
    """
    x = np.array(xs[position], np.float64)
    largest = max((float(np.abs(a).max()) for a in xs if a.dtype.kind == "f" and a.size), default=1)
    columns = [
        _column(_along_coordinate(f, xs, position, i), min(abs(value), 1) or 1.0, largest)
        for i, value in enumerate(x.ravel())
    ]
    outputs = f(xs).size
    slopes, errors = np.zeros((outputs, x.size)), np.zeros((outputs, x.size))
    for i, (slope, error) in enumerate(columns):
        slopes[:, i], errors[:, i] = slope, error
    return slopes, errors


def _column(f: Callable[[float], Array], base: float, largest: float) -> tuple[Array, Array]:
    slope, error = central(f, STEP * base)
    while base < largest and not (error <= 1e-7 * np.abs(slope)).any():
        base = min(10 * base, largest)
        further, smaller = central(f, STEP * base)
        if not (np.abs(further - slope) <= error + smaller).all():
            break  # across a kink, a jump or a tie
        slope, error = further, smaller
    return slope, error


def _along_coordinate(
    f: Callable[[Sequence[Array]], Array], xs: Sequence[Array], position: int, i: int
) -> Callable[[float], Array]:
    def moved(t: float) -> Array:
        x = np.array(xs[position], np.float64)
        x.flat[i] += t
        return f([*xs[:position], x, *xs[position + 1 :]])

    return moved


def along(
    f: Callable[[Sequence[Array]], Array], xs: Sequence[Array], directions: dict[int, Array]
) -> tuple[Array, Array]:
    """Return the derivative of `f` along `directions` (by position), and the bound of its error."""

    def moved(t: float) -> Array:
        return f([x + t * directions[i] if i in directions else x for i, x in enumerate(xs)])

    return central(moved, STEP)

"""What a primitive says of the points where it is not smooth, against one-sided differences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.ops.running import Array, evaluate, forward, outputs, values, variables
from wengert.graph.primitive import Nonsmooth, Primitive, Sample
from wengert.graph.variable import Variable
from wengert.ops.derivatives import Elementwise

GRID = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 6.0)
STEP = 1e-5
CLOSE = 1e-6
JUMP = min(abs(n) for n in GRID if n) / 2
"""What is more is a jump: a remainder jumps by its divisor, which is a number of the grid."""


def elementwise_params(primitive: Primitive, samples: list[Sample]) -> list[Mapping[str, Any]]:
    """Return the static parameters to try, if the primitive is elementwise in one or two floats."""
    if not isinstance(primitive.derivative, Elementwise):
        return []
    found: dict[str, Mapping[str, Any]] = {}
    for s in samples:
        if len(s.inputs) <= 2 and set(s.differentiable) == set(range(len(s.inputs))):
            found[str(s.params)] = s.params
    return list(found.values())


def grid_points(count: int, params: Mapping[str, Any]) -> list[Array]:
    """Return one vector per operand: all combinations of ordinary and of special numbers."""
    numbers = {float(p) for p in params.values() if isinstance(p, float)}
    axis = sorted({*GRID, *numbers, *(-n for n in numbers)})
    return [np.array(column) for column in zip(*itertools.product(axis, repeat=count), strict=True)]


class Points:
    """A primitive at the points of a grid: its value, its slopes, and one-sided differences."""

    def __init__(self, primitive: Primitive, params: Mapping[str, Any], count: int) -> None:
        self.primitive, self.params = primitive, params
        self.xs = grid_points(count, params)
        self.value = self._value(self.xs)
        self.slopes = [self._slope(i) for i in range(count)]
        self.left = [-self.one_sided(i, -STEP) for i in range(count)]
        self.right = [self.one_sided(i, STEP) for i in range(count)]

    def _value(self, xs: list[Array]) -> Array:
        return evaluate(self.primitive, xs, self.params)[0]

    def _moved(self, i: int, step: float) -> Array:
        return self._value([x + step if j == i else x for j, x in enumerate(self.xs)])

    def _slope(self, i: int) -> Array:
        dots = [Variable(np.ones_like(x)) if j == i else None for j, x in enumerate(self.xs)]
        f = lambda xs: outputs(self.primitive, xs, self.params)  # noqa: E731
        return values(forward(f, variables(self.xs), dots))[0]

    def one_sided(self, i: int, step: float) -> Array:
        """Return the one-sided difference quotient, to second order, over the length of `step`.

        It is NaN where the function is not defined on that side.
        """
        with np.errstate(invalid="ignore"):
            half, whole = self._moved(i, step / 2) - self.value, self._moved(i, step) - self.value
            return (4 * half - whole) / abs(step)

    def step(self, i: int, step: float) -> Array:
        """Return how far the value is from that at a distance of `step`."""
        with np.errstate(invalid="ignore"):
            return np.abs(self._moved(i, step) - self.value)

    def hits(self, declared: Nonsmooth) -> Array:
        xs = variables(self.xs)
        (y,) = outputs(self.primitive, xs, self.params)
        return np.broadcast_to(values([declared.where(y, *xs, **self.params)])[0], y.shape)


def check_smoothness(primitive: Primitive, params: Mapping[str, Any], count: int) -> None:
    """Every declared set is hit and is as declared; elsewhere the function is smooth."""
    points = Points(primitive, params, count)
    smooth = np.ones(points.value.shape, bool)
    for declared in primitive.nonsmooth:
        hits = points.hits(declared)
        assert hits.any(), f"{primitive.name}: the predicate of a {declared.kind} never holds"
        smooth &= ~hits
        if declared.kind == "kink":
            _check_kink(points, declared, hits)
        elif declared.kind == "jump":
            _check_jump(points, hits)
        else:
            _check_unbounded(points, declared, hits)
    _check_elsewhere(points, smooth)


def _check_kink(points: Points, declared: Nonsmooth, hits: Array) -> None:
    name = points.primitive.name
    intervals = declared.interval
    if callable(intervals):
        intervals = intervals(**points.params)
    assert len(intervals) == len(points.xs), f"{name}: one interval for each operand"
    split = len(points.xs) > 1 and points.params.get("tie", 0) != 0
    for i, interval in enumerate(intervals):
        if interval is None:
            continue
        low, high = interval
        sides = np.stack([points.left[i][hits], points.right[i][hits]])
        what = f"{name}: kink, operand {i}, {dict(points.params)}"
        np.testing.assert_allclose(sides.min(0), low, atol=CLOSE, err_msg=f"{what}: low")
        np.testing.assert_allclose(sides.max(0), high, atol=CLOSE, err_msg=f"{what}: high")
        chosen = (low + high) / 2 if split else min(max(0.0, low), high)
        np.testing.assert_allclose(
            points.slopes[i][hits], chosen, atol=1e-12, err_msg=f"{what}: the slope chosen"
        )


def _check_jump(points: Points, hits: Array) -> None:
    """The slope is that of the side which the value belongs to; 0 if it belongs to none."""
    name = points.primitive.name
    operands = range(len(points.xs))
    belongs = [[points.step(i, step) <= JUMP for step in (-STEP, STEP)] for i in operands]
    jumps = ~np.all(belongs, axis=(0, 1))
    assert jumps[hits].all(), f"{name}: does not jump where it says so"
    for i, (left, right) in enumerate(belongs):
        chosen = np.where(right, points.right[i], np.where(left, points.left[i], 0.0))[hits]
        slope = points.slopes[i][hits]
        wrong = ~(np.abs(slope - chosen) <= CLOSE * (1 + np.abs(chosen)))
        assert not wrong.any(), (
            f"{name}: operand {i}: the slope at a jump is {slope[wrong]}, not {chosen[wrong]}"
        )


def _check_unbounded(points: Points, declared: Nonsmooth, hits: Array) -> None:
    """A pole makes the value or a slope infinite; outside its domain, the function is NaN."""
    found = np.stack([points.value[hits], *(slope[hits] for slope in points.slopes)])
    odd = np.isnan(found) if declared.kind == "domain" else ~np.isfinite(found)
    silent = ~odd.any(axis=0)
    places = [x[hits][silent] for x in points.xs]
    assert not silent.any(), f"{points.primitive.name}: {declared.kind} gives a number at {places}"


def _check_elsewhere(points: Points, smooth: Array) -> None:
    """Where nothing is declared, the slope is the limit of the differences from either side."""
    name = points.primitive.name
    assert np.isfinite(points.value[smooth]).all(), f"{name}: undeclared infinity or NaN"
    for i, slope in enumerate(points.slopes):
        for sign in (-1, 1):
            far, near = (sign * points.one_sided(i, sign * h) for h in (STEP, STEP / 100))
            distance = np.abs(far - slope)
            wrong = smooth & (distance > CLOSE * (1 + np.abs(slope)))
            wrong &= ~(np.abs(near - slope) < distance / 5)
            places = [x[wrong] for x in points.xs]
            assert not wrong.any(), (
                f"{name}: the slope {slope[wrong]} in operand {i} at {places} is not the "
                f"one-sided difference {far[wrong]}, and nothing is declared there"
            )

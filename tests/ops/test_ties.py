"""Reductions at their kinks: one-sided differences, and the element of the interval chosen."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.running import (
    evaluate,
    function_of,
    load_registry,
    outputs,
    reverse,
    samples_of,
    values,
    variables,
)
from wengert.graph.primitive import Primitive, Sample
from wengert.ops.derivatives import Elementwise

H = 1e-7
REGISTRY = load_registry()
KINKED = [
    p
    for p in REGISTRY.values()
    if any(n.kind == "kink" for n in p.nonsmooth) and not isinstance(p.derivative, Elementwise)
]


def one_sided(primitive: Primitive, sample: Sample, i: int, step: float) -> np.ndarray:
    """Return the slopes of the float outputs in coordinate `i` of the input, to one side."""
    x = np.array(sample.inputs[0])
    before = evaluate(primitive, (x,), sample.params)[0]
    x.flat[i] += step
    return (evaluate(primitive, (x,), sample.params)[0] - before) / step


def hits(primitive: Primitive, sample: Sample) -> bool:
    (declared,) = [n for n in primitive.nonsmooth if n.kind == "kink"]
    xs = variables(sample.inputs)
    y = outputs(primitive, xs, sample.params)
    found = declared.where(y if primitive.several else y[0], *xs, **sample.params)
    return bool(np.any(values([found])[0]))


@pytest.mark.parametrize("primitive", KINKED, ids=lambda p: p.name)
def test_slopes_at_ties_are_in_the_interval(primitive: Primitive) -> None:
    (declared,) = [n for n in primitive.nonsmooth if n.kind == "kink"]
    (((low, high)),) = declared.interval
    tried = 0
    sides: list[float] = []
    for sample in samples_of(primitive, np.float64):
        tied = Sample((np.zeros_like(sample.inputs[0]),), sample.params)
        (x,) = tied.inputs
        if x.size < 2 or not hits(primitive, tied):
            continue
        tried += 1
        ys = evaluate(primitive, (x,), sample.params)[0]
        (slopes,) = values(
            reverse(function_of(primitive, tied), variables([x]), variables([np.ones_like(ys)]))
        )
        assert (slopes >= low - 1e-12).all()
        assert (slopes <= high + 1e-12).all()
        for i in range(x.size):
            for step in (H, -H):
                side = one_sided(primitive, tied, i, step)
                assert (side >= low - 1e-6).all(), f"{primitive.name}: {side} below {low}"
                assert (side <= high + 1e-6).all(), f"{primitive.name}: {side} above {high}"
                sides.extend(side.ravel())
    assert tried, f"{primitive.name}: the predicate never holds at a tie"
    assert min(sides) == pytest.approx(low, abs=1e-6), "the lower end is never taken"
    assert max(sides) == pytest.approx(high, abs=1e-6), "the upper end is never taken"


@pytest.mark.parametrize("primitive", KINKED, ids=lambda p: p.name)
def test_ordinary_samples_do_not_hit(primitive: Primitive) -> None:
    for sample in samples_of(primitive, np.float64):
        x = np.arange(1.0, sample.inputs[0].size + 1).reshape(sample.inputs[0].shape)
        assert not x.size or not hits(primitive, Sample((x,), sample.params))


def gradient(name: str, x: np.ndarray, **params: object) -> np.ndarray:
    sample = Sample((x,), params)
    f = function_of(REGISTRY[name], sample)
    ys = f(variables([x]))
    return values(reverse(f, variables([x]), variables(np.ones(y.shape) for y in ys)))[0]


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremum_splits_ties_evenly(name: str) -> None:
    sign = 1.0 if name == "max" else -1.0
    x = sign * np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(
        gradient(name, x, axes=(1,)), [[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-15
    )


def test_max_with_index_gives_all_to_the_first() -> None:
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(gradient("max_with_index", x, axis=1), [[0, 1, 0], [1, 0, 0]])


def test_norm_at_zero_has_the_least_slope() -> None:
    np.testing.assert_array_equal(gradient("norm", np.zeros((2, 3)), axes=(1,)), np.zeros((2, 3)))

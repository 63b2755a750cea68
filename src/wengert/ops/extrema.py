"""Maxima, minima and limits of pairs of numbers, with what happens at ties."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.primitive import ELEMENTWISE, Nonsmooth, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare
from wengert.ops.batching import batch_elementwise
from wengert.ops.convert import (
    VariableLike,
    as_variable,
    cast,
    is_number,
    promoted,
    weak_value,
)
from wengert.ops.define import binary_samples, magnitudes, normal, unary_samples
from wengert.ops.derivatives import Elementwise
from wengert.ops.lower_reductions import greater_of
from wengert.ops.lowering import Expressions, Scalar, elementwise
from wengert.ops.shapes import broadcast_shapes, need_float, same_dtype

_ANY = magnitudes(normal, (1e-8, 1.0, 1e8))


def _tie_slopes(wins: Any) -> tuple[Any, Any]:
    """Return the partials of a maximum or minimum; at a tie each varied operand gets `tie`."""

    def slope(mine: Variable, other: Variable, tie: float) -> Variable:
        win = wins(mine, other)
        if tie == 0:
            return win  # type: ignore[no-any-return]
        even = cast(compare.equal(mine, other), mine.dtype)
        return cast(win, mine.dtype) + tie * even

    return (lambda z, x, y, tie: slope(x, y, tie)), (lambda z, x, y, tie: slope(y, x, tie))


def _define_extremum(name: str, ufunc: Any, wins: Any, notation: str, relation: str) -> Primitive:
    def infer(x: Aval, y: Aval, tie: float) -> Aval:
        del tie
        same_dtype(name, x, y)
        return Aval(broadcast_shapes(name, x.shape, y.shape), x.dtype)

    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
        for sample in binary_samples(_ANY, _ANY)(rng, dtype):
            yield Sample(sample.inputs, {"tie": 0.5}, sample.differentiable)
        yield Sample((np.arange(3.0).astype(dtype), np.array(1.5, dtype)), {"tie": 0.0})

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=lambda x, y, tie: ufunc(x, y),
            derivative=Elementwise(*_tie_slopes(wins)),
            batch=batch_elementwise,
            samples=samples,
            nonsmooth=(
                Nonsmooth(
                    "kink", lambda z, x, y, tie: compare.equal(x, y), ((0.0, 1.0), (0.0, 1.0))
                ),
            ),
            lower=elementwise(lambda e, x, y, tie: greater_of(e, x, y, relation)),
            laws=ELEMENTWISE,
        )
    )


maximum_p = _define_extremum("maximum", np.maximum, compare.greater, r"\max({0}, {1})", ">")
minimum_p = _define_extremum("minimum", np.minimum, compare.less, r"\min({0}, {1})", "<")


def _clip_mask(y: Variable, x: Variable, lower: float | None, upper: float | None) -> Variable:
    if lower is None:
        assert upper is not None
        return compare.less(x, upper)
    inside = compare.greater(x, lower)
    return inside if upper is None else compare.logical_and(inside, compare.less(x, upper))


def _clip_hits(y: Variable, x: Variable, lower: float | None, upper: float | None) -> Variable:
    bounds = [compare.equal(x, bound) for bound in (lower, upper) if bound is not None]
    return bounds[0] if len(bounds) == 1 else compare.logical_or(*bounds)


def _infer_clip(x: Aval, lower: float | None, upper: float | None) -> Aval:
    del lower, upper
    need_float("clip", x)
    return Aval(x.shape, x.dtype)


def _evaluate_clip(x: Array, lower: float | None, upper: float | None) -> Any:
    return np.clip(x, lower, upper)


def _clip_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for bounds in ({"lower": -0.5, "upper": 0.75}, {"lower": None, "upper": 0.1}):
        for sample in unary_samples(normal, _ANY)(rng, dtype):
            yield Sample(sample.inputs, bounds)


def _clip(e: Expressions, x: Scalar, lower: float | None, upper: float | None) -> Scalar:
    if lower is not None:
        x = e.where(e.compare("<", x, lower), lower, x)
    return x if upper is None else e.where(e.compare(">", x, upper), upper, x)


clip_p = register(
    Primitive(
        name="clip",
        notation=r"\operatorname{{clip}}({0})",
        infer=_infer_clip,
        evaluate=_evaluate_clip,
        derivative=Elementwise(_clip_mask),
        batch=batch_elementwise,
        samples=_clip_samples,
        nonsmooth=(Nonsmooth("kink", _clip_hits, ((0.0, 1.0),)),),
        lower=elementwise(_clip),
        laws=ELEMENTWISE,
    )
)


def _extremum(primitive: Primitive, x: VariableLike, y: VariableLike) -> Variable:
    number = weak_value(x) is not None or weak_value(y) is not None
    tie = 0.0 if number else 0.5
    return bind(primitive, promoted(x, y), {"tie": tie})  # type: ignore[no-any-return]


def maximum(x: VariableLike, y: VariableLike) -> Variable:
    """Return the larger of `x` and `y`, element by element.

    At a tie the derivative is split evenly; against a Python number it is 0, the subgradient of
    least norm, as for `relu`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.maximum(wg.tensor([1.0, 5.0]), wg.tensor([3.0, 2.0]))
    tensor([3., 5.])
    """
    return _extremum(maximum_p, x, y)


def minimum(x: VariableLike, y: VariableLike) -> Variable:
    """Return the smaller of `x` and `y`, element by element; ties as for `maximum`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.minimum(wg.tensor([1.0, 5.0]), wg.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    return _extremum(minimum_p, x, y)


def clip(
    x: VariableLike,
    min: VariableLike | None = None,
    max: VariableLike | None = None,
) -> Variable:
    """Return `x` limited to the range from `min` to `max`.

    At a bound that is a number, a kink, the derivative returned is 0.

    Raises
    ------
    ValueError
        If both bounds are missing.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.clip(wg.tensor([-1.0, 0.5, 7.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ValueError("clip: give min, max or both.")
    x = as_variable(x)
    numbers = all(bound is None or is_number(bound) for bound in (min, max))
    if numbers and x.dtype.kind == "f":
        bounds = {"lower": min, "upper": max}
        return bind(clip_p, (x,), bounds)  # type: ignore[no-any-return]
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)

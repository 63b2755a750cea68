"""Lowerings of reductions, and of what is made of several of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.dtypes import BOOL, INT64, DType
from wengert.ops.lowering import Expressions, Kernels, Reducer, Scalar, State, View

Axes = Sequence[int]


@lru_cache(maxsize=64)
def adding(dtype: DType) -> Reducer:
    """Return the sum of numbers of `dtype`."""
    return Reducer(lambda e: (e.constant(0, dtype),), lambda e, x, y: (e.add(x[0], y[0]),))


@lru_cache(maxsize=64)
def _multiplying(dtype: DType) -> Reducer:
    return Reducer(lambda e: (e.constant(1, dtype),), lambda e, x, y: (e.mul(x[0], y[0]),))


def _lowest(dtype: DType, sign: int) -> bool | int | float:
    """Return the number that is below (`sign` 1) or above (-1) all others of `dtype`."""
    if dtype.kind == "f":
        return -sign * math.inf
    if dtype == BOOL:
        return sign < 0
    limits: Any = np.iinfo(dtype)
    return int(limits.min if sign > 0 else limits.max)


def greater_of(e: Expressions, x: Scalar, y: Scalar, relation: str = ">") -> Scalar:
    """Return the greater of two numbers, or NaN if one is; the second if they are equal."""
    return e.where(e.either(e.compare(relation, x, y), e.is_nan(x)), x, y)


@lru_cache(maxsize=64)
def _extremum(dtype: DType, relation: str) -> Reducer:
    lowest = _lowest(dtype, 1 if relation == ">" else -1)
    return Reducer(
        lambda e: (e.constant(lowest, dtype),),
        lambda e, x, y: (greater_of(e, x[0], y[0], relation),),
        cost=4,
    )


@lru_cache(maxsize=64)
def _extremum_with_index(dtype: DType, relation: str) -> Reducer:
    """Return the reducer of pairs (value, index) to the extremum that stands first; NaN wins."""
    lowest = _lowest(dtype, 1 if relation == ">" else -1)
    last = np.iinfo(np.int64).max

    def combine(e: Expressions, x: State, y: State) -> State:
        nan_x, nan_y = e.is_nan(x[0]), e.is_nan(y[0])
        better = e.either(e.compare(relation, x[0], y[0]), e.both(nan_x, e.invert(nan_y)))
        equal = e.either(e.compare("==", x[0], y[0]), e.both(nan_x, nan_y))
        first = e.both(equal, e.compare("<", x[1], y[1]))
        chosen = e.either(better, first)
        return e.where(chosen, x[0], y[0]), e.where(chosen, x[1], y[1])

    return Reducer(lambda e: (e.constant(lowest, dtype), e.constant(last, INT64)), combine, 12)


def total(kernels: Kernels, x: View, axes: Axes) -> View:
    """Lower a sum."""
    return kernels.reduce(adding(x.dtype), axes, x)[0]


def product(kernels: Kernels, x: View, axes: Axes) -> View:
    """Lower a product."""
    return kernels.reduce(_multiplying(x.dtype), axes, x)[0]


def extremum(relation: str) -> Callable[..., View]:
    """Return the lowering of a maximum (``">"``) or minimum (``"<"``)."""

    def lower(kernels: Kernels, x: View, axes: Axes) -> View:
        return kernels.reduce(_extremum(x.dtype, relation), axes, x)[0]

    return lower


def with_index(kernels: Kernels, x: View, axis: int, relation: str = ">") -> tuple[View, View]:
    """Lower the maximum (or, for ``"<"``, minimum) along an axis together with its index."""
    value, index = kernels.reduce(
        _extremum_with_index(x.dtype, relation), (axis,), x, kernels.counter(x.shape, axis)
    )
    return value, index


def index_of(relation: str) -> Callable[..., View]:
    """Return the lowering of the index of a maximum (``">"``) or minimum (``"<"``)."""
    return lambda kernels, x, axis: with_index(kernels, x, axis, relation)[1]


def spread(kernels: Kernels, y: View, axes: Axes, x: View) -> View:
    """Return a reduction of `x` over `axes`, repeated to the shape of `x`."""
    steps = iter(y.strides)
    strides = [0 if i in axes else next(steps) for i in range(len(x.shape))]
    return kernels.view(y, x.shape, strides)


def _finite(e: Expressions, t: Scalar) -> Scalar:
    return e.where(e.compare("<", e.absolute(t), math.inf), t, 0.0)


def _exponential(e: Expressions, v: Scalar, t: Scalar) -> Scalar:
    return e.call("exp", e.sub(v, t))


def _exponential_term(e: Expressions, v: Scalar, t: Scalar) -> State:
    return (_exponential(e, v, t),)


def exponentials(kernels: Kernels, x: View, axes: Axes) -> tuple[View, View]:
    """Return the maximum, or 0 where it is not finite, and the sum of ``exp(x - maximum)``."""
    top = kernels.map(_finite, kernels.reduce(_extremum(x.dtype, ">"), axes, x)[0])
    wide = spread(kernels, top, axes, x)
    total = kernels.reduce(
        adding(x.dtype), axes, x, wide, lift=_exponential_term, dtypes=(x.dtype,)
    )[0]
    return top, total


def level(e: Expressions, t: Scalar, s: Scalar) -> Scalar:
    """Return the logarithm of a sum of exponentials."""
    return e.add(e.call("log", s), t)


def logsumexp(kernels: Kernels, x: View, axes: Axes) -> View:
    """Lower the logarithm of the sum of exponentials."""
    return kernels.map(level, *exponentials(kernels, x, axes), cost=10)


def share(e: Expressions, v: Scalar, t: Scalar, s: Scalar) -> Scalar:
    """Return an exponential divided by the sum of all."""
    return e.div(_exponential(e, v, t), s)


def softmax(kernels: Kernels, x: View, axes: Axes) -> View:
    """Lower the exponentials divided by their sum."""
    wide = [spread(kernels, v, axes, x) for v in exponentials(kernels, x, axes)]
    return kernels.map(share, x, *wide, cost=10)


def log_softmax(kernels: Kernels, x: View, axes: Axes) -> View:
    """Lower the logarithm of the softmax."""
    top, total = exponentials(kernels, x, axes)
    logarithm = kernels.map(lambda e, s: e.call("log", s), total, cost=10)
    return kernels.map(
        lambda e, v, t, s: e.sub(e.sub(v, t), s),
        x,
        spread(kernels, top, axes, x),
        spread(kernels, logarithm, axes, x),
    )


def norm(kernels: Kernels, x: View, axes: Axes) -> View:
    """Lower the root of the sum of squares, scaled where the squares leave the range."""
    limits: Any = np.finfo(x.dtype)
    least, infinite = float(limits.tiny / limits.eps), math.inf
    plain = kernels.reduce(
        adding(x.dtype), axes, x, lift=lambda e, v: (e.mul(v, v),), dtypes=(x.dtype,)
    )[0]
    top = kernels.reduce(
        _extremum(x.dtype, ">"), axes, x, lift=lambda e, v: (e.absolute(v),), dtypes=(x.dtype,)
    )[0]

    def inside(e: Expressions, v: Scalar, low: float) -> Scalar:
        return e.both(e.compare(">", v, low), e.compare("<", v, infinite))

    scale = kernels.map(lambda e, t: e.where(inside(e, t, 0.0), t, 1.0), top)

    def square(e: Expressions, v: Scalar, s: Scalar) -> State:
        part = e.div(v, s)
        return (e.mul(part, part),)

    scaled = kernels.reduce(
        adding(x.dtype), axes, x, spread(kernels, scale, axes, x), lift=square, dtypes=(x.dtype,)
    )[0]
    return kernels.map(
        lambda e, p, q, s: e.where(inside(e, p, least), e.sqrt(p), e.mul(e.sqrt(q), s)),
        plain,
        scaled,
        scale,
    )

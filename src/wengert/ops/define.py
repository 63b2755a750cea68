"""Constructors for families of primitives: they fill in what all members have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from wengert.graph.dtypes import BOOL, Array
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import ELEMENTWISE, Laws, Nonsmooth, Primitive, Sample, register
from wengert.graph.variable import Aval
from wengert.ops.batching import batch_elementwise
from wengert.ops.derivatives import Elementwise, Partial, Slopes
from wengert.ops.shapes import broadcast_shapes, need_float, same_dtype

Samples: TypeAlias = "Callable[[np.random.Generator, np.dtype[Any]], Iterable[Sample]]"
Draw: TypeAlias = "Callable[[np.random.Generator, tuple[int, ...]], Array]"

BINARY_SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((2, 1, 3), (4, 1)),
    ((0, 3), (1, 3)),
    ((2, 3), ()),
)
UNARY_SHAPES: tuple[tuple[int, ...], ...] = ((), (5,), (2, 3), (0, 4), (2, 1, 3))


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw ordinary numbers."""
    return np.asarray(rng.standard_normal(shape))


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw numbers between a third and three."""
    return np.asarray(np.exp(rng.uniform(-1.1, 1.1, shape)))


def nonzero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw numbers at least 0.2 away from zero."""
    x = rng.standard_normal(shape)
    return np.asarray(x + np.where(x >= 0, 0.2, -0.2))


def magnitudes(draw: Draw, factors: Iterable[float]) -> Draw:
    """Draw as `draw`, each element scaled by one of `factors`."""
    choices = np.array(tuple(factors))
    return lambda rng, shape: np.asarray(draw(rng, shape) * rng.choice(choices, shape))


def strided(array: Array) -> Array:
    """Return equal values in memory that is not contiguous."""
    if array.ndim == 0:
        return array
    doubled = np.repeat(array, 2, axis=-1)
    return doubled[..., ::2]


def unary_samples(*draws: Draw) -> Samples:
    """Return samples of one operand: every shape, contiguous or not, for each way of drawing."""

    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
        for draw in draws:
            for shape in UNARY_SHAPES:
                yield Sample((draw(rng, shape).astype(dtype),))
            yield Sample((strided(draw(rng, (3, 4)).astype(dtype)),))

    return samples


def binary_samples(first: Draw, second: Draw, differentiable: tuple[int, ...] = (0, 1)) -> Samples:
    """Return samples of two operands over the broadcasting shapes."""

    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
        for shape_x, shape_y in BINARY_SHAPES:
            x, y = first(rng, shape_x).astype(dtype), second(rng, shape_y).astype(dtype)
            yield Sample((x, y), differentiable=differentiable)
            yield Sample(
                (strided(y), strided(x)) if first is second else (strided(x), y),
                differentiable=differentiable,
            )

    return samples


def define_unary(  # noqa: PLR0913  (one argument per field of the record)
    name: str,
    evaluate: Callable[..., Any],
    partial: Partial,
    notation: str,
    samples: Samples,
    *,
    nonsmooth: tuple[Nonsmooth, ...] = (),
    only_float: bool = True,
    slope: Slopes | None = None,
    lower: Any = None,
    laws: Laws = ELEMENTWISE,
) -> Primitive:
    """Define an elementwise primitive of one operand, with its partial ``partial(y, x)``.

    `slope` is the same evaluated with NumPy in one go; see `Elementwise`.
    """

    def infer(x: Aval) -> Aval:
        if only_float:
            need_float(name, x)
        elif x.dtype == BOOL:
            raise DTypeError(f"{name}: is not defined for bool; cast it to a number first")
        return Aval(x.shape, x.dtype)

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=evaluate,
            derivative=Elementwise(partial, slope=slope) if partial is not None else None,
            batch=batch_elementwise,
            samples=samples,
            nonsmooth=nonsmooth,
            lower=lower,
            laws=laws,
        )
    )


def define_binary(  # noqa: PLR0913  (one argument per field of the record)
    name: str,
    evaluate: Callable[..., Any],
    partials: tuple[Partial, Partial] | None,
    notation: str,
    samples: Samples,
    *,
    nonsmooth: tuple[Nonsmooth, ...] = (),
    result: np.dtype[Any] | None = None,
    kinds: str = "biuf",
    inplace: Callable[..., Any] | None = None,
    lower: Any = None,
    laws: Laws = ELEMENTWISE,
) -> Primitive:
    """Define an elementwise primitive of two operands of one dtype, of `kinds`, that broadcast."""

    def infer(x: Aval, y: Aval) -> Aval:
        same_dtype(name, x, y)
        if x.dtype.kind not in kinds:
            raise DTypeError(f"{name}: is not defined for {x.dtype}; cast it first")
        return Aval(broadcast_shapes(name, x.shape, y.shape), result or x.dtype)

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=evaluate,
            derivative=Elementwise(*partials) if partials else None,
            batch=batch_elementwise,
            samples=samples,
            nonsmooth=nonsmooth,
            inplace=inplace,
            lower=lower,
            laws=laws,
        )
    )

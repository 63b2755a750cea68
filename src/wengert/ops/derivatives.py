"""The forms in which a primitive states its derivative: once, for both modes.

* `Elementwise`: the partial derivatives; the pushforward multiplies tangents by them, the
  pullback multiplies cotangents and undoes broadcasting.
* `Linear`: the transpose; the pushforward is the primitive itself.
* `Multilinear`: linear in each operand on its own (contractions): one transpose for each.
* `WeightedReduction`: a reduction whose slopes are an array of the operand's shape.
* `Rules`: a pullback and a pushforward, for the rest.

Rules are written in Wengert's own operations, so that they can be differentiated again. Other
primitives are reached through the registry, since they are defined with these very classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from wengert.graph.bind import bind, evaluated
from wengert.graph.dtypes import Array
from wengert.graph.primitive import Contribution, Params, Primitive, registry
from wengert.graph.variable import Variable

Slope: TypeAlias = Variable | float
Slopes: TypeAlias = Callable[[Array, Array], Array]
Partial: TypeAlias = Callable[..., Slope] | float | None


def emit(name: str, *inputs: Variable, **params: Any) -> Any:
    """Bind the primitive called `name`."""
    return bind(registry[name], inputs, params)


def scaled(cotangent: Variable, slope: Slope) -> Variable:
    """Return the product of a cotangent (or tangent) and a slope; zero where the former is."""
    if isinstance(slope, Variable):
        return bind(registry["cotangent_mul"], (cotangent, slope))  # type: ignore[no-any-return]
    if slope == 1:
        return cotangent
    if slope == 0:
        return zeros_like(cotangent)
    if slope == -1:
        return bind(registry["neg"], (cotangent,))  # type: ignore[no-any-return]
    constant = Variable(np.array(slope, cotangent.dtype))
    return bind(registry["mul"], (cotangent, constant))  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def _repeated(wide: tuple[int, ...], shape: tuple[int, ...]) -> Params:
    """Return the axes along which a variable of `shape` was repeated to become `wide`."""
    extra = len(wide) - len(shape)
    repeated = (extra + i for i, n in enumerate(shape) if n == 1 and wide[extra + i] != 1)
    return {"axes": (*range(extra), *repeated)}


def unbroadcast(cotangent: Variable, shape: tuple[int, ...]) -> Variable:
    """Sum `cotangent` over the axes along which a variable of `shape` was repeated."""
    value = cotangent.value
    wide = cotangent.shape if value is None else value.shape
    if wide == shape:
        return cotangent
    total: Variable = bind(registry["sum"], (cotangent,), _repeated(wide, shape))
    return total if total.shape == shape else emit("reshape", total, shape=shape)


def broadcast(x: Variable, shape: tuple[int, ...]) -> Variable:
    """Repeat `x` to `shape` under NumPy's rules."""
    return x if x.shape == shape else emit("broadcast", x, shape=shape)


def aligned(x: Variable, axes: Sequence[int], shape: tuple[int, ...]) -> Variable:
    """Return the result of a reduction of `shape` over `axes` so that it broadcasts to `shape`.

    The reduced axes are put back with length 1, unless they are the first: broadcasting adds these.
    """
    if tuple(axes) == tuple(range(len(axes))):
        return x
    dropped = set(axes)
    ones = tuple(1 if i in dropped else n for i, n in enumerate(shape))
    return emit("reshape", x, shape=ones)  # type: ignore[no-any-return]


def expanded(x: Variable, axes: Sequence[int], shape: tuple[int, ...]) -> Variable:
    """Undo a reduction of an array of `shape` over `axes`: put the axes back and repeat."""
    return broadcast(aligned(x, axes, shape), shape)


def add_all(terms: Sequence[Variable | None]) -> Variable | None:
    """Return the sum of the terms that are there, or None if none is."""
    total: Variable | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else bind(registry["add"], (total, term))
    return total


def zeros_like(x: Variable) -> Variable:
    """Return zeros of the shape and dtype of `x`."""
    return bind(registry["full"], (), {"shape": x.shape, "dtype": x.dtype, "value": 0})  # type: ignore[no-any-return]


def ones_like(y: Variable) -> Variable:
    """Return ones of the shape and dtype of `y`: the cotangent with which a pullback starts."""
    if y.value is not None:
        return Variable(np.ones(y.shape, y.dtype))
    return bind(registry["full"], (), {"shape": y.shape, "dtype": y.dtype, "value": 1})  # type: ignore[no-any-return]


def _product(y_bar: Array, y: Array, x: Array, slope: Slopes) -> Any:
    return registry["cotangent_mul"].evaluate(y_bar, slope(y, x))


class Elementwise:
    """Partial derivatives of an elementwise primitive, ``partial(y, *xs, **params)`` each.

    A partial that is everywhere the same is stated as a number (1 costs nothing); it is None for
    an operand that has no derivative (integers, masks).

    A primitive of one operand may also give `slope`: its partial evaluated with NumPy in one go,
    ``slope(y, x)``. It serves where 𝓑 is not recorded, and the registry test compares both.
    """

    def __init__(self, *partials: Partial, slope: Slopes | None = None) -> None:
        self.partials = partials
        self.slope = slope
        self.needs_values = any(callable(partial) for partial in partials)

    def pullback(
        self,
        y_bar: Variable,
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
        needed: Sequence[bool],
    ) -> Sequence[Contribution]:
        """Multiply the cotangent by each partial and undo broadcasting."""
        if len(xs) == 1:
            if self.slope is not None:
                product = evaluated(_product, (y_bar, y, xs[0]), self.slope)
                if product is not None:
                    return (product,)
            (partial,) = self.partials
            slope = partial(y, *xs, **params) if callable(partial) else partial
            return (None if slope is None else scaled(y_bar, slope),)
        contributions: list[Contribution] = []
        for place, partial in enumerate(self.partials):
            if not needed[place] or partial is None:
                contributions.append(None)
                continue
            slope = partial(y, *xs, **params) if callable(partial) else partial
            contributions.append(unbroadcast(scaled(y_bar, slope), xs[place].shape))
        return contributions

    def pushforward(
        self,
        primitive: Primitive,
        x_dots: Sequence[Variable | None],
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
    ) -> Variable | None:
        """Multiply each tangent by its partial and add."""
        del primitive
        total = add_all(
            [
                scaled(x_dot, partial(y, *xs, **params) if callable(partial) else partial)
                for partial, x_dot in zip(self.partials, x_dots, strict=True)
                if x_dot is not None and partial is not None
            ]
        )
        return None if total is None else broadcast(total, y.shape)


class Linear:
    """The transpose of a primitive that is jointly linear in its first `arity` operands.

    ``transpose(y_bar, xs, needed, **params)`` returns one contribution for each of these
    operands. The remaining operands (indices) have no derivative.
    """

    needs_values = False

    def __init__(
        self, transpose: Callable[..., Sequence[Contribution]], arity: int | None = 1
    ) -> None:
        self.transpose = transpose
        self.arity = arity

    def pullback(
        self,
        y_bar: Variable,
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
        needed: Sequence[bool],
    ) -> Sequence[Contribution]:
        """Apply the transpose."""
        del y
        contributions = self.transpose(y_bar, xs, needed, **params)
        return [*contributions, *[None] * (len(xs) - len(contributions))]

    def pushforward(
        self,
        primitive: Primitive,
        x_dots: Sequence[Variable | None],
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
    ) -> Variable | None:
        """Apply the primitive itself to the tangents."""
        del y
        arity = len(xs) if self.arity is None else self.arity
        if all(x_dot is None for x_dot in x_dots[:arity]):
            return None
        tangents = tuple(
            zeros_like(x) if x_dot is None else x_dot
            for x, x_dot in zip(xs[:arity], x_dots, strict=False)
        )
        return bind(primitive, tangents + xs[arity:], params)  # type: ignore[no-any-return]


class Multilinear:
    """One transpose for each operand, the others held fixed.

    They are called as ``transpose(y_bar, *xs, **params)``.
    """

    def __init__(self, *transposes: Callable[..., Variable]) -> None:
        self.transposes = transposes

    def pullback(
        self,
        y_bar: Variable,
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
        needed: Sequence[bool],
    ) -> Sequence[Contribution]:
        """Apply each transpose that is needed."""
        del y
        return [
            transpose(y_bar, *xs, **params) if needed[place] else None
            for place, transpose in enumerate(self.transposes)
        ]

    def pushforward(
        self,
        primitive: Primitive,
        x_dots: Sequence[Variable | None],
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
    ) -> Variable | None:
        """Add the primitive applied with one operand at a time replaced by its tangent."""
        del y
        return add_all(
            [
                bind(primitive, (*xs[:i], x_dot, *xs[i + 1 :]), params)
                for i, x_dot in enumerate(x_dots)
                if x_dot is not None
            ]
        )


class WeightedReduction:
    """A reduction over ``axes`` whose slopes are ``weights(y, x)``, an array of the shape of x.

    `y` is given ready to broadcast against `x`.
    """

    def __init__(self, weights: Callable[..., Variable]) -> None:
        self.weights = weights

    def _weights(self, y: Variable, x: Variable, params: Params) -> Variable:
        return self.weights(aligned(y, params["axes"], x.shape), x, **params)

    def pullback(
        self,
        y_bar: Variable,
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
        needed: Sequence[bool],
    ) -> Sequence[Contribution]:
        """Multiply the cotangent, which broadcasts along the reduced axes, by the weights."""
        del needed
        (x,) = xs
        bar = aligned(y_bar, params["axes"], x.shape)
        return [scaled(bar, self._weights(y, x, params))]

    def pushforward(
        self,
        primitive: Primitive,
        x_dots: Sequence[Variable | None],
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
    ) -> Variable | None:
        """Multiply the tangent by the weights and sum."""
        del primitive
        (x,), (x_dot,) = xs, x_dots
        if x_dot is None:
            return None
        product = scaled(x_dot, self._weights(y, x, params))
        return emit("sum", product, axes=params["axes"])  # type: ignore[no-any-return]


class Rules(NamedTuple):
    """A pullback and a pushforward stated each, with the signatures of `Derivative`."""

    pullback: Callable[..., Any]
    pushforward: Callable[..., Any]

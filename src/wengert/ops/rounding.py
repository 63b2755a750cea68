"""Division with a remainder, and rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array, DType
from wengert.graph.primitive import Kind, Nonsmooth, Primitive, Sample
from wengert.graph.variable import Variable
from wengert.ops import compare
from wengert.ops.arithmetic import absolute, divide, floor, negative
from wengert.ops.convert import VariableLike, apply_unary_float, counted
from wengert.ops.define import (
    binary_samples,
    define_binary,
    define_unary,
    magnitudes,
    nonzero,
    unary_samples,
)
from wengert.ops.derivatives import Partial
from wengert.ops.lowering import (
    Expression,
    Expressions,
    Kernels,
    Scalar,
    View,
    elementwise,
    function,
)


def _between_integers(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.integers(-9, 9, shape) + rng.uniform(0.2, 0.45, shape))


def _divisors(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.choice([-5.0, -2.0, -1.0, 1.0, 2.0, 5.0], shape))


def _division_samples(rng: np.random.Generator, dtype: DType) -> Iterable[Sample]:
    """Return dividends away from multiples of all divisors: there the quotient jumps."""
    scales = (1.0, 1e-6, 1e6) if dtype.kind == "f" else (1.0,)
    draws = [(magnitudes(_between_integers, (s,)), magnitudes(_divisors, (s,))) for s in scales]
    return chain.from_iterable(binary_samples(*pair)(rng, dtype) for pair in draws)


def _by_zero(name: str) -> str:
    return (
        f"{name}: an integer was divided by zero; divide floats for infinity or NaN, or replace "
        "the zeros with wg.where"
    )


def _dividing(name: str, ufunc: np.ufunc) -> Callable[[Array, Array], Any]:
    """Return the evaluation by `ufunc`, which gives 0 for an integer divided by zero."""

    def evaluate(x: Array, y: Array) -> Any:
        if y.dtype.kind != "f" and not y.all():
            raise ZeroDivisionError(_by_zero(name))
        return ufunc(x, y)

    return evaluate


def _at_multiple(z: Variable, x: Variable, y: Variable) -> Variable:
    """Tell whether `x` is a multiple of `y`, not 0, as far as rounding lets it be told."""
    del z
    quotient = divide(x, y)
    distance = absolute(quotient - round(quotient))
    rounding = 4.0 * float(np.spacing(x.dtype.type(1)))
    near = compare.less_equal(distance, absolute(quotient) * rounding)
    return compare.logical_and(near, compare.not_equal(y, 0.0))


def _integer_parts(e: Expressions, x: Scalar, y: Scalar) -> tuple[Scalar, Scalar]:
    """Return quotient and remainder toward zero; the processor traps where there is none."""
    traps = e.compare("==", y, 0)
    if y.dtype.kind == "i":  # the lowest number divided by -1
        traps = e.either(traps, e.compare("==", y, -1))
    divisor = e.where(traps, 1, y)
    quotient = e.div(x, divisor)
    rest = e.sub(x, e.mul(quotient, divisor))
    return e.where(e.compare("==", divisor, y), quotient, e.neg(quotient)), rest


def _correction(e: Expressions, rest: Scalar, y: Scalar) -> Scalar:
    """Return whether the remainder toward zero has not the sign of the divisor."""
    differ = e.differ(e.compare("<", rest, 0), e.compare("<", y, 0))
    return e.both(e.compare("!=", rest, 0), differ)


def _floor_divide(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    if x.dtype.kind != "f":
        quotient, rest = _integer_parts(e, x, y)
        return e.where(_correction(e, rest, y), e.sub(quotient, 1), quotient)
    rest = e.call("fmod", x, y)
    quotient = e.div(e.sub(x, rest), y)
    quotient = e.where(_correction(e, rest, y), e.sub(quotient, 1), quotient)
    whole = e.call("floor", quotient)
    whole = e.where(e.compare(">", e.sub(quotient, whole), 0.5), e.add(whole, 1), whole)
    plain = e.div(x, y)
    whole = e.where(e.compare("==", quotient, 0), e.mul(plain, 0.0), whole)  # with its sign
    return e.where(e.compare("==", y, 0), plain, whole)


def _remainder(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    if x.dtype.kind != "f":
        _, rest = _integer_parts(e, x, y)
        return e.where(_correction(e, rest, y), e.add(rest, y), rest)
    rest = e.call("fmod", x, y)
    moved = e.where(_correction(e, rest, y), e.add(rest, y), rest)
    zero = e.where(e.compare("<", y, 0), e.constant(-0.0, y.dtype), 0.0)
    return e.where(e.compare("==", rest, 0), zero, moved)


def _define_division(
    name: str,
    ufunc: np.ufunc,
    partials: tuple[Partial, Partial],
    notation: str,
    at_zero: Kind,
    expression: Expression,
) -> Primitive:
    """Define what jumps at multiples of the divisor; `at_zero` is what a divisor of 0 is."""

    def check(kernels: Kernels, x: View, y: View) -> None:
        del x
        if y.dtype.kind != "f":
            failure = _by_zero(name)
            kernels.require(y, ("!=", 0), failure=failure, error=ZeroDivisionError)

    return define_binary(
        name,
        _dividing(name, ufunc),
        partials,
        notation,
        _division_samples,
        nonsmooth=(
            Nonsmooth("jump", _at_multiple),
            Nonsmooth(at_zero, lambda z, x, y: compare.equal(y, 0.0)),
        ),
        kinds="iuf",
        lower=elementwise(expression, 20, check=check),
    )


floor_divide_p = _define_division(
    "floor_divide",
    np.floor_divide,
    (0, 0),
    r"\lfloor {0} / {1} \rfloor",
    "pole",
    _floor_divide,
)
remainder_p = _define_division(
    "remainder",
    np.remainder,
    (1, lambda z, x, y: negative(bind(floor_divide_p, (x, y)))),
    r"{0} \bmod {1}",
    "domain",
    _remainder,
)
round_p = define_unary(
    "round",
    np.rint,
    0,
    r"\operatorname{{round}}({0})",
    unary_samples(_between_integers, magnitudes(nonzero, (1e-8,)), magnitudes(_divisors, (1e6,))),
    nonsmooth=(Nonsmooth("jump", lambda y, x: compare.equal(absolute(x - floor(x)), 0.5)),),
    lower=function("rint", 1, units=0),
)


def floor_divide(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x // y``: the largest integer not above the quotient, element by element.

    Its derivative is 0.

    Parameters
    ----------
    x, y : Tensor or array_like
        Dividend and divisor. Bools count as int64.

    Returns
    -------
    Tensor
        Integers for integers; for floats a whole number as a float, and ``x / y`` where `y` is 0.

    Raises
    ------
    ZeroDivisionError
        If an integer is divided by zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.floor_divide(wg.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    return bind(floor_divide_p, counted(x, y))  # type: ignore[no-any-return]


def remainder(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x % y = x - (x // y) * y``, which has the sign of `y`, element by element.

    Its derivatives are 1 and ``-(x // y)``, at multiples of `y` too, where it jumps.

    Parameters
    ----------
    x, y : Tensor or array_like
        Dividend and divisor. Bools count as int64.

    Returns
    -------
    Tensor
        NaN where a float is divided by zero.

    Raises
    ------
    ZeroDivisionError
        If an integer is divided by zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.remainder(wg.tensor([7, -7]), 4)
    tensor([3, 1])
    """
    return bind(remainder_p, counted(x, y))  # type: ignore[no-any-return]


def round(x: VariableLike) -> Variable:
    """Return the nearest integer of each element, as a float; halves go to the even one.

    Its derivative is 0.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.round(wg.tensor([0.5, 1.5, -1.7]))
    tensor([ 0.,  2., -2.])
    """
    return apply_unary_float(round_p, x)


def ceil(x: VariableLike) -> Variable:
    """Return the smallest integer not below each element, as a float; its derivative is 0.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.ceil(wg.tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """
    return negative(floor(negative(x)))

"""Powers, and the points where their slopes are infinite or undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import FLOAT32, FLOAT64, INT64, Array, DType
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import Nonsmooth, Sample
from wengert.graph.variable import Variable
from wengert.ops import compare
from wengert.ops.arithmetic import cotangent_mul, floor, multiply
from wengert.ops.convert import VariableLike, as_variable, cast, counted
from wengert.ops.define import binary_samples, define_binary, magnitudes, normal, positive
from wengert.ops.exponential import log
from wengert.ops.lowering import (
    LIBRARY,
    Expressions,
    Inexact,
    Kernels,
    Scalar,
    View,
    elementwise,
)


def _pow_base_slope(z: Variable, x: Variable, y: Variable) -> Variable:
    return cotangent_mul(y, power(x, y - 1.0))


def _pow_exponent_slope(z: Variable, x: Variable, y: Variable) -> Variable:
    return cotangent_mul(z, log(x))


_NEGATIVE = "pow: integers to a negative power are not integers; cast the base to a float"


def _evaluate_pow(x: Array, y: Array) -> Any:
    if x.dtype.kind != "f" and np.any(y < 0):
        raise DTypeError(_NEGATIVE)
    z = np.power(x, y)
    root = y == 0.5  # noqa: PLR2004
    if not np.any(root):
        return z
    # NumPy takes square roots where one exponent is for many: they are no powers at -0 and -inf.
    z = np.where(root & (x == 0), z.dtype.type(0), z)
    return np.where(root & (x == -np.inf), z.dtype.type(np.inf), z)


def _pow_samples(rng: np.random.Generator, dtype: DType) -> Iterable[Sample]:
    exponent = normal if dtype.kind == "f" else positive
    return binary_samples(magnitudes(positive, (1e-6, 1.0, 1e6)), exponent)(rng, dtype)


def _outside_domain(z: Variable, x: Variable, y: Variable) -> Variable:
    del z
    return compare.logical_and(compare.less(x, 0.0), compare.not_equal(y, floor(y)))


def _at_pole(z: Variable, x: Variable, y: Variable) -> Variable:
    """Infinite slope in the base: at zero, for exponents below 1 other than 0."""
    del z
    steep = compare.logical_and(compare.less(y, 1.0), compare.not_equal(y, 0.0))
    return compare.logical_and(compare.equal(x, 0.0), steep)


def _pow(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    if x.dtype.kind == "f":
        return e.call("pow", x, y)
    result = e.constant(1, x.dtype)
    for bit in range(8 * x.dtype.itemsize):
        odd = e.compare("!=", e.both(y, e.constant(1 << bit, y.dtype)), 0)
        result = e.where(odd, e.mul(result, x), result)
        x = e.mul(x, x)
    return result


_LARGEST = 32
"""The largest power of float32 that is a product; the errors of float64 in it are too small to
matter."""


@lru_cache(maxsize=256)
def _known(exponent: float, dtype: DType) -> Callable[[Expressions, Scalar], Scalar] | None:
    """Return what makes a power of one exponent by multiplying, or by a square root, if it can.

    Products of up to three factors, and reciprocals of roots, are within 1.5 units of the exact
    power; longer products and their reciprocals are made in float64, and rounded to float32.
    """
    if exponent in _ROOTS:
        return _ROOTS[exponent]
    if dtype.kind != "f":
        return partial(_product, int(exponent)) if exponent >= 0 else None
    if exponent in {-1, 0, 1, 2, 3}:
        return partial(_product, int(exponent))
    whole = float(exponent).is_integer() and abs(exponent) <= _LARGEST
    return partial(_wide_product, int(exponent)) if whole and dtype == FLOAT32 else None


def _product(exponent: int, e: Expressions, x: Scalar) -> Scalar:
    """Multiply squares, squares of squares, …; return the reciprocal if the exponent is below 0."""
    factors, left, square = [], abs(exponent), x
    while left:
        if left & 1:
            factors.append(square)
        left >>= 1
        square = e.mul(square, square) if left else square
    result = reduce(e.mul, factors) if factors else e.constant(1, x.dtype)
    return e.div(1.0, result) if exponent < 0 else result


def _wide_product(exponent: int, e: Expressions, x: Scalar) -> Scalar:
    return e.cast(_product(exponent, e, e.cast(x, FLOAT64)), x.dtype)


def _root(e: Expressions, x: Scalar) -> Scalar:
    """Return the square root, but like other powers 0 at -0 and infinite at -inf."""
    root = e.sqrt(e.add(x, 0.0))
    return e.where(e.compare("==", x, -math.inf), math.inf, root)


def _reciprocal_root(e: Expressions, x: Scalar) -> Scalar:
    return e.div(1.0, _root(e, x))


_ROOTS = {0.5: _root, -0.5: _reciprocal_root}


def _check_exponents(kernels: Kernels, x: View, y: View) -> None:
    del x
    if y.dtype.kind == "i":
        kernels.require(y, (">=", 0), failure=_NEGATIVE, error=DTypeError)


_lower_any = elementwise(_pow, 20, LIBRARY, _check_exponents)


def _lower_pow(kernels: Kernels, x: View, y: View) -> Any:
    number = kernels.number(y)
    expression = None if number is None else _known(number, x.dtype)
    if expression is None:
        return _lower_any(kernels, x, y)
    (out,) = kernels.outputs
    return kernels.map(expression, x, shape=out.shape, dtype=out.dtype, cost=6)


pow_p = define_binary(
    "pow",
    _evaluate_pow,
    (_pow_base_slope, _pow_exponent_slope),
    "{{{0}}}^{{{1}}}",
    _pow_samples,
    nonsmooth=(
        Nonsmooth("domain", _outside_domain),
        Nonsmooth("pole", _at_pole),
    ),
    kinds="iuf",
    lower=Inexact(_lower_pow, LIBRARY),
)


def power(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x ** y``, element by element.

    Integers to integers are integers, and so are bools, which count as int64.

    Raises
    ------
    DTypeError
        If an integer is raised to a negative integer.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.pow(wg.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    if type(y) is int and (y == 2 or y < 0):  # noqa: PLR2004
        x = x if isinstance(x, Variable) else as_variable(x)
        x = cast(x, INT64) if x.dtype.kind == "b" else x
        if y == 2:  # noqa: PLR2004
            return multiply(x, x)
        if x.dtype.kind != "f":
            raise DTypeError(_NEGATIVE)
    return bind(pow_p, counted(x, y))  # type: ignore[no-any-return]


def square(x: VariableLike) -> Variable:
    """Return ``x * x``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.square(wg.tensor([1.0, -3.0]))
    tensor([1., 9.])
    """
    return power(x, 2)

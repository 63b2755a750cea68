"""Exponentials, logarithms, roots, and the functions built from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.graph.dtypes import Array
from wengert.graph.primitive import Nonsmooth
from wengert.graph.variable import Variable
from wengert.ops import compare, special
from wengert.ops.convert import VariableLike, apply_unary_float, constant
from wengert.ops.define import define_unary, magnitudes, nonzero, normal, positive, unary_samples
from wengert.ops.lowering import LIBRARY, elementwise, function

_TINY = magnitudes(nonzero, (1e-12, 1e-6))
_LARGE = magnitudes(nonzero, (10.0, 40.0))
_HUGE = magnitudes(nonzero, (1e3, 1e8))
_SPREAD = magnitudes(positive, (1e-9, 1.0, 1e9))
_NEGATIVE = Nonsmooth("domain", lambda y, x: compare.less(x, 0.0))
_AT_ZERO = Nonsmooth("pole", lambda y, x: compare.equal(x, 0.0))


def _inside(x: Variable, bound: float, slope: Variable) -> Variable:
    """Return `slope`, but NaN below `bound`: outside its domain a function has none."""
    nan = constant(math.nan, x.dtype)
    return compare.where(compare.less(x, bound), nan, slope)


def _log_slope(y: Variable, x: Variable) -> Variable:
    return _inside(x, 0.0, 1 / x)


def _log1p_slope(y: Variable, x: Variable) -> Variable:
    return _inside(x, -1.0, 1 / (1 + x))


exp_p = define_unary(
    "exp",
    np.exp,
    lambda y, x: y,
    "e^{{{0}}}",
    unary_samples(normal, _TINY, _LARGE),
    lower=function("exp"),
)
expm1_p = define_unary(
    "expm1",
    np.expm1,
    lambda y, x: exp(x),
    "e^{{{0}}} - 1",
    unary_samples(normal, _TINY, _LARGE),
    lower=function("expm1"),
)
log_p = define_unary(
    "log",
    np.log,
    _log_slope,
    r"\log {0}",
    unary_samples(positive, _SPREAD),
    nonsmooth=(_NEGATIVE, _AT_ZERO),
    lower=function("log"),
)
log1p_p = define_unary(
    "log1p",
    np.log1p,
    _log1p_slope,
    r"\log(1 + {0})",
    unary_samples(positive, _SPREAD, _TINY),
    nonsmooth=(
        Nonsmooth("domain", lambda y, x: compare.less(x, -1.0)),
        Nonsmooth("pole", lambda y, x: compare.equal(x, -1.0)),
    ),
    lower=function("log1p"),
)
sqrt_p = define_unary(
    "sqrt",
    np.sqrt,
    lambda y, x: 0.5 / y,
    r"\sqrt{{{0}}}",
    unary_samples(positive, _SPREAD),
    nonsmooth=(_NEGATIVE, _AT_ZERO),
    lower=elementwise(lambda e, x: e.sqrt(x)),
)
sin_p = define_unary(
    "sin",
    np.sin,
    lambda y, x: cos(x),
    r"\sin {0}",
    unary_samples(normal, _TINY, _LARGE),
    lower=function("sin"),
)
cos_p = define_unary(
    "cos",
    np.cos,
    lambda y, x: -sin(x),
    r"\cos {0}",
    unary_samples(normal, _TINY, _LARGE),
    lower=function("cos"),
)


def _tanh_slope(y: Any, x: Any) -> Any:
    return 1 - y * y


tanh_p = define_unary(
    "tanh",
    np.tanh,
    _tanh_slope,
    r"\tanh {0}",
    unary_samples(normal, _TINY, _LARGE, _HUGE),
    slope=_tanh_slope,
    lower=function("tanh"),
)


def _evaluate_sigmoid(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def _sigmoid_slope(y: Any, x: Any) -> Any:
    return y * (1 - y)


sigmoid_p = define_unary(
    "sigmoid",
    _evaluate_sigmoid,
    _sigmoid_slope,
    r"\sigma({0})",
    unary_samples(normal, _TINY, _LARGE, _HUGE),
    slope=_sigmoid_slope,
    lower=function("sigmoid", units=2 * LIBRARY),
)


erf_p = define_unary(
    "erf",
    special.erf,
    lambda y, x: (2 / math.sqrt(math.pi)) * exp(-(x * x)),
    r"\operatorname{{erf}}({0})",
    unary_samples(normal, _TINY, magnitudes(nonzero, (3.0,)), _HUGE),
    lower=function("erf"),
)


def exp(x: VariableLike) -> Variable:
    """Return e to the power of each element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.exp(wg.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return apply_unary_float(exp_p, x)


def expm1(x: VariableLike) -> Variable:
    """Return ``exp(x) - 1`` without losing digits near zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.expm1(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    return apply_unary_float(expm1_p, x)


def log(x: VariableLike) -> Variable:
    """Return the natural logarithm; NaN below zero, minus infinity at zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.log(wg.tensor([1.0, 2.0]))
    tensor([0.0000, 0.6931])
    """
    return apply_unary_float(log_p, x)


def log1p(x: VariableLike) -> Variable:
    """Return ``log(1 + x)`` without losing digits near zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.log1p(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return apply_unary_float(log1p_p, x)


def sqrt(x: VariableLike) -> Variable:
    """Return the square root; NaN below zero, infinite slope at zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sqrt(wg.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return apply_unary_float(sqrt_p, x)


def sin(x: VariableLike) -> Variable:
    """Return the sine of each element, in radians.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sin(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return apply_unary_float(sin_p, x)


def cos(x: VariableLike) -> Variable:
    """Return the cosine of each element, in radians.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.cos(wg.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return apply_unary_float(cos_p, x)


def tanh(x: VariableLike) -> Variable:
    """Return the hyperbolic tangent; its derivative is taken from its own output, 1 - y².

    Examples
    --------
    >>> import wengert as wg
    >>> wg.tanh(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return apply_unary_float(tanh_p, x)


def sigmoid(x: VariableLike) -> Variable:
    """Return the logistic function; its derivative is taken from its own output, y (1 - y).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sigmoid(wg.tensor([0.0, 1.0]))
    tensor([0.5000, 0.7311])
    """
    return apply_unary_float(sigmoid_p, x)


def erf(x: VariableLike) -> Variable:
    """Return the error function of each element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.erf(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return apply_unary_float(erf_p, x)

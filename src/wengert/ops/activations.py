"""Activation functions beyond `relu`, `tanh` and `sigmoid`, and the stable softmax pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.primitive import (
    ELEMENTWISE,
    Contribution,
    Nonsmooth,
    Params,
    Primitive,
    Sample,
    register,
)
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare, lower_reductions
from wengert.ops.arithmetic import cotangent_mul
from wengert.ops.batching import batch_by_axes, batch_elementwise
from wengert.ops.convert import VariableLike, as_variable, floating, promoted
from wengert.ops.define import (
    binary_samples,
    define_binary,
    define_unary,
    magnitudes,
    nonzero,
    normal,
    strided,
    unary_samples,
)
from wengert.ops.derivatives import Elementwise, Rules, aligned, emit
from wengert.ops.exponential import erf, exp, sigmoid, tanh
from wengert.ops.lower_reductions import greater_of
from wengert.ops.lowering import LIBRARY, Expressions, Inexact, Scalar, elementwise
from wengert.ops.shapes import Shape, need_float, normalize_axes

Axes = tuple[int, ...]

_TINY = magnitudes(nonzero, (1e-12, 1e-6))
_LARGE = magnitudes(nonzero, (10.0, 40.0))
_SOFTMAX_CASES: tuple[tuple[Shape, Axes], ...] = (
    ((4,), (0,)),
    ((2, 3), (1,)),
    ((2, 3), (0, 1)),
    ((2, 2, 3), (1,)),
    ((), ()),
    ((0, 3), (0,)),
    ((0, 3), (1,)),
)


def _shifted(x: Array, axes: Axes) -> Array:
    """Return `x` minus its maximum, so that no exponential overflows."""
    top = np.maximum.reduce(x, axis=axes, keepdims=True, initial=-np.inf)
    return np.asarray(x - np.where(np.isfinite(top), top, x.dtype.type(0)))


def evaluate_softmax(x: Array, axes: Axes) -> Any:
    """Evaluate the softmax with NumPy."""
    e = np.exp(_shifted(x, axes))
    return e / np.add.reduce(e, axis=axes, keepdims=True)


def _evaluate_log_softmax(x: Array, axes: Axes) -> Any:
    shifted = _shifted(x, axes)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=axes, keepdims=True))


def _total(x: Variable, axes: Axes) -> Variable:
    """Return the sums over `axes`, ready to broadcast against `x`."""
    return aligned(emit("sum", x, axes=axes), axes, x.shape)


def pull_softmax(y_bar: Variable, y: Variable, axes: Axes) -> Variable:
    """Return the Jacobian of the softmax, whose output is `y`, times `y_bar`."""
    weighted = cotangent_mul(y_bar, y)
    return weighted - y * _total(weighted, axes)


def _pull_log_softmax(y_bar: Variable, y: Variable, axes: Axes) -> Variable:
    return y_bar - exp(y) * _total(y_bar, axes)


def _push_log_softmax(x_dot: Variable, y: Variable, axes: Axes) -> Variable:
    return x_dot - _total(cotangent_mul(x_dot, exp(y)), axes)


def _jacobian_rules(pull: Callable[..., Variable], push: Callable[..., Variable]) -> Rules:
    def pullback(
        y_bar: Variable,
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
        needed: Sequence[bool],
    ) -> Sequence[Contribution]:
        del xs, needed
        return [pull(y_bar, y, params["axes"])]

    def pushforward(
        primitive: Primitive,
        x_dots: Sequence[Variable | None],
        y: Variable,
        xs: tuple[Variable, ...],
        params: Params,
    ) -> Variable | None:
        del primitive, xs
        return None if x_dots[0] is None else push(x_dots[0], y, params["axes"])

    return Rules(pullback, pushforward)


def _softmax_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, axes in _SOFTMAX_CASES:
        yield Sample((normal(rng, shape).astype(dtype),), {"axes": axes})
    for scale in (1e-6, 30.0):
        x = (scale * normal(rng, (3, 4))).astype(dtype)
        yield Sample((strided(x),), {"axes": (1,)})


def _define_softmax(
    name: str,
    evaluate: Callable[..., Any],
    rules: Rules,
    notation: str,
    lower: Callable[..., Any],
) -> Primitive:
    def infer(x: Aval, axes: Axes) -> Aval:
        del axes
        need_float(name, x)
        return Aval(x.shape, x.dtype)

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=evaluate,
            derivative=rules,
            batch=batch_by_axes,
            samples=_softmax_samples,
            lower=lower,
        )
    )


softmax_p = _define_softmax(
    "softmax",
    evaluate_softmax,
    _jacobian_rules(pull_softmax, pull_softmax),
    r"\operatorname{{softmax}}({0})",
    Inexact(lower_reductions.softmax, units=20),  # a quotient of sums of exponentials
)
log_softmax_p = _define_softmax(
    "log_softmax",
    _evaluate_log_softmax,
    _jacobian_rules(_pull_log_softmax, _push_log_softmax),
    r"\log \operatorname{{softmax}}({0})",
    Inexact(lower_reductions.log_softmax, normwise=16),
)


def _logaddexp(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    """Return the sum of the greater and of the logarithm of 1 + exp(-distance)."""
    top = greater_of(e, x, y)
    distance = e.neg(e.absolute(e.sub(x, y)))
    apart = e.add(top, e.call("log1p", e.call("exp", distance)))
    return e.where(e.compare("==", x, y), e.add(x, math.log(2.0)), apart)


softplus_p = define_unary(
    "softplus",
    lambda x: np.logaddexp(x, x.dtype.type(0)),
    lambda y, x: sigmoid(x),
    r"\log(1 + e^{{{0}}})",
    unary_samples(normal, _TINY, _LARGE),
    lower=elementwise(lambda e, x: _logaddexp(e, x, e.constant(0, x.dtype)), 20, 2 * LIBRARY),
)
logaddexp_p = define_binary(
    "logaddexp",
    np.logaddexp,
    (lambda z, x, y: sigmoid(x - y), lambda z, x, y: sigmoid(y - x)),
    r"\log(e^{{{0}}} + e^{{{1}}})",
    binary_samples(magnitudes(normal, (1e-8, 1.0)), _LARGE),
    kinds="f",
    lower=Inexact(elementwise(_logaddexp, 20), normwise=16),
)


def _define_bent(
    name: str,
    parameter: str,
    evaluate: Callable[..., Any],
    slope_below: Callable[[Variable, float], Variable],
    notation: str,
    lower: Callable[..., Any],
) -> Primitive:
    """Define a function that is x above 0 and something else below.

    Its one parameter is the slope that it has on approaching 0 from below.
    """

    def infer(x: Aval, **params: float) -> Aval:
        del params
        need_float(name, x)
        return Aval(x.shape, x.dtype)

    def partial(y: Variable, x: Variable, **params: float) -> Variable:
        del y
        slope = params[parameter]
        # At 0, the smaller of the two slopes.
        above = compare.greater(x, 0.0) if slope <= 1 else compare.greater_equal(x, 0.0)
        one = as_variable(1.0, x.dtype)
        return emit("where", above, one, slope_below(x, slope))  # type: ignore[no-any-return]

    def hits(y: Variable, x: Variable, **params: float) -> Variable:
        del y
        at_zero = compare.equal(x, 0.0)
        return compare.logical_and(at_zero, False) if params[parameter] == 1 else at_zero

    def slopes(**params: float) -> tuple[tuple[float, float]]:
        return ((min(params[parameter], 1.0), max(params[parameter], 1.0)),)

    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
        for value in (0.1, 1.5):
            for sample in unary_samples(nonzero, _TINY, _LARGE)(rng, dtype):
                yield Sample(sample.inputs, {parameter: value})

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=evaluate,
            derivative=Elementwise(partial),
            batch=batch_elementwise,
            samples=samples,
            nonsmooth=(Nonsmooth("kink", hits, slopes),),
            lower=lower,
            laws=ELEMENTWISE,
        )
    )


def _evaluate_leaky_relu(x: Array, slope: float) -> Any:
    return np.where(x > 0, x, x * x.dtype.type(slope))


def _evaluate_elu(x: Array, alpha: float) -> Any:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)) * x.dtype.type(alpha))


leaky_relu_p = _define_bent(
    "leaky_relu",
    "slope",
    _evaluate_leaky_relu,
    lambda x, slope: as_variable(slope, x.dtype),
    r"\operatorname{{leaky\_relu}}({0})",
    elementwise(lambda e, x, slope: e.where(e.compare(">", x, 0), x, e.mul(x, slope))),
)


def _elu(e: Expressions, x: Scalar, alpha: float) -> Scalar:
    negative = e.where(e.compare("<", x, 0), x, 0)
    below = e.mul(e.call("expm1", e.where(e.is_nan(x), x, negative)), alpha)
    return e.where(e.compare(">", x, 0), x, below)


elu_p = _define_bent(
    "elu",
    "alpha",
    _evaluate_elu,
    lambda x, alpha: alpha * exp(x),
    r"\operatorname{{elu}}({0})",
    elementwise(_elu, 10, 2 * LIBRARY),
)


def softmax(x: VariableLike, axis: int | Sequence[int] = -1) -> Variable:
    """Return exponentials divided by their sum over `axis`: positive numbers that sum to 1.

    Parameters
    ----------
    x : Tensor or array_like
        Unnormalised log probabilities.
    axis : int or sequence of int
        The axes that the probabilities sum to 1 over.

    Notes
    -----
    ``y = exp(x - max(x)) / sum(exp(x - max(x)))``; pullback
    ``x_bar = y * (y_bar - sum(y_bar * y))``.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.softmax(wg.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """
    x = floating(x)
    return bind(softmax_p, (x,), {"axes": normalize_axes("softmax", axis, x.ndim)})  # type: ignore[no-any-return]


def log_softmax(x: VariableLike, axis: int | Sequence[int] = -1) -> Variable:
    """Return the logarithm of `softmax`, without losing small probabilities.

    Parameters
    ----------
    x : Tensor or array_like
        Unnormalised log probabilities.
    axis : int or sequence of int
        The axes that the probabilities sum to 1 over.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.log_softmax(wg.tensor([0.0, 0.0]))
    tensor([-0.6931, -0.6931])
    """
    x = floating(x)
    return bind(log_softmax_p, (x,), {"axes": normalize_axes("log_softmax", axis, x.ndim)})  # type: ignore[no-any-return]


def softplus(x: VariableLike) -> Variable:
    """Return ``log(1 + exp(x))``, a smooth `relu`, without overflow.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.softplus(wg.tensor([0.0, 1000.0]))
    tensor([6.9315e-01, 1.0000e+03])
    """
    return bind(softplus_p, (floating(x),))  # type: ignore[no-any-return]


def logaddexp(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``log(exp(x) + exp(y))``, element by element, without overflow.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.logaddexp(wg.tensor([0.0]), wg.tensor([0.0]))
    tensor([0.6931])
    """
    x, y = promoted(x, y)
    return bind(logaddexp_p, (floating(x), floating(y)))  # type: ignore[no-any-return]


def silu(x: VariableLike) -> Variable:
    """Return ``x * sigmoid(x)``, also known as swish.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.silu(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7311])
    """
    x = floating(x)
    return x * sigmoid(x)


def gelu(x: VariableLike, approximate: str = "none") -> Variable:
    """Return `x` times the probability that a standard normal number is smaller.

    Parameters
    ----------
    x : Tensor or array_like
        The argument.
    approximate : {"none", "tanh"}
        ``"none"``: exact, ``x (1 + erf(x / sqrt 2)) / 2``; ``"tanh"``: the approximation
        ``x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2``.

    Raises
    ------
    ValueError
        If `approximate` is something else.

    References
    ----------
    Hendrycks & Gimpel (2016), Gaussian error linear units, arXiv:1606.08415.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.gelu(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8413])
    """
    x = floating(x)
    if approximate == "none":
        return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        inner = x * (1 + 0.044715 * (x * x))
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * inner))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}.")


def leaky_relu(x: VariableLike, negative_slope: float = 0.01) -> Variable:
    """Return `x` where positive and ``negative_slope * x`` elsewhere.

    At 0, a kink, the derivative returned is the smaller of the two slopes.

    Parameters
    ----------
    x : Tensor or array_like
        The argument.
    negative_slope : float
        The slope below 0.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.leaky_relu(wg.tensor([3.0, -2.0]), 0.5)
    tensor([ 3., -1.])
    """
    return bind(leaky_relu_p, (floating(x),), {"slope": float(negative_slope)})  # type: ignore[no-any-return]


def elu(x: VariableLike, alpha: float = 1.0) -> Variable:
    """Return `x` where positive and ``alpha * (exp(x) - 1)`` elsewhere.

    If `alpha` is 1 the slope is continuous. If not, 0 is a kink: the derivative returned there is
    the smaller of the two slopes.

    Parameters
    ----------
    x : Tensor or array_like
        The argument.
    alpha : float
        Minus the limit at minus infinity.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.elu(wg.tensor([3.0, -1.0]))
    tensor([ 3.0000, -0.6321])
    """
    return bind(elu_p, (floating(x),), {"alpha": float(alpha)})  # type: ignore[no-any-return]

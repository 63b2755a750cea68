"""Arithmetic: sums, products, quotients, powers, signs, maxima, and the strong-zero product."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array, default_float
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import Nonsmooth, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable, operators
from wengert.ops import compare
from wengert.ops.batching import batch_elementwise
from wengert.ops.convert import (
    VariableLike,
    apply_binary,
    apply_unary_float,
    as_variable, cast,
    promoted,
)
from wengert.ops.define import (
    binary_samples,
    define_binary,
    define_unary,
    magnitudes,
    nonzero,
    normal,
    positive,
    unary_samples,
)
from wengert.ops.derivatives import Elementwise
from wengert.ops.shapes import broadcast_shapes, need_float, same_dtype

_ANY = magnitudes(normal, (1e-8, 1.0, 1e8))


def _add_inplace(buffer: Array, y: Array) -> Array:
    return np.add(buffer, y, out=buffer)  # type: ignore[no-any-return]


add_p = define_binary(
    "add",
    np.add,
    (1, 1),
    "{0} + {1}",
    binary_samples(_ANY, _ANY),
    inplace=_add_inplace,
)
sub_p = define_binary(
    "sub", np.subtract, (1, -1), "{0} - {1}", binary_samples(_ANY, _ANY), kinds="iuf"
)
mul_p = define_binary(
    "mul",
    np.multiply,
    (lambda z, x, y: y, lambda z, x, y: x),
    r"{0} \odot {1}",
    binary_samples(_ANY, _ANY),
)
div_p = define_binary(
    "div",
    np.divide,
    (lambda z, x, y: 1 / y, lambda z, x, y: -(z / y)),
    r"{0} / {1}",
    binary_samples(normal, magnitudes(nonzero, (1e-4, 1.0, 1e4))),
    nonsmooth=(Nonsmooth("pole", lambda z, x, y: compare.equal(y, 0.0)),),
    kinds="f",
)
neg_p = define_unary("neg", np.negative, -1, "-{0}", unary_samples(_ANY), only_float=False)
abs_p = define_unary(
    "abs",
    np.abs,
    lambda y, x: sign(x),
    r"|{0}|",
    unary_samples(nonzero, magnitudes(nonzero, (1e-8, 1e8))),
    nonsmooth=(Nonsmooth("kink", lambda y, x: compare.equal(x, 0.0), ((-1.0, 1.0),)),),
    only_float=False,
)
sign_p = define_unary(
    "sign",
    np.sign,
    0,
    r"\operatorname{{sign}}({0})",
    unary_samples(nonzero, magnitudes(nonzero, (1e-8, 1e8))),
    nonsmooth=(Nonsmooth("jump", lambda y, x: compare.equal(x, 0.0)),),
    only_float=False,
)
relu_p = define_unary(
    "relu",
    lambda x: np.maximum(x, _ZERO[x.dtype.char]),
    lambda y, x: compare.greater(x, 0.0),
    r"\max(0, {0})",
    unary_samples(nonzero, magnitudes(nonzero, (1e-8, 1e8))),
    nonsmooth=(Nonsmooth("kink", lambda y, x: compare.equal(x, 0.0), ((0.0, 1.0),)),),
)


_ZERO = {char: np.zeros((), char) for char in "fd"}


def _pow_base_slope(z: Variable, x: Variable, y: Variable) -> Variable:
    return cotangent_mul(y, power(x, y - 1.0))


def _pow_exponent_slope(z: Variable, x: Variable, y: Variable) -> Variable:
    from wengert.ops.exponential import log

    return cotangent_mul(z, log(x))


def _evaluate_pow(x: Array, y: Array) -> Any:
    return np.power(x, y)


pow_p = define_binary(
    "pow",
    _evaluate_pow,
    (_pow_base_slope, _pow_exponent_slope),
    "{{{0}}}^{{{1}}}",
    binary_samples(magnitudes(positive, (1e-6, 1.0, 1e6)), normal),
    nonsmooth=(
        Nonsmooth("domain", lambda z, x, y: compare.less(x, 0.0)),
        Nonsmooth(
            "pole",
            lambda z, x, y: compare.logical_and(compare.equal(x, 0.0), compare.less(y, 1.0)),
        ),
    ),
    kinds="iuf",
)


def _tie_slopes(wins: Any) -> tuple[Any, Any]:
    """Return the partials of a maximum or minimum; at a tie each varied operand gets `tie`."""

    def slope(mine: Variable, other: Variable, tie: float) -> Variable:
        win = wins(mine, other)
        if tie == 0:
            return win  # type: ignore[no-any-return]
        even = cast(compare.equal(mine, other), mine.dtype)
        return cast(win, mine.dtype) + tie * even

    return (lambda z, x, y, tie: slope(x, y, tie)), (lambda z, x, y, tie: slope(y, x, tie))


def _define_extremum(name: str, ufunc: Any, wins: Any, notation: str) -> Primitive:
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
        )
    )


maximum_p = _define_extremum("maximum", np.maximum, compare.greater, r"\max({0}, {1})")
minimum_p = _define_extremum("minimum", np.minimum, compare.less, r"\min({0}, {1})")


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
    )
)


def _evaluate_cotangent_mul(cotangent: Array, slope: Array) -> Any:
    product = np.multiply(cotangent, slope)
    check = np.vdot(product, product)
    if check != check:  # noqa: PLR0124  (a NaN; `numpy.isnan` costs five times as much)
        zero = cotangent.dtype.type(0)
        if slope.dtype == np.bool_:
            return np.where(slope, cotangent, zero)
        return np.where(cotangent == 0, zero, product)
    return product


def _infer_cotangent_mul(cotangent: Aval, slope: Aval) -> Aval:
    if slope.dtype.kind != "b":
        same_dtype("cotangent_mul", cotangent, slope)
    return Aval(broadcast_shapes("cotangent_mul", cotangent.shape, slope.shape), cotangent.dtype)


cotangent_mul_p = register(
    Primitive(
        name="cotangent_mul",
        notation=r"{0} \odot {1}",
        infer=_infer_cotangent_mul,
        evaluate=_evaluate_cotangent_mul,
        derivative=Elementwise(lambda z, x, y: y, lambda z, x, y: x),
        batch=batch_elementwise,
        samples=binary_samples(_ANY, _ANY),
    )
)


def cotangent_mul(cotangent: Variable, slope: Variable) -> Variable:
    """Return the product of a cotangent and a slope: zero where the cotangent is zero.

    The zero is strong: it holds whatever the slope is, infinite and NaN included, so that the
    branch that `where` did not take never poisons a gradient. A boolean slope selects.
    """
    return bind(cotangent_mul_p, (cotangent, slope))  # type: ignore[no-any-return]


def add(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x + y``, element by element.

    Parameters
    ----------
    x, y : Tensor or array_like
        Operands of shapes that broadcast.

    Returns
    -------
    Tensor
        The sum, of the broadcast shape and the promoted dtype.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.add(wg.tensor([1.0, 2.0]), 3)
    tensor([4., 5.])
    """
    return apply_binary(add_p, x, y)


def subtract(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x - y``, element by element.

    Raises
    ------
    DTypeError
        If both operands are bool.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.subtract(wg.tensor([1.0, 2.0]), 3)
    tensor([-2., -1.])
    """
    return apply_binary(sub_p, x, y)


def multiply(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x * y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.multiply(wg.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    return apply_binary(mul_p, x, y)


def divide(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x / y``, element by element; integers give the default float.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.divide(wg.tensor([1.0, 2.0]), 4)
    tensor([0.2500, 0.5000])
    """
    try:
        if x.value.dtype is y.value.dtype and x.value.dtype.kind == "f":  # type: ignore[union-attr]
            return bind(div_p, (x, y))  # type: ignore[no-any-return, arg-type]
    except AttributeError:
        pass
    x, y = promoted(x, y)
    if x.dtype.kind != "f":
        x, y = cast(x, default_float()), cast(y, default_float())
    return bind(div_p, (x, y))  # type: ignore[no-any-return]


def negative(x: VariableLike) -> Variable:
    """Return ``-x``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.negative(wg.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return bind(neg_p, (as_variable(x),))  # type: ignore[no-any-return]


def absolute(x: VariableLike) -> Variable:
    """Return the absolute value, element by element.

    At 0, a kink, the derivative returned is 0, the subgradient of least norm.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.abs(wg.tensor([1.0, -2.0]))
    tensor([1., 2.])
    """
    return bind(abs_p, (as_variable(x),))  # type: ignore[no-any-return]


def sign(x: VariableLike) -> Variable:
    """Return -1, 0 or 1 as the sign of each element; its derivative is 0.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sign(wg.tensor([3.0, 0.0, -2.0]))
    tensor([ 1.,  0., -1.])
    """
    return bind(sign_p, (as_variable(x),))  # type: ignore[no-any-return]


def relu(x: VariableLike) -> Variable:
    """Return ``max(0, x)``, element by element.

    At 0, a kink, the derivative returned is 0, the subgradient of least norm.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.relu(wg.tensor([3.0, -2.0]))
    tensor([3., 0.])
    """
    return apply_unary_float(relu_p, x)


def power(x: VariableLike, y: VariableLike) -> Variable:
    """Return ``x ** y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.pow(wg.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    if isinstance(y, int) and y == 2 and not isinstance(y, bool):  # noqa: PLR2004
        x = as_variable(x)
        return multiply(x, x)
    x, y = promoted(x, y)
    if x.dtype.kind in "iu" and y.value is not None and np.any(y.value < 0):
        raise DTypeError(
            "pow: integers to a negative power are not integers; cast the base to a float"
        )
    return bind(pow_p, (x, y))  # type: ignore[no-any-return]


def _is_constant(x: VariableLike) -> bool:
    return not isinstance(x, Variable) or (x.value is not None and not x.requires_grad)


def _extremum(primitive: Primitive, x: VariableLike, y: VariableLike) -> Variable:
    tie = 0.0 if _is_constant(x) or _is_constant(y) else 0.5
    return bind(primitive, promoted(x, y), {"tie": tie})  # type: ignore[no-any-return]


def maximum(x: VariableLike, y: VariableLike) -> Variable:
    """Return the larger of `x` and `y`, element by element.

    At a tie the derivative is split evenly; against a constant it is 0, the subgradient of least
    norm, as for `relu`.

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
    max: VariableLike | None = None,  # noqa: A002
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
    numbers = all(bound is None or isinstance(bound, int | float) for bound in (min, max))
    if numbers and x.dtype.kind == "f":
        bounds = {"lower": min, "upper": max}
        return bind(clip_p, (x,), bounds)  # type: ignore[no-any-return]
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)


operators.update(add=add, sub=subtract, mul=multiply, div=divide, neg=negative)

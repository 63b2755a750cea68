"""Arithmetic: sums, products, quotients, powers, signs, maxima, and the strong-zero product."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array, default_float
from wengert.graph.primitive import (
    ELEMENTWISE,
    Contribution,
    Nonsmooth,
    Params,
    Primitive,
    register,
)
from wengert.graph.variable import Aval, Variable, operators
from wengert.ops import compare
from wengert.ops.batching import batch_elementwise
from wengert.ops.convert import (
    VariableLike,
    apply_binary,
    apply_unary_float,
    as_variable,
    cast,
    constant,
    promoted,
)
from wengert.ops.define import (
    binary_samples,
    define_binary,
    define_unary,
    magnitudes,
    nonzero,
    normal,
    unary_samples,
)
from wengert.ops.derivatives import Rules, add_all, broadcast, unbroadcast
from wengert.ops.evaluation import has_nan
from wengert.ops.lowering import Expressions, Scalar, elementwise, function
from wengert.ops.shapes import broadcast_shapes, same_dtype

_ANY = magnitudes(normal, (1e-8, 1.0, 1e8))


_ZERO: dict[str, Array] = {char: np.zeros((), char) for char in "fd"}
_SMALL, _LARGE, _LONG = 1 << 10, 1 << 18, 1 << 6


def _away_from_integers(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.integers(-5, 5, shape) + rng.uniform(0.2, 0.8, shape))


def _huge(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 1e6 * _away_from_integers(rng, shape) + 0.5


def _sign(e: Expressions, x: Scalar) -> Scalar:
    """Return the sign; NaN is its own, and both zeros have the sign +0."""
    negative = e.where(e.compare("<", x, 0), -1, e.where(e.compare("==", x, 0), 0, x))
    return e.where(e.compare(">", x, 0), 1, negative)


def _add_inplace(buffer: Array, y: Array) -> Array:
    return np.add(buffer, y, out=buffer)


add_p = define_binary(
    "add",
    np.add,
    (1, 1),
    "{0} + {1}",
    binary_samples(_ANY, _ANY),
    inplace=_add_inplace,
    lower=elementwise(lambda e, x, y: e.add(x, y)),
    laws=ELEMENTWISE._replace(commutative=True, neutral=(-0.0, -0.0)),
)
sub_p = define_binary(
    "sub",
    np.subtract,
    (1, -1),
    "{0} - {1}",
    binary_samples(_ANY, _ANY),
    kinds="iuf",
    lower=elementwise(lambda e, x, y: e.sub(x, y)),
    laws=ELEMENTWISE._replace(neutral=(None, 0.0)),
)
mul_p = define_binary(
    "mul",
    np.multiply,
    (lambda z, x, y: y, lambda z, x, y: x),
    r"{0} \odot {1}",
    binary_samples(_ANY, _ANY),
    lower=elementwise(lambda e, x, y: e.mul(x, y)),
    laws=ELEMENTWISE._replace(commutative=True, neutral=(1, 1)),
)
div_p = define_binary(
    "div",
    np.divide,
    (lambda z, x, y: 1 / y, lambda z, x, y: -(z / y)),
    r"{0} / {1}",
    binary_samples(normal, magnitudes(nonzero, (1e-4, 1.0, 1e4))),
    nonsmooth=(Nonsmooth("pole", lambda z, x, y: compare.equal(y, 0.0)),),
    kinds="f",
    lower=elementwise(lambda e, x, y: e.div(x, y)),
    laws=ELEMENTWISE._replace(neutral=(None, 1)),
)
neg_p = define_unary(
    "neg",
    np.negative,
    -1,
    "-{0}",
    unary_samples(_ANY),
    only_float=False,
    lower=elementwise(lambda e, x: e.neg(x)),
    laws=ELEMENTWISE._replace(self_inverse=True),
)
abs_p = define_unary(
    "abs",
    np.abs,
    lambda y, x: sign(x),
    r"|{0}|",
    unary_samples(nonzero, magnitudes(nonzero, (1e-8, 1e8))),
    nonsmooth=(Nonsmooth("kink", lambda y, x: compare.equal(x, 0.0), ((-1.0, 1.0),)),),
    only_float=False,
    lower=elementwise(lambda e, x: e.absolute(x)),
)
sign_p = define_unary(
    "sign",
    np.sign,
    0,
    r"\operatorname{{sign}}({0})",
    unary_samples(nonzero, magnitudes(nonzero, (1e-8, 1e8))),
    nonsmooth=(Nonsmooth("jump", lambda y, x: compare.equal(x, 0.0)),),
    only_float=False,
    lower=elementwise(_sign),
)
floor_p = define_unary(
    "floor",
    np.floor,
    0,
    r"\lfloor {0} \rfloor",
    unary_samples(_away_from_integers, magnitudes(nonzero, (1e-8,)), _huge),
    nonsmooth=(Nonsmooth("jump", lambda y, x: compare.equal(x, y)),),
    lower=function("floor", 1, units=0),
)


@lru_cache(maxsize=16)
def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return np.zeros(shape, dtype)


def _zero_for(x: Array) -> Array:
    """Return zeros to compare with `x`: NumPy is several times as fast with two like arrays."""
    if x.size < _SMALL or (x.size > _LARGE and x.shape[-1] < _LONG):
        return _ZERO[x.dtype.char]
    return _zeros(x.shape if x.size <= _LARGE else x.shape[-1:], x.dtype)


def _evaluate_relu(x: Array) -> Any:
    return np.maximum(x, _zero_for(x))


relu_p = define_unary(
    "relu",
    _evaluate_relu,
    lambda y, x: bind(compare.greater_p, (y, constant(0.0, y.dtype))),
    r"\max(0, {0})",
    unary_samples(nonzero, magnitudes(nonzero, (1e-8, 1e8))),
    nonsmooth=(Nonsmooth("kink", lambda y, x: compare.equal(x, 0.0), ((0.0, 1.0),)),),
    slope=lambda y, x: np.greater(y, _zero_for(y)),
    lower=elementwise(lambda e, x: e.where(e.compare("<=", x, 0), 0, x)),  # it does not hold of NaN
)


def _evaluate_cotangent_mul(cotangent: Array, slope: Array) -> Any:
    product = np.multiply(cotangent, slope)
    if has_nan(product):  # repaired alone, so that no element depends on another
        masked = np.logical_not(slope) if slope.dtype == np.bool_ else cotangent == 0
        return np.where(np.isnan(product) & masked, cotangent.dtype.type(0), product)
    return product


def _infer_cotangent_mul(cotangent: Aval, slope: Aval) -> Aval:
    if slope.dtype.kind != "b":
        same_dtype("cotangent_mul", cotangent, slope)
    return Aval(broadcast_shapes("cotangent_mul", cotangent.shape, slope.shape), cotangent.dtype)


def _cotangent_mul(e: Expressions, cotangent: Scalar, slope: Scalar) -> Scalar:
    """Return the product, and zero for 0 times infinity or NaN."""
    product = e.mul(cotangent, e.cast(slope, cotangent.dtype))
    if slope.dtype == np.bool_:
        return e.where(slope, cotangent, e.where(e.is_nan(product), 0, product))
    return e.where(e.both(e.is_nan(product), e.compare("==", cotangent, 0)), 0, product)


def _where_it_counts(cotangent: Variable, product: Variable) -> Variable:
    """Return `product` where `cotangent` is not zero: there no change of the slope matters."""
    zero = constant(0.0, product.dtype)
    return compare.where(compare.equal(cotangent, 0.0), zero, product)


def _pullback_cotangent_mul(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    cotangent, slope = xs
    return [
        unbroadcast(cotangent_mul(y_bar, slope), cotangent.shape) if needed[0] else None,
        unbroadcast(_where_it_counts(cotangent, cotangent_mul(y_bar, cotangent)), slope.shape)
        if needed[1]
        else None,
    ]


def _pushforward_cotangent_mul(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    (cotangent, slope), (cotangent_dot, slope_dot) = xs, x_dots
    total = add_all(
        [
            None if cotangent_dot is None else cotangent_mul(cotangent_dot, slope),
            None
            if slope_dot is None
            else _where_it_counts(cotangent, cotangent_mul(slope_dot, cotangent)),
        ]
    )
    return None if total is None else broadcast(total, y.shape)


cotangent_mul_p = register(
    Primitive(
        name="cotangent_mul",
        notation=r"{0} \odot {1}",
        infer=_infer_cotangent_mul,
        evaluate=_evaluate_cotangent_mul,
        derivative=Rules(_pullback_cotangent_mul, _pushforward_cotangent_mul),
        batch=batch_elementwise,
        samples=binary_samples(_ANY, _ANY),
        lower=elementwise(_cotangent_mul),
        laws=ELEMENTWISE._replace(neutral=(1, 1)),
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
    return bind(neg_p, (x if isinstance(x, Variable) else as_variable(x),))  # type: ignore[no-any-return]


def absolute(x: VariableLike) -> Variable:
    """Return the absolute value, element by element.

    At 0, a kink, the derivative returned is 0, the subgradient of least norm.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.abs(wg.tensor([1.0, -2.0]))
    tensor([1., 2.])
    """
    x = x if isinstance(x, Variable) else as_variable(x)
    return x if x.dtype.kind == "b" else bind(abs_p, (x,))


def sign(x: VariableLike) -> Variable:
    """Return -1, 0 or 1 as the sign of each element; its derivative is 0.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sign(wg.tensor([3.0, 0.0, -2.0]))
    tensor([ 1.,  0., -1.])
    """
    return bind(sign_p, (as_variable(x),))  # type: ignore[no-any-return]


def floor(x: VariableLike) -> Variable:
    """Return the largest integer not above each element, as a float; its derivative is 0.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.floor(wg.tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """
    return apply_unary_float(floor_p, x)


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


operators.update(add=add, sub=subtract, mul=multiply, div=divide, neg=negative)

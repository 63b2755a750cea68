"""Means, spreads, products and norms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.primitive import Nonsmooth, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare, cumulative, lower_reductions
from wengert.ops.arithmetic import div_p, mul_p
from wengert.ops.batching import batch_by_axes
from wengert.ops.convert import VariableLike, as_variable, floating, widened
from wengert.ops.define import magnitudes, normal, strided
from wengert.ops.derivatives import WeightedReduction, emit
from wengert.ops.lowering import Inexact
from wengert.ops.reduce import sum_p
from wengert.ops.shapes import Shape, need_float, normalize_axes, with_ones, without_axes

Axes = tuple[int, ...]

_CASES: tuple[tuple[Shape, Axes], ...] = (
    ((4,), (0,)),
    ((2, 3), (1,)),
    ((2, 3), (0, 1)),
    ((2, 2, 3), (0, 2)),
    ((), ()),
    ((3, 0), (0,)),
    ((3, 0), (1,)),
)


def _product_of_others(y: Variable, x: Variable, axes: Axes) -> Variable:
    """Return, for each element, the product of the others over `axes`, without dividing."""
    del y
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    order = (*rest, *axes)
    moved: Variable = emit("permute", x, axes=order)
    lead = tuple(x.shape[i] for i in rest)
    flat: Variable = emit("reshape", moved, shape=(*lead, math.prod(x.shape[i] for i in axes)))
    last = len(lead)
    before, after = (
        bind(
            cumulative.cumulative_prod_p,
            (flat,),
            {"axis": last, "reverse": reverse, "exclusive": True},
        )
        for reverse in (False, True)
    )
    others: Variable = emit("reshape", before * after, shape=moved.shape)
    inverse = tuple(sorted(range(x.ndim), key=order.__getitem__))
    return emit("permute", others, axes=inverse)  # type: ignore[no-any-return]


def _evaluate_prod(x: Array, axes: Axes) -> Any:
    return np.multiply.reduce(x, axis=axes, dtype=x.dtype)


def _infer_prod(x: Aval, axes: Axes) -> Aval:
    return Aval(without_axes(x.shape, axes), x.dtype)


def _prod_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, axes in _CASES:
        yield Sample((normal(rng, shape).astype(dtype),), {"axes": axes})
    x = magnitudes(normal, (1e-3, 1.0, 1e3))(rng, (3, 4)).astype(dtype)
    yield Sample((strided(x),), {"axes": (1,)})
    x[0, 1] = x[1, 0] = x[1, 3] = 0
    yield Sample((x,), {"axes": (1,)})
    yield Sample((x,), {"axes": (0, 1)})


prod_p = register(
    Primitive(
        name="prod",
        notation=r"\prod {0}",
        infer=_infer_prod,
        evaluate=_evaluate_prod,
        derivative=WeightedReduction(_product_of_others),
        batch=batch_by_axes,
        samples=_prod_samples,
        lower=Inexact(lower_reductions.product, normwise=40),  # one rounding for each factor
    )
)


def _infer_norm(x: Aval, axes: Axes) -> Aval:
    need_float("norm", x)
    return Aval(without_axes(x.shape, axes), x.dtype)


def _evaluate_norm(x: Array, axes: Axes) -> Any:
    total = np.add.reduce(x * x, axis=axes)
    limits = np.finfo(x.dtype)
    if np.all((total > limits.tiny / limits.eps) & (total < np.inf)):
        return np.sqrt(total)
    top = np.maximum.reduce(np.abs(x), axis=axes, keepdims=True, initial=0)
    scale = np.where((top > 0) & (top < np.inf), top, x.dtype.type(1))
    part = x / scale
    return np.sqrt(np.add.reduce(part * part, axis=axes)) * scale.reshape(total.shape)


def _directions(y: Variable, x: Variable, axes: Axes) -> Variable:
    """Return the slopes of a norm, ``x / y``; at 0 the subgradient of least norm, 0."""
    del axes
    zero = as_variable(0.0, x.dtype)
    return emit("where", compare.equal(y, 0.0), zero, x / y)  # type: ignore[no-any-return]


def _norm_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, axes in _CASES:
        yield Sample((normal(rng, shape).astype(dtype),), {"axes": axes})
    root = float(np.sqrt(np.finfo(dtype).max))
    for scale in (1 / root, 1e-3, 4 * root):
        x = (scale * (normal(rng, (3, 4)) + 3)).astype(dtype)
        yield Sample((strided(x),), {"axes": (1,)})


norm_p = register(
    Primitive(
        name="norm",
        notation=r"\lVert {0} \rVert",
        infer=_infer_norm,
        evaluate=_evaluate_norm,
        derivative=WeightedReduction(_directions),
        batch=batch_by_axes,
        samples=_norm_samples,
        nonsmooth=(Nonsmooth("kink", lambda y, x, axes: compare.equal(y, 0.0), ((-1.0, 1.0),)),),
        lower=Inexact(lower_reductions.norm, normwise=8),
    )
)


def _kept(y: Variable, x: Variable, axes: Axes, keepdims: bool) -> Variable:
    return emit("reshape", y, shape=with_ones(x.shape, axes)) if keepdims and axes else y


def _per(total: Variable, count: float) -> Variable:
    """Return ``total / count``, by a product where that gives the same."""
    if count > 0 and math.frexp(count)[0] == 0.5:  # noqa: PLR2004  (a power of two)
        return bind(mul_p, (total, Variable(np.array(1 / count, total.dtype))))  # type: ignore[no-any-return]
    return bind(div_p, (total, Variable(np.array(count, total.dtype))))  # type: ignore[no-any-return]


def _count(x: Variable, axes: Axes) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def mean(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the arithmetic mean over `axis` (None: over all elements); NaN of no elements.

    Parameters
    ----------
    x : Tensor or array_like
        The numbers; integers and bool become the default float.
    axis : int or sequence of int, optional
        The axes to average over.
    keepdims : bool
        Whether these axes stay, with length 1.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.mean(wg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([2., 3.])
    """
    x = floating(x)
    axes = normalize_axes("mean", axis, x.ndim)
    total: Variable = bind(sum_p, (x,), {"axes": axes})
    return _kept(_per(total, _count(x, axes)), x, axes, keepdims)


def _centred(x: Variable, axes: Axes) -> Variable:
    return x - mean(x, axes, keepdims=True)


def var(
    x: VariableLike,
    axis: int | Sequence[int] | None = None,
    correction: float = 0,
    keepdims: bool = False,
) -> Variable:
    """Return the variance over `axis` (None: over all elements).

    Parameters
    ----------
    x : Tensor or array_like
        The numbers; integers and bool become the default float.
    axis : int or sequence of int, optional
        The axes to take it over.
    correction : float
        What is subtracted from the number of elements that the squares are divided by: 0 for a
        population, 1 for a sample (PyTorch's default). If nothing is left, the result is NaN or
        infinite.
    keepdims : bool
        Whether these axes stay, with length 1.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.var(wg.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor(1.25)
    """
    x = floating(x)
    axes = normalize_axes("var", axis, x.ndim)
    d = _centred(x, axes)
    total: Variable = bind(sum_p, (d * d,), {"axes": axes})
    return _kept(_per(total, max(_count(x, axes) - correction, 0)), x, axes, keepdims)


def std(
    x: VariableLike,
    axis: int | Sequence[int] | None = None,
    correction: float = 0,
    keepdims: bool = False,
) -> Variable:
    """Return the standard deviation over `axis`: the square root of `var`, parameters as there.

    Where all elements are equal, a kink, the derivative returned is 0, the subgradient of least
    norm.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.std(wg.tensor([1.0, 3.0]))
    tensor(1.)
    """
    x = floating(x)
    axes = normalize_axes("std", axis, x.ndim)
    length: Variable = bind(norm_p, (_centred(x, axes),), {"axes": axes})
    root = math.sqrt(max(_count(x, axes) - correction, 0))
    return _kept(_per(length, root), x, axes, keepdims)


def prod(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the product over `axis` (None: over all elements).

    Parameters
    ----------
    x : Tensor or array_like
        The factors; bool counts as int64.
    axis : int or sequence of int, optional
        The axes to multiply over.
    keepdims : bool
        Whether these axes stay, with length 1.

    Notes
    -----
    The derivative divides by no element: it is right, to every order, where elements are zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.prod(wg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([3., 8.])
    """
    x = as_variable(x)
    x = widened(x)
    axes = normalize_axes("prod", axis, x.ndim)
    return _kept(bind(prod_p, (x,), {"axes": axes}), x, axes, keepdims)


def norm(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the Euclidean norm over `axis` (None: over all elements), without overflow.

    At 0, a kink, the derivative returned is 0, the subgradient of least norm.

    Parameters
    ----------
    x : Tensor or array_like
        The components; integers and bool become the default float.
    axis : int or sequence of int, optional
        The axes of the components.
    keepdims : bool
        Whether these axes stay, with length 1.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.norm(wg.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = floating(x)
    axes = normalize_axes("norm", axis, x.ndim)
    return _kept(bind(norm_p, (x,), {"axes": axes}), x, axes, keepdims)

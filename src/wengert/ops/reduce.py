"""Reductions: sum, product, extrema with and without their index, logsumexp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import BOOL, INT64, Array
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.primitive import Contribution, Nonsmooth, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare, lower_reductions
from wengert.ops.batching import batch_by_axes
from wengert.ops.convert import VariableLike, as_variable, cast, floating, widened
from wengert.ops.define import Samples, magnitudes, normal
from wengert.ops.derivatives import Linear, Rules, WeightedReduction, aligned, emit, expanded
from wengert.ops.evaluation import has_nan, total_of_rows
from wengert.ops.lowering import Inexact
from wengert.ops.shapes import normalize_axes, normalize_axis, with_ones, without_axes

Axes = tuple[int, ...]

_CASES: tuple[tuple[tuple[int, ...], Axes], ...] = (
    ((4,), (0,)),
    ((2, 3), (1,)),
    ((2, 3), (0, 1)),
    ((2, 1, 3), (0, 2)),
    ((), ()),
)


def _samples(*extra: tuple[tuple[int, ...], Axes], spread: bool = True) -> Samples:
    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
        for shape, axes in (*_CASES, *extra):
            yield Sample((normal(rng, shape).astype(dtype),), {"axes": axes})
        wide = magnitudes(normal, (1e-3, 1.0, 1e3))(rng, (3, 4)) if spread else normal(rng, (3, 4))
        yield Sample((wide.astype(dtype).T,), {"axes": (0,)})

    return samples


def _infer_sum(x: Aval, axes: Axes) -> Aval:
    return Aval(without_axes(x.shape, axes), x.dtype)


def _evaluate_sum(x: Array, axes: Axes) -> Any:
    if axes == (0,) and x.ndim == 2 and x.dtype.kind == "f" and x.flags.c_contiguous:  # noqa: PLR2004
        return total_of_rows(x)
    return np.add.reduce(x, axis=axes, dtype=x.dtype)


sum_p = register(
    Primitive(
        name="sum",
        notation=r"\sum {0}",
        infer=_infer_sum,
        evaluate=_evaluate_sum,
        derivative=Linear(lambda y_bar, xs, needed, axes: [expanded(y_bar, axes, xs[0].shape)]),
        batch=batch_by_axes,
        samples=_samples(((0, 3), (0,)), ((2, 0), (1,))),
        lower=Inexact(lower_reductions.total, normwise=8),
    )
)


def _need_elements(name: str, x: Aval, axes: Axes) -> None:
    for axis in axes:
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: axis {axis} of shape {x.shape} is empty and has no {name}")


def _extremum_weights(y: Variable, x: Variable, axes: Axes) -> Variable:
    """Return the slopes of an extremum: 1 at it, split evenly at ties."""
    at = cast(compare.equal(x, y), x.dtype)
    count = emit("sum", at, axes=axes)
    return at / aligned(count, axes, x.shape)


def _has_tie(y: Variable, x: Variable, axes: Axes) -> Variable:
    at = cast(compare.equal(x, aligned(y, axes, x.shape)), x.dtype)
    return compare.greater(emit("sum", at, axes=axes), 1.0)


def _define_extremum(
    name: str, reduce: Callable[..., Any], notation: str, relation: str
) -> Primitive:
    def infer(x: Aval, axes: Axes) -> Aval:
        _need_elements(name, x, axes)
        return Aval(without_axes(x.shape, axes), x.dtype)

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=lambda x, axes: reduce(x, axis=axes),
            derivative=WeightedReduction(_extremum_weights),
            batch=batch_by_axes,
            samples=_samples(((0, 3), (1,))),
            nonsmooth=(Nonsmooth("kink", _has_tie, ((0.0, 1.0),)),),
            lower=lower_reductions.extremum(relation),
        )
    )


max_p = _define_extremum("max", np.maximum.reduce, r"\max {0}", ">")
min_p = _define_extremum("min", np.minimum.reduce, r"\min {0}", "<")


def _infer_logsumexp(x: Aval, axes: Axes) -> Aval:
    if x.dtype.kind != "f":
        raise DTypeError(f"logsumexp: needs a floating-point operand, got {x.dtype}")
    return Aval(without_axes(x.shape, axes), x.dtype)


def evaluate_logsumexp(x: Array, axes: Axes) -> Any:
    """Evaluate the logarithm of the sum of exponentials with NumPy."""
    top = np.maximum.reduce(x, axis=axes, keepdims=True, initial=-np.inf)
    result = np.log(np.add.reduce(np.exp(x - top), axis=axes))
    result = result + top.reshape(result.shape)
    if has_nan(result):  # infinities among the elements
        finite = np.where(np.isfinite(top), top, x.dtype.type(0))
        total = np.add.reduce(np.exp(x - finite), axis=axes)
        return np.log(total) + finite.reshape(total.shape)
    return result


def _softmax_weights(y: Variable, x: Variable, axes: Axes) -> Variable:
    del axes
    return emit("exp", x - y)  # type: ignore[no-any-return]


logsumexp_p = register(
    Primitive(
        name="logsumexp",
        notation=r"\log \sum e^{{{0}}}",
        infer=_infer_logsumexp,
        evaluate=evaluate_logsumexp,
        derivative=WeightedReduction(_softmax_weights),
        batch=batch_by_axes,
        samples=_samples(((0, 3), (1,))),
        lower=Inexact(lower_reductions.logsumexp, normwise=16),
    )
)


def _infer_arg(name: str) -> Callable[..., Aval]:
    def infer(x: Aval, axis: int) -> Aval:
        _need_elements(name, x, (axis,))
        return Aval(without_axes(x.shape, (axis,)), INT64)

    return infer


def _axis_samples(differentiable: tuple[int, ...]) -> Samples:
    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
        for shape, axis in (((4,), 0), ((2, 3), 1), ((3, 2, 2), 0), ((2, 0), 0)):
            x = normal(rng, shape).astype(dtype)
            yield Sample((x,), {"axis": axis}, differentiable)

    return samples


def _define_arg(name: str, find: Callable[..., Any], notation: str, relation: str) -> Primitive:
    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=_infer_arg(name),
            evaluate=lambda x, axis: np.asarray(find(x, axis=axis), dtype=np.int64),
            derivative=None,
            batch=batch_by_axes,
            samples=_axis_samples(()),
            lower=lower_reductions.index_of(relation),
        )
    )


argmax_p = _define_arg("argmax", np.argmax, r"\operatorname{{argmax}} {0}", ">")
argmin_p = _define_arg("argmin", np.argmin, r"\operatorname{{argmin}} {0}", "<")


def _infer_max_with_index(x: Aval, axis: int) -> tuple[Aval, Aval]:
    _need_elements("max_with_index", x, (axis,))
    shape = without_axes(x.shape, (axis,))
    return Aval(shape, x.dtype), Aval(shape, INT64)


def _evaluate_max_with_index(x: Array, axis: int) -> tuple[Any, Any]:
    index = np.expand_dims(np.argmax(x, axis=axis), axis)
    value = np.take_along_axis(x, index, axis)
    return np.squeeze(value, axis), np.squeeze(index, axis)


def _pullback_max_with_index(
    y_bar: tuple[Variable | None, Variable | None],
    y: tuple[Variable, Variable],
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    from wengert.ops.indexing import scatter_along_axis

    del needed
    value_bar, axis = y_bar[0], params["axis"]
    if value_bar is None:
        return [None]
    return [scatter_along_axis(value_bar, y[1], axis, xs[0])]


def _pushforward_max_with_index(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: tuple[Variable, Variable],
    xs: tuple[Variable, ...],
    params: Params,
) -> tuple[Variable | None, None]:
    from wengert.ops.indexing import take_at

    del primitive, xs
    (x_dot,) = x_dots
    return (None if x_dot is None else take_at(x_dot, y[1], params["axis"])), None


def _batch_max_with_index(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Any, tuple[bool, bool]]:
    return bind(primitive, xs, {"axis": params["axis"] + 1}), (True, True)


def _max_ties(y: tuple[Variable, Variable], x: Variable, axis: int) -> Variable:
    return _has_tie(y[0], x, (axis,))


max_with_index_p = register(
    Primitive(
        name="max_with_index",
        notation=r"\max {0}, \operatorname{{argmax}} {0}",
        infer=_infer_max_with_index,
        evaluate=_evaluate_max_with_index,
        derivative=Rules(_pullback_max_with_index, _pushforward_max_with_index),
        batch=_batch_max_with_index,
        samples=_axis_samples((0,)),
        nonsmooth=(Nonsmooth("kink", _max_ties, ((0.0, 1.0),)),),
        several=True,
        lower=lower_reductions.with_index,
    )
)


def _reduce(
    primitive: Primitive,
    x: Variable,
    axis: int | Sequence[int] | None,
    keepdims: bool,
) -> Variable:
    axes = normalize_axes(primitive.name, axis, x.ndim)
    y: Variable = bind(primitive, (x,), {"axes": axes})
    return emit("reshape", y, shape=with_ones(x.shape, axes)) if keepdims and axes else y


def sum(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the sum over `axis` (None: over all elements).

    Parameters
    ----------
    x : Tensor or array_like
        The terms; bool and narrow integers are summed in 64 bits.
    axis : int or sequence of int, optional
        The axes to sum over.
    keepdims : bool
        Whether the summed axes stay, with length 1.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sum(wg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    return _reduce(sum_p, widened(as_variable(x)), axis, keepdims)


def max(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the largest element over `axis`; at ties the gradient is split evenly.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.max(wg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([3., 4.])
    """
    return _reduce(max_p, as_variable(x), axis, keepdims)


def min(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the smallest element over `axis`; at ties the gradient is split evenly.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.min(wg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([1., 2.])
    """
    return _reduce(min_p, as_variable(x), axis, keepdims)


def any(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return whether any element over `axis` is true (not zero).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.any(wg.tensor([False, True]))
    tensor(True)
    """
    x = cast(as_variable(x), BOOL)
    return compare.greater(sum(x, normalize_axes("any", axis, x.ndim), keepdims), 0)


def all(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return whether all elements over `axis` are true (not zero).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.all(wg.tensor([False, True]))
    tensor(False)
    """
    x = compare.logical_not(x)
    return compare.equal(sum(x, normalize_axes("all", axis, x.ndim), keepdims), 0)


def logsumexp(
    x: VariableLike, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Variable:
    """Return the logarithm of the sum of exponentials, without overflow.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.logsumexp(wg.tensor([0.0, 0.0]))
    tensor(0.6931)
    """
    return _reduce(logsumexp_p, floating(x), axis, keepdims)


def _arg(primitive: Primitive, x: VariableLike, axis: int | None, keepdims: bool) -> Variable:
    from wengert.ops.shape import expand_dims, reshape

    x = as_variable(x)
    if axis is None:
        y: Variable = bind(primitive, (reshape(x, -1),), {"axis": 0})
        return reshape(y, (1,) * x.ndim) if keepdims else y
    place = normalize_axis(primitive.name, axis, x.ndim)
    y = bind(primitive, (x,), {"axis": place})
    return expand_dims(y, place) if keepdims else y


def argmax(x: VariableLike, axis: int | None = None, keepdims: bool = False) -> Variable:
    """Return the index of the first largest element along `axis` (None: in the flat array).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.argmax(wg.tensor([1.0, 3.0, 2.0]))
    tensor(1)
    """
    return _arg(argmax_p, x, axis, keepdims)


def argmin(x: VariableLike, axis: int | None = None, keepdims: bool = False) -> Variable:
    """Return the index of the first smallest element along `axis` (None: in the flat array).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.argmin(wg.tensor([4.0, 3.0, 5.0]))
    tensor(1)
    """
    return _arg(argmin_p, x, axis, keepdims)


def max_with_index(x: VariableLike, axis: int = -1) -> tuple[Variable, Variable]:
    """Return the largest element along `axis` and its index, found in one pass.

    The gradient goes to that index alone: at ties, unlike `max`, to the first.

    Returns
    -------
    values : Tensor
        The maxima.
    indices : Tensor of int64
        Where the first of them stands.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.max_with_index(wg.tensor([[1.0, 3.0], [5.0, 5.0]]))
    (tensor([3., 5.]), tensor([1, 0]))
    """
    x = as_variable(x)
    place = normalize_axis("max_with_index", axis, x.ndim)
    values, indices = bind(max_with_index_p, (x,), {"axis": place})
    return values, indices

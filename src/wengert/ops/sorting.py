"""Sorting along one axis: values and the indices that they came from, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import INT64, Array
from wengert.graph.primitive import Contribution, Nonsmooth, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare, lower_scans
from wengert.ops.assembly import flip, pad
from wengert.ops.convert import VariableLike, as_variable
from wengert.ops.define import magnitudes, normal, strided
from wengert.ops.derivatives import Rules, emit
from wengert.ops.indexing import scatter_along_axis, take_at
from wengert.ops.shape import moveaxis
from wengert.ops.shapes import normalize_axis

_CASES = (((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 2), 1), ((0, 3), 0), ((1,), 0))
_SPREAD = magnitudes(normal, (1e-6, 1.0, 1e6))


def _infer(x: Aval, axis: int) -> tuple[Aval, Aval]:
    del axis
    return Aval(x.shape, x.dtype), Aval(x.shape, INT64)


def _evaluate(x: Array, axis: int) -> tuple[Array, Array]:
    order = np.argsort(x, axis=axis, kind="stable")
    return np.take_along_axis(x, order, axis), order.astype(np.int64, copy=False)


def _pullback(
    y_bar: tuple[Variable | None, Variable | None],
    y: tuple[Variable, Variable],
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    del needed
    values_bar, axis = y_bar[0], params["axis"]
    if values_bar is None:
        return [None]
    update, index = moveaxis(values_bar, axis, -1), moveaxis(y[1], axis, -1)
    return [scatter_along_axis(update, index, axis, xs[0])]


def _pushforward(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: tuple[Variable, Variable],
    xs: tuple[Variable, ...],
    params: Params,
) -> tuple[Variable | None, None]:
    del primitive, xs
    (x_dot,), axis = x_dots, params["axis"]
    if x_dot is None:
        return None, None
    return moveaxis(take_at(x_dot, moveaxis(y[1], axis, -1), axis), -1, axis), None


def _batch(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Any, tuple[bool, bool]]:
    del batched, size
    return bind(primitive, xs, {"axis": params["axis"] + 1}), (True, True)


def _in_tie(y: tuple[Variable, Variable], x: Variable, axis: int) -> Variable:
    """Return which sorted values equal a neighbour: their order is arbitrary."""
    n = x.shape[axis]
    before = (slice(None),) * axis
    values = y[0]
    lower = emit("slice", values, key=(*before, slice(0, max(n - 1, 0))))
    upper = emit("slice", values, key=(*before, slice(min(n, 1), n)))
    same = compare.equal(lower, upper)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, min(n, 1))
    with_next = pad(same, widths)
    widths[axis] = (min(n, 1), 0)
    return compare.logical_or(with_next, pad(same, widths))


def _samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, axis in _CASES:
        yield Sample((normal(rng, shape).astype(dtype),), {"axis": axis})
    yield Sample((strided(_SPREAD(rng, (2, 4)).astype(dtype)),), {"axis": 1})


sort_p = register(
    Primitive(
        name="sort",
        notation=r"\operatorname{{sort}} {0}",
        infer=_infer,
        evaluate=_evaluate,
        derivative=Rules(_pullback, _pushforward),
        batch=_batch,
        samples=_samples,
        nonsmooth=(Nonsmooth("kink", _in_tie, ((0.0, 1.0),)),),
        several=True,
        lower=lower_scans.sort,
    )
)


def _sorted(name: str, x: VariableLike, axis: int) -> tuple[Variable, int]:
    x = as_variable(x)
    return x, normalize_axis(name, axis, x.ndim)


def sort(
    x: VariableLike, axis: int = -1, descending: bool = False, stable: bool = True
) -> Variable:
    """Return the elements of `x` in order along `axis`.

    NaN counts as the largest value: it stands last, or first if descending.

    Parameters
    ----------
    x : Tensor or array_like
        What to sort; at least one axis.
    axis : int
        Along which axis.
    descending : bool
        Whether the largest comes first.
    stable : bool
        Accepted for the array API; the order of equal elements is always kept.

    Returns
    -------
    Tensor
        Of the shape and dtype of `x`. The gradient of each value goes to the element that it
        came from.

    Raises
    ------
    ShapeError
        If `x` has no such axis.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.sort(wg.tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    del stable
    x, place = _sorted("sort", x, axis)
    if not descending:
        return bind(sort_p, (x,), {"axis": place})[0]  # type: ignore[no-any-return]
    values: Variable = bind(sort_p, (flip(x, place),), {"axis": place})[0]
    return flip(values, place)


def argsort(
    x: VariableLike, axis: int = -1, descending: bool = False, stable: bool = True
) -> Variable:
    """Return the indices, of dtype int64, that put `x` in order along `axis`.

    Parameters are those of `sort`.

    Raises
    ------
    ShapeError
        If `x` has no such axis.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.argsort(wg.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    del stable
    x, place = _sorted("argsort", x, axis)
    if not descending:
        return bind(sort_p, (x,), {"axis": place})[1]  # type: ignore[no-any-return]
    order: Variable = bind(sort_p, (flip(x, place),), {"axis": place})[1]
    return (x.shape[place] - 1) - flip(order, place)

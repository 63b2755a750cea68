"""Running sums and products, and the linear recurrence through which products differentiate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import Contribution, Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_scans
from wengert.ops.assembly import concat, pad
from wengert.ops.batching import batch_by_axes, with_batch
from wengert.ops.convert import VariableLike, as_variable, widened
from wengert.ops.define import Samples, magnitudes, normal, strided
from wengert.ops.derivatives import Linear, Rules, add_all, emit, scaled
from wengert.ops.shapes import Shape, normalize_axis, same_dtype, with_ones

_CASES: tuple[tuple[Shape, int], ...] = (
    ((4,), 0),
    ((2, 3), 1),
    ((3, 2), 0),
    ((2, 3, 2), 1),
    ((0, 2), 0),
    ((2, 0), 0),
    ((1,), 0),
)


def _forwards(x: Array, axis: int, reverse: bool) -> Array:
    return np.flip(x, axis) if reverse else x


def _infer(x: Aval, axis: int, reverse: bool, exclusive: bool = False) -> Aval:
    del axis, reverse, exclusive
    return Aval(x.shape, x.dtype)


def _evaluate_sum(x: Array, axis: int, reverse: bool) -> Any:
    total = np.add.accumulate(_forwards(x, axis, reverse), axis=axis, dtype=x.dtype)
    return _forwards(total, axis, reverse)


def _transpose_sum(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], axis: int, reverse: bool
) -> list[Variable]:
    del xs, needed
    return [emit("cumulative_sum", y_bar, axis=axis, reverse=not reverse)]


def _samples(*variants: dict[str, bool], zeros: bool = False) -> Samples:
    wide = magnitudes(normal, (1e-3, 1.0, 1e3))

    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
        for variant in variants:
            for shape, axis in _CASES:
                yield Sample((normal(rng, shape).astype(dtype),), {"axis": axis, **variant})
            x = wide(rng, (2, 4)).astype(dtype)
            yield Sample((strided(x),), {"axis": 1, **variant})
            if zeros:
                x[0, 1] = x[1, 0] = x[1, 3] = 0
                yield Sample((x,), {"axis": 1, **variant})

    return samples


cumulative_sum_p = register(
    Primitive(
        name="cumulative_sum",
        notation=r"\operatorname{{cumsum}} {0}",
        infer=_infer,
        evaluate=_evaluate_sum,
        derivative=Linear(_transpose_sum),
        batch=batch_by_axes,
        samples=_samples({"reverse": False}, {"reverse": True}),
        lower=lower_scans.cumulative_sum,
    )
)


def _shifted(x: Variable, axis: int, reverse: bool) -> Variable:
    """Return `x` moved by one place along `axis`, against the running direction if reversed."""
    n = x.shape[axis]
    kept = slice(min(n, 1), n) if reverse else slice(0, max(n - 1, 0))
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, min(n, 1)) if reverse else (min(n, 1), 0)
    part: Variable = emit("slice", x, key=(slice(None),) * axis + (kept,))
    return pad(part, widths)


def _infer_recurrence(a: Aval, b: Aval, axis: int, reverse: bool) -> Aval:
    del axis, reverse
    same_dtype("linear_recurrence", a, b)
    if a.shape != b.shape:
        raise ShapeError(f"linear_recurrence: factors {a.shape} and terms {b.shape} differ")
    return Aval(b.shape, b.dtype)


def _evaluate_recurrence(a: Array, b: Array, axis: int, reverse: bool) -> Array:
    y = b.copy()
    state = np.moveaxis(_forwards(y, axis, reverse), axis, 0)
    factors = np.moveaxis(_forwards(a, axis, reverse), axis, 0)
    for k in range(1, len(state)):
        state[k] += factors[k] * state[k - 1]
    return y


def _pullback_recurrence(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    axis, reverse = params["axis"], params["reverse"]
    onward = _shifted(xs[0], axis, not reverse)
    b_bar: Variable = emit("linear_recurrence", onward, y_bar, axis=axis, reverse=not reverse)
    a_bar = scaled(b_bar, _shifted(y, axis, reverse)) if needed[0] else None
    return [a_bar, b_bar]


def _pushforward_recurrence(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    a_dot, b_dot = x_dots
    by_factor = None
    if a_dot is not None:
        by_factor = scaled(a_dot, _shifted(y, params["axis"], params["reverse"]))
    term = add_all([by_factor, b_dot])
    return None if term is None else bind(primitive, (xs[0], term), params)


def _batch_recurrence(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    return bind(primitive, full, {**params, "axis": params["axis"] + 1}), True


def _recurrence_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, axis in _CASES:
        for reverse in (False, True):
            a, b = normal(rng, shape).astype(dtype), normal(rng, shape).astype(dtype)
            yield Sample((a, strided(b)), {"axis": axis, "reverse": reverse}, (0, 1))


linear_recurrence_p = register(
    Primitive(
        name="linear_recurrence",
        notation=r"\operatorname{{recur}}({0}, {1})",
        infer=_infer_recurrence,
        evaluate=_evaluate_recurrence,
        derivative=Rules(_pullback_recurrence, _pushforward_recurrence),
        batch=_batch_recurrence,
        samples=_recurrence_samples,
        lower=lower_scans.linear_recurrence,
    )
)


def _evaluate_prod(x: Array, axis: int, reverse: bool, exclusive: bool) -> Any:
    x = _forwards(x, axis, reverse)
    if not exclusive:
        product = np.multiply.accumulate(x, axis=axis, dtype=x.dtype)
        return _forwards(product, axis, reverse)
    y = np.ones_like(x)
    np.multiply.accumulate(np.moveaxis(x, axis, 0)[:-1], axis=0, out=np.moveaxis(y, axis, 0)[1:])
    return _forwards(y, axis, reverse)


def _pullback_prod(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    """Pull back without dividing, so that zeros among the factors do no harm.

    With ``before`` the product of the earlier factors, and ``after`` the later cotangents, each
    times the factors that stand between it and here: ``x_bar = before * after``.
    """
    del needed
    (x,), axis, reverse = xs, params["axis"], params["reverse"]
    if params["exclusive"]:
        before = y
        after = emit("linear_recurrence", x, y_bar, axis=axis, reverse=not reverse)
        after = _shifted(after, axis, not reverse)
    else:
        before = emit("cumulative_prod", x, axis=axis, reverse=reverse, exclusive=True)
        onward = _shifted(x, axis, not reverse)
        after = emit("linear_recurrence", onward, y_bar, axis=axis, reverse=not reverse)
    return [scaled(after, before)]


def _pushforward_prod(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    (x,), (x_dot,) = xs, x_dots
    if x_dot is None:
        return None
    axis, reverse, exclusive = params["axis"], params["reverse"], params["exclusive"]
    before = y if exclusive else bind(primitive, xs, {**params, "exclusive": True})
    y_dot: Variable = emit(
        "linear_recurrence", x, scaled(x_dot, before), axis=axis, reverse=reverse
    )
    return _shifted(y_dot, axis, reverse) if exclusive else y_dot


cumulative_prod_p = register(
    Primitive(
        name="cumulative_prod",
        notation=r"\operatorname{{cumprod}} {0}",
        infer=_infer,
        evaluate=_evaluate_prod,
        derivative=Rules(_pullback_prod, _pushforward_prod),
        batch=batch_by_axes,
        samples=_samples(
            {"reverse": False, "exclusive": False},
            {"reverse": True, "exclusive": False},
            {"reverse": False, "exclusive": True},
            {"reverse": True, "exclusive": True},
            zeros=True,
        ),
        lower=lower_scans.cumulative_prod,
    )
)


def _prepared(name: str, x: VariableLike, axis: int | None) -> tuple[Variable, int]:
    x = as_variable(x)
    if axis is None:
        if x.ndim != 1:
            raise ShapeError(f"{name}: x has shape {x.shape}; name the axis to run along")
        axis = 0
    place = normalize_axis(name, axis, x.ndim)
    return (widened(x)), place


def _with_initial(y: Variable, axis: int, value: int) -> Variable:
    shape = with_ones(y.shape, (axis,))
    first: Variable = emit("full", shape=shape, dtype=y.dtype, value=value)
    return concat((first, y), axis)


def cumulative_sum(
    x: VariableLike, axis: int | None = None, include_initial: bool = False
) -> Variable:
    """Return the running sums of `x` along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
        The terms; bool counts as int64.
    axis : int, optional
        Along which axis; may be left out if `x` has one axis.
    include_initial : bool
        Whether a zero, the sum of no terms, stands in front: the axis is longer by one.

    Raises
    ------
    ShapeError
        If `x` has no such axis, or several and none is named.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.cumulative_sum(wg.tensor([1, 2, 3]))
    tensor([1, 3, 6])
    """
    x, place = _prepared("cumulative_sum", x, axis)
    y: Variable = bind(cumulative_sum_p, (x,), {"axis": place, "reverse": False})
    return _with_initial(y, place, 0) if include_initial else y


def cumulative_prod(
    x: VariableLike, axis: int | None = None, include_initial: bool = False
) -> Variable:
    """Return the running products of `x` along `axis`.

    Parameters
    ----------
    x : Tensor or array_like
        The factors; bool counts as int64.
    axis : int, optional
        Along which axis; may be left out if `x` has one axis.
    include_initial : bool
        Whether a one, the product of no factors, stands in front: the axis is longer by one.

    Raises
    ------
    ShapeError
        If `x` has no such axis, or several and none is named.

    Notes
    -----
    The derivative divides by no element: it is right, to every order, where elements are zero.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.cumulative_prod(wg.tensor([1, 2, 3]))
    tensor([1, 2, 6])
    """
    x, place = _prepared("cumulative_prod", x, axis)
    params = {"axis": place, "reverse": False, "exclusive": False}
    y: Variable = bind(cumulative_prod_p, (x,), params)
    return _with_initial(y, place, 1) if include_initial else y

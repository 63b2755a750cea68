"""The loss of a classifier: one primitive, because it is most of a small network's eager time.

For logits x and the index t of the true class it is ``logsumexp(x) - x[t]``, minus the logarithm
of the probability that the softmax gives to that class. Its slope is the softmax less one at t.
With a `count` the losses of all examples are added and divided by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.bind import bind, evaluated
from wengert.graph.dtypes import INT64, Array
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import (
    Contribution,
    Outputs,
    Params,
    Primitive,
    Sample,
    register,
)
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_reductions
from wengert.ops.activations import evaluate_softmax, pull_softmax
from wengert.ops.batching import with_batch
from wengert.ops.define import Samples, normal, strided
from wengert.ops.derivatives import Rules, aligned, emit, scaled
from wengert.ops.evaluation import has_nan, total_along
from wengert.ops.indexing import evaluate_gather, locations
from wengert.ops.lowering import Expressions, Inexact, Kernels, Scalar, State, View
from wengert.ops.reduce import evaluate_logsumexp
from wengert.ops.shapes import need_float, need_integer, without_axes


@lru_cache(maxsize=64)
def _others(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i != axis)


def _check(name: str, x: Aval, target: Aval, axis: int) -> None:
    need_float(name, x)
    need_integer(name, "targets", target)
    if target.shape != without_axes(x.shape, (axis,)):
        raise ShapeError(
            f"{name}: logits of shape {x.shape} with classes along axis {axis} need targets of "
            f"shape {without_axes(x.shape, (axis,))}, got {target.shape}"
        )


def _infer_loss(x: Aval, target: Aval, axis: int, count: int | None) -> Aval:
    _check("class_loss", x, target, axis)
    return Aval(target.shape if count is None else (), x.dtype)


def _evaluate_loss(x: Array, target: Array, axis: int, count: int | None) -> Any:
    others = _others(x.ndim, axis)
    below = x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    losses = np.log(total_along(np.exp(below), axis))
    losses = losses - evaluate_gather(below, target, axes=(axis,), batch_axes=others)
    if has_nan(losses):  # infinities among the logits
        picked = evaluate_gather(x, target, axes=(axis,), batch_axes=others)
        losses = evaluate_logsumexp(x, (axis,)) - picked
    return losses if count is None else np.add.reduce(losses, axis=None) / count


def _infer_slope(x: Aval, target: Aval, axis: int, count: int) -> Aval:
    del count
    _check("class_loss_slope", x, target, axis)
    return Aval(x.shape, x.dtype)


def _evaluate_slope(x: Array, target: Array, axis: int, count: int) -> Any:
    slope = _quick_slope(x, target, axis, count)
    if has_nan(slope):  # infinities among the logits
        slope = evaluate_softmax(x, (axis,)) / count
        _take_from_targets(slope, target, axis, 1 / count)
    return slope


def _quick_slope(x: Array, target: Array, axis: int, count: int) -> Array:
    slope: Array = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf))
    total = total_along(slope, axis, keepdims=True)
    if count != 1:
        total *= count
    slope /= total
    _take_from_targets(slope, target, axis, 1 / count)
    return slope


def _quick_pullback(y_bar: Array, x: Array, target: Array, axis: int, count: int) -> Array | None:
    """Return the cotangent of `x`, or None if there are NaNs, which need care."""
    bar = _quick_slope(x, target, axis, count)
    bar *= y_bar
    return None if has_nan(bar) else bar


def _take_from_targets(x: Array, target: Array, axis: int, amount: float) -> None:
    view, key = locations(x, (target,), (axis,), _others(x.ndim, axis))
    view[key] -= amount


def _slope(xs: tuple[Variable, ...], params: Params) -> Variable:
    each = params["count"] or 1  # the mean of no losses has no slope to divide
    return bind(class_loss_slope_p, xs, {"axis": params["axis"], "count": each})  # type: ignore[no-any-return]


def _pull_loss(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    del y, needed
    axis, count = params["axis"], params["count"]
    if count:
        quick = evaluated(_quick_pullback, (y_bar, *xs), axis, count)
        if quick is not None:
            return [quick, None]
    bar = aligned(y_bar, (axis,), xs[0].shape) if count is None else y_bar
    return [scaled(bar, _slope(xs, params)), None]


def _push_loss(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    del primitive, y
    if x_dots[0] is None:
        return None
    product = scaled(x_dots[0], _slope(xs, params))
    axes = (params["axis"],) if params["count"] is None else tuple(range(product.ndim))
    return emit("sum", product, axes=axes)  # type: ignore[no-any-return]


def _pull_slope(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    """Pull back as through the softmax: less one at the class is a constant."""
    del y, needed
    return [_through_softmax(y_bar, xs[0], params), None]


def _push_slope(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    """Push forward as through the softmax, whose Jacobian is symmetric."""
    del primitive, y
    return None if x_dots[0] is None else _through_softmax(x_dots[0], xs[0], params)


def _through_softmax(bar: Variable, x: Variable, params: Params) -> Variable:
    axes = (params["axis"],)
    probabilities: Variable = emit("softmax", x, axes=axes)
    return scaled(pull_softmax(bar, probabilities, axes), 1 / params["count"])


def _batch_loss(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    """Compute the losses of all examples of all lanes, then add those of each lane."""
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    losses: Variable = bind(primitive, full, {"axis": params["axis"] + 1, "count": None})
    if params["count"] is None:
        return losses, True
    totals: Variable = emit("sum", losses, axes=tuple(range(1, losses.ndim)))
    return totals / params["count"], True


def _batch_slope(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    return bind(primitive, full, {**params, "axis": params["axis"] + 1}), True


def _from_front(e: Expressions, wanted: Scalar, classes: int) -> Scalar:
    """Return the number of a class that may be counted from the end."""
    wide = e.cast(wanted, INT64)
    return e.where(e.compare("<", wide, 0), e.add(wide, classes), wide)


def _require_classes(kernels: Kernels, target: View, axis: int, classes: int) -> None:
    """Let the call fail if a target is no class."""
    failure = f"class_loss: a target is out of range for axis {axis} of length {classes}"
    kernels.require(target, (">=", -classes), ("<", classes), failure=f"{failure}{kernels.where}.")


def _lower_loss(kernels: Kernels, x: View, target: View, axis: int, count: int | None) -> View:
    classes = x.shape[axis]
    _require_classes(kernels, target, axis, classes)

    def at_class(e: Expressions, v: Scalar, place: Scalar, wanted: Scalar) -> State:
        here = e.compare("==", place, _from_front(e, wanted, classes))
        return (e.where(here, v, 0.0),)

    def loss(e: Expressions, t: Scalar, s: Scalar, picked: Scalar) -> Scalar:
        return e.sub(lower_reductions.level(e, t, s), picked)

    top, total = lower_reductions.exponentials(kernels, x, (axis,))
    (picked,) = kernels.reduce(
        lower_reductions.adding(x.dtype),
        (axis,),
        x,
        kernels.counter(x.shape, axis),
        lower_reductions.spread(kernels, target, (axis,), x),
        lift=at_class,
        dtypes=(x.dtype,),
    )
    losses = kernels.map(loss, top, total, picked, cost=10)
    if count is None:
        return losses
    total = lower_reductions.total(kernels, losses, tuple(range(len(losses.shape))))
    return kernels.map(lambda e, whole: e.div(whole, float(count)), total)


def _lower_slope(kernels: Kernels, x: View, target: View, axis: int, count: int) -> View:
    classes = x.shape[axis]
    _require_classes(kernels, target, axis, classes)

    def slope(
        e: Expressions, v: Scalar, t: Scalar, s: Scalar, place: Scalar, wanted: Scalar
    ) -> Scalar:
        p = lower_reductions.share(e, v, t, s)
        here = e.compare("==", place, _from_front(e, wanted, classes))
        less = e.where(here, e.sub(p, 1.0), p)
        return less if count == 1 else e.div(less, float(count))

    sums = lower_reductions.exponentials(kernels, x, (axis,))
    wide = [lower_reductions.spread(kernels, v, (axis,), x) for v in (*sums, target)]
    return kernels.map(slope, x, *wide[:2], kernels.counter(x.shape, axis), wide[2], cost=10)


def _samples(counts: Sequence[int | None]) -> Samples:
    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
        for count in counts:
            for shape, axis in (((3, 4), 1), ((4,), 0), ((2, 3, 2), 1), ((0, 3), 1)):
                x = normal(rng, shape).astype(dtype)
                target = np.asarray(rng.integers(0, shape[axis], without_axes(shape, (axis,))))
                params = {"axis": axis, "count": count}
                yield Sample((x, target), params, (0,))
                yield Sample((strided(x), target.astype(np.int32)), params, (0,))
            for scale in (1e-6, 30.0):
                x = (scale * normal(rng, (3, 4))).astype(dtype)
                yield Sample((x, np.array([0, 3, -1])), {"axis": 1, "count": count}, (0,))

    return samples


class_loss_p = register(
    Primitive(
        name="class_loss",
        notation=r"\log \sum e^{{{0}}} - {0}_{{{1}}}",
        infer=_infer_loss,
        evaluate=_evaluate_loss,
        derivative=Rules(_pull_loss, _push_loss),
        batch=_batch_loss,
        samples=_samples((None, 1, 3)),
        lower=Inexact(_lower_loss, normwise=16),
    )
)
class_loss_slope_p = register(
    Primitive(
        name="class_loss_slope",
        notation=r"\operatorname{{softmax}}({0}) - e_{{{1}}}",
        infer=_infer_slope,
        evaluate=_evaluate_slope,
        derivative=Rules(_pull_slope, _push_slope),
        batch=_batch_slope,
        samples=_samples((1, 3)),
        lower=Inexact(_lower_slope, normwise=16),
    )
)

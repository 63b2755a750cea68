"""The loss of a classifier: one primitive, because it is most of a small network's eager time.

For logits x and the index t of the true class it is ``logsumexp(x) - x[t]``, minus the logarithm
of the probability that the softmax gives to that class. Its slope is the softmax less one at t.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.bind import bind
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
from wengert.ops import lower_indexing, lower_reductions
from wengert.ops.activations import evaluate_softmax, pull_softmax
from wengert.ops.batching import with_batch
from wengert.ops.define import normal, strided
from wengert.ops.derivatives import Rules, aligned, emit, scaled
from wengert.ops.indexing import evaluate_gather, locations
from wengert.ops.lowering import Expressions, Kernels, Scalar, View
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


def _infer_loss(x: Aval, target: Aval, axis: int) -> Aval:
    _check("class_loss", x, target, axis)
    return Aval(target.shape, x.dtype)


def _evaluate_loss(x: Array, target: Array, axis: int) -> Any:
    picked = evaluate_gather(x, target, axes=(axis,), batch_axes=_others(x.ndim, axis))
    return evaluate_logsumexp(x, (axis,)) - picked


def _infer_slope(x: Aval, target: Aval, axis: int) -> Aval:
    _check("class_loss_slope", x, target, axis)
    return Aval(x.shape, x.dtype)


def _evaluate_slope(x: Array, target: Array, axis: int) -> Any:
    slope = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf))
    slope /= np.add.reduce(slope, axis=axis, keepdims=True)
    check = np.vdot(slope, slope)
    if check != check:  # noqa: PLR0124  (a NaN: infinities among the logits)
        slope = evaluate_softmax(x, (axis,))
    view, key = locations(slope, (target,), (axis,), _others(x.ndim, axis))
    view[key] -= 1
    return slope


def _slope(xs: tuple[Variable, ...], params: Params) -> Variable:
    return bind(class_loss_slope_p, xs, params)  # type: ignore[no-any-return]


def _pull_loss(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    del y, needed
    bar = aligned(y_bar, (params["axis"],), xs[0].shape)
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
    return emit("sum", product, axes=(params["axis"],))  # type: ignore[no-any-return]


def _pull_slope(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    """Pull back as through the softmax: less one at the class is a constant."""
    del y, needed
    axes = (params["axis"],)
    return [pull_softmax(y_bar, emit("softmax", xs[0], axes=axes), axes), None]


def _push_slope(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    """Push forward as through the softmax, whose Jacobian is symmetric."""
    del primitive, y
    if x_dots[0] is None:
        return None
    axes = (params["axis"],)
    return pull_softmax(x_dots[0], emit("softmax", xs[0], axes=axes), axes)


def _batch(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    return bind(primitive, full, {"axis": params["axis"] + 1}), True


def _lower_loss(kernels: Kernels, x: View, target: View, axis: int) -> View:
    level = lower_reductions.logsumexp(kernels, x, (axis,))
    others = _others(len(x.shape), axis)
    picked = lower_indexing.gather(kernels, x, target, axes=(axis,), batch_axes=others)
    return kernels.map(lambda e, whole, part: e.sub(whole, part), level, picked)


def _lower_slope(kernels: Kernels, x: View, target: View, axis: int) -> View:
    classes = x.shape[axis]

    def less_one(e: Expressions, p: Scalar, place: Scalar, wanted: Scalar) -> Scalar:
        wide = e.cast(wanted, INT64)
        from_front = e.where(e.compare("<", wide, 0), e.add(wide, classes), wide)
        return e.where(e.compare("==", place, from_front), e.sub(p, 1.0), p)

    probability = lower_reductions.softmax(kernels, x, (axis,))
    wanted = lower_reductions.spread(kernels, target, (axis,), x)
    return kernels.map(less_one, probability, kernels.counter(x.shape, axis), wanted)


def _samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, axis in (((3, 4), 1), ((4,), 0), ((2, 3, 2), 1), ((0, 3), 1)):
        x = normal(rng, shape).astype(dtype)
        target = np.asarray(rng.integers(0, shape[axis], without_axes(shape, (axis,))))
        yield Sample((x, target), {"axis": axis}, (0,))
        yield Sample((strided(x), target.astype(np.int32)), {"axis": axis}, (0,))
    for scale in (1e-6, 30.0):
        x = (scale * normal(rng, (3, 4))).astype(dtype)
        yield Sample((x, np.array([0, 3, -1])), {"axis": 1}, (0,))


class_loss_p = register(
    Primitive(
        name="class_loss",
        notation=r"\log \sum e^{{{0}}} - {0}_{{{1}}}",
        infer=_infer_loss,
        evaluate=_evaluate_loss,
        derivative=Rules(_pull_loss, _push_loss),
        batch=_batch,
        samples=_samples,
        lower=_lower_loss,
    )
)
class_loss_slope_p = register(
    Primitive(
        name="class_loss_slope",
        notation=r"\operatorname{{softmax}}({0}) - e_{{{1}}}",
        infer=_infer_slope,
        evaluate=_evaluate_slope,
        derivative=Rules(_pull_slope, _push_slope),
        batch=_batch,
        samples=_samples,
        lower=_lower_slope,
    )
)

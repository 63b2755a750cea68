"""One row for each elementwise primitive, reduction and scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.peer_cases import (
    ROWS,
    Array,
    Case,
    Draw,
    array,
    broadcastable,
    distinct,
    emit,
    full_shapes,
    integers,
    listed,
    lists,
    mask,
    nonzero,
    normal,
    one_axis,
    ops,
    positive,
    row,
    shapes,
    some_axes,
    torch,
)

# ---- elementwise ---------------------------------------------------------------------------


def unary(name: str, ours: Any, theirs: Callable[..., Any], values: Any = normal) -> None:
    def draw_case(draw: Draw) -> Case:
        return Case((array(draw, draw(shapes), values),), ours, theirs, (0,))

    ROWS[name] = draw_case


def binary(
    name: str, ours: Any, theirs: Callable[..., Any], *values: Any, vary: tuple[int, ...] = (0, 1)
) -> None:
    def draw_case(draw: Draw) -> Case:
        first, second = broadcastable(draw, 2)
        a, b = values or (normal, normal)
        return Case((array(draw, first, a), array(draw, second, b)), ours, theirs, vary)

    ROWS[name] = draw_case


unary("neg", ops.negative, lambda x: -x)
unary("abs", ops.absolute, torch.abs, nonzero)
unary("sign", ops.sign, torch.sign, nonzero)
unary("floor", ops.floor, torch.floor)
unary("relu", ops.relu, torch.relu, nonzero)
unary("exp", ops.exp, torch.exp)
unary("expm1", ops.expm1, torch.expm1)
unary("log", ops.log, torch.log, positive)
unary("log1p", ops.log1p, torch.log1p, positive)
unary("sqrt", ops.sqrt, torch.sqrt, positive)
unary("sin", ops.sin, torch.sin)
unary("cos", ops.cos, torch.cos)
unary("tanh", ops.tanh, torch.tanh)
unary("sigmoid", ops.sigmoid, torch.sigmoid)
unary("erf", ops.erf, torch.erf)
unary("softplus", ops.softplus, lambda x: torch.logaddexp(x, 0 * x))
unary("alias", emit("alias"), lambda x: x.clone())
binary("add", ops.add, lambda x, y: x + y)
binary("sub", ops.subtract, lambda x, y: x - y)
binary("mul", ops.multiply, lambda x, y: x * y)
binary("div", ops.divide, lambda x, y: x / y, normal, nonzero)
binary("pow", ops.power, lambda x, y: x**y, positive, normal)
binary("floor_divide", ops.floor_divide, torch.floor_divide, normal, nonzero, vary=())
binary("cotangent_mul", ops.cotangent_mul, lambda x, y: x * y)
binary("maximum", ops.maximum, torch.maximum)
binary("minimum", ops.minimum, torch.minimum)
binary("logaddexp", ops.logaddexp, torch.logaddexp)
binary("equal", ops.equal, lambda x, y: x == y, vary=())
binary("not_equal", ops.not_equal, lambda x, y: x != y, vary=())
binary("less", ops.less, lambda x, y: x < y, vary=())
binary("less_equal", ops.less_equal, lambda x, y: x <= y, vary=())
binary("greater", ops.greater, lambda x, y: x > y, vary=())
binary("greater_equal", ops.greater_equal, lambda x, y: x >= y, vary=())


@row("stop_gradient")
def _(draw: Draw) -> Case:
    return Case((array(draw, draw(shapes)),), ops.stop_gradient, lambda x: x.detach())


@row("clip")
def _(draw: Draw) -> Case:
    low = draw(st.sampled_from([None, -0.5, 0.1]))
    high = draw(st.sampled_from([None, 0.8] if low is not None else [0.8]))
    return Case(
        (array(draw, draw(shapes)),),
        lambda x: ops.clip(x, low, high),
        lambda x: torch.clamp(x, low, high),
        (0,),
    )


@row("leaky_relu")
def _(draw: Draw) -> Case:
    slope = draw(st.sampled_from([0.01, 0.5, 2.0]))
    return Case(
        (array(draw, draw(shapes), nonzero),),
        lambda x: ops.leaky_relu(x, slope),
        lambda x: torch.nn.functional.leaky_relu(x, slope),
        (0,),
    )


@row("elu")
def _(draw: Draw) -> Case:
    alpha = draw(st.sampled_from([1.0, 0.5, 2.0]))
    return Case(
        (array(draw, draw(shapes), nonzero),),
        lambda x: ops.elu(x, alpha),
        lambda x: torch.where(x > 0, x, alpha * torch.expm1(x)),
        (0,),
    )


@row("logical_and")
def _(draw: Draw) -> Case:
    x, y = (mask(draw, of) for of in broadcastable(draw, 2))
    return Case((x, y), ops.logical_and, lambda x, y: x & y)


@row("logical_or")
def _(draw: Draw) -> Case:
    x, y = (mask(draw, of) for of in broadcastable(draw, 2))
    return Case((x, y), ops.logical_or, lambda x, y: x | y)


@row("logical_not")
def _(draw: Draw) -> Case:
    return Case((mask(draw, draw(shapes)),), ops.logical_not, lambda x: ~x)


@row("where")
def _(draw: Draw) -> Case:
    first, second, third = broadcastable(draw, 3)
    inputs = (mask(draw, first), array(draw, second), array(draw, third))
    return Case(inputs, ops.where, torch.where, (1, 2))


@row("cast")
def _(draw: Draw) -> Case:
    return Case(
        (array(draw, draw(shapes)),),
        lambda x: ops.astype(x, np.float32),
        lambda x: x.float(),
        (0,),
    )


# ---- reductions ----------------------------------------------------------------------------


def reduction(name: str, ours: Any, theirs: Any, values: Any = normal, of: Any = shapes) -> None:
    """Add a row whose peer is called with a tuple of axes and `keepdim`."""

    def draw_case(draw: Draw) -> Case:
        x = array(draw, draw(of), values)
        axis, keep = some_axes(draw, x.ndim), draw(st.booleans())
        axes = listed(axis, x.ndim)
        return Case(
            (x,),
            lambda x: ours(x, axis=axis, keepdims=keep),
            lambda x: theirs(x, axes, keep) if axes else x.abs() if name == "norm" else x,
            (0,),
        )

    ROWS[name] = draw_case


def _prod(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    for axis in axes:
        x = torch.prod(x, axis, keepdim=True)
    return x if keep else x.reshape([n for i, n in enumerate(x.shape) if i not in axes])


reduction("sum", ops.sum, lambda x, a, k: torch.sum(x, a, keepdim=k))
reduction("max", ops.max, lambda x, a, k: torch.amax(x, a, keepdim=k), distinct, full_shapes)
reduction("min", ops.min, lambda x, a, k: torch.amin(x, a, keepdim=k), distinct, full_shapes)
reduction("logsumexp", ops.logsumexp, lambda x, a, k: torch.logsumexp(x, a, keepdim=k))
reduction("prod", ops.prod, _prod)
reduction(
    "norm",
    ops.norm,
    lambda x, a, k: torch.sqrt(torch.sum(x * x, a, keepdim=k)),
    nonzero,
    full_shapes,
)


def arg(name: str, ours: Any, theirs: Callable[..., Any]) -> None:
    def draw_case(draw: Draw) -> Case:
        x = array(draw, draw(full_shapes), distinct)
        axis, keep = one_axis(draw, x.ndim), draw(st.booleans())
        return Case(
            (x,),
            lambda x: ours(x, axis=axis, keepdims=keep),
            lambda x: theirs(x, axis, keep),
        )

    ROWS[name] = draw_case


arg("argmax", ops.argmax, lambda x, a, k: torch.argmax(x, a, keepdim=k))
arg("argmin", ops.argmin, lambda x, a, k: torch.argmin(x, a, keepdim=k))


def along_axis(
    name: str, ours: Any, theirs: Any, values: Any = normal, of: Any = full_shapes
) -> None:
    def draw_case(draw: Draw) -> Case:
        x = array(draw, draw(of), values)
        axis = one_axis(draw, x.ndim)
        return Case((x,), lambda x: ours(x, axis=axis), lambda x: theirs(x, axis), (0,))

    ROWS[name] = draw_case


along_axis("softmax", ops.softmax, torch.softmax, of=lists)
along_axis("log_softmax", ops.log_softmax, torch.log_softmax, of=lists)
along_axis("max_with_index", ops.max_with_index, lambda x, a: tuple(torch.max(x, a)), distinct)


def _classes(draw: Draw) -> tuple[Array, Array, int]:
    x = array(draw, draw(lists))
    axis = one_axis(draw, x.ndim) % x.ndim
    if not x.shape[axis]:
        x = np.ones((*x.shape[:axis], 2, *x.shape[axis + 1 :]))
    of = (*x.shape[:axis], *x.shape[axis + 1 :])
    return x, integers(draw, of, 0, x.shape[axis]), axis


@row("class_loss")
def _(draw: Draw) -> Case:
    x, target, axis = _classes(draw)
    count = draw(st.sampled_from((None, 1, 7)))

    def theirs(x: Any, t: Any) -> Any:
        loss = -torch.log_softmax(x, axis).gather(axis, t.unsqueeze(axis)).squeeze(axis)
        return loss if count is None else loss.sum() / count

    return Case((x, target), emit("class_loss", axis=axis, count=count), theirs, (0,))


@row("class_loss_slope")
def _(draw: Draw) -> Case:
    x, target, axis = _classes(draw)

    def theirs(x: Any, t: Any) -> Any:
        ones = torch.nn.functional.one_hot(t, x.shape[axis]).movedim(-1, axis)
        return (torch.softmax(x, axis) - ones) / 7

    return Case((x, target), emit("class_loss_slope", axis=axis, count=7), theirs, (0,))


@row("sort")
def _(draw: Draw) -> Case:
    x = array(draw, draw(lists), distinct)
    axis = one_axis(draw, x.ndim)
    ours = emit("sort", axis=axis % x.ndim)
    if draw(st.booleans()):
        return Case((x,), ours, lambda x: tuple(torch.sort(x, axis)), (0,))
    return Case(
        (x,),
        lambda x: ops.sort(x, axis=axis, descending=True),
        lambda x: torch.sort(x, axis, descending=True)[0],
        (0,),
    )


@row("cumulative_sum")
def _(draw: Draw) -> Case:
    x = array(draw, draw(lists))
    axis, reverse = one_axis(draw, x.ndim), draw(st.booleans())
    if not reverse:
        ours = lambda x: ops.cumulative_sum(x, axis=axis)  # noqa: E731
        return Case((x,), ours, lambda x: torch.cumsum(x, axis), (0,))
    return Case(
        (x,),
        emit("cumulative_sum", axis=axis % x.ndim, reverse=True),
        lambda x: torch.flip(torch.cumsum(torch.flip(x, (axis,)), axis), (axis,)),
        (0,),
    )


@row("cumulative_prod")
def _(draw: Draw) -> Case:
    x = array(draw, draw(full_shapes))
    axis, reverse, exclusive = one_axis(draw, x.ndim), draw(st.booleans()), draw(st.booleans())
    if draw(st.booleans()):
        x = np.where(np.abs(x) < 0.5, 0.0, x)  # zeros among the factors

    def theirs(x: Any) -> Any:
        x = torch.flip(x, (axis,)) if reverse else x
        if exclusive:
            one = torch.ones_like(x.narrow(axis, 0, 1))
            x = torch.cat([one, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
        factors, total, parts = x.unbind(axis), None, []
        for factor in factors:
            total = factor if total is None else total * factor
            parts.append(total)
        y = torch.stack(parts, axis)
        return torch.flip(y, (axis,)) if reverse else y

    params = {"axis": axis % x.ndim, "reverse": reverse, "exclusive": exclusive}
    return Case((x,), emit("cumulative_prod", **params), theirs, (0,))


@row("linear_recurrence")
def _(draw: Draw) -> Case:
    of = draw(full_shapes)
    axis, reverse = one_axis(draw, len(of)), draw(st.booleans())

    def theirs(a: Any, b: Any) -> Any:
        places = range(of[axis])
        y, parts = None, {}
        for k in reversed(places) if reverse else places:
            term = b.select(axis, k)
            y = term if y is None else a.select(axis, k) * y + term
            parts[k] = y
        return torch.stack([parts[k] for k in places], axis)

    ours = emit("linear_recurrence", axis=axis % len(of), reverse=reverse)
    return Case((array(draw, of), array(draw, of)), ours, theirs, (0, 1))

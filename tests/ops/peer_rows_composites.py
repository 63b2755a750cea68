"""Rows for functions composed of several primitives."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.peer_cases import (
    COMPOSITES,
    Array,
    Case,
    Draw,
    array,
    full_shapes,
    integers,
    listed,
    nonzero,
    one_axis,
    ops,
    row,
    shapes,
    sides,
    some_axes,
    torch,
)


def composite(name: str) -> Any:
    return row(name, COMPOSITES)


def unary(name: str, ours: Any, theirs: Any) -> None:
    @composite(name)
    def _(draw: Draw) -> Case:
        return Case((array(draw, draw(shapes)),), ours, theirs, (0,))


unary("silu", ops.silu, torch.nn.functional.silu)
unary("gelu", ops.gelu, torch.nn.functional.gelu)
unary(
    "gelu by tanh",
    lambda x: ops.gelu(x, approximate="tanh"),
    lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
)


@composite("mean")
def _(draw: Draw) -> Case:
    x = array(draw, draw(full_shapes))
    axis, keep = some_axes(draw, x.ndim), draw(st.booleans())
    return Case(
        (x,),
        lambda x: ops.mean(x, axis=axis, keepdims=keep),
        lambda x: torch.mean(x, listed(axis, x.ndim), keepdim=keep),
        (0,),
    )


@composite("var and std")
def _(draw: Draw) -> Case:
    x = array(draw, tuple(n + 1 for n in draw(full_shapes)))
    axis, keep, correction = some_axes(draw, x.ndim), draw(st.booleans()), draw(st.integers(0, 1))
    return Case(
        (x,),
        lambda x: (
            ops.var(x, axis, correction, keep),
            ops.std(x, axis, correction, keep),
        ),
        lambda x: tuple(
            f(x, listed(axis, x.ndim), correction=correction, keepdim=keep)
            for f in (torch.var, torch.std)
        ),
        (0,),
    )


@composite("einsum of three")
def _(draw: Draw) -> Case:
    spec = draw(st.sampled_from(["ij,jk,kl->il", "ij,ij,ij->j", "i,ij,j->", "ij,k,jk->ki"]))
    lengths = {label: draw(sides) for label in "ijkl"}
    inputs = tuple(
        array(draw, tuple(lengths[label] for label in labels))
        for labels in spec.partition("->")[0].split(",")
    )
    return Case(
        inputs,
        lambda *xs: ops.einsum(spec, *xs),
        lambda *xs: torch.einsum(spec, *xs),
        (0, 1, 2),
    )


@composite("einsum of every form")
def _(draw: Draw) -> Case:
    n, m, k = (draw(sides) for _ in range(3))
    spec, *of = draw(
        st.sampled_from(
            [
                ("ii", (n, n)),
                ("ji", (n, m)),
                ("iij->ij", (n, n, m)),
                ("jiji->i", (m, n, m, n)),
                ("ii,ij", (n, n), (n, m)),
                ("...ij,...jk->...ik", (k, 1, n, m), (2, m, n)),
                ("...ij,jk->...ik", (2, n, m), (m, k)),
                ("...i,i...", (n, m), (m, n)),
                ("i...,...", (n, m), (m,)),
                ("ij,ij->ij", (n, m), (1, m)),
                ("ij,ij->j", (n, 1), (n, m)),
            ]
        )
    )
    return Case(
        tuple(array(draw, shape) for shape in of),
        lambda *xs: ops.einsum(spec, *xs),
        lambda *xs: torch.einsum(spec, *xs),
        tuple(range(len(of))),
    )


@composite("tensordot")
def _(draw: Draw) -> Case:
    a, b, c, d = (draw(sides) for _ in range(4))
    x, y = array(draw, (a, b, c)), array(draw, (c, d, b))
    axes = draw(st.sampled_from([((2,), (0,)), ((-1, 1), (0, 2)), ((1,), (-1,))]))
    return Case(
        (x, y),
        lambda x, y: ops.tensordot(x, y, axes),
        lambda x, y: torch.tensordot(x, y, axes),
        (0, 1),
    )


@composite("stack")
def _(draw: Draw) -> Case:
    of = draw(shapes)
    axis = one_axis(draw, len(of) + 1)
    inputs = (array(draw, of), array(draw, of))
    return Case(
        inputs, lambda x, y: ops.stack((x, y), axis), lambda x, y: torch.stack((x, y), axis), (0, 1)
    )


@composite("subscripts")
def _(draw: Draw) -> Case:
    x = array(draw, (3, 4, 2))
    i, j = integers(draw, (3, 1), -3, 3), integers(draw, (2,), -2, 2)
    keys = [
        lambda i, j: (i,),
        lambda i, j: (i, slice(None), j),
        lambda i, j: (slice(None), i, j),
        lambda i, j: (..., j),
        lambda i, j: (i, j),
        lambda i, j: (slice(1, None), j, 0),
        lambda i, j: (1, j),
        lambda i, j: (None, slice(None, None, 2), ..., None),
    ]
    key = draw(st.sampled_from(keys))
    return Case(
        (x, i, j), lambda x, i, j: ops.getitem(x, key(i, j)), lambda x, i, j: x[key(i, j)], (0,)
    )


# ---- windows -------------------------------------------------------------------------------


def image(draw: Draw, channels: int) -> Array:
    lead = draw(st.sampled_from([(), (1,), (2,)]))
    size = (draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    x = array(draw, (*lead, channels, *size))
    return np.argsort(np.argsort(x, None)).reshape(x.shape) / 7.0  # no two elements are equal


@composite("conv2d")
def _(draw: Draw) -> Case:
    groups, per_group = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x = image(draw, groups * per_group)
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    w = array(draw, (2 * groups, per_group, *kernel))
    options = {
        "stride": draw(st.sampled_from([1, 2, (1, 3)])),
        "padding": draw(st.sampled_from([2, (2, 3)])),
        "dilation": draw(st.sampled_from([1, 2])),
        "groups": groups,
    }
    return Case(
        (x, w, array(draw, (2 * groups,))),
        lambda *xs: ops.conv2d(*xs, **options),
        lambda *xs: torch.nn.functional.conv2d(*xs, **options),
        (0, 1, 2),
    )


@composite("max_pool2d")
def _(draw: Draw) -> Case:
    size = draw(st.sampled_from([2, 3, (2, 3)]))
    options = {
        "stride": draw(st.sampled_from([None, 1, (2, 1)])),
        "padding": draw(st.sampled_from([0, 1])),
        "dilation": draw(st.sampled_from([1, (1, 1)])),
    }
    return Case(
        (image(draw, 2),),
        lambda x: ops.max_pool2d(x, size, **options),
        lambda x: torch.nn.functional.max_pool2d(x, size, **options),
        (0,),
    )


@composite("avg_pool2d")
def _(draw: Draw) -> Case:
    size = draw(st.sampled_from([2, 3, (2, 3)]))
    options = {
        "stride": draw(st.sampled_from([None, 1, (2, 1)])),
        "padding": draw(st.sampled_from([0, 1])),
    }
    return Case(
        (image(draw, 2),),
        lambda x: ops.avg_pool2d(x, size, **options),
        lambda x: torch.nn.functional.avg_pool2d(x, size, **options),
        (0,),
    )


# ---- losses --------------------------------------------------------------------------------

reductions = st.sampled_from(["mean", "sum", "none"])


@composite("mse_loss")
def _(draw: Draw) -> Case:
    of, reduction = draw(full_shapes), draw(reductions)
    return Case(
        (array(draw, of), array(draw, of)),
        lambda x, y: ops.mse_loss(x, y, reduction),
        lambda x, y: torch.nn.functional.mse_loss(x, y, reduction=reduction),
        (0, 1),
    )


@composite("l1_loss")
def _(draw: Draw) -> Case:
    of, reduction = draw(full_shapes), draw(reductions)
    return Case(
        (array(draw, of, nonzero), array(draw, of) * 1e-3),
        lambda x, y: ops.l1_loss(x, y, reduction),
        lambda x, y: torch.nn.functional.l1_loss(x, y, reduction=reduction),
        (0, 1),
    )


@composite("binary_cross_entropy_with_logits")
def _(draw: Draw) -> Case:
    of, reduction = draw(full_shapes), draw(reductions)
    x, t = array(draw, of) * 5, array(draw, of) > 0
    w, p = np.exp(array(draw, of)), np.exp(array(draw, of[-1:]))
    name = "binary_cross_entropy_with_logits"
    return Case(
        (x, t.astype(np.float64), w, p),
        lambda x, t, w, p: ops.binary_cross_entropy_with_logits(x, t, w, reduction, p),
        lambda x, t, w, p: getattr(torch.nn.functional, name)(
            x, t, weight=w, reduction=reduction, pos_weight=p
        ),
        (0,),
    )


@composite("cross_entropy")
def _(draw: Draw) -> Case:
    classes = draw(st.integers(2, 4))
    lead, tail = draw(st.sampled_from([((), ()), ((3,), ()), ((2,), (3,)), ((2,), (1, 2))]))
    x = array(draw, (*lead, classes, *tail)) * 5
    target = integers(draw, lead + tail, 0, classes)
    ignored = draw(st.sampled_from([-100, 0, 1]))
    reduction = draw(reductions)
    if reduction == "mean" and (target == ignored).all():
        reduction = "sum"  # the mean of nothing
    options = {"reduction": reduction, "ignore_index": ignored}
    options["label_smoothing"] = draw(st.sampled_from([0.0, 0.2]))
    w = np.exp(array(draw, (classes,)))
    return Case(
        (x, target, w),
        lambda x, t, w: ops.cross_entropy(x, t, w, **options),
        lambda x, t, w: torch.nn.functional.cross_entropy(x, t, w, **options),
        (0,),
    )


@composite("cross_entropy of probabilities")
def _(draw: Draw) -> Case:
    x, t = array(draw, (3, 4)) * 5, np.exp(array(draw, (3, 4)))
    options = {"reduction": draw(reductions), "label_smoothing": draw(st.sampled_from([0.0, 0.2]))}
    return Case(
        (x, t / t.sum(1, keepdims=True), np.exp(array(draw, (4,)))),
        lambda x, t, w: ops.cross_entropy(x, t, w, **options),
        lambda x, t, w: torch.nn.functional.cross_entropy(x, t, w, **options),
        (0, 1),
    )


@composite("nll_loss")
def _(draw: Draw) -> Case:
    x, target = array(draw, (4, 3)), integers(draw, (4,), 0, 3)
    reduction = draw(reductions)
    return Case(
        (x, target, np.exp(array(draw, (3,)))),
        lambda x, t, w: ops.nll_loss(x, t, w, reduction),
        lambda x, t, w: torch.nn.functional.nll_loss(x, t, w, reduction=reduction),
        (0,),
    )

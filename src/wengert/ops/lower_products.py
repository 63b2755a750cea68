"""The lowering of a contraction: a matrix product, a sum of products, or an outer product."""

from __future__ import annotations

import math

from wengert.ops.lower_reductions import adding
from wengert.ops.lowering import Expressions, Kernels, Scalar, View

_NARROW = 4
"""Matrices with fewer rows or columns are multiplied by sums of products."""


def _multiply(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    return e.mul(x, y)


def _over(kernels: Kernels, x: View, labels: str, space: str, lengths: dict[str, int]) -> View:
    """Return `x`, whose axes are `labels`, repeated over the index space of all labels."""
    steps = dict(zip(labels, x.strides, strict=True))
    return kernels.view(
        x, [lengths[label] for label in space], [steps.get(label, 0) for label in space]
    )


def contract(kernels: Kernels, x: View, y: View, spec: str) -> View:
    """Lower a contraction in Einstein's notation."""
    operands, _, result = spec.partition("->")
    labels_x, _, labels_y = operands.partition(",")
    lengths = dict(zip(labels_x + labels_y, x.shape + y.shape, strict=True))
    inner = "".join(a for a in labels_x if a not in result)
    if not inner:
        wide = [
            _over(kernels, v, labels, result, lengths)
            for v, labels in ((x, labels_x), (y, labels_y))
        ]
        return kernels.map(_multiply, *wide)
    if result[-1:] in labels_x and result[-1:] not in labels_y:
        x, y, labels_x, labels_y = y, x, labels_y, labels_x
    batch = "".join(a for a in result if a in labels_x and a in labels_y)
    rows = "".join(a for a in result if a not in labels_y)
    columns = "".join(a for a in result if a not in labels_x)
    narrow = min(math.prod(lengths[a] for a in group) for group in (rows, columns)) < _NARROW
    if narrow or x.dtype.kind != "f":
        space = result + inner
        if math.prod(x.shape) < math.prod(y.shape):  # what comes from afar is asked for first
            x, y, labels_x, labels_y = y, x, labels_y, labels_x
        return kernels.reduce(
            adding(x.dtype),
            range(len(result), len(space)),
            _over(kernels, x, labels_x, space, lengths),
            _over(kernels, y, labels_y, space, lengths),
            lift=lambda e, a, b: (e.mul(a, b),),
            dtypes=(x.dtype,),
        )[0]
    made = batch + rows + columns
    z = kernels.product(
        _over(kernels, x, labels_x, made + inner, lengths),
        _over(kernels, y, labels_y, made + inner, lengths),
        len(made),
    )
    return _over(kernels, z, made, result, lengths)


def linear(kernels: Kernels, x: View, w: View, b: View) -> View:
    """Lower ``x @ w.T + b``."""
    (out,) = kernels.outputs
    lead = "nopqrstuvwxyz"[: len(x.shape) - 1]
    product = contract(kernels, x, w, f"{lead}k,mk->{lead}m")
    return kernels.map(lambda e, p, c: e.add(p, c), product, b, shape=out.shape)

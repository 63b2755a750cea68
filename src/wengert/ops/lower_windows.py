"""Lowerings of windows, which are views, and of the sum of windows at the places they show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from wengert.ops.lower_views import Key, Shape, part
from wengert.ops.lowering import Expressions, Kernels, Scalar, View, identity


class Sliding(NamedTuple):
    """How windows lie on the axes of an array: each tuple has a number for each of `axes`."""

    axes: Sequence[int]
    sizes: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]

    def over(self, kernels: Kernels, x: View, shape: Shape) -> View:
        """Return the windows over `x`, of shape `shape`."""
        steps = list(x.strides)
        for axis, stride in zip(self.axes, self.strides, strict=True):
            steps[axis] *= stride
        inside = [x.strides[axis] * n for axis, n in zip(self.axes, self.dilations, strict=True)]
        return kernels.view(x, shape, steps + inside)


def windows(
    kernels: Kernels,
    x: View,
    axes: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> View:
    """Lower windows that slide over axes: a view."""
    (out,) = kernels.outputs
    return Sliding(axes, sizes, strides, dilations).over(kernels, x, out.shape)


def overlap_add(  # noqa: PLR0913, PLR0917  (the primitive's parameters)
    kernels: Kernels,
    y: View,
    axes: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    shape: Shape,
) -> View:
    """Lower the sum of windows at the places that they show."""
    sliding = Sliding(axes, sizes, strides, dilations)
    if math.prod(y.shape) and all(
        (stride, shape[axis], dilation) == (size, y.shape[axis] * size, 1)
        for axis, size, stride, dilation in zip(*sliding, strict=True)
    ):
        return _side_by_side(kernels, y, sliding, shape)
    factors = kernels.factors(y)
    if factors is not None:
        for pair in (factors, factors[::-1]):
            if _slides(*pair, sliding, len(shape)):
                return _transposed_product(kernels, *pair, sliding, shape)
    result = kernels.copy(kernels.constant(0, shape, y.dtype))
    seen = sliding.over(kernels, result, y.shape)
    for offsets in itertools.product(*map(range, sizes)):
        key: Key = (*[slice(None)] * len(shape), *offsets)
        target = part(kernels, seen, key)
        kernels.write(target, _add, target, part(kernels, y, key))
    return result


def _add(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    return e.add(x, y)


def _plus_zero(e: Expressions, x: Scalar) -> Scalar:
    """Return what adding `x` to a sum that is still 0 gives: 0 for -0."""
    return e.add(x, 0)


def _side_by_side(kernels: Kernels, y: View, sliding: Sliding, shape: Shape) -> View:
    """Return windows that fill the array without overlap, each element in its place."""
    rank = len(shape)
    inside = {axis: rank + i for i, axis in enumerate(sliding.axes)}
    order = [i for axis in range(rank) for i in (axis, *([inside[axis]] if axis in inside else []))]
    moved = kernels.view(y, [y.shape[i] for i in order], [y.strides[i] for i in order])
    return kernels.reshape(kernels.map(_plus_zero, moved), shape)


def _slides(x: View, y: View, sliding: Sliding, rank: int) -> bool:
    """Tell whether `x` knows nothing of the places in a window, and `y` nothing of where it is."""
    inside = range(rank, rank + len(sliding.axes))
    return not any(x.strides[i] for i in inside) and not any(y.strides[i] for i in sliding.axes)


def _transposed_product(kernels: Kernels, x: View, y: View, sliding: Sliding, shape: Shape) -> View:
    """Return the overlapping sum of the windows ``sum(x * y)``, without ever making them.

    An element of the sum is a product over the places in a window too: of `x`, spread by the
    stride and surrounded by zeros, as seen through windows, and of `y`, whose order is reversed.
    """
    rank = len(shape)
    spread = _spread(kernels, x, sliding, shape)
    steps_x, steps_y = list(spread.strides), list(y.strides)
    start = 0
    for i, (axis, size, _, dilation) in enumerate(zip(*sliding, strict=True), start=rank):
        steps_x[i] = steps_x[axis] * dilation
        start += (size - 1) * steps_y[i]
        steps_y[i] = -steps_y[i]
    whole = (*shape, *y.shape[rank:])
    return kernels.product(
        kernels.view(spread, whole, steps_x), kernels.view(y, whole, steps_y, start), rank
    )


def _spread(kernels: Kernels, x: View, sliding: Sliding, shape: Shape) -> View:
    """Return `x` with its elements `strides` apart along the axes, between zeros.

    The result has the axes of `x`; those that `x` does not walk have stride 0.
    """
    lengths, starts, steps = list(x.shape), [0] * len(x.shape), [1] * len(x.shape)
    for axis, size, stride, dilation in zip(*sliding, strict=True):
        starts[axis], steps[axis] = (size - 1) * dilation, stride
        lengths[axis] = shape[axis] + starts[axis]
    own = [i for i, s in enumerate(x.strides) if s or i in sliding.axes]
    result = kernels.copy(kernels.constant(0, [lengths[i] for i in own], x.dtype))
    wide = dict(zip(own, result.strides, strict=True))
    target = kernels.view(
        result,
        [x.shape[i] for i in own],
        [wide[i] * steps[i] for i in own],
        sum(wide[i] * starts[i] for i in own),
    )
    seen = kernels.view(x, [x.shape[i] for i in own], [x.strides[i] for i in own])
    kernels.write(target, identity, seen)
    return kernels.view(result, lengths, [wide.get(i, 0) for i in range(len(lengths))])

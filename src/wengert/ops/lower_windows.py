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


class _Phase(NamedTuple):
    """The places ``first``, ``first + stride``, … of an axis, which see the same part of windows.

    Attributes
    ----------
    first, places : int
        The first of these places, and how many there are.
    offsets : range
        The places in a window that they are seen at.
    shift, back : int
        Place number i is seen at the offset number j by the window ``i + shift - j * back``.
    """

    first: int
    places: int
    offsets: range
    shift: int
    back: int

    @property
    def earliest(self) -> int:
        """The first window that the first place asks for; it need not exist."""
        return self.shift - self.back * (len(self.offsets) - 1)


def _phases(n: int, size: int, stride: int, dilation: int) -> list[_Phase]:
    """Return the phases of an axis of length `n`, without those that no window shows."""
    step = stride // math.gcd(stride, dilation)
    found = []
    for first in range(min(stride, n)):
        start = next((k for k in range(size) if (first - k * dilation) % stride == 0), None)
        if start is not None:
            shift, back = (first - start * dilation) // stride, step * dilation // stride
            count = len(range(first, n, stride))
            found.append(_Phase(first, count, range(start, size, step), shift, back))
    return found


def _transposed_product(kernels: Kernels, x: View, y: View, sliding: Sliding, shape: Shape) -> View:
    """Return the overlapping sum of the windows ``sum(x * y)``, without ever making them.

    An element of the sum is a product over the places in a window too: of `x`, between zeros, as
    seen through windows, and of `y`, whose order is reversed. If the windows are several steps
    apart, neighbouring elements see other places in them: each phase is a product of its own.
    """
    phases = [
        _phases(shape[axis], size, stride, dilation)
        for axis, size, stride, dilation in zip(*sliding, strict=True)
    ]
    margins = [max(0, *(-p.earliest for p in found)) for found in phases]
    x = _surrounded(kernels, x, sliding, phases, margins)
    if all(stride == 1 for stride in sliding.strides):
        (only,) = itertools.product(*phases)
        return _phase(kernels, x, y, sliding, shape, only, margins)
    result = kernels.copy(kernels.constant(0, shape, y.dtype))
    for chosen in itertools.product(*phases):
        key = [slice(None)] * len(shape)
        for axis, stride, p in zip(sliding.axes, sliding.strides, chosen, strict=True):
            key[axis] = slice(p.first, None, stride)
        made = _phase(kernels, x, y, sliding, shape, chosen, margins)
        kernels.write(part(kernels, result, tuple(key)), identity, made)
    return result


def _phase(  # noqa: PLR0913, PLR0917  (two factors, and how they lie)
    kernels: Kernels,
    x: View,
    y: View,
    sliding: Sliding,
    shape: Shape,
    chosen: Sequence[_Phase],
    margins: Sequence[int],
) -> View:
    """Return one phase of the sum, a product of the surrounded `x` and of `y`."""
    rank = len(shape)
    lengths, steps_x, steps_y = [*shape, *y.shape[rank:]], list(x.strides), list(y.strides)
    start_x = start_y = 0
    for i, (axis, p, margin) in enumerate(zip(sliding.axes, chosen, margins, strict=True), rank):
        lengths[axis], lengths[i] = p.places, len(p.offsets)
        start_x += (margin + p.earliest) * x.strides[axis]
        steps_x[i] = p.back * x.strides[axis]
        start_y += p.offsets[-1] * y.strides[i]
        steps_y[i] = -p.offsets.step * y.strides[i]
    return kernels.product(
        kernels.view(x, lengths, steps_x, start_x), kernels.view(y, lengths, steps_y, start_y), rank
    )


def _surrounded(
    kernels: Kernels,
    x: View,
    sliding: Sliding,
    phases: Sequence[Sequence[_Phase]],
    margins: Sequence[int],
) -> View:
    """Return `x` between zeros along the axes, so that every window that is asked for exists.

    The result has the axes of `x`; those that `x` does not walk have stride 0.
    """
    lengths = list(x.shape)
    own = [i for i, s in enumerate(x.strides) if s or i in sliding.axes]
    for axis, found, margin in zip(sliding.axes, phases, margins, strict=True):
        lengths[axis] = margin + max(x.shape[axis], *(p.places + p.shift for p in found))
    result = kernels.copy(kernels.constant(0, [lengths[i] for i in own], x.dtype))
    wide = dict(zip(own, result.strides, strict=True))
    before = sum(n * wide[axis] for axis, n in zip(sliding.axes, margins, strict=True))
    shape = [x.shape[i] for i in own]
    target = kernels.view(result, shape, result.strides, before)
    kernels.write(target, identity, kernels.view(x, shape, [x.strides[i] for i in own]))
    return kernels.view(result, lengths, [wide.get(i, 0) for i in range(len(lengths))])

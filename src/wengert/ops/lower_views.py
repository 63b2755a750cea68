"""Lowerings of the operations that move elements about: most only look at them differently."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wengert.ops.lowering import Expressions, Kernels, Scalar, View, identity

Shape = tuple[int, ...]
Key = tuple[int | slice, ...]


def _add(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    return e.add(x, y)


def repeat(kernels: Kernels, x: View, shape: Shape) -> View:
    """Lower the repetition of `x` to `shape`."""
    strides = [0 if n == 1 else step for n, step in zip(x.shape, x.strides, strict=True)]
    return kernels.view(x, shape, [0] * (len(shape) - len(strides)) + strides)


def permute(kernels: Kernels, x: View, axes: Sequence[int]) -> View:
    """Lower a permutation of axes."""
    return kernels.view(x, [x.shape[i] for i in axes], [x.strides[i] for i in axes])


def flip(kernels: Kernels, x: View, axes: Sequence[int]) -> View:
    """Lower the reversal of axes."""
    if math.prod(x.shape) == 0:
        return x
    start = sum((x.shape[i] - 1) * x.strides[i] for i in axes)
    strides = [-step if i in axes else step for i, step in enumerate(x.strides)]
    return kernels.view(x, x.shape, strides, start)


def part(kernels: Kernels, x: View, key: Key) -> View:
    """Lower ``x[key]``."""
    start = 0
    shape: list[int] = []
    strides: list[int] = []
    for index, n, step in zip(key, x.shape, x.strides, strict=False):
        if isinstance(index, slice):
            places = range(*index.indices(n))
            start += places.start * step if places else 0
            shape.append(len(places))
            strides.append(places.step * step)
        else:
            start += index % n * step
    rest = len(key)
    return kernels.view(x, (*shape, *x.shape[rest:]), (*strides, *x.strides[rest:]), start)


def part_add(kernels: Kernels, buffer: View, update: View, key: Key) -> View:
    """Lower the addition of `update` to ``buffer[key]``."""
    result = kernels.copy(buffer)
    target = part(kernels, result, key)
    kernels.write(target, _add, target, update)
    return result


def part_set(kernels: Kernels, buffer: View, update: View, key: Key) -> View:
    """Lower the replacement of ``buffer[key]`` by `update`."""
    result = kernels.copy(buffer)
    kernels.write(part(kernels, result, key), identity, update)
    return result


def concat(kernels: Kernels, *xs: View, axis: int) -> View:
    """Lower the joining of arrays along an axis."""
    (out,) = kernels.outputs
    result = kernels.empty(out.shape, out.dtype)
    start = 0
    for x in xs:
        target = kernels.view(result, x.shape, result.strides, start * result.strides[axis])
        kernels.write(target, identity, x)
        start += x.shape[axis]
    return result


def pad(kernels: Kernels, x: View, widths: Sequence[tuple[int, int]]) -> View:
    """Lower the surrounding of `x` with zeros."""
    (out,) = kernels.outputs
    result = kernels.copy(kernels.constant(0, out.shape, out.dtype))
    start = sum(low * step for (low, _), step in zip(widths, result.strides, strict=True))
    kernels.write(kernels.view(result, x.shape, result.strides, start), identity, x)
    return result

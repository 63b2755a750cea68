"""Batching rules: how a primitive is applied when some operands have a batch axis in front.

No rule loops over the batch or stacks results, so the number of operations does not depend on
the batch size. A rule returns the outputs and whether each has the batch axis in front.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.graph.bind import bind
from wengert.graph.primitive import Outputs, Params, Primitive
from wengert.graph.variable import Variable
from wengert.ops.derivatives import broadcast, emit


def with_rank(x: Variable, rank: int) -> Variable:
    """Return `x`, whose first axis is the batch, with axes of length 1 after it up to `rank`."""
    missing = rank - x.ndim
    if missing <= 0:
        return x
    shape = (x.shape[0], *(1,) * missing, *x.shape[1:])
    return emit("reshape", x, shape=shape)  # type: ignore[no-any-return]


def with_batch(x: Variable, batched: bool, size: int) -> Variable:
    """Return `x` with a batch axis in front: itself, or repeated."""
    return x if batched else broadcast(x, (size, *x.shape))


def batch_elementwise(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    """Align the ranks of the batched operands, then let broadcasting do it."""
    del size
    rank = max(x.ndim + (not b) for x, b in zip(xs, batched, strict=True))
    aligned = tuple(with_rank(x, rank) if b else x for x, b in zip(xs, batched, strict=True))
    return bind(primitive, aligned, params), True


def shift(axes: Sequence[int]) -> tuple[int, ...]:
    """Return the axes of one example as axes of the batch."""
    return tuple(axis + 1 for axis in axes)


def batch_by_axes(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    """Batch a primitive of one operand that works along ``axes`` or ``axis``: shift them."""
    del batched, size
    shifted = dict(params)
    if "axes" in shifted:
        shifted["axes"] = shift(shifted["axes"])
    if "axis" in shifted:
        shifted["axis"] += 1
    return bind(primitive, xs, shifted), True

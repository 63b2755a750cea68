"""Rules for operations that move elements about: chains become one operation, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from wengert.graph.primitive import Params
from wengert.graph.variable import Variable
from wengert.ops.contraction import split
from wengert.passes.rewriting import Inputs, Rewriting

Simpler: TypeAlias = Callable[[Rewriting, Inputs, Params], Variable | None]


def fitted(site: Rewriting, x: Variable, shape: tuple[int, ...]) -> Variable:
    """Return `x` repeated to `shape`: itself, where that is its shape."""
    return x if x.shape == shape else site.emit("broadcast", x, shape=shape)


def reshape(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Go to the last shape at once."""
    (x,) = inputs
    if x.shape == params["shape"]:
        return x
    first = site.maker(x, "reshape")
    return site.emit("reshape", first.inputs[0], **params) if first else None


def broadcast(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Repeat to the last shape at once; axes of length 1 in front need not be put there first."""
    (x,) = inputs
    if x.shape == params["shape"]:
        return x
    if first := site.maker(x, "broadcast"):
        return site.emit("broadcast", first.inputs[0], **params)
    first = site.maker(x, "reshape")
    if first is None:
        return None
    given = first.inputs[0]
    ones = (1,) * (x.ndim - given.ndim)
    return site.emit("broadcast", given, **params) if x.shape == ones + given.shape else None


def permute(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Permute once; only look at the shape where no axis longer than 1 passes another."""
    (x,) = inputs
    axes = params["axes"]
    if axes == tuple(range(x.ndim)):
        return x
    if first := site.maker(x, "permute"):
        given, before = first.inputs[0], first.params["axes"]
        return site.emit("permute", given, axes=tuple(before[axis] for axis in axes))
    long = [axis for axis in axes if x.shape[axis] != 1]
    if long == sorted(long):
        return site.emit("reshape", x, shape=tuple(x.shape[axis] for axis in axes))
    return None


def part(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Take no part that is the whole."""
    (x,) = inputs
    whole = all(
        isinstance(key, slice) and key.indices(n) == (0, n, 1)
        for key, n in zip(params["key"], x.shape, strict=False)
    )
    return x if whole else None


def concat(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Join nothing to one array."""
    return inputs[0] if len(inputs) == 1 else None


def pad(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Put no widths of zero around."""
    return inputs[0] if all(low == high == 0 for low, high in params["widths"]) else None


def flip(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Reverse no axis of one element."""
    (x,) = inputs
    return x if all(x.shape[axis] < 2 for axis in params["axes"]) else None  # noqa: PLR2004


def contract(site: Rewriting, inputs: Inputs, params: Params) -> Variable | None:
    """Name the axes of a transposed operand in the order that they had before.

    The order in which terms are summed is that of the labels of the first operand; it must stay.
    """
    labels_x, labels_y, result = split(params["spec"])
    x, labels_x_before = _untransposed(site, inputs[0], labels_x)
    y, labels_y_before = _untransposed(site, inputs[1], labels_y)
    if _summed(labels_x_before, labels_y, result) != _summed(labels_x, labels_y, result):
        x, labels_x_before = inputs[0], labels_x
    if (x, y) == inputs:
        return None
    return site.emit("contract", x, y, spec=f"{labels_x_before},{labels_y_before}->{result}")


def _untransposed(site: Rewriting, x: Variable, labels: str) -> tuple[Variable, str]:
    op = site.maker(x, "permute")
    if op is None:
        return x, labels
    named = dict(zip(op.params["axes"], labels, strict=True))
    return op.inputs[0], "".join(named[axis] for axis in range(len(labels)))


def _summed(labels: str, others: str, result: str) -> list[str]:
    return [label for label in labels if label in others and label not in result]


RULES: dict[str, Simpler] = {
    "reshape": reshape,
    "broadcast": broadcast,
    "permute": permute,
    "slice": part,
    "concat": concat,
    "pad": pad,
    "flip": flip,
    "contract": contract,
}

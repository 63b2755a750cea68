"""The affine map of a linear layer, and the checks that layers with weights share."""

from __future__ import annotations

from wengert.graph.bind import bind
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.variable import Variable
from wengert.ops import linear as ops


def linear(x: Variable, weight: Variable, bias: Variable | None) -> Variable:
    """Return ``x @ weight.T + bias`` for operands of one dtype."""
    shape, dtype = x.shape, x.dtype
    if dtype is not weight.dtype or (bias is not None and dtype is not bias.dtype):
        check_dtypes("linear", x, weight, bias)
    if not shape or shape[-1] != weight.shape[1]:
        raise _misfit(shape, weight.shape)
    if bias is None:
        return ops.linear(x, weight)
    return bind(ops.linear_p, (x, weight, bias))  # type: ignore[no-any-return]


def _misfit(shape: tuple[int, ...], weight: tuple[int, ...]) -> Exception:
    wanted = weight[1]
    if not shape:
        return ShapeError(f"linear: the input needs an axis of {wanted}, got shape ()")
    hint = ""
    if len(shape) == 4 and shape[1] * shape[2] * shape[3] == wanted:  # noqa: PLR2004
        hint = ". Flatten the images first, with nn.Flatten()"
    elif wanted in shape:
        hint = f". Did you mean to put the axis of length {wanted} last?"
    return ShapeError(
        f"linear: the input of shape {shape} has {shape[-1]} in its last dimension, the weight of "
        f"shape {weight} needs {wanted}{hint}"
    )


def check_dtypes(name: str, x: Variable, weight: Variable, bias: Variable | None = None) -> None:
    """Raise DTypeError unless input and parameters have one dtype: nothing is cast silently."""
    dtype = weight.dtype
    for what, v in (("input", x), ("bias", bias)):
        if v is not None and v.dtype != dtype:
            fixes = f"Convert the {what} with .astype('{dtype}')"
            if v.dtype.kind == "f":
                fixes += f", or the module with .to('{v.dtype}')"
            raise DTypeError(f"{name}: the {what} is {v.dtype}, the weight {dtype}. {fixes}")


def check_channels(name: str, x: Variable, weight: Variable, groups: int) -> None:
    """Raise ShapeError unless `x` is images with the channels that `weight` needs."""
    shape, wanted = x.shape, weight.shape[1] * groups
    if len(shape) not in (3, 4):
        raise ShapeError(
            f"{name}: the input must be (N, {wanted}, H, W) or ({wanted}, H, W), got shape {shape}"
        )
    if shape[-3] != wanted:
        hint = ""
        if shape[-1] == wanted:
            last = "(0, 3, 1, 2)" if len(shape) == 4 else "(2, 0, 1)"  # noqa: PLR2004
            hint = f". Put the channels before height and width: wg.permute_dims(x, {last})"
        raise ShapeError(
            f"{name}: the input of shape {shape} has {shape[-3]} channels in dimension "
            f"{len(shape) - 3}, the weight of shape {weight.shape} needs {wanted}{hint}"
        )

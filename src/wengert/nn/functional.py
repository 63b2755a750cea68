"""The functions behind the layers, under PyTorch's names: ``import wengert.nn.functional as F``."""

from __future__ import annotations

from typing import Any

from wengert.graph.tracing import composite
from wengert.nn import affine
from wengert.ops.convert import as_variable
from wengert.tensor import functions, random
from wengert.tensor.tensor import Tensor, operand

Pair = int | tuple[int, int]

elu = functions.elu
gelu = functions.gelu
leaky_relu = functions.leaky_relu
relu = functions.relu
sigmoid = functions.sigmoid
silu = functions.silu
softplus = functions.softplus
tanh = functions.tanh
avg_pool2d = functions.avg_pool2d
max_pool2d = functions.max_pool2d
binary_cross_entropy_with_logits = functions.binary_cross_entropy_with_logits
cross_entropy = functions.cross_entropy
l1_loss = functions.l1_loss
mse_loss = functions.mse_loss
nll_loss = functions.nll_loss


@composite
def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor or array_like
        Shape ``(..., in_features)``.
    weight : Tensor
        Shape ``(out_features, in_features)``, of the dtype of `input`.
    bias : Tensor, optional
        Shape ``(out_features,)``.

    Raises
    ------
    ShapeError
        If the last dimension of `input` is not that of `weight`.
    DTypeError
        If the dtypes differ.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.functional.linear(wg.ones((1, 2)), wg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[3., 7.]])
    """
    x = as_variable(operand(input))
    return Tensor(affine.linear(x, operand(weight), operand(bias)))


def conv2d(  # noqa: PLR0913, PLR0917  (PyTorch's arguments)
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Return the 2-D convolution of `input` with `weight`; see `wengert.conv2d`.

    Parameters
    ----------
    input : Tensor or array_like
        Shape ``(N, C, H, W)`` or ``(C, H, W)``.
    weight : Tensor
        Shape ``(O, C / groups, kh, kw)``, of the dtype of `input`.
    bias : Tensor, optional
        Shape ``(O,)``.
    stride, dilation : int or (int, int)
        Step between windows and inside a window.
    padding : int, (int, int), "valid" or "same"
        Zeros added on each side: "valid" adds none, "same" as many as keep height and width.
    groups : int
        Into how many groups channels are divided.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DTypeError
        If the dtypes differ.

    Examples
    --------
    >>> import wengert as wg
    >>> x, weight = wg.ones((1, 1, 3, 3)), wg.ones((1, 1, 3, 3))
    >>> wg.nn.functional.conv2d(x, weight, padding="same").shape
    (1, 1, 3, 3)
    """
    x, w = as_variable(operand(input)), as_variable(operand(weight))
    b = None if bias is None else as_variable(operand(bias))
    affine.check_dtypes("conv2d", x, w, b)
    affine.check_channels("conv2d", x, w, groups)
    given = input if isinstance(input, Tensor) else Tensor(x)
    if isinstance(padding, str):
        given, padding = _padded(given, w.shape[2:], stride, padding, dilation)
    return functions.conv2d(given, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]


def _padded(
    x: Tensor, sizes: tuple[int, ...], stride: Pair, padding: str, dilation: Pair
) -> tuple[Tensor, Pair]:
    """Return `x` with what "same" adds unevenly, and the padding that is left to be done."""
    if padding == "valid":
        return x, 0
    if padding != "same":
        raise ValueError(f"conv2d: padding must be a number, 'valid' or 'same', got {padding!r}.")
    if stride not in (1, (1, 1)):
        raise ValueError(f"conv2d: padding='same' needs stride 1, got {stride}.")
    spread = (dilation, dilation) if isinstance(dilation, int) else dilation
    height, width = (d * (size - 1) for d, size in zip(spread, sizes, strict=True))
    if height % 2 or width % 2:
        more = [(0, 0)] * (x.ndim - 2) + [(0, height % 2), (0, width % 2)]
        x = functions.pad(x, more)
    return x, (height // 2, width // 2)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return `input` with the axes from `start_dim` to `end_dim` made one.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.functional.flatten(wg.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    return functions.flatten(input, start_dim, end_dim)  # type: ignore[no-any-return]


def softmax(input: Any, dim: int | None = None) -> Tensor:
    """Return the exponentials of `input`, divided by their sum over `dim`.

    Raises
    ------
    ValueError
        If `dim` is missing and there are more than two axes to choose from.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.functional.softmax(wg.tensor([[0.0, 0.0]]), dim=1)
    tensor([[0.5000, 0.5000]])
    """
    return functions.softmax(input, _class_axis("softmax", input, dim))  # type: ignore[no-any-return]


def log_softmax(input: Any, dim: int | None = None) -> Tensor:
    """Return the logarithm of `softmax`, computed without overflow.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.functional.log_softmax(wg.tensor([[0.0, 0.0]]), dim=1)
    tensor([[-0.6931, -0.6931]])
    """
    return functions.log_softmax(input, _class_axis("log_softmax", input, dim))  # type: ignore[no-any-return]


def _class_axis(name: str, x: Any, dim: int | None) -> int:
    if dim is not None:
        return dim
    if getattr(x, "ndim", 1) > 2:  # noqa: PLR2004
        raise ValueError(
            f"{name}: say along which axis, for example dim=-1; the input has shape {x.shape}."
        )
    return -1


def dropout(input: Any, p: Any = 0.5, training: bool = True) -> Tensor:
    """Set each element to zero with probability `p` and scale the others; see `wengert.dropout`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.functional.dropout(wg.ones(3), 0.5, training=False)
    tensor([1., 1., 1.])
    """
    return random.dropout(input, p, training)

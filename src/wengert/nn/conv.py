"""Convolution."""

from __future__ import annotations

import numpy.typing as npt

from wengert.nn import functional, init
from wengert.nn.functional import Pair
from wengert.nn.linear import check_sizes, new_parameter
from wengert.nn.module import Module
from wengert.nn.parameter import Parameter
from wengert.tensor.tensor import Tensor


def as_pair(value: Pair) -> tuple[int, int]:
    """Return a value for height and one for width."""
    if isinstance(value, tuple | list):
        first, second = value
        return first, second
    return value, value


class Conv2d(Module):
    """A 2-D convolution (cross-correlation) of images with learnt windows.

    Parameters
    ----------
    in_channels : int
        Channels of the input, of shape ``(N, in_channels, H, W)`` or ``(in_channels, H, W)``.
    out_channels : int
        Channels of the output.
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int)
        Step between windows.
    padding : int, (int, int), "valid" or "same"
        Zeros added on each side.
    dilation : int or (int, int)
        Step inside a window.
    groups : int
        Into how many groups the channels are divided.
    bias : bool
        Whether there is a bias.
    padding_mode : str
        ``"zeros"``, the only one there is.
    dtype : dtype, optional
        Of the parameters.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, kh, kw)
        Drawn uniformly on ±1/√fan_in, like `bias`.
    bias : Parameter, shape (out_channels,), or None

    Raises
    ------
    ValueError
        If `groups` does not divide both numbers of channels, or `padding_mode` is another.

    Examples
    --------
    >>> import wengert as wg
    >>> layer = wg.nn.Conv2d(1, 6, 5)
    >>> layer
    Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))
    >>> layer(wg.ones((2, 1, 32, 32))).shape
    (2, 6, 28, 28)
    """

    def __init__(  # noqa: PLR0913, PLR0917  (PyTorch's arguments)
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        height, width = as_pair(kernel_size)
        check_sizes("Conv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        check_sizes("Conv2d", kernel_height=height, kernel_width=width)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}."
            )
        if padding_mode != "zeros":
            raise ValueError(f"Conv2d: padding_mode must be 'zeros', got {padding_mode!r}.")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = (height, width)
        self.stride = as_pair(stride)
        self.padding = padding if isinstance(padding, str) else as_pair(padding)
        self.dilation = as_pair(dilation)
        self.groups = groups
        shape = (out_channels, in_channels // groups, height, width)
        self.weight = new_parameter(*shape, dtype=dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter(out_channels, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`."""
        return functional.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the defaults."""
        parts = [str(self.in_channels), str(self.out_channels)]
        parts += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)

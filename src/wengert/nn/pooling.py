"""Pooling over windows of images."""

from __future__ import annotations

from wengert.nn import functional
from wengert.nn.functional import Pair
from wengert.nn.module import Module
from wengert.tensor.tensor import Tensor


class MaxPool2d(Module):
    """The largest element of each window over the last two axes.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; default: `kernel_size`.
    padding : int or (int, int)
        How much is added on each side; it never wins.
    dilation : int or (int, int)
        Step inside a window.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.MaxPool2d(2)(wg.ones((1, 6, 28, 28))).shape
    (1, 6, 14, 14)
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation

    def forward(self, input: Tensor) -> Tensor:
        """Return the maxima."""
        made: Tensor = functional.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation
        )
        return made

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode=False"
        )


class AvgPool2d(Module):
    """The mean of each window over the last two axes; zeros of the padding count.

    Parameters
    ----------
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; default: `kernel_size`.
    padding : int or (int, int)
        Zeros added on each side.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.AvgPool2d(2)(wg.ones((1, 6, 28, 28))).shape
    (1, 6, 14, 14)
    """

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        made: Tensor = functional.avg_pool2d(input, self.kernel_size, self.stride, self.padding)
        return made

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

"""Activation functions as modules."""

from __future__ import annotations

from wengert.nn import functional
from wengert.nn.module import Module
from wengert.tensor.tensor import Tensor


class _InPlace(Module):
    """An activation that PyTorch can compute in place; here that makes no difference."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the flag if it is set."""
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """``max(0, x)``.

    Parameters
    ----------
    inplace : bool
        Accepted for PyTorch's sake, without effect.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.ReLU()(wg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return functional.relu(input)  # type: ignore[no-any-return]


class SiLU(_InPlace):
    """``x sigmoid(x)``, also called swish.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.SiLU()(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return functional.silu(input)  # type: ignore[no-any-return]


class Tanh(Module):
    """The hyperbolic tangent.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Tanh()(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return functional.tanh(input)  # type: ignore[no-any-return]


class Sigmoid(Module):
    """The logistic function, ``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Sigmoid()(wg.tensor([0.0, 1.0]))
    tensor([0.5000, 0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return functional.sigmoid(input)  # type: ignore[no-any-return]


class GELU(Module):
    """``x`` times the normal distribution function of ``x``.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        ``"tanh"``: the well-known approximation.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.GELU()(wg.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return functional.gelu(input, self.approximate)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Return which form it is."""
        return f"approximate={self.approximate!r}"


class LeakyReLU(Module):
    """``x`` where it is positive, elsewhere ``negative_slope * x``.

    Parameters
    ----------
    negative_slope : float
        The slope below zero.
    inplace : bool
        Accepted for PyTorch's sake, without effect.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.LeakyReLU(0.1)(wg.tensor([-1.0, 2.0]))
    tensor([-0.1000, 2.0000])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply the function to each element."""
        return functional.leaky_relu(input, self.negative_slope)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class _Along(Module):
    """A function along one axis."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class Softmax(_Along):
    """Exponentials divided by their sum along an axis.

    Parameters
    ----------
    dim : int, optional
        The axis; may be left out for one or two axes, where it is the last.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Softmax(dim=1)(wg.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the probabilities."""
        return functional.softmax(input, self.dim)


class LogSoftmax(_Along):
    """The logarithm of `Softmax`, computed without overflow.

    Parameters
    ----------
    dim : int, optional
        The axis; may be left out for one or two axes, where it is the last.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.LogSoftmax(dim=1)(wg.tensor([[0.0, 0.0]]))
    tensor([[-0.6931, -0.6931]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the log probabilities."""
        return functional.log_softmax(input, self.dim)

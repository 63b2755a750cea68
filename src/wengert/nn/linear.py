"""Linear layers."""

from __future__ import annotations

import numpy.typing as npt

from wengert.nn import functional, init
from wengert.nn.module import Module
from wengert.nn.parameter import Parameter
from wengert.ops.creation import zeros
from wengert.tensor.tensor import Tensor


def new_parameter(*shape: int, dtype: npt.DTypeLike | None = None) -> Parameter:
    """Return a parameter of zeros, to be drawn by an initialiser."""
    return Parameter(Tensor(zeros(shape, dtype)))


def check_sizes(layer: str, **sizes: int) -> None:
    """Raise ValueError unless each size is a whole number of at least 1."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
            raise ValueError(f"{layer}: {name} must be a whole number of at least 1, got {size!r}.")


class Identity(Module):
    """Returns its input; takes and forgets any arguments, so that it can stand for any layer.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Identity()(wg.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`."""
        return input


class Linear(Module):
    """An affine map of the last axis: ``x @ weight.T + bias``.

    Parameters
    ----------
    in_features : int
        Length of the last axis of the input.
    out_features : int
        Length of the last axis of the output.
    bias : bool
        Whether there is a bias.
    dtype : dtype, optional
        Of the parameters; default: float32, or what `wengert.set_default_dtype` said.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Drawn uniformly on ±1/√in_features, like `bias`.
    bias : Parameter, shape (out_features,), or None

    Raises
    ------
    ShapeError
        When called: if the last dimension of the input is not `in_features`.
    DTypeError
        When called: if input and parameters have different dtypes.

    Examples
    --------
    >>> import wengert as wg
    >>> layer = wg.nn.Linear(4, 2)
    >>> layer
    Linear(in_features=4, out_features=2, bias=True)
    >>> layer(wg.ones((3, 4))).shape
    (3, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = new_parameter(out_features, in_features, dtype=dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the affine map of `input`, of shape ``(..., in_features)``."""
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )

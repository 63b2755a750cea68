"""Change of shape as modules."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.graph.errors import ShapeError
from wengert.nn import functional
from wengert.nn.module import Module
from wengert.tensor.tensor import Tensor


class Flatten(Module):
    """Makes the axes from `start_dim` to `end_dim` one; by default all but the batch axis.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last axis.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Flatten()(wg.ones((32, 16, 5, 5))).shape
    (32, 400)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the same elements in fewer axes."""
        return functional.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Makes one axis several.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        The lengths that it becomes.

    Raises
    ------
    ShapeError
        When called: if there is no such axis.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Unflatten(1, (16, 5, 5))(wg.ones((32, 400))).shape
    (32, 16, 5, 5)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return the same elements in more axes."""
        shape = input.shape
        if not -len(shape) <= self.dim < len(shape):
            raise ShapeError(f"Unflatten: there is no axis {self.dim} in shape {shape}.")
        axis = self.dim % len(shape)
        return input.reshape(shape[:axis] + self.unflattened_size + shape[axis + 1 :])

    def extra_repr(self) -> str:
        """Return the axis and its lengths."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

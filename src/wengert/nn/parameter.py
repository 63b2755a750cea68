"""`Parameter`: a tensor that belongs to a module and is trained."""

from __future__ import annotations

from typing import Any

from wengert.tensor.creation import leaf, tensor
from wengert.tensor.tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a module lists among its parameters as soon as it is assigned to it.

    Operations on parameters return ordinary tensors.

    Parameters
    ----------
    data : Tensor or array_like
        The values, which are copied.
    requires_grad : bool
        Whether gradients of it are wanted.

    Raises
    ------
    DTypeError
        If the values are no floating-point numbers although gradients are wanted.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.Parameter(wg.tensor([1.0, 2.0]))
    Parameter containing:
    tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(tensor(data)._variable)
        if requires_grad:
            self._variable = leaf(self, self._variable)

    def __repr__(self) -> str:
        """Return the printed form."""
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """Return a parameter of the same values, without the gradient."""
        made = Parameter(self.detach(), self.requires_grad)
        if self.name:
            made.name = self.name
        memo[id(self)] = made
        return made

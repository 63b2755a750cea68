"""The methods of a tensor that are functions of the package under the same name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from wengert.graph.variable import Variable
from wengert.ops import arithmetic, cast, exponential, extrema, power, reduce, shape, statistics

if TYPE_CHECKING:
    from wengert.tensor.tensor import Tensor

Axis = int | Sequence[int] | None


class Methods:
    """Methods that read the tensor, apply a function and make a new tensor."""

    __slots__ = ()

    def _apply(self, function: Callable[..., Variable], *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum over `axis`; see `wengert.sum`."""
        return self._apply(reduce.sum, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the product over `axis`; see `wengert.prod`."""
        return self._apply(statistics.prod, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over `axis`; see `wengert.mean`."""
        return self._apply(statistics.mean, axis, keepdims)

    def var(self, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
        """Return the variance over `axis`; see `wengert.var`."""
        return self._apply(statistics.var, axis, correction, keepdims)

    def std(self, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
        """Return the standard deviation over `axis`; see `wengert.std`."""
        return self._apply(statistics.std, axis, correction, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest element over `axis`; see `wengert.max`."""
        return self._apply(reduce.max, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest element over `axis`; see `wengert.min`."""
        return self._apply(reduce.min, axis, keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return whether any element over `axis` is true; see `wengert.any`."""
        return self._apply(reduce.any, axis, keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return whether all elements over `axis` are true; see `wengert.all`."""
        return self._apply(reduce.all, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Return the index of the largest element along `axis`; see `wengert.argmax`."""
        return self._apply(reduce.argmax, axis, keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Return the index of the smallest element along `axis`; see `wengert.argmin`."""
        return self._apply(reduce.argmin, axis, keepdims)

    def exp(self) -> Tensor:
        """Return e to the power of each element."""
        return self._apply(exponential.exp)

    def log(self) -> Tensor:
        """Return the natural logarithm of each element."""
        return self._apply(exponential.log)

    def sqrt(self) -> Tensor:
        """Return the square root of each element."""
        return self._apply(exponential.sqrt)

    def sin(self) -> Tensor:
        """Return the sine of each element."""
        return self._apply(exponential.sin)

    def cos(self) -> Tensor:
        """Return the cosine of each element."""
        return self._apply(exponential.cos)

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangent of each element."""
        return self._apply(exponential.tanh)

    def sigmoid(self) -> Tensor:
        """Return the logistic function of each element."""
        return self._apply(exponential.sigmoid)

    def relu(self) -> Tensor:
        """Return ``max(0, x)`` of each element."""
        return self._apply(arithmetic.relu)

    def abs(self) -> Tensor:
        """Return the absolute value of each element."""
        return self._apply(arithmetic.absolute)

    def pow(self, exponent: Any) -> Tensor:
        """Return each element to the power of `exponent`."""
        from wengert.tensor.tensor import operand

        return self._apply(power.power, operand(exponent))

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Return the elements limited to the range from `min` to `max`."""
        from wengert.tensor.tensor import operand

        return self._apply(extrema.clip, operand(min), operand(max))

    def reshape(self, *lengths: Any) -> Tensor:
        """Return the elements, in order, in another shape; see `wengert.reshape`."""
        return self._apply(shape.reshape, _flat(lengths))

    def view(self, *lengths: Any) -> Tensor:
        """Return the elements, in order, in another shape (PyTorch's name for `reshape`)."""
        return self._apply(shape.reshape, _flat(lengths))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Return the tensor with the axes from `start_dim` to `end_dim` made one."""
        return self._apply(shape.flatten, start_dim, end_dim)

    def permute(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in another order; see `wengert.permute_dims`."""
        return self._apply(shape.permute_dims, _flat(axes))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Return the tensor with two axes exchanged."""
        return self._apply(shape.swapaxes, dim0, dim1)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Return the tensor without axes of length 1; see `wengert.squeeze`."""
        return self._apply(shape.squeeze, axis)

    def unsqueeze(self, axis: int) -> Tensor:
        """Return the tensor with an axis of length 1 inserted (PyTorch's name)."""
        return self._apply(shape.expand_dims, axis)

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """Return the tensor converted to `dtype`; see `wengert.astype`."""
        return self._apply(cast.astype, dtype)

    def float(self) -> Tensor:
        """Return the tensor converted to float32 (PyTorch's name)."""
        return self._apply(cast.astype, "float32")

    def double(self) -> Tensor:
        """Return the tensor converted to float64 (PyTorch's name)."""
        return self._apply(cast.astype, "float64")

    def long(self) -> Tensor:
        """Return the tensor converted to int64 (PyTorch's name)."""
        return self._apply(cast.astype, "int64")

    def numel(self) -> int:
        """Return the number of elements (PyTorch's name for `size`)."""
        return int(self.size)  # type: ignore[attr-defined]


def _flat(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 and not isinstance(values[0], int) else values

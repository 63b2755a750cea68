"""`Tensor`: the array that users hold.

A tensor is a mutable cell: a binding to an immutable variable. Operations read the binding and
make new tensors; an in-place operation rebinds the cell, so that whatever was recorded before
keeps the values that it saw.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from wengert.graph import memory
from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.mode import THREAD
from wengert.graph.variable import Detached, Variable
from wengert.ops import arithmetic, compare, contraction, convert, power, rounding, shape, subscript
from wengert.tensor import inplace
from wengert.tensor.cell import Cell
from wengert.tensor.display import format_tensor
from wengert.tensor.methods import Methods

if TYPE_CHECKING:
    pass

TensorLike: TypeAlias = "Tensor | npt.ArrayLike"

_PLAIN = {bool, float, int, str, type(None)}


def operand(x: Any) -> Any:
    """Return what an operation of the layer below takes for `x`."""
    if type(x) in _PLAIN:
        return x
    if isinstance(x, Tensor):
        return x._read()
    if isinstance(x, np.ndarray):
        return Variable(np.array(convert.array_of(x)))
    if isinstance(x, list | tuple):
        return type(x)(operand(item) for item in x) if _holds_tensor(x) else x
    return x


def wrap(result: Variable, operands: Iterable[Any]) -> Tensor:
    """Return a tensor of `result`, which is a variable of its own if it is one of `operands`.

    A function may return what it was given, as ``reshape`` to the same shape does; names and hooks
    of the result are not those of the operand.
    """
    for x in operands:
        if x is result:
            return Tensor(bind(shape.alias_p, (result,)))
    return Tensor(result)


def _rebuild(
    kind: type[Tensor], value: Array, requires_grad: bool, grad: Tensor | None, name: str | None
) -> Tensor:
    made = kind.__new__(kind)
    Tensor.__init__(made, Variable(value))
    if name is not None:
        made.name = name
    if requires_grad:
        made.requires_grad_()
    made._grad = grad
    return made


def _holds_tensor(xs: Sequence[Any]) -> bool:
    return any(isinstance(x, Tensor | np.ndarray) for x in xs)


def _key(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_key(part) for part in key)
    return operand(key) if isinstance(key, Tensor | np.ndarray) else key


class Tensor(Methods, Cell):
    """A multi-dimensional array that can be differentiated by.

    Tensors are made by `wengert.tensor` (which copies), `wengert.asarray` (which shares memory)
    and by operations. They follow PyTorch's habits: `requires_grad`, `backward`, `grad`,
    `detach`, in-place methods with a trailing underscore.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()
    __array_priority__ = 1000

    def _apply(self, function: Callable[..., Variable], *args: Any, **kwargs: Any) -> Tensor:
        trace = THREAD.now.trace
        if trace is None:
            variable = self._variable
            result = function(variable, *args, **kwargs)
        else:
            variable = trace.read(self)
            result = trace.call(function, variable, *args, **kwargs)
        return Tensor(bind(shape.alias_p, (variable,)) if result is variable else result)

    def _is_number(self) -> bool:
        """Tell whether this stands for a Python number, which no in-place operator changes."""
        return self._variable.value is None and self._variable.aval.weak

    # Properties

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim != 2:  # noqa: PLR2004
            raise ShapeError(f".T needs two axes, got shape {self.shape}; use .mT or permute_dims.")
        return Tensor(shape.matrix_transpose(self._read()))

    @property
    def mT(self) -> Tensor:
        """The transpose of each matrix of a stack."""
        return Tensor(shape.matrix_transpose(self._read()))

    # Values

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor.")
        return (self[i] for i in range(self.shape[0]))

    def __repr__(self) -> str:
        return format_tensor(self._variable)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the values; only for leaves, since a graph is neither."""
        if not self.is_leaf:
            raise TypeError(
                "only leaf tensors can be copied deeply or pickled; use .detach() or .clone()."
            )
        value = np.array(self._value("a copy"), order="C")
        return _rebuild, (type(self), value, self.requires_grad, self._grad, self.name)

    def __hash__(self) -> int:
        return id(self)

    # Copies

    def detach(self) -> Tensor:
        """Return a tensor of the same value through which no gradient flows."""
        from wengert.ops.shape import stop_gradient

        variable = self._read()
        if variable.value is None:
            return Tensor(stop_gradient(variable))
        made = Detached(variable.value)
        made.cell = weakref.ref(inplace.detached_from(self))
        return Tensor(made)

    def _export(self) -> npt.NDArray[Any]:
        return inplace.export(self)

    def clone(self) -> Tensor:
        """Return a copy; gradients flow through it."""
        made: Variable = bind(shape.alias_p, (self._read(),))
        if made.value is not None:
            made.value = memory.copied(made.value)
        return Tensor(made)

    # In-place methods

    def zero_(self) -> Self:
        """Set all elements to zero."""
        inplace.assign(self, convert.as_variable(0, self.dtype))
        return self

    def fill_(self, value: float) -> Self:
        """Set all elements to `value`."""
        inplace.assign(self, convert.as_variable(value, self.dtype))
        return self

    def copy_(self, source: TensorLike) -> Self:
        """Set the elements to those of `source`, which may broadcast."""
        variable = operand(source)
        if isinstance(variable, Variable):
            variable = bind(shape.alias_p, (variable,))
        inplace.assign(self, variable)
        return self

    def add_(self, other: TensorLike, *, alpha: TensorLike | None = None) -> Self:
        """Add `other`, or ``alpha * other``."""
        inplace.update(self, np.add, arithmetic.add, operand(other), operand(alpha))
        return self

    def sub_(self, other: TensorLike, *, alpha: TensorLike | None = None) -> Self:
        """Subtract `other`, or ``alpha * other``."""
        inplace.update(self, np.subtract, arithmetic.subtract, operand(other), operand(alpha))
        return self

    def mul_(self, other: TensorLike) -> Self:
        """Multiply by `other`."""
        inplace.update(self, np.multiply, arithmetic.multiply, operand(other))
        return self

    def div_(self, other: TensorLike) -> Self:
        """Divide by `other`."""
        inplace.update(self, np.divide, arithmetic.divide, operand(other))
        return self

    def floor_divide_(self, other: TensorLike) -> Self:
        """Divide by `other` and round down."""
        inplace.assign_result(self, rounding.floor_divide(self._read(), operand(other)))
        return self

    def remainder_(self, other: TensorLike) -> Self:
        """Take the remainder of a division by `other`."""
        inplace.assign_result(self, rounding.remainder(self._read(), operand(other)))
        return self

    def pow_(self, exponent: TensorLike) -> Self:
        """Raise to the power `exponent`."""
        inplace.assign_result(self, power.power(self._read(), operand(exponent)))
        return self

    def __setitem__(self, key: Any, value: TensorLike) -> None:
        inplace.set_part(self, _key(key), operand(value))

    # Operators

    def __getitem__(self, key: Any) -> Tensor:
        variable = self._read()
        return wrap(subscript.getitem(variable, _key(key)), (variable,))

    def __add__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.add(self._read(), operand(other)))

    def __radd__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.add(operand(other), self._read()))

    def __iadd__(self, other: TensorLike) -> Self | Tensor:
        return self + other if self._is_number() else self.add_(other)

    def __sub__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.subtract(self._read(), operand(other)))

    def __rsub__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.subtract(operand(other), self._read()))

    def __isub__(self, other: TensorLike) -> Self | Tensor:
        return self - other if self._is_number() else self.sub_(other)

    def __mul__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.multiply(self._read(), operand(other)))

    def __rmul__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.multiply(operand(other), self._read()))

    def __imul__(self, other: TensorLike) -> Self | Tensor:
        return self * other if self._is_number() else self.mul_(other)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.divide(self._read(), operand(other)))

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return Tensor(arithmetic.divide(operand(other), self._read()))

    def __itruediv__(self, other: TensorLike) -> Self | Tensor:
        return self / other if self._is_number() else self.div_(other)

    def __floordiv__(self, other: TensorLike) -> Tensor:
        return Tensor(rounding.floor_divide(self._read(), operand(other)))

    def __rfloordiv__(self, other: TensorLike) -> Tensor:
        return Tensor(rounding.floor_divide(operand(other), self._read()))

    def __ifloordiv__(self, other: TensorLike) -> Self | Tensor:
        return self // other if self._is_number() else self.floor_divide_(other)

    def __mod__(self, other: TensorLike) -> Tensor:
        return Tensor(rounding.remainder(self._read(), operand(other)))

    def __rmod__(self, other: TensorLike) -> Tensor:
        return Tensor(rounding.remainder(operand(other), self._read()))

    def __imod__(self, other: TensorLike) -> Self | Tensor:
        return self % other if self._is_number() else self.remainder_(other)

    def __divmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: TensorLike) -> tuple[Tensor, Tensor]:
        return other // self, other % self  # type: ignore[return-value]

    def __pow__(self, other: TensorLike) -> Tensor:
        return Tensor(power.power(self._read(), operand(other)))

    def __rpow__(self, other: TensorLike) -> Tensor:
        return Tensor(power.power(operand(other), self._read()))

    def __ipow__(self, other: TensorLike) -> Self | Tensor:
        return self**other if self._is_number() else self.pow_(other)

    def __matmul__(self, other: TensorLike) -> Tensor:
        return Tensor(contraction.matmul(self._read(), operand(other)))

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return Tensor(contraction.matmul(operand(other), self._read()))

    def __neg__(self) -> Tensor:
        return Tensor(arithmetic.negative(self._read()))

    def __pos__(self) -> Tensor:
        return Tensor(bind(shape.alias_p, (self._read(),)))

    def __abs__(self) -> Tensor:
        return Tensor(arithmetic.absolute(self._read()))

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return Tensor(compare.equal(self._read(), operand(other)))

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return Tensor(compare.not_equal(self._read(), operand(other)))

    def __lt__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.less(self._read(), operand(other)))

    def __le__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.less_equal(self._read(), operand(other)))

    def __gt__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.greater(self._read(), operand(other)))

    def __ge__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.greater_equal(self._read(), operand(other)))

    def _mask(self) -> Variable:
        variable = self._read()
        if variable.dtype.kind != "b":
            raise DTypeError(
                f"&, |, ^ and ~ are for bool tensors, got {variable.dtype}; compare first, or use "
                "wg.logical_and, wg.logical_or, wg.logical_xor, wg.logical_not"
            )
        return variable

    def __and__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.logical_and(self._mask(), operand(other)))

    __rand__ = __and__

    def __or__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.logical_or(self._mask(), operand(other)))

    __ror__ = __or__

    def __xor__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.logical_xor(self._mask(), operand(other)))

    __rxor__ = __xor__

    def __invert__(self) -> Tensor:
        return Tensor(compare.logical_not(self._mask()))

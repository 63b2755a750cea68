"""`Tensor`: the array that users hold.

A tensor is a mutable cell: a binding to an immutable variable. Operations read the binding and
make new tensors; an in-place operation rebinds the cell, so that whatever was recorded before
keeps the values that it saw.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from wengert.graph.dtypes import Array
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.mode import THREAD
from wengert.graph.tracing import Trace
from wengert.graph.variable import Variable
from wengert.ops import arithmetic, compare, contraction, convert, power, shape, subscript
from wengert.tensor import inplace
from wengert.tensor.display import format_tensor
from wengert.tensor.methods import Methods
from wengert.tensor.values import Values

if TYPE_CHECKING:
    from wengert.tensor.backward import HookHandle

TensorLike: TypeAlias = "Tensor | npt.ArrayLike"


def operand(x: Any) -> Any:
    """Return what an operation of the layer below takes for `x`."""
    if isinstance(x, Tensor):
        return x._read()
    if isinstance(x, np.ndarray):
        return Variable(np.array(convert.array_of(x)))
    if isinstance(x, list | tuple):
        return type(x)(operand(item) for item in x) if _holds_tensor(x) else x
    return x


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


class Tensor(Methods, Values):
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

    __slots__ = ("__weakref__", "_grad", "_stamp", "_variable")
    __array_priority__ = 1000

    def __init__(self, variable: Variable) -> None:
        self._variable = variable
        self._grad: Tensor | None = None
        self._stamp = Trace.started
        if Trace.watching:
            trace = THREAD.now.trace
            if trace is not None:
                trace.note(self)

    def _read(self) -> Variable:
        """Return the variable that the cell is bound to, through the journal of a trace."""
        trace = THREAD.now.trace
        return self._variable if trace is None else trace.read(self)

    def _apply(self, function: Callable[..., Variable], *args: Any, **kwargs: Any) -> Tensor:
        trace = THREAD.now.trace
        if trace is None:
            return Tensor(function(self._variable, *args, **kwargs))
        return Tensor(trace.call(function, trace.read(self), *args, **kwargs))

    def _is_number(self) -> bool:
        """Tell whether this stands for a Python number, which no in-place operator changes."""
        return self._variable.value is None and self._variable.aval.weak

    def _bind(self, variable: Variable) -> None:
        """Rebind the cell, through the journal of a trace."""
        mode = THREAD.now
        if mode.written is not None:
            mode.written[id(self)] = weakref.ref(self)
        if mode.trace is None:
            self._variable = variable
        else:
            mode.trace.write(self, "_variable", variable)

    # Properties

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._variable.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self._variable.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Memory of the elements, in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def name(self) -> str | None:
        """The name shown in printed graphs."""
        return self._variable.name

    @name.setter
    def name(self, name: str) -> None:
        self._variable.name = name

    @property
    def requires_grad(self) -> bool:
        """Whether a derivative can flow through this tensor."""
        return self._read().requires_grad

    @requires_grad.setter
    def requires_grad(self, required: bool) -> None:
        self.requires_grad_(required)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        variable = self._read()
        return not variable.requires_grad or variable.op is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated by `backward`, or None."""
        trace = THREAD.now.trace
        return self._grad if trace is None else trace.read_grad(self)

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None:
            self._check_grad(grad)
        trace = THREAD.now.trace
        if trace is None:
            self._grad = grad
        else:
            trace.write(self, "_grad", grad)

    def _check_grad(self, grad: object) -> None:
        if not isinstance(grad, Tensor):
            raise TypeError(f".grad must be a tensor or None, got {type(grad).__name__}.")
        kind = DTypeError if grad.dtype != self.dtype else ShapeError
        if grad.shape != self.shape or grad.dtype != self.dtype:
            raise kind(
                f".grad of a tensor {self._variable.aval} must have its shape and dtype, "
                f"got {grad._variable.aval}."
            )

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

    # Gradients

    def backward(
        self,
        gradient: TensorLike | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | Tensor | None = None,
    ) -> None:
        """Compute the gradients of this tensor and add them to the `.grad` of the leaves.

        Parameters
        ----------
        gradient : Tensor, optional
            The incoming gradient; needed unless there is exactly one element.
        retain_graph : bool, optional
            Whether the graph may be walked again; default: `create_graph`.
        create_graph : bool
            Whether the gradients can be differentiated in turn.
        inputs : Tensor or sequence of Tensor, optional
            The leaves to accumulate into; default: all that require gradients.

        Raises
        ------
        RuntimeError
            If nothing requires a gradient, or the incoming gradient is missing.
        GraphFreedError
            If an earlier call freed a part of the graph.
        """
        from wengert.tensor.backward import backward

        backward(self, gradient, retain_graph, create_graph, inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether gradients of this tensor are wanted; returns the tensor.

        Raises
        ------
        DTypeError
            If the dtype cannot carry a derivative.
        """
        from wengert.tensor.creation import leaf

        variable = self._read()
        if requires_grad == variable.requires_grad:
            return self
        if variable.requires_grad and variable.op is not None:
            raise RuntimeError(
                "requires_grad can be switched off for leaves only; use .detach() for a tensor "
                "made by an operation."
            )
        self._bind(leaf(self, variable) if requires_grad else Variable(variable.concrete("this")))
        return self

    def detach(self) -> Tensor:
        """Return a tensor of the same value through which no gradient flows."""
        from wengert.ad.tape import close_off

        return Tensor(close_off(self._read()))

    def clone(self) -> Tensor:
        """Return a copy; gradients flow through it."""
        from wengert.ops.shape import alias_p

        variable = self._read()
        if variable.requires_grad or variable.value is None:
            from wengert.graph.bind import bind

            made: Variable = bind(alias_p, (variable,))
            if made.value is not None:
                made.value = np.array(made.value, order="C")
            return Tensor(made)
        return Tensor(Variable(np.array(variable.value, order="C")))

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook` with the gradient of this tensor; what it returns replaces the gradient."""
        from wengert.tensor.backward import register_hook

        return register_hook(self, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in `.grad` although an operation made it."""
        from wengert.tensor.backward import retain_grad

        retain_grad(self)

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
        inplace.assign(self, operand(source))
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

    def __setitem__(self, key: Any, value: TensorLike) -> None:
        inplace.set_part(self, _key(key), operand(value))

    # Operators

    def __getitem__(self, key: Any) -> Tensor:
        return Tensor(subscript.getitem(self._read(), _key(key)))

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

    def __pow__(self, other: TensorLike) -> Tensor:
        return Tensor(power.power(self._read(), operand(other)))

    def __rpow__(self, other: TensorLike) -> Tensor:
        return Tensor(power.power(operand(other), self._read()))

    def __matmul__(self, other: TensorLike) -> Tensor:
        return Tensor(contraction.matmul(self._read(), operand(other)))

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return Tensor(contraction.matmul(operand(other), self._read()))

    def __neg__(self) -> Tensor:
        return Tensor(arithmetic.negative(self._read()))

    def __pos__(self) -> Tensor:
        return self

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
                f"&, | and ~ are for bool tensors, got {variable.dtype}; compare first, or use "
                "wg.logical_and, wg.logical_or, wg.logical_not"
            )
        return variable

    def __and__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.logical_and(self._mask(), operand(other)))

    __rand__ = __and__

    def __or__(self, other: TensorLike) -> Tensor:
        return Tensor(compare.logical_or(self._mask(), operand(other)))

    __ror__ = __or__

    def __invert__(self) -> Tensor:
        return Tensor(compare.logical_not(self._mask()))

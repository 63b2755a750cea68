"""`Cell`: what a tensor is before it computes anything.

A cell is a binding to an immutable variable, and the gradient that `backward` collected for it. A
trace keeps bindings of its own in its journal, so all access goes through the methods below.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wengert.ad.tape import close_off
from wengert.graph import sharing
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.mode import THREAD
from wengert.graph.tracing import Trace
from wengert.graph.variable import Leaf, Variable
from wengert.tensor.values import Values

if TYPE_CHECKING:
    from wengert.tensor.backward import HookHandle
    from wengert.tensor.tensor import Tensor


class Cell(Values):
    """A binding to a variable, with a gradient."""

    __slots__ = ("__weakref__", "_grad", "_stamp", "_variable")

    def __init__(self, variable: Variable) -> None:
        self._variable = variable
        self._grad: Tensor | None = None
        self._stamp = Trace.started
        if sharing.noted:
            sharing.watch(variable)
        if Trace.watching:
            trace = THREAD.now.trace
            if trace is not None:
                trace.note(self)

    def _read(self) -> Variable:
        """Return the variable that the cell is bound to, through the journal of a trace."""
        trace = THREAD.now.trace
        return self._variable if trace is None else trace.read(self)

    def _bind(self, variable: Variable) -> None:
        """Rebind the cell, through the journal of a trace."""
        mode = THREAD.now
        if mode.written is not None:
            mode.written[id(self)] = weakref.ref(self)
        if mode.trace is None:
            self._variable = variable
        else:
            mode.trace.write(self, "_variable", variable)

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
        return not variable.requires_grad or variable.op is None or isinstance(variable, Leaf)

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
        if trace is not None:
            trace.write(self, "_grad", grad)
            return
        self._grad = grad

    def _check_grad(self, grad: object) -> None:
        if not isinstance(grad, Cell):
            raise TypeError(f".grad must be a tensor or None, got {type(grad).__name__}.")
        kind = DTypeError if grad.dtype != self.dtype else ShapeError
        if grad.shape != self.shape or grad.dtype != self.dtype:
            raise kind(
                f".grad of a tensor {self._variable.aval} must have its shape and dtype, "
                f"got {grad._variable.aval}."
            )

    # Gradients

    def backward(
        self,
        gradient: Any = None,
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
        if not self.is_leaf:
            raise RuntimeError(
                "requires_grad can be switched off for leaves only; use .detach() for a tensor "
                "made by an operation."
            )
        made: Variable = leaf(self, variable) if requires_grad else close_off(variable)
        if variable.name:
            made.name = variable.name
        self._bind(made)
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook` with the gradient of this tensor; what it returns replaces the gradient."""
        from wengert.tensor.backward import register_hook

        return register_hook(self, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in `.grad` although an operation made it."""
        from wengert.tensor.backward import retain_grad

        retain_grad(self)

"""`Tensor.backward` and what belongs to it: accumulation into leaves, hooks, modes."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

from wengert.ad import reverse
from wengert.ad.tape import record_tape
from wengert.graph import memory
from wengert.graph.bind import bind
from wengert.graph.errors import ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.graph.variable import Leaf, Variable
from wengert.ops.arithmetic import add
from wengert.ops.convert import as_variable
from wengert.ops.derivatives import ones_like
from wengert.ops.shape import alias_p
from wengert.tensor import inplace
from wengert.tensor.cell import Cell
from wengert.tensor.effects import structure
from wengert.tensor.tensor import Tensor, operand

P = ParamSpec("P")
R = TypeVar("R")


def backward(
    tensor: Cell,
    gradient: Any,
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Sequence[Tensor] | Tensor | None,
) -> None:
    """Carry out `Tensor.backward`."""
    y = tensor._read()
    if not y.requires_grad:
        raise RuntimeError(
            "backward: this tensor does not depend on any tensor that requires gradients, so "
            "there is nothing to compute; create the parameters with requires_grad=True, and "
            "mind .detach(), no_grad() and conversions to integers on the way."
        )
    if y.value is None and y.trace is not None and not y.trace.active:
        raise TracerError(f"backward: this tensor's trace ({y.trace.what}) has ended.")
    seed = _seed(y, gradient)
    traced = y.value is None
    free = not traced and not (create_graph if retain_graph is None else retain_graph)
    if isinstance(inputs, Tensor):
        inputs = [inputs]
    wrt = None if inputs is None else _chosen(inputs)
    tape = record_tape([y], wrt)
    table = reverse.pull(
        tape, [y], [seed], wrt or (), record=create_graph and THREAD.now.recording, free=free
    )
    given: set[int] = {id(seed.value)}
    for leaf in table.variables():
        bar = _apart(table.get(leaf), given)
        if isinstance(leaf, Leaf) and (cell := leaf.cell()) is not None:
            accumulate(cell, bar)
        elif inputs is not None and wrt is not None and leaf in wrt and leaf not in _retained:
            accumulate(inputs[wrt.index(leaf)], bar)


def _chosen(inputs: Sequence[Tensor]) -> list[Variable]:
    variables = [x._read() for x in inputs]
    if not variables or not all(v.requires_grad for v in variables):
        raise RuntimeError("backward: inputs= needs tensors that require gradients.")
    return variables


def _seed(y: Variable, gradient: Any) -> Variable:
    if gradient is None:
        if y.shape and math.prod(y.shape) != 1:
            raise RuntimeError(
                f"backward: a tensor of shape {y.shape} needs an incoming gradient of that shape; "
                "reduce it to one number first (.sum(), .mean()), or pass gradient=."
            )
        return ones_like(y)
    seed = as_variable(operand(gradient), y.dtype)
    if seed.shape != y.shape or seed.dtype != y.dtype:
        raise ShapeError(
            f"backward: the incoming gradient must be {y.aval} like the tensor, got {seed.aval}."
        )
    return seed


def accumulate(cell: Any, bar: Variable) -> None:
    """Add `bar` to the `.grad` of `cell`, in place where nobody else sees it."""
    trace = THREAD.now.trace
    known = cell._grad if trace is None else cell.grad
    if known is None and trace is None:
        cell._grad = Tensor(bar)
    elif known is None:
        cell.grad = Tensor(bar)
    elif bar.requires_grad or known._read().requires_grad:
        cell.grad = Tensor(add(known._read(), bar))
    elif trace is None:
        inplace.update(known, np.add, add, bar)
    elif trace.lifts:
        known._bind(add(known._read(), bar))  # whoever else holds it sees the change
    else:
        cell.grad = Tensor(add(known._read(), bar))


def _apart(bar: Variable | None, given: set[int]) -> Variable:
    """Return `bar` in contiguous memory that no other gradient uses; add it to those given."""
    assert bar is not None
    value = bar.value
    if value is None:
        return bar
    if id(value) in given or not (memory.owns(value) and value.flags.c_contiguous):
        value = memory.copied(value)
        if bar.requires_grad:
            bar = bind(alias_p, (bar,))
            bar.value = value
        else:
            bar = Variable(value)
    given.add(id(value))
    return bar


class HookHandle:
    """Removes a hook again."""

    def __init__(self, registered: list[Any], hook: Any) -> None:
        self._registered = registered
        self._hook = hook

    def remove(self) -> None:
        """Take the hook away; does nothing the second time."""
        if self._hook in self._registered:
            self._registered.remove(self._hook)
            structure.announce()


def register_hook(tensor: Cell, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
    """Call `hook` with the complete gradient of `tensor`; see `Tensor.register_hook`."""
    variable = tensor._read()
    if not variable.requires_grad:
        raise RuntimeError("register_hook: this tensor does not require gradients.")

    def call(bar: Variable) -> Variable | None:
        replaced = hook(Tensor(bar))
        return None if replaced is None else replaced._read()

    structure.announce()
    return HookHandle(reverse.add_hook(variable, call), call)


_retained: weakref.WeakSet[Variable] = weakref.WeakSet()


def retain_grad(tensor: Cell) -> None:
    """Keep the gradient of a tensor made by an operation; see `Tensor.retain_grad`."""
    if tensor.is_leaf:
        return
    variable = tensor._read()
    if variable in _retained:
        return
    _retained.add(variable)
    cell = weakref.ref(tensor)

    def keep(bar: Tensor) -> None:
        kept = cell()
        if kept is not None:
            accumulate(kept, bar._variable)

    register_hook(tensor, keep)


class _RecordingMode:
    """Switches recording on or off: a context manager and a decorator."""

    enabled = True

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> Self:
        self._before.append(THREAD.now.recording)
        THREAD.now.recording = self.enabled
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        THREAD.now.recording = self._before.pop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_RecordingMode):
    """Record nothing inside: results do not require gradients.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0], requires_grad=True)
    >>> with wg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    enabled = False


class enable_grad(_RecordingMode):
    """Record again inside `no_grad`.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0], requires_grad=True)
    >>> with wg.no_grad(), wg.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """


def is_grad_enabled() -> bool:
    """Return whether operations are recorded.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.is_grad_enabled()
    True
    """
    return THREAD.now.recording

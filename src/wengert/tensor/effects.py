"""What layers and optimisers tell a trace: numbers that are inputs, modes that are guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.ad.tape import close_off
from wengert.graph.mode import THREAD
from wengert.graph.tracing import Trace, Write
from wengert.graph.variable import Leaf, Variable
from wengert.tensor.creation import leaf
from wengert.tensor.tensor import Tensor


def hyper(owner: object, name: str, read: Callable[[], float]) -> float | Tensor:
    """Return a number that is read afresh at each call of a compiled function.

    Parameters
    ----------
    owner : object
        Whose number it is; with `name` it identifies the input.
    name : str
        What it is called, e.g. ``"lr"``.
    read : callable
        Returns the number as it is now.

    Returns
    -------
    float or Tensor
        The number itself; in a trace that lifts hyper-parameters a weak 0-d tensor.
    """
    trace = THREAD.now.trace
    if trace is None:
        return read()
    variable = trace.hyper((id(owner), name), read, name)
    return read() if variable is None else Tensor(variable)


def carried_effects(name: str, trace: Trace) -> list[Write]:
    """Return the cells that a traced part of a computation wrote, whose values it must carry out.

    Raises
    ------
    RuntimeError
        If the part accumulated gradients into a tensor from outside.
    """
    effects = [write for write in trace.writes if write.after is not write.before]
    for write in effects:
        if write.attribute == "_grad" and write.after is not None:
            raise RuntimeError(
                f"{name}: the function called backward() into the .grad of a tensor from outside "
                f"({write.cell._variable.aval}), which cannot be carried out of it; use wg.grad "
                "inside and return the gradients."
            )
    return [write for write in effects if write.attribute == "_variable"]


def bind_effect(write: Write, value: Variable) -> None:
    """Bind a cell that a traced part wrote to its new value, as the part itself left it.

    What required no gradient inside requires none outside, and a leaf stays a leaf.
    """
    if not write.after.requires_grad or isinstance(write.after, Leaf):
        value = close_off(value)
    write.cell._bind(leaf(write.cell, value) if isinstance(write.after, Leaf) else value)


def guard(what: str, read: Callable[[], Any]) -> Any:
    """Return ``read()``, and note that the traced graph holds only while it stays the same."""
    value = read()
    trace = THREAD.now.trace
    if trace is not None:
        trace.guard(what, read, value)
    return value

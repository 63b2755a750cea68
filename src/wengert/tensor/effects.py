"""What layers and optimisers tell a trace: numbers that are inputs, modes that are guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.graph.mode import THREAD
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


def guard(what: str, read: Callable[[], Any]) -> Any:
    """Return ``read()``, and note that the traced graph holds only while it stays the same."""
    value = read()
    trace = THREAD.now.trace
    if trace is not None:
        trace.guard(what, read, value)
    return value

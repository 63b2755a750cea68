"""Small helpers of the tests of graphs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.graph.graph import Graph
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval, Variable

F64 = np.dtype(np.float64)
F32 = np.dtype(np.float32)
I64 = np.dtype(np.int64)


def constant(value: Any, dtype: Any = F64) -> Variable:
    return Variable(np.array(value, dtype))


def leaf(value: Any, dtype: Any = F64) -> Variable:
    return Variable(np.array(value, dtype), requires_grad=True)


def traced(
    function: Callable[..., Any],
    *shapes: tuple[int, ...],
    dtype: np.dtype[Any] = F64,
    name: str = "graph",
    names: tuple[str, ...] = (),
) -> Graph:
    """Return the graph of `function` on inputs of `shapes`."""
    with Trace(name) as trace:
        inputs = [trace.new_input(Aval(shape, dtype)) for shape in shapes]
        for variable, given in zip(inputs, names, strict=False):
            variable.name = given
        outputs = function(*inputs)
        return Graph(inputs, outputs if isinstance(outputs, tuple) else (outputs,), name)


def here(offset: int = 0) -> int:
    """Return the line of the caller, plus `offset`."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno + offset

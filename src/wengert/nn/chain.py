"""The chain of functions that a net is: its traced graph, told in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from wengert.graph.variable import Operation
from wengert.nn.module import Module
from wengert.tensor.traced import TracedGraph, trace

# As PyTorch's users call them; other functions and primitives have the name they have.
_NAMES = {
    "avg_pool2d": "avgpool2d",
    "contract": "matmul",
    "max_pool2d": "maxpool2d",
}
_SILENT = {"alias", "cast", "stop_gradient"}


def forward_chain(
    module: Callable[..., Any], *inputs: Any, loss: Callable[..., Any] | str | None = None
) -> str:
    """Return the functions that `module` applies, in their order, joined by arrows.

    They are read off the traced graph, so that calls of functions in a `forward` are there as
    well as layers. Where paths branch, the order is that of execution.

    Parameters
    ----------
    module : Module or callable
        The net.
    *inputs : Tensor or array_like
        Example inputs: only their shapes and dtypes matter.
    loss : Module, callable or str, optional
        What would be applied to the result; its name ends the chain.

    Returns
    -------
    str
        Such as ``"input -> linear -> relu -> linear -> MSELoss -> loss"``.

    Examples
    --------
    >>> import wengert as wg
    >>> net = wg.nn.Sequential(wg.nn.Linear(4, 3), wg.nn.Tanh(), wg.nn.Linear(3, 2))
    >>> wg.nn.forward_chain(net, wg.ones((1, 4)), loss=wg.nn.MSELoss())
    'input -> linear -> tanh -> linear -> MSELoss -> loss'
    """
    graph = trace(module)(*inputs)
    end = ["output"] if loss is None else [_name_of(loss), "loss"]
    return " -> ".join(["input", *_functions(graph), *end])


def _name_of(loss: Callable[..., Any] | str) -> str:
    if isinstance(loss, str):
        return loss
    return type(loss).__name__ if isinstance(loss, Module) else loss.__name__


def _functions(graph: TracedGraph) -> Iterator[str]:
    """Yield the name of each outermost function call, and of each operation outside of any."""
    outermost: list[tuple[int, int, str]] = []
    for call in sorted(graph.trace.calls, key=lambda call: (call[0], -call[1])):
        if not outermost or call[0] >= outermost[-1][1]:
            outermost.append(call)
    place, told = 0, -1
    for op in graph.operations:
        if not op.inputs:
            continue  # a constant: nothing is done with the input
        while place < len(outermost) and outermost[place][1] < op.serial:
            place += 1
        inside = place < len(outermost) and outermost[place][0] < op.serial
        if not inside:
            yield from _own_name(op)
        elif place != told:
            told = place
            yield _NAMES.get(outermost[place][2], outermost[place][2])


def _own_name(op: Operation) -> Iterator[str]:
    name = op.primitive.name
    if name not in _SILENT:
        yield _NAMES.get(name, name)

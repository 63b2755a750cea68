"""Wengert's work on programs whose cost must grow linearly, and on networks without modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wengert as wg
from benchmarks.nets import NETS
from wengert.bench.inputs import make_inputs
from wengert.bench.task import Task


def prepare(case: dict[str, Any]) -> Task:
    """Build one of the programs by its name; its check returns numbers known in advance."""
    return _PROGRAMS[case["program"]](case)


def _diamonds(case: dict[str, Any]) -> Task:
    """Build a chain of diamonds: every one doubles the number of paths, the slope stays 1."""
    k = case["size"]

    def run() -> wg.Tensor:
        x = wg.tensor(1.0, requires_grad=True)
        y = x
        for _ in range(k):
            left, right = y * 0.25, y * 0.75
            y = left + right
        y.backward()
        return x.grad

    return Task(run, lambda _steps: [run().item()], {"expected": [1.0]})


def _scalars(case: dict[str, Any]) -> Task:
    """Sum the square of one number n / 2 times: n operations, all sums exact in float32."""
    terms = case["size"] // 2

    def run() -> wg.Tensor:
        x = wg.tensor(1.0, requires_grad=True)
        total = wg.tensor(0.0)
        for _ in range(terms):
            total = total + x * x
        total.backward()
        return x.grad

    return Task(run, lambda _steps: [run().item()], {"expected": [2.0 * terms]})


def _elements(case: dict[str, Any]) -> Task:
    """Sum the elements of a vector, fetched one by one."""
    n = case["size"]
    x = wg.ones(n).requires_grad_()

    def run() -> wg.Tensor:
        x.grad = None
        total = wg.tensor(0.0)
        for i in range(n):
            total = total + x[i]
        total.backward()
        return x.grad

    def check(_steps: int) -> list[float]:
        gradient = run()
        return [wg.min(gradient).item(), wg.max(gradient).item()]

    return Task(run, check, {"expected": [1.0, 1.0]})


def _loss_and_parameters(case: dict[str, Any]) -> tuple[Callable[[Any], wg.Tensor], list[Any]]:
    """Return a network's loss as a function of its parameters, and the parameters."""
    net = NETS[case["net"]]
    inputs = make_inputs(net)
    activation = getattr(wg, case["activation"])
    parameters = [(wg.tensor(weight), wg.tensor(bias)) for weight, bias in inputs.parameters]
    x, labels = wg.tensor(inputs.x), wg.tensor(inputs.target)

    def loss(parameters: list[Any]) -> wg.Tensor:
        h = x
        for weight, bias in parameters[:-1]:
            h = activation(h @ weight + bias)
        weight, bias = parameters[-1]
        return wg.cross_entropy(h @ weight + bias, labels)

    return loss, parameters


def _forward(case: dict[str, Any]) -> Task:
    """Compute a network's loss, unrecorded; its facts count the operations of its graphs."""
    loss, parameters = _loss_and_parameters(case)

    def run() -> wg.Tensor:
        with wg.no_grad():
            return loss(parameters)

    graph = wg.trace(loss)(parameters)
    operations = len(graph.operations)
    count = 2 * len(parameters)  # a weight and a bias each; the data are further inputs
    backward = len(graph.backward(wrt=graph.inputs[:count]).operations)
    return Task(run, facts={"operations": operations, "backward": backward})


def _value_and_grad(case: dict[str, Any]) -> Task:
    """Compute a network's loss and all gradients."""
    loss, parameters = _loss_and_parameters(case)
    function = wg.value_and_grad(loss)
    return Task(lambda: function(parameters))


_PROGRAMS: dict[str, Callable[[dict[str, Any]], Task]] = {
    "diamonds": _diamonds,
    "scalars": _scalars,
    "elements": _elements,
    "forward": _forward,
    "value_and_grad": _value_and_grad,
}

"""The same step with hand-written derivatives in NumPy: what its calls alone cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.bench.inputs import lengths, make_inputs
from wengert.bench.peers import Unsupported
from wengert.bench.task import Task
from wengert.bench.workload import ADAM, MOMENTUM, RATES, Workload
from wengert.graph.dtypes import Array


def prepare(case: dict[str, Any]) -> Task:
    """Build the step, or the value with its gradient, of one network of linear layers."""
    workload = Workload.of(case)
    if workload.activation == "gelu":
        raise Unsupported("NumPy has no error function")
    if workload.kind == "hvp" or workload.convolutions or workload.norm or workload.dropout:
        raise Unsupported("only plain networks and first derivatives are written by hand")
    inputs = make_inputs(workload)
    parameters = [array for pair in inputs.parameters for array in pair]
    loss = _LOSSES[workload.loss]
    update = _UPDATES[workload.optimizer](parameters)

    def derive() -> tuple[Any, list[Array]]:
        hidden = _forward(workload, parameters, inputs.x)
        value, cotangent = loss(hidden.pop(), inputs.target)
        return value, _backward(workload, parameters, hidden, cotangent)

    def step() -> Any:
        value, gradients = derive()
        update(gradients)
        return value

    facts = {"version": np.__version__, "dtype": str(parameters[0].dtype)}
    if workload.kind == "gradient":
        return Task(derive, lambda _steps: _lengths(*derive()), facts)
    return Task(step, lambda steps: [float(step()) for _ in range(steps)], facts)


def _lengths(value: Any, gradients: list[Array]) -> list[float]:
    return lengths([value, *gradients])


def _forward(workload: Workload, parameters: list[Array], x: Array) -> list[Array]:
    """Return the input of each layer, and the output."""
    found = [x]
    last = len(parameters) // 2 - 1
    for layer in range(last + 1):
        z = found[-1] @ parameters[2 * layer]
        z += parameters[2 * layer + 1]
        if layer < last:
            z = np.maximum(z, 0, out=z) if workload.activation == "relu" else np.tanh(z, out=z)
        found.append(z)
    return found


def _backward(
    workload: Workload, parameters: list[Array], hidden: list[Array], cotangent: Array
) -> list[Array]:
    """Return the gradients of weights and biases."""
    gradients: list[Array] = [cotangent] * len(parameters)
    for layer in reversed(range(len(hidden))):
        h = hidden[layer]
        gradients[2 * layer] = h.T @ cotangent
        gradients[2 * layer + 1] = cotangent.sum(0)
        if layer:
            cotangent = cotangent @ parameters[2 * layer].T
            cotangent *= h > 0 if workload.activation == "relu" else 1 - h * h
    return gradients


def _cross_entropy(z: Array, labels: Array) -> tuple[Any, Array]:
    """Return the mean cross-entropy and its derivative."""
    rows = np.arange(len(z))
    z -= z.max(1, keepdims=True)
    exponentials = np.exp(z)
    sums = exponentials.sum(1, keepdims=True)
    loss = (np.log(sums[:, 0]) - z[rows, labels]).mean()
    cotangent = np.divide(exponentials, sums, out=exponentials)
    cotangent[rows, labels] -= 1
    cotangent /= np.float32(len(z))
    return loss, cotangent


def _mse(z: Array, target: Array) -> tuple[Any, Array]:
    """Return the mean squared error and its derivative."""
    z -= target
    loss = np.float32(np.vdot(z, z) / z.size)
    z *= np.float32(2 / z.size)
    return loss, z


def _binary(z: Array, target: Array) -> tuple[Any, Array]:
    """Return the mean logistic loss and its derivative."""
    loss = (np.logaddexp(z, np.float32(0)) - target * z).mean()
    cotangent = 1 / (1 + np.exp(-z))
    cotangent -= target
    cotangent /= np.float32(z.size)
    return loss, cotangent


def _sgd(parameters: list[Array]) -> Callable[[list[Array]], None]:
    rate = np.float32(RATES["sgd"])

    def update(gradients: list[Array]) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            np.multiply(gradient, rate, out=gradient)
            np.subtract(parameter, gradient, out=parameter)

    return update


def _momentum(parameters: list[Array]) -> Callable[[list[Array]], None]:
    rate, kept = np.float32(RATES["momentum"]), np.float32(MOMENTUM)
    buffers = [np.zeros_like(parameter) for parameter in parameters]

    def update(gradients: list[Array]) -> None:
        for parameter, buffer, gradient in zip(parameters, buffers, gradients, strict=True):
            np.multiply(buffer, kept, out=buffer)
            np.add(buffer, gradient, out=buffer)
            np.subtract(parameter, rate * buffer, out=parameter)

    return update


def _adam(parameters: list[Array]) -> Callable[[list[Array]], None]:
    first, second, epsilon = map(np.float32, ADAM)
    means = [np.zeros_like(parameter) for parameter in parameters]
    squares = [np.zeros_like(parameter) for parameter in parameters]
    count = [0]

    def update(gradients: list[Array]) -> None:
        count[0] += 1
        scale = np.float32(RATES["adam"] / (1 - float(ADAM[0]) ** count[0]))
        root = np.float32((1 - float(ADAM[1]) ** count[0]) ** 0.5)
        for parameter, mean, square, gradient in zip(
            parameters, means, squares, gradients, strict=True
        ):
            np.multiply(mean, first, out=mean)
            np.add(mean, (1 - first) * gradient, out=mean)
            np.multiply(square, second, out=square)
            np.add(square, (1 - second) * gradient * gradient, out=square)
            direction = scale * mean / (np.sqrt(square) / root + epsilon)
            np.subtract(parameter, direction, out=parameter)

    return update


_LOSSES = {"cross_entropy": _cross_entropy, "mse": _mse, "binary": _binary}
_UPDATES = {"sgd": _sgd, "momentum": _momentum, "adam": _adam}

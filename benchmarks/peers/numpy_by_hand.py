"""The same step with hand-written derivatives in NumPy: what its calls alone cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.nets import LEARNING_RATE, NETS, make_inputs
from benchmarks.task import Task


def prepare(case: dict[str, Any]) -> Task:
    """Build the training step of one network."""
    net = NETS[case["net"]]
    inputs = make_inputs(net)
    weights, biases, labels = inputs.weights, inputs.biases, inputs.labels
    rows = np.arange(net.batch)
    rate = np.float32(LEARNING_RATE)

    def forward() -> tuple[Any, Any]:
        hidden = [inputs.x]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            z = hidden[-1] @ weight
            z += bias
            hidden.append(np.maximum(z, 0, out=z))
        return hidden, hidden[-1] @ weights[-1] + biases[-1]

    def step() -> Any:
        hidden, z = forward()
        z -= z.max(1, keepdims=True)
        exponentials = np.exp(z)
        sums = exponentials.sum(1, keepdims=True)
        loss = (np.log(sums[:, 0]) - z[rows, labels]).mean()
        cotangent = np.divide(exponentials, sums, out=exponentials)
        cotangent[rows, labels] -= 1
        cotangent /= np.float32(net.batch)
        for layer in reversed(range(len(weights))):
            weight_gradient = hidden[layer].T @ cotangent
            bias_gradient = cotangent.sum(0)
            if layer:
                cotangent = cotangent @ weights[layer].T
                cotangent *= hidden[layer] > 0
            weight_gradient *= rate
            weights[layer] -= weight_gradient
            biases[layer] -= rate * bias_gradient
        return loss

    facts = {"version": np.__version__, "dtype": str(weights[0].dtype)}
    return Task(step, lambda steps: [float(step()) for _ in range(steps)], facts)

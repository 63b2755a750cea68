"""HIPS autograd: `value_and_grad` of a loss written in its NumPy, SGD in place in NumPy."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.scipy.special import logsumexp

from wengert.bench.inputs import make_inputs
from wengert.bench.task import Task
from wengert.bench.workload import RATES, Workload


def prepare(case: dict[str, Any]) -> Task:
    """Build the training step of a classifier with ReLU and SGD."""
    workload = Workload.of(case)
    inputs = make_inputs(workload)
    parameters = inputs.parameters
    # Picking the label's entry by index is slower here: its gradient is a scatter-add.
    one_hot = np.eye(workload.widths[-1], dtype=np.float32)[inputs.target]
    rate = np.float32(RATES["sgd"])

    def loss_of(parameters: list[Any]) -> Any:
        h = inputs.x
        for weight, bias in parameters[:-1]:
            h = anp.maximum(anp.dot(h, weight) + bias, 0)
        weight, bias = parameters[-1]
        logits = anp.dot(h, weight) + bias
        log_probabilities = logits - logsumexp(logits, axis=1, keepdims=True)
        return -anp.sum(log_probabilities * one_hot) / workload.batch

    value_and_gradient = value_and_grad(loss_of)

    def step() -> Any:
        loss, gradients = value_and_gradient(parameters)
        for (weight, bias), (weight_gradient, bias_gradient) in zip(
            parameters, gradients, strict=True
        ):
            weight[...] -= rate * weight_gradient
            bias[...] -= rate * bias_gradient
        return loss

    gradient_dtype = value_and_gradient(parameters)[1][0][0].dtype
    facts = {"version": version("autograd"), "dtype": str(gradient_dtype)}
    return Task(step, lambda steps: [float(step()) for _ in range(steps)], facts)

"""Wengert eager: the same code as for PyTorch, with `wg` in place of `torch`."""

from __future__ import annotations

from typing import Any

import wengert as wg
from benchmarks.nets import LEARNING_RATE, NETS, make_inputs
from benchmarks.task import Task


def prepare(case: dict[str, Any]) -> Task:
    """Build the training step of one network."""
    net = NETS[case["net"]]
    inputs = make_inputs(net)
    layers: list[wg.nn.Module] = []
    for weight, bias in zip(inputs.weights, inputs.biases, strict=True):
        linear = wg.nn.Linear(*weight.shape)
        with wg.no_grad():
            linear.weight.copy_(wg.tensor(weight.T))
            linear.bias.copy_(wg.tensor(bias))
        layers += [linear, wg.nn.ReLU()]
    model = wg.nn.Sequential(*layers[:-1])
    criterion = wg.nn.CrossEntropyLoss()
    optimizer = wg.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    x, labels = wg.tensor(inputs.x), wg.tensor(inputs.labels)

    def step() -> wg.Tensor:
        optimizer.zero_grad()
        loss = criterion(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    facts = {"version": wg.__version__, "dtype": str(layers[0].weight.dtype)}
    return Task(step, lambda steps: [float(step().item()) for _ in range(steps)], facts)

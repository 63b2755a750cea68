"""PyTorch eager: `nn.Sequential`, `CrossEntropyLoss`, `optim.SGD`."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.nets import LEARNING_RATE, NETS, make_inputs
from benchmarks.task import Task


def prepare(case: dict[str, Any]) -> Task:
    """Build the training step of one network."""
    torch.set_num_threads(case["threads"])
    net = NETS[case["net"]]
    inputs = make_inputs(net)
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(inputs.weights, inputs.biases, strict=True):
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    x, labels = torch.tensor(inputs.x), torch.tensor(inputs.labels)

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    dtype = str(layers[0].weight.dtype).removeprefix("torch.")
    facts = {"version": torch.__version__, "dtype": dtype}
    return Task(step, lambda steps: [step().item() for _ in range(steps)], facts)

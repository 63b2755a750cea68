"""LeNet, the first convolutional network of a well-known tutorial (system D).

On images of 1 × 32 × 32: two convolutions of 5 × 5, each with relu and max-pooling by 2, then three
linear layers, 400 → 120 → 84 → 10; 61,706 parameters. One step of gradient descent against a dummy
target moves each parameter by −lr · gradient.

Run it: ``python examples/d_lenet.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from _show import array, difference, heading, table

import wengert as wg
from wengert import nn
from wengert.nn import functional as F

RATE = 0.01


class LeNet(nn.Module):
    """The network, with the layer names of the tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def stages(self, x: wg.Tensor) -> Iterator[tuple[str, wg.Tensor]]:
        """Yield what each stage gives for images of shape (N, 1, 32, 32), with its name."""
        yield "input", x
        yield "C1 convolution, relu", (x := F.relu(self.conv1(x)))
        yield "S2 max-pooling", (x := F.max_pool2d(x, 2))
        yield "C3 convolution, relu", (x := F.relu(self.conv2(x)))
        yield "S4 max-pooling", (x := F.max_pool2d(x, 2))
        yield "flatten", (x := F.flatten(x, 1))
        yield "F5 linear, relu", (x := F.relu(self.fc1(x)))
        yield "F6 linear, relu", (x := F.relu(self.fc2(x)))
        yield "output linear", self.fc3(x)

    def forward(self, x: wg.Tensor) -> wg.Tensor:
        """Return unnormalised outputs, of shape (N, 10)."""
        *_, (_, output) = self.stages(x)
        return output


def shapes(net: LeNet, images: int = 1) -> list[tuple[str, tuple[int, ...]]]:
    """Return the shape that each stage gives."""
    return [(name, y.shape) for name, y in net.stages(wg.zeros((images, 1, 32, 32)))]


def parameters(net: nn.Module) -> list[tuple[str, tuple[int, ...], int]]:
    """Return the name, the shape and the number of elements of each parameter array."""
    return [(name, p.shape, p.size) for name, p in net.named_parameters()]


def chain(net: LeNet) -> str:
    """Return the functions that the backward pass walks, the input first."""
    return nn.forward_chain(net, wg.zeros((1, 1, 32, 32)), loss=nn.MSELoss())


def example() -> tuple[wg.Tensor, wg.Tensor]:
    """Return one image of noise and a dummy target."""
    return wg.randn(1, 1, 32, 32), wg.randn(1, 10)


def step(net: LeNet, x: wg.Tensor, target: wg.Tensor) -> tuple[list[float], dict[str, float]]:
    """Carry out one step of gradient descent.

    Returns
    -------
    losses : list of float
        The mean squared error before and after.
    off : dict
        For each parameter array, how far the step was from −lr · gradient.
    """
    criterion, optimizer = nn.MSELoss(), wg.optim.SGD(net.parameters(), lr=RATE)
    before = {name: array(p).copy() for name, p in net.named_parameters()}
    optimizer.zero_grad()
    loss = criterion(net(x), target)
    loss.backward()
    optimizer.step()
    off = {
        name: difference(p, before[name] - np.float32(RATE) * array(p.grad))
        for name, p in net.named_parameters()
    }
    return [loss.item(), criterion(net(x), target).item()], off


def main() -> None:
    """Print shapes, parameters, the chain and a step."""
    wg.manual_seed(0)
    net = LeNet()
    print(net)

    heading("Shapes")
    table(("stage", "shape"), list(shapes(net)))

    heading("Parameters")
    rows: list[tuple[object, ...]] = list(parameters(net))
    table(("name", "shape", "elements"), rows)
    total = sum(count for _, _, count in parameters(net))
    print(f"{len(rows)} arrays, {total:,} parameters")

    heading("The graph, from the input to the loss")
    print(chain(net))

    heading("One step of gradient descent, lr = 0.01, against a dummy target")
    x, target = example()
    bias = dict(net.named_parameters())["conv1.bias"]
    print(f"conv1.bias.grad before backward: {bias.grad}")
    (before, after), off = step(net, x, target)
    print(f"conv1.bias.grad after backward: {bias.grad}")
    print(f"loss before {before:.6f}, after {after:.6f}")
    print(f"each parameter moved by −lr · gradient: off by at most {max(off.values()):.1e}")


if __name__ == "__main__":
    main()

"""What is measured: a network, its loss, and what is done with it, described once for all peers."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

ACTIVATIONS = ("relu", "tanh", "gelu")
OPTIMIZERS = ("sgd", "momentum", "adam")
RATES = {"sgd": 0.01, "momentum": 0.01, "adam": 0.001}
"""Learning rates, small enough that no network diverges however many steps a round takes."""

MOMENTUM = 0.9
ADAM = (0.9, 0.999, 1e-8)
"""β₁, β₂ and ε."""

LENET = ((1, 6, 28, 2), (6, 16, 14, 0))
"""LeNet's convolutions: channels in and out, height and width of the image, padding."""

KERNEL = 5
"""Height and width of LeNet's windows."""

LONG_RUN = 3
"""Runs of equal widths longer than this are written as a count."""


class Layer(NamedTuple):
    """A layer: what it is, the shapes of its parameters, and its other numbers."""

    kind: str
    weight: tuple[int, ...] = ()
    bias: tuple[int, ...] = ()
    padding: int = 0


@dataclass(frozen=True)
class Workload:
    """A piece of work from which each peer builds its own program.

    Attributes
    ----------
    widths : tuple of int
        Features of the input, of each hidden layer, and of the output.
    batch : int
        Rows of the minibatch.
    activation : {"relu", "tanh", "gelu"}
        The function after each hidden layer; GELU is the exact one.
    optimizer : {"sgd", "momentum", "adam"}
        What updates the parameters; momentum is 0.9, Adam's other numbers are PyTorch's defaults.
    loss : {"cross_entropy", "mse", "binary"}
        The loss, a mean: of classes, of squared errors, or of the logistic loss of one output.
    kind : {"step", "gradient", "hvp"}
        A training step, the value with its gradient, or the product of the Hessian with a vector.
    convolutions : bool
        Whether LeNet's two convolutions come before the linear layers.
    norm : bool
        Whether a layer normalisation comes before each activation.
    dropout : float
        The share of hidden values that are dropped.
    """

    widths: tuple[int, ...]
    batch: int
    activation: str = "relu"
    optimizer: str = "sgd"
    loss: str = "cross_entropy"
    kind: str = "step"
    convolutions: bool = False
    norm: bool = False
    dropout: float = 0.0

    @classmethod
    def of(cls, case: dict[str, Any]) -> Workload:
        """Return the workload that a request to a worker holds."""
        fields = case["workload"]
        return cls(**(fields | {"widths": tuple(fields["widths"])}))

    def case(self, threads: int, **further: Any) -> dict[str, Any]:
        """Return what a worker is sent: this workload, its threads, and what a peer may want."""
        return {"workload": asdict(self), "threads": threads, **further}

    @property
    def title(self) -> str:
        """Return a short written form, ``64-128-10 (32)``, and what differs from the defaults.

        Long runs of one width are counted.
        """
        runs: list[list[int]] = []
        for width in self.widths:
            if runs and runs[-1][0] == width:
                runs[-1][1] += 1
            else:
                runs.append([width, 1])
        parts = [f"{w}x{n}" if n > LONG_RUN else "-".join([str(w)] * n) for w, n in runs]
        body = "LeNet 1x28x28" if self.convolutions else "-".join(parts)
        return " ".join([f"{body} ({self.batch})", *self._differences()])

    def _differences(self) -> list[str]:
        """Name what differs from a classifier's step with ReLU and SGD."""
        marks = [
            (self.activation, self.activation != "relu"),
            (self.optimizer, self.optimizer != "sgd"),
            (self.loss.replace("_", "-"), self.loss != "cross_entropy"),
            ("layer-norm", self.norm),
            (f"dropout {self.dropout:g}", bool(self.dropout)),
            (self.kind, self.kind != "step"),
        ]
        return [name for name, differs in marks if differs]

    @property
    def layers(self) -> list[Layer]:
        """Return the network's layers, in order."""
        found: list[Layer] = []
        if self.convolutions:
            for into, out, _, padding in LENET:
                weight = (out, into, KERNEL, KERNEL)
                found += [Layer("conv", weight, (out,), padding), Layer("activation")]
                found.append(Layer("pool"))
            found.append(Layer("flatten"))
        pairs = list(itertools.pairwise(self.widths))
        for place, (into, out) in enumerate(pairs):
            found.append(Layer("linear", (into, out), (out,)))
            if place < len(pairs) - 1:
                found += [Layer("norm", (out,), (out,))] * self.norm
                found.append(Layer("activation"))
                found += [Layer("dropout")] * bool(self.dropout)
        return found

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of the minibatch."""
        return (self.batch, 1, 28, 28) if self.convolutions else (self.batch, self.widths[0])

    @property
    def plain(self) -> bool:
        """Whether it is a step of linear layers and activations alone."""
        special = self.convolutions or self.norm or self.dropout
        return self.kind == "step" and not special

    @property
    def products(self) -> list[int]:
        """Return the floating-point operations of each layer's product, forward."""
        found = []
        if self.convolutions:
            for into, out, size, padding in LENET:
                pixels = (size + 2 * padding - KERNEL + 1) ** 2
                found.append(2 * self.batch * pixels * KERNEL**2 * into * out)
        return found + [2 * self.batch * a * b for a, b in itertools.pairwise(self.widths)]

    @property
    def forward_flops(self) -> int:
        """Return the floating-point operations of one forward pass's products."""
        return sum(self.products)

    @property
    def step_flops(self) -> int:
        """Return the floating-point operations of one call's products.

        Forward and weight gradient for every layer, input gradient for all but the first. The
        product with the Hessian has two for each product that has two tangents, one else, and
        needs no weight gradient itself.
        """
        first, forward = self.products[0], self.forward_flops
        return 8 * forward - 5 * first if self.kind == "hvp" else 3 * forward - first

    @property
    def weight_bytes(self) -> int:
        """Return the size of the weights that products read, in float32."""
        shapes = [layer.weight for layer in self.layers if layer.kind in {"linear", "conv"}]
        return 4 * sum(map(math.prod, shapes))

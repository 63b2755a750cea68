"""The network that is trained: a multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from wengert import nn
from wengert.data.errors import counted
from wengert.train.options import ACTIVATIONS, Options


@dataclass(frozen=True)
class Architecture:
    """The shape of a multilayer perceptron.

    Attributes
    ----------
    inputs, outputs : int
        The width of the first and of the last layer.
    hidden : tuple of int
        The widths of the hidden layers.
    activation : {"relu", "tanh", "sigmoid"}
        The function after each hidden layer.
    dropout : float
        The share of hidden values set to zero in training.
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...]
    activation: str
    dropout: float

    @classmethod
    def from_options(cls, inputs: int, outputs: int, options: Options) -> Architecture:
        """Return the architecture for data of some width."""
        return cls(inputs, outputs, options.hidden, options.activation, options.dropout)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `to_json` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `value` is something else.
        """
        architecture = cls(
            inputs=int(value["inputs"]),
            outputs=int(value["outputs"]),
            hidden=tuple(int(width) for width in value["hidden"]),
            activation=str(value["activation"]),
            dropout=float(value["dropout"]),
        )
        if architecture.activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {architecture.activation!r}")
        return architecture

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as a value that JSON can hold."""
        return asdict(self) | {"hidden": list(self.hidden)}

    def build(self) -> nn.Sequential:
        """Return a network of this shape with fresh weights."""
        activations = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
        layers: list[nn.Module] = []
        width = self.inputs
        for units in self.hidden:
            layers += [nn.Linear(width, units), activations[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = units
        return nn.Sequential(*layers, nn.Linear(width, self.outputs))

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        widths = (self.inputs, *self.hidden, self.outputs)
        return sum((into + 1) * out for into, out in pairwise(widths))

    def widths(self) -> str:
        """Return the layer widths joined by arrows."""
        return " → ".join(str(width) for width in (self.inputs, *self.hidden, self.outputs))

    def sentence(self) -> str:
        """Describe the network to the user.

        Examples
        --------
        >>> Architecture(64, 10, (256,), "relu", 0.3).sentence()
        'Network: 64 → 256 → 10, relu, dropout 0.3: 19,210 parameters.'
        """
        details = f", {self.activation}" if self.hidden else ", linear"
        if self.dropout and self.hidden:
            details += f", dropout {self.dropout:g}"
        return f"Network: {self.widths()}{details}: {counted(self.parameters, 'parameter')}."


def without_dropout(model: nn.Sequential) -> nn.Sequential:
    """Return a network of the same layers but for dropout.

    In any mode, it answers as `model` does in evaluation.
    """
    return nn.Sequential(*(layer for layer in model if not isinstance(layer, nn.Dropout)))

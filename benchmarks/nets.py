"""The networks of the eager-step benchmark: sizes, weights and data shared by all peers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

LEARNING_RATE = 0.01
"""Small enough that no network diverges however many steps a round takes."""


LONG_RUN = 3
"""Runs of equal widths longer than this are written as a count."""


@dataclass(frozen=True)
class Net:
    """A fully connected classifier and its minibatch.

    Attributes
    ----------
    widths : tuple of int
        Features of the input, of each hidden layer, and the number of classes.
    batch : int
        Rows of the minibatch.
    target_pytorch : float
        The largest accepted ratio of Wengert's step to PyTorch's.
    """

    widths: tuple[int, ...]
    batch: int
    target_pytorch: float = 1.0

    @property
    def title(self) -> str:
        """Return a short written form, ``64-128-10 (32)``; long runs of one width are counted."""
        runs: list[list[int]] = []
        for width in self.widths:
            if runs and runs[-1][0] == width:
                runs[-1][1] += 1
            else:
                runs.append([width, 1])
        parts = [f"{w}x{n}" if n > LONG_RUN else "-".join([str(w)] * n) for w, n in runs]
        return f"{'-'.join(parts)} ({self.batch})"

    @property
    def forward_flops(self) -> int:
        """Return the floating-point operations of one forward pass's matrix products."""
        return 2 * self.batch * sum(a * b for a, b in itertools.pairwise(self.widths))

    @property
    def step_flops(self) -> int:
        """Return the floating-point operations of one training step's matrix products.

        Forward and weight gradient for every layer, input gradient for all but the first.
        """
        first = 2 * self.batch * self.widths[0] * self.widths[1]
        return 3 * self.forward_flops - first


NETS = {
    "tiny": Net((2, 2, 2), 1),
    "digits": Net((64, 128, 10), 32),
    "mnist": Net((784, 256, 128, 10), 128),
    "table": Net((32, 256, 256, 256, 10), 256),
    "deep": Net((64,) * 21 + (10,), 64),
    "wide": Net((1024, 1024, 1024, 10), 256, target_pytorch=1.25),
}


@dataclass(frozen=True)
class Inputs:
    """Weights and data of one network, as NumPy arrays.

    Attributes
    ----------
    weights : list of ndarray, each of shape (features in, features out), float32
    biases : list of ndarray, each of shape (features out,), float32
    x : ndarray, shape (batch, features), float32
    labels : ndarray, shape (batch,), int64
    """

    weights: list[np.ndarray[Any, Any]]
    biases: list[np.ndarray[Any, Any]]
    x: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]


def make_inputs(net: Net) -> Inputs:
    """Draw the same weights and data in every process.

    The scale of the weights keeps the signal alive through twenty layers: with a weaker one the
    loss would hardly depend on the weights, and comparing losses would compare nothing.
    """
    rng = np.random.default_rng(7)
    pairs = list(itertools.pairwise(net.widths))
    scales = [np.float32((2 / rows) ** 0.5) for rows, _ in pairs]
    weights = [
        rng.standard_normal(pair, np.float32) * scale
        for pair, scale in zip(pairs, scales, strict=True)
    ]
    biases = [rng.standard_normal(b, np.float32) * np.float32(0.05) for _, b in pairs]
    x = rng.standard_normal((net.batch, net.widths[0]), np.float32)
    labels = rng.integers(0, net.widths[-1], net.batch)
    return Inputs(weights, biases, x, labels)

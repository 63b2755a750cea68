"""Weights, data and directions: the same in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.bench.workload import Workload
from wengert.graph.dtypes import Array

GAINS = {"relu": 2.0, "tanh": 2.0, "gelu": 2.35}
"""What the variance of weights is multiplied with: one over the mean square of the activation of a
standard normal number; for tanh, which is steep enough at zero, ReLU's."""


@dataclass(frozen=True)
class Inputs:
    """One workload's weights and data, as NumPy arrays.

    Attributes
    ----------
    parameters : list of (ndarray, ndarray), float32
        Weight and bias of each layer that has them: a linear layer's weight has the shape
        (features in, features out), a convolution's (out, in, height, width).
    direction : list of (ndarray, ndarray), float32
        What the Hessian is multiplied with, in the same shapes.
    x : ndarray, shape (batch, …), float32
    target : ndarray
        Classes, shape (batch,), int64; otherwise numbers, shape (batch, outputs), float32.
    """

    parameters: list[tuple[Array, Array]]
    direction: list[tuple[Array, Array]]
    x: Array
    target: Array

    @property
    def weights(self) -> list[Array]:
        """Return the weights alone."""
        return [weight for weight, _ in self.parameters]

    @property
    def biases(self) -> list[Array]:
        """Return the biases alone."""
        return [bias for _, bias in self.parameters]


def make_inputs(workload: Workload) -> Inputs:
    """Draw the same weights and data in every process.

    The scale of the weights keeps the signal alive through twenty layers: with a weaker one the
    loss would hardly depend on the weights, and comparing losses would compare nothing.
    """
    rng = np.random.default_rng(7)
    layers = [layer for layer in workload.layers if layer.weight]
    weights = []
    for kind, shape, _, _ in layers:
        if kind == "norm":
            weights.append(np.ones(shape, np.float32))
            continue
        fan_in = shape[0] if kind == "linear" else int(np.prod(shape[1:]))
        scale = np.float32((GAINS[workload.activation] / fan_in) ** 0.5)
        weights.append(rng.standard_normal(shape, np.float32) * scale)
    biases = [_small(rng, layer.bias) for layer in layers]
    x = rng.standard_normal(workload.input_shape, np.float32)
    target = _target(rng, workload)
    direction = [(_small(rng, layer.weight), _small(rng, layer.bias)) for layer in layers]
    return Inputs(list(zip(weights, biases, strict=True)), direction, x, target)


def _small(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape, np.float32) * np.float32(0.05)


def _target(rng: np.random.Generator, workload: Workload) -> Array:
    """Draw classes, numbers, or zeros and ones."""
    shape = (workload.batch, workload.widths[-1])
    if workload.loss == "mse":
        return rng.standard_normal(shape, np.float32)
    if workload.loss == "binary":
        return rng.integers(0, 2, shape).astype(np.float32)
    return rng.integers(0, workload.widths[-1], workload.batch)


def rows_out(workload: Workload, pairs: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Return weights and biases with linear weights as modules hold them, (out, in)."""
    kinds = [layer.kind for layer in workload.layers if layer.weight]
    return [
        (np.ascontiguousarray(weight.T) if kind == "linear" else weight, bias)
        for kind, (weight, bias) in zip(kinds, pairs, strict=True)
    ]


def lengths(arrays: Sequence[Any]) -> list[float]:
    """Return the Euclidean length of each array: the same whichever way round a peer stores it.

    Examples
    --------
    >>> lengths([np.array([3.0, 4.0])])
    [5.0]
    """
    return [float(np.linalg.norm(np.asarray(array, np.float64))) for array in arrays]

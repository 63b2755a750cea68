"""Networks of modules, in the names that PyTorch and Wengert share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.bench.inputs import Inputs, rows_out
from wengert.bench.workload import MOMENTUM, RATES, Layer, Workload


def build_model(
    library: Any, workload: Workload, inputs: Inputs, tensor: Callable[[Any], Any], norm: Any
) -> Any:
    """Return the network of modules, with the weights given.

    Parameters
    ----------
    library : module
        ``torch`` or ``wengert``.
    workload, inputs : Workload, Inputs
        What the network is.
    tensor : callable
        Makes a tensor of an array.
    norm : callable
        Makes the layer normalisation of so many features.
    """
    rest = iter(rows_out(workload, inputs.parameters))
    modules = []
    for layer in workload.layers:
        module = norm(*layer.weight) if layer.kind == "norm" else _module(library, workload, layer)
        if layer.weight:
            weight, bias = next(rest)
            with library.no_grad():
                module.weight.copy_(tensor(weight))
                module.bias.copy_(tensor(bias))
        modules.append(module)
    return library.nn.Sequential(*modules)


def _module(library: Any, workload: Workload, layer: Layer) -> Any:
    """Return one layer as a module."""
    nn = library.nn
    if layer.kind == "linear":
        into, out = layer.weight
        return nn.Linear(into, out)
    if layer.kind == "conv":
        out, into, size = layer.weight[:3]
        return nn.Conv2d(into, out, size, padding=layer.padding)
    if layer.kind == "dropout":
        return nn.Dropout(workload.dropout)
    if layer.kind == "activation":
        return {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[workload.activation]()
    return nn.MaxPool2d(2) if layer.kind == "pool" else nn.Flatten()


def build_criterion(library: Any, workload: Workload) -> Any:
    """Return the loss."""
    nn = library.nn
    if workload.loss == "mse":
        return nn.MSELoss()
    return nn.BCEWithLogitsLoss() if workload.loss == "binary" else nn.CrossEntropyLoss()


def build_optimizer(library: Any, workload: Workload, model: Any) -> Any:
    """Return the optimiser of the model's parameters."""
    rate, optim = RATES[workload.optimizer], library.optim
    if workload.optimizer == "adam":
        return optim.Adam(model.parameters(), lr=rate)
    momentum = MOMENTUM if workload.optimizer == "momentum" else 0.0
    return optim.SGD(model.parameters(), lr=rate, momentum=momentum)

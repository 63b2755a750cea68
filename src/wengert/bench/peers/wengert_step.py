"""Wengert, written as its users write: a step of modules and an optimiser, or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wengert as wg
from wengert.bench.inputs import Inputs, lengths, make_inputs
from wengert.bench.peers import Unsupported
from wengert.bench.peers.modules import build_criterion, build_model, build_optimizer
from wengert.bench.task import Task
from wengert.bench.workload import Layer, Workload


def prepare(case: dict[str, Any]) -> Task:
    """Build the program of one workload.

    It is not compiled where the case says ``eager``. With ``lean`` the step ends with
    ``zero_grad()``, so that nothing refers to gradients after it and compiled code writes none.
    """
    workload = Workload.of(case)
    inputs = make_inputs(workload)
    wrap = (lambda function: function) if case.get("eager") else wg.compile
    wg.manual_seed(0)
    lean = bool(case.get("lean"))
    if workload.kind == "step":
        return _step(workload, inputs, wrap, lean=lean)
    if lean:
        raise Unsupported("there is no .grad in this workload")
    return _derivative(workload, inputs, wrap)


def _step(workload: Workload, inputs: Inputs, wrap: Callable[..., Any], *, lean: bool) -> Task:
    """Build a training step."""
    x, target = wg.tensor(inputs.x), wg.tensor(inputs.target)
    model = model_of(workload, inputs)
    step = wrap(training_step(workload, model, build_optimizer(wg, workload, model), lean=lean))

    def check(steps: int) -> list[float]:
        return [float(step(x, target).item()) for _ in range(steps)]

    dtype = next(model.parameters()).dtype
    return Task(lambda: step(x, target), check, _facts(dtype), lambda: _memory(step))


def training_step(
    workload: Workload, model: wg.nn.Module, optimizer: wg.optim.Optimizer, *, lean: bool
) -> Callable[[Any, Any], Any]:
    """Return the step of a network, as users write it; `lean` leaves no gradients behind."""
    criterion = build_criterion(wg, workload)

    def keeping(x: Any, target: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    def dropping(x: Any, target: Any) -> Any:
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return dropping if lean else keeping


def _derivative(workload: Workload, inputs: Inputs, wrap: Callable[..., Any]) -> Task:
    """Build a value with its gradient, or a product of the Hessian with a vector."""
    criterion, layers = build_criterion(wg, workload), workload.layers
    parameters = _tensors(inputs.parameters)
    direction = _tensors(inputs.direction)
    x, target = wg.tensor(inputs.x), wg.tensor(inputs.target)

    def loss(parameters: Any, x: Any, target: Any) -> Any:
        rest = iter(parameters)
        for layer in layers:
            x = _apply(workload, layer, x, next(rest) if layer.weight else ())
        return criterion(x, target)

    def product(parameters: Any, direction: Any, x: Any, target: Any) -> Any:
        return wg.hvp(lambda parameters: loss(parameters, x, target), parameters, direction)

    gradient = workload.kind == "gradient"
    function = wrap(wg.value_and_grad(loss) if gradient else product)
    given = [parameters] if gradient else [parameters, direction]
    arguments = (*given, x, target)

    def check(_steps: int) -> list[float]:
        found = function(*arguments)
        value, gradients = found if gradient else (None, found)
        arrays = [array.numpy() for pair in gradients for array in pair]
        return lengths(arrays if value is None else [value.numpy(), *arrays])

    facts = _facts(x.dtype)
    return Task(lambda: function(*arguments), check, facts, lambda: _memory(function))


def _facts(dtype: Any) -> dict[str, Any]:
    return {"version": wg.__version__, "dtype": str(dtype)}


def _memory(function: Any) -> dict[str, int]:
    """Return the bytes of the newest native function's inputs, temporaries and results."""
    entry = next(reversed([e for entries in function._entries.values() for e in entries]))
    graph, taken = entry.graph, set(entry.donors)
    run = entry.run
    results = [v for place, v in enumerate(graph.outputs) if place not in taken]
    return {
        "arguments": sum(v.aval.nbytes for v in graph.inputs),
        "temporaries": run.arena_bytes + run.threads * run.scratch_bytes,
        "outputs": sum(v.aval.nbytes for v in results),
    }


def _tensors(pairs: list[tuple[Any, Any]]) -> list[tuple[wg.Tensor, wg.Tensor]]:
    return [(wg.tensor(weight), wg.tensor(bias)) for weight, bias in pairs]


class LayerNorm(wg.nn.Module):
    """Layer normalisation over the last axis, with the scale and shift given."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = wg.nn.Parameter(wg.ones(features))
        self.bias = wg.nn.Parameter(wg.zeros(features))

    def forward(self, x: Any) -> Any:
        """Centre and scale each row."""
        return normalised(x, self.weight, self.bias)


def normalised(x: Any, weight: Any, bias: Any) -> Any:
    """Return `x` with mean 0 and variance 1 in each row, scaled and shifted."""
    centred = x - wg.mean(x, axis=-1, keepdims=True)
    variance = wg.mean(centred * centred, axis=-1, keepdims=True)
    return centred / wg.sqrt(variance + 1e-5) * weight + bias


def model_of(workload: Workload, inputs: Inputs) -> wg.nn.Sequential:
    """Return the network of modules, with the weights given."""
    model: wg.nn.Sequential = build_model(wg, workload, inputs, wg.tensor, LayerNorm)
    return model


def _apply(workload: Workload, layer: Layer, x: Any, own: Any) -> Any:
    """Apply one layer as a function of its parameters."""
    if layer.kind == "linear":
        return x @ own[0] + own[1]
    if layer.kind == "conv":
        return wg.conv2d(x, *own, padding=layer.padding)
    if layer.kind == "norm":
        return normalised(x, *own)
    if layer.kind == "dropout":
        return wg.dropout(x, workload.dropout)
    if layer.kind == "activation":
        return {"relu": wg.relu, "tanh": wg.tanh, "gelu": wg.gelu}[workload.activation](x)
    return wg.max_pool2d(x, 2) if layer.kind == "pool" else wg.flatten(x, 1)

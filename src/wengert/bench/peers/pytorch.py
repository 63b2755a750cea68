"""PyTorch, eager or by `torch.compile`: modules, a loss, an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.bench.inputs import Inputs, lengths, make_inputs, rows_out
from wengert.bench.peers import Unsupported
from wengert.bench.task import Task
from wengert.bench.workload import MOMENTUM, RATES, Layer, Workload


def prepare(case: dict[str, Any]) -> Task:
    """Build the program of one workload; compiled where the case says so (``compile``)."""
    import torch

    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    workload = Workload.of(case)
    inputs = make_inputs(workload)
    model, criterion = _model(workload, inputs), _criterion(workload)
    x, target = torch.from_numpy(inputs.x), torch.from_numpy(inputs.target)

    def loss_of() -> Any:
        return criterion(model(x), target)

    wrap: Callable[[Any], Any] = torch.compile if case.get("compile") else lambda function: function
    if workload.kind == "step":
        return _step(_optimizer(workload, model), loss_of, wrap)
    if workload.kind == "gradient":
        return _gradient(model, wrap(loss_of))
    if case.get("compile"):
        raise Unsupported("torch.compile: no Hessian-vector product in this benchmark")
    return _product(workload, inputs, model, lambda model: criterion(model(x), target))


def _step(optimizer: Any, loss_of: Callable[[], Any], wrap: Callable[[Any], Any]) -> Task:
    """Build a training step: loss and update compiled, if anything is, backward within it."""
    loss_of, update = wrap(loss_of), wrap(optimizer.step)

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        update()
        return loss

    facts = _facts(optimizer.param_groups[0]["params"])
    return Task(step, lambda steps: [step().item() for _ in range(steps)], facts)


def _gradient(model: Any, loss_of: Callable[[], Any]) -> Task:
    """Build a value with its gradient."""
    import torch

    parameters = list(model.parameters())

    def run() -> Any:
        loss = loss_of()
        return loss.detach(), *torch.autograd.grad(loss, parameters)

    return Task(run, lambda _steps: lengths([a.numpy() for a in run()]), _facts(parameters))


def _product(workload: Workload, inputs: Inputs, model: Any, loss_of: Callable[[Any], Any]) -> Task:
    """Build a product of the Hessian with a vector, forward over reverse."""
    import torch
    from torch.func import functional_call, grad, jvp

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    arrays = [array for pair in rows_out(workload, inputs.direction) for array in pair]
    direction = dict(zip(parameters, map(torch.from_numpy, arrays), strict=True))
    gradient = grad(lambda p: loss_of(lambda x: functional_call(model, p, (x,))))

    def run() -> Any:
        return jvp(gradient, (parameters,), (direction,))[1]

    def check(_steps: int) -> list[float]:
        return lengths([array.numpy() for array in run().values()])

    return Task(run, check, _facts(list(parameters.values())))


def _facts(parameters: list[Any]) -> dict[str, Any]:
    import torch

    return {"version": torch.__version__, "dtype": str(parameters[0].dtype).removeprefix("torch.")}


def _model(workload: Workload, inputs: Inputs) -> Any:
    """Return the network of modules, with the weights given."""
    import torch

    rest = iter(rows_out(workload, inputs.parameters))
    modules = []
    for layer in workload.layers:
        module = _module(workload, layer)
        if layer.weight:
            weight, bias = next(rest)
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(weight))
                module.bias.copy_(torch.from_numpy(bias))
        modules.append(module)
    return torch.nn.Sequential(*modules)


def _module(workload: Workload, layer: Layer) -> Any:
    """Return one layer as a module."""
    from torch import nn

    if layer.kind == "linear":
        return nn.Linear(*layer.weight)
    if layer.kind == "conv":
        out, into, size = layer.weight[:3]
        return nn.Conv2d(into, out, size, padding=layer.padding)
    if layer.kind == "norm":
        return nn.LayerNorm(layer.weight)
    if layer.kind == "dropout":
        return nn.Dropout(workload.dropout)
    if layer.kind == "activation":
        return {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[workload.activation]()
    return nn.MaxPool2d(2) if layer.kind == "pool" else nn.Flatten()


def _criterion(workload: Workload) -> Any:
    """Return the loss."""
    from torch import nn

    if workload.loss == "mse":
        return nn.MSELoss()
    return nn.BCEWithLogitsLoss() if workload.loss == "binary" else nn.CrossEntropyLoss()


def _optimizer(workload: Workload, model: Any) -> Any:
    """Return the optimiser of the model's parameters."""
    import torch

    rate = RATES[workload.optimizer]
    if workload.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate)
    momentum = MOMENTUM if workload.optimizer == "momentum" else 0.0
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)

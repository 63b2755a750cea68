"""PyTorch, eager or by `torch.compile`: modules, a loss, an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.bench.inputs import Inputs, lengths, make_inputs, rows_out
from wengert.bench.peers import Unsupported
from wengert.bench.peers.modules import build_criterion, build_model, build_optimizer
from wengert.bench.task import Task
from wengert.bench.workload import Workload


def prepare(case: dict[str, Any]) -> Task:
    """Build the program of one workload; compiled where the case says so (``compile``)."""
    import torch

    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    workload = Workload.of(case)
    inputs = make_inputs(workload)
    norm = torch.nn.LayerNorm
    model = build_model(torch, workload, inputs, torch.from_numpy, norm)
    criterion = build_criterion(torch, workload)
    x, target = torch.from_numpy(inputs.x), torch.from_numpy(inputs.target)

    def loss_of() -> Any:
        return criterion(model(x), target)

    wrap: Callable[[Any], Any] = torch.compile if case.get("compile") else lambda function: function
    if workload.kind == "step":
        return _step(build_optimizer(torch, workload, model), loss_of, wrap)
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

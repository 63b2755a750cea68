"""How much memory a network takes, to predict with and to train, before it runs."""

from __future__ import annotations

from typing import NamedTuple

import wengert as wg
from wengert.bench.inputs import make_inputs
from wengert.bench.peers.modules import build_optimizer
from wengert.bench.peers.wengert_step import model_of, training_step
from wengert.bench.workload import Workload
from wengert.compile.plan import Plan


class MemoryUse(NamedTuple):
    """What one compiled function of a network needs, in bytes.

    Attributes
    ----------
    parameters, state, batch : int
        The weights; what the optimiser keeps beside them; the minibatch and its targets.
    plan : Plan
        The native code, with the arena for all other values.
    """

    parameters: int
    state: int
    batch: int
    plan: Plan

    @property
    def total(self) -> int:
        """All of it, on one thread: inputs, arena, scratch, results and constants."""
        return self.plan.peak_bytes


def prediction_memory(workload: Workload) -> MemoryUse:
    """Return what the network's answers for one minibatch need."""
    inputs = make_inputs(workload)
    model = model_of(workload, inputs).eval()
    x = wg.tensor(inputs.x)

    @wg.no_grad()
    def predict(x: wg.Tensor) -> wg.Tensor:
        return model(x)  # type: ignore[no-any-return]

    plan = wg.compile(predict).plan(x)
    return MemoryUse(sum(p.nbytes for p in model.parameters()), 0, x.nbytes, plan)


def training_memory(workload: Workload) -> MemoryUse:
    """Return what a step of training needs, if no gradient is kept after it."""
    inputs = make_inputs(workload)
    model = model_of(workload, inputs)
    optimizer = build_optimizer(wg, workload, model)
    x, target = wg.tensor(inputs.x), wg.tensor(inputs.target)
    step = training_step(workload, model, optimizer, lean=True)
    plan = wg.compile(step).plan(x, target)
    parameters, batch = sum(p.nbytes for p in model.parameters()), x.nbytes + target.nbytes
    return MemoryUse(parameters, plan.input_bytes - parameters - batch, batch, plan)

"""A small network and its training step, for the tests of wg.compile."""

from __future__ import annotations

import numpy as np

import wengert as wg
from tests.tensor.shared import array, close
from wengert.tensor import effects


class Momentum:
    """An optimiser as users write it: its state in cells, its numbers read through `hyper`."""

    def __init__(self, params, lr, momentum=0.9):
        self.params, self.lr, self.momentum = params, lr, momentum
        self.velocity = [wg.zeros_like(p) for p in params]
        self.steps = wg.zeros((), dtype=wg.int64)

    def step(self):
        lr = effects.hyper(self, "lr", lambda: self.lr)
        momentum = effects.hyper(self, "momentum", lambda: self.momentum)
        with wg.no_grad():
            self.steps.add_(1)
            for p, v in zip(self.params, self.velocity, strict=True):
                if p.grad is not None:
                    v.mul_(momentum).add_(p.grad)
                    p.sub_(v, alpha=lr)

    def zero_grad(self):
        for p in self.params:
            p.grad = None


class Job:
    """A small network and its training step."""

    def __init__(self, order="zero first", **options):
        rng = np.random.default_rng(0)
        self.w = wg.tensor(rng.standard_normal((3, 8)) / 2, requires_grad=True)
        self.b = wg.tensor(np.zeros(8), requires_grad=True)
        self.v = wg.tensor(rng.standard_normal((8, 1)) / 2, requires_grad=True)
        self.optimizer = Momentum([self.w, self.b, self.v], lr=0.05, **options)
        self.order, self.training, self.rate = order, True, 0.25
        self.x, self.y = rng.standard_normal((16, 3)), rng.standard_normal((16, 1))

    def forward(self, x):
        h = wg.tanh(x @ self.w + self.b)
        if effects.guard("training of the job", lambda: self.training):
            h = wg.dropout(h, effects.hyper(self, "rate", lambda: self.rate))
        return h @ self.v

    def step(self, x, y):
        if self.order == "zero first":
            self.optimizer.zero_grad()
        loss = wg.mse_loss(self.forward(x), y)
        loss.backward()
        self.optimizer.step()
        if self.order == "zero last":
            self.optimizer.zero_grad()
        return loss

    def state(self):
        cells = [*self.optimizer.params, *self.optimizer.velocity, self.optimizer.steps]
        return [array(cell).copy() for cell in cells]


def agree(job, other, rtol=1e-11):
    for found, expected in zip(job.state(), other.state(), strict=True):
        close(found, expected, rtol)

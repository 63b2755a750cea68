"""Whole training steps: forward, backward and update in place, by native code and by NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compile.programs import F, graph_of, poisoned, reference, same_bits, shared_finely
from wengert.ad.reverse import vjp
from wengert.ad.tape import horizon, isolate
from wengert.compile.native.executable import compile_graph
from wengert.graph.variable import Variable

pytestmark = pytest.mark.usefixtures("any_processor")

SIZES = (12, 16, 9, 5)
BATCH = 24
STEPS = 5


def sgd(p, g, state, lr):
    """Momentum and weight decay, as PyTorch does them."""
    (velocity,) = state
    velocity = velocity * 0.9 + (g + p * 1e-3)
    return p - lr * velocity, [velocity]


def adam(p, g, state, lr):
    m, v, t = state
    t = t + 1
    m, v = m * 0.9 + g * 0.1, v * 0.999 + g * g * 0.001
    steps = F.astype(t, p.dtype)
    size = m / (1 - F.power(0.9, steps))
    spread = F.sqrt(v / (1 - F.power(0.999, steps))) + 1e-8
    return p - lr * size / spread, [m, v, t]


def states(optimizer, p):
    zeros = [np.zeros_like(p)]
    return zeros if optimizer is sgd else [*zeros, np.zeros_like(p), np.zeros((), np.int64)]


def dropped(x, key, rate=0.3):
    """Return `x` with dropout, and the state of the generator after it."""
    u, after = F.uniform(key, x.shape, x.dtype)
    kept = F.greater_equal(u, rate)
    return F.where(kept, x / (1 - rate), 0.0), after


class Training:
    """A network of which everything that changes is an input and an output."""

    def __init__(self, activation, loss, optimizer, dtype):
        rng = np.random.default_rng(7)
        self.activation, self.loss, self.optimizer = activation, loss, optimizer
        self.parameters = [
            a.astype(dtype)
            for n, m in itertools.pairwise(SIZES)
            for a in (rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m) * 0.1)
        ]
        self.state = [states(optimizer, p) for p in self.parameters]
        x = rng.standard_normal((BATCH, SIZES[0])).astype(dtype)
        y = rng.integers(0, SIZES[-1], BATCH)
        if loss == "mse":
            y = rng.standard_normal((BATCH, SIZES[-1])).astype(dtype)
        key = np.array([1, 2, 3], np.uint64)
        self.data = [x, y, np.array(0.05, dtype)]
        self.changing = [*self.parameters, *(s for state in self.state for s in state), key]
        self.graph = graph_of(self.step, *self.changing, *self.data)
        count = len(self.changing)
        self.aliases = {i + 1: i for i in range(count)}

    def step(self, *variables):
        count = len(self.parameters)
        changing, (x, y, lr) = variables[: len(self.changing)], variables[len(self.changing) :]
        parameters, rest, key = changing[:count], iter(changing[count:-1]), changing[-1]
        since = horizon()
        inner = [isolate(p) for p in parameters]
        for place in range(0, count, 2):
            x = F.linear(x, inner[place], inner[place + 1])
            if place < count - 2:
                x, key = dropped(self.activation(x), key)
        value = F.mse_loss(x, y) if self.loss == "mse" else F.cross_entropy(x, y)
        bars, _ = vjp([value], [Variable(np.array(1, x.dtype))], inner, since)
        updated, changed = [], []
        for p, g, state in zip(parameters, bars, self.state, strict=True):
            new, new_state = self.optimizer(p, g, [next(rest) for _ in state], lr)
            updated.append(new)
            changed += new_state
        return (value, *updated, *changed, key)

    def compiled(self, threads):
        """Return losses and final values after some steps of native code, in place."""
        executable = poisoned(compile_graph(self.graph, self.aliases, threads))
        changing = [a.copy() for a in self.changing]
        losses = []
        for _ in range(STEPS):
            loss = np.empty((), self.data[0].dtype)
            executable([*changing, *self.data], [loss, *changing])
            losses.append(loss)
        return [np.array(losses), *changing]

    def reference(self):
        changing, losses = self.changing, []
        for _ in range(STEPS):
            loss, *changing = reference(self.graph, [*changing, *self.data])
            losses.append(loss)
        return [np.array(losses), *changing]


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_native_steps_agree_with_the_reference(optimizer, loss, activation, dtype):
    training = Training(getattr(F, activation), loss, optimizer, dtype)
    found, wanted = training.compiled(1), training.reference()
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    for a, w in zip(found, wanted, strict=True):
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, w, rtol=0, atol=tolerance * np.abs(w).max())
        else:
            np.testing.assert_array_equal(a, w)
    assert found[0][0] != found[0][-1]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_two_threads_give_the_bits_of_one(optimizer, monkeypatch):
    training = Training(F.relu, "cross_entropy", optimizer, np.float32)
    one = training.compiled(1)
    shared_finely(monkeypatch)
    for _ in range(2):
        same_bits(training.compiled(2), one)

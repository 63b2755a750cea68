"""Telling whether a call ran Python, and a training step to try it with."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

import wengert as wg
from wengert.compile.call import objects

needs_fast_calls = pytest.mark.skipif(
    objects.slots() is None, reason="this interpreter keeps objects in a way of its own"
)

X = wg.tensor([[0.5, -1.0], [2.0, 0.3], [-0.2, 0.1]], dtype="float64")
Y = wg.tensor([[0.5], [-0.5], [1.0]], dtype="float64")
SCALE = wg.tensor(2.0, dtype="float64")
RTOL = 1e-9
"""Sums in another order, over a dozen steps that do not magnify errors a thousandfold."""


def double(values):
    return wg.tensor(values, dtype="float64")


def slow_calls(compiled):
    """Return how many calls have gone through Python."""
    return sum(entry.runs for entries in compiled._entries.values() for entry in entries)


def is_fast(compiled, *args):
    """Call, and tell whether that ran no Python."""
    before = slow_calls(compiled), len(compiled.compilations)
    compiled(*args)
    return (slow_calls(compiled), len(compiled.compilations)) == before


def warm(compiled, *args):
    """Call until calls are fast; return the compiled function."""
    for _ in range(3):
        compiled(*args)
    assert is_fast(compiled, *args)
    return compiled


def in_threads(work, *arguments):
    """Run `work` in a thread for each argument, all at once, changing places as often as can be."""
    threads = [threading.Thread(target=work, args=(argument,)) for argument in arguments]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


class Training:
    """A step of training, compiled or not, with all that it reads from outside."""

    def __init__(self, compiles, order="zero_grad last", momentum=0.5):
        wg.manual_seed(0)
        self.net = wg.nn.Sequential(
            wg.nn.Linear(2, 3), wg.nn.Tanh(), wg.nn.Dropout(0.0), wg.nn.Linear(3, 1)
        ).double()
        self.optimizer = wg.optim.SGD(self.net.parameters(), lr=0.01, momentum=momentum)
        net, optimizer = self.net, self.optimizer
        scale, options = SCALE, {"shift": double([0.25])}
        listed = [double([1.5])]
        self.options, self.listed = options, listed

        def step(x, y):
            if order == "zero_grad first":
                optimizer.zero_grad()
            error = (net(x) - y) * scale + options["shift"] * listed[0]
            loss = (error * error).mean()
            loss.backward()
            optimizer.step()
            if order == "zero_grad last":
                optimizer.zero_grad()
            return loss

        def replace_scale(value):
            nonlocal scale
            scale = value

        self.replace_scale = replace_scale
        self.step = wg.compile(step) if compiles else step

    def state(self):
        grads = [p.grad for p in self.net.parameters()]
        return [
            *(p.tolist() for p in self.net.parameters()),
            *(None if g is None else g.tolist() for g in grads),
        ]


def assert_alike(compiled, eager, *args):
    mine, other = compiled.step(*args), eager.step(*args)
    np.testing.assert_allclose(mine.item(), other.item(), rtol=RTOL)
    for a, b in zip(compiled.state(), eager.state(), strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=RTOL, atol=RTOL)

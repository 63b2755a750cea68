"""A net, data for it, and its two forms: compiled and eager."""

from __future__ import annotations

import numpy as np

import wengert as wg


class Net(wg.nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.first = wg.nn.Linear(2, 3, bias=bias)
        self.act = wg.nn.Tanh()
        self.last = wg.nn.Linear(3, 1)
        self.register_buffer("shift", wg.zeros(1))
        self.extra = [wg.ones(1)]

    def forward(self, x):
        return self.last(self.act(self.first(x))) + self.shift + self.extra[0]


X = np.array([[0.5, -1.0], [2.0, 0.3]], np.float32)


def pair():
    """Return a net, its compiled and its eager form."""
    wg.manual_seed(0)
    net = Net()
    return net, wg.compile(net), net

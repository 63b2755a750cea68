"""Graphs are freed as soon as nobody can ask for a derivative; threads stay apart."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np

import wengert as wg
from tests.tensor.shared import leaf


def train(steps, width=64):
    w = wg.tensor(np.ones((width, width)) / width, requires_grad=True)
    x = wg.tensor(np.ones((width, width)))
    total = 0.0
    for _ in range(steps):
        loss = wg.mean(wg.tanh(wg.tanh(x @ w) @ w) ** 2)
        w.grad = None
        loss.backward()
        with wg.no_grad():
            w.sub_(0.1 * w.grad)
        total += loss.item()
    return total


def test_training_does_not_grow(without_collector):
    train(3)
    gc.collect()
    before = len(gc.get_objects())
    blocks = sys.getallocatedblocks()
    train(50)
    assert sys.getallocatedblocks() - blocks < 500
    assert len(gc.get_objects()) - before < 50


def test_graph_is_freed_when_the_loss_is_dropped(spy, without_collector):
    values = spy("exp")
    x = leaf(1.0, 2.0)
    loss = wg.exp(wg.exp(x)).sum()
    assert [value() is not None for value in values] == [True, True]
    del loss
    assert [value() for value in values] == [None, None]


def test_graph_is_freed_by_backward(spy, without_collector):
    values = spy("exp")
    x = leaf(1.0, 2.0)
    loss = wg.exp(wg.exp(x)).sum()
    loss.backward()
    assert [value() for value in values] == [None, None]


def test_graph_of_several_outputs_is_freed(spy, without_collector):
    values = spy("exp")
    x = leaf(2.0, 1.0)
    loss = (wg.sort(wg.exp(x)) * wg.max_with_index(wg.exp(x))[0]).sum()
    del loss
    assert [value() for value in values] == [None, None]


def test_graph_of_second_order_is_freed(spy, without_collector):
    values = spy("exp")
    x = leaf(1.0, 2.0)
    wg.exp(x).sum().backward(create_graph=True)
    x.grad.sum().backward()
    x.grad = None
    assert [value() for value in values] == [None] * len(values)


def test_graph_with_hooks_is_freed(spy, without_collector):
    values = spy("exp")
    x = leaf(1.0, 2.0)
    h = wg.exp(x)
    h.register_hook(lambda g: 2 * g)
    h.retain_grad()
    loss = h.sum()
    loss.backward()
    del h, loss
    assert [value() for value in values] == [None]


def test_values_are_freed_on_the_way_back(spy, without_collector):
    alive = []
    x = wg.tensor(np.ones(10), requires_grad=True)
    values = spy("erf")
    y = wg.erf(x)
    y.register_hook(lambda g: alive.append(sum(value() is not None for value in values)))
    loss = y
    for _ in range(9):
        loss = wg.erf(loss)
    loss.sum().backward()
    assert alive == [2]  # the result that the hook is on, and the last


def test_backward_twice_in_two_threads():
    results = {}

    def work(name, scale):
        w = leaf(1.0, 2.0)
        for _ in range(50):
            w.grad = None
            (w * w * scale).sum().backward()
        results[name] = w.grad.tolist()

    threads = [threading.Thread(target=work, args=(i, float(i))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: [2.0 * i, 4.0 * i] for i in range(4)}

"""One tensor that a compiled function meets in two roles."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf

pytest.importorskip("llvmlite")


def roles():  # noqa: C901, PLR0915  (a list of functions)
    """Return steps in which one tensor is met in two ways, with what to compare."""

    def grad_captured(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)
        g = w.grad

        def step(x):
            g.mul_(2.0)
            y = w.grad * 1
            w.grad.add_(x)
            return y, g * 1

        call = make(step)
        return [call(np.ones(2)) for _ in range(2)], w.grad, g

    def grad_first(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)
        g = w.grad

        def step(x):
            w.grad.add_(x)
            g.mul_(2.0)
            (w * x).sum().backward()
            return g * 1, w.grad * 1

        call = make(step)
        return [call(np.ones(2)) for _ in range(3)], w.grad, g

    def grad_argument(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)

        def step(g, x):
            g.mul_(2.0)
            w.grad.add_(x)
            return g * 1

        call = make(step)
        other = wg.tensor([1.0, 1.0], dtype=wg.float64)
        seen = [call(g, np.ones(2)) for g in (w.grad, w.grad, other, w.grad)]
        return seen, w.grad, other

    def grad_let_go(make):
        w = leaf(1.0, 2.0)
        w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)
        g = w.grad

        def step(x):
            w.grad.add_(x)
            g.mul_(2.0)
            w.grad = None

        make(step)(np.ones(2))
        return g, wg.tensor(float(w.grad is None))

    def two_gradients(make):
        v, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
        v.grad = w.grad = wg.tensor([10.0, 20.0], dtype=wg.float64)

        def step(x):
            v.grad.add_(x)
            w.grad.mul_(2.0)
            return v.grad * 1

        call = make(step)
        seen = [call(np.ones(2)), call(np.ones(2))]
        w.grad = wg.tensor([0.0, 0.0], dtype=wg.float64)
        return [*seen, call(np.ones(2))], v.grad, w.grad

    def argument_twice(make):
        def step(a, b):
            a.add_(1.0)
            b.mul_(2.0)
            return a + b

        call = make(step)
        w, v = wg.tensor([1.0, 2.0]), wg.tensor([5.0, 6.0])
        return [call(w, w), call(w, v), call(v, v), call(v, w)], w, v

    def argument_captured(make):
        w, v = leaf(1.0, 2.0), leaf(5.0, 6.0)

        def step(a, x):
            a.grad = None
            (a * w * x).sum().backward()
            with wg.no_grad():
                w.sub_(w.grad, alpha=0.1)
                a.mul_(0.5)
            return a + w

        call = make(step)
        seen = []
        for a in (w, v, w, w, v):
            w.grad = None
            seen.append(call(a, np.ones(2)))
        return seen, w, v, w.grad

    def captured_becomes_gradient(make):
        w, g = leaf(1.0, 2.0), wg.tensor([7.0, 8.0], dtype=wg.float64)
        w.grad = wg.tensor([1.0, 1.0], dtype=wg.float64)

        def step():
            g.add_(1.0)
            w.grad.mul_(2.0)
            return g + w.grad

        call = make(step)
        seen = [call()]
        w.grad = g
        return [*seen, call(), call()], g, w.grad

    def gradient_of_an_argument(make):
        def step(w, x):
            w.grad = None
            (w * w * x).sum().backward()
            (w * x).sum().backward()

        call = make(step)
        w, v = leaf(1.0, 2.0), leaf(5.0, 6.0)
        for a in (w, v, w):
            call(a, np.ones(2))
        return w.grad, v.grad

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("role", roles(), ids=lambda f: f.__name__)
def test_a_tensor_in_two_roles_is_one(role):
    def values(tree):
        return [values(t) for t in tree] if isinstance(tree, list | tuple) else tree.tolist()

    assert values(role(wg.compile)) == values(role(lambda f: f))


def test_tensors_in_two_roles_do_not_compile_at_each_call():
    v, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    v.grad = w.grad = wg.tensor([0.0, 0.0], dtype=wg.float64)
    g = w.grad

    def step(x, a):
        wg.sum(v * w * a * x).backward()
        g.mul_(0.5)
        return v.grad + w.grad

    compiled = wg.compile(step)
    for _ in range(3):
        compiled(np.ones(2), w)
    assert compiled.compilations == ["first call"]


def test_other_arguments_do_not_compile_again():
    def step(w, x):
        w.grad = None
        wg.sum(w * w * x).backward()
        with wg.no_grad():
            w.sub_(w.grad, alpha=0.25)

    compiled, gone = wg.compile(step), []
    for i in range(3):
        w = leaf(1.0 + i, 2.0)
        gone.append(weakref.ref(w))
        compiled(w, np.ones(2))
        assert w.tolist() == [(1.0 + i) / 2, 1.0]
    assert compiled.compilations == ["first call"]
    del w
    gc.collect()
    assert not any(w() is not None for w in gone)

"""Calling compiled functions: arguments, results, errors."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.tensor.job import Job, agree
from tests.tensor.shared import FUNCTIONS, X, array, close, leaf
from wengert import ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.tensor.random import default_generator

pytest.importorskip("llvmlite")


# --- Arguments and results ------------------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
def test_functions_and_their_derivatives(f):
    close(wg.compile(f)(X), f(wg.tensor(X)), 1e-12)
    loss = lambda x: wg.sum(wg.sin(f(x)))  # noqa: E731
    close(wg.compile(wg.grad(loss))(X), wg.grad(loss)(X), 1e-12)
    close(wg.compile(wg.hessian(loss))(X), wg.hessian(loss)(X), 1e-11)
    close(wg.compile(wg.vmap(wg.jacobian(f)))(X[None]), wg.jacobian(f)(X).reshape(1, 4, 4), 1e-12)
    close(wg.compile(wg.grad(wg.checkpoint(loss)))(X), wg.grad(loss)(X), 1e-12)


@dataclasses.dataclass
class Batch:
    x: Any
    y: Any


def test_containers():
    @wg.compile
    def f(batch, *rest, scale):
        return {"a": batch.x * scale["s"], "b": (batch.y, None, "text", 3, [rest[0] + 1])}

    for factor in (1.0, 2.0):
        found = f(Batch(np.ones(2), np.full(3, 7.0)), wg.zeros(1), scale={"s": wg.tensor(factor)})
        assert found["a"].tolist() == [factor, factor]
        assert found["b"][0].tolist() == [7.0, 7.0, 7.0]
        assert found["b"][1:4] == (None, "text", 3)
        assert found["b"][4][0].tolist() == [1.0]
    assert len(f.compilations) == 1


def test_results_are_of_their_own():
    f = wg.compile(lambda x: (x, x * 2, wg.ones(2), x.reshape(1, 2)))
    x = wg.tensor([1.0, 2.0])
    first = f(x)
    second = f(x)
    for result in first:
        result.add_(100.0)
    assert x.tolist() == [1.0, 2.0]
    assert [r.tolist() for r in second] == [[1.0, 2.0], [2.0, 4.0], [1.0, 1.0], [[1.0, 2.0]]]
    assert [r.tolist() for r in f(x)] == [r.tolist() for r in second]
    assert not any(r.requires_grad for r in first)


def test_arguments_of_any_layout():
    f = wg.compile(lambda x: x * 2 + 1)
    a = np.arange(24.0).reshape(4, 6)
    for view in (a, a.T, a[::2], a[:, ::-1], np.broadcast_to(a[0], (4, 6)), a[:0], a[0, 0]):
        np.testing.assert_array_equal(array(f(view)), view * 2 + 1)
        np.testing.assert_array_equal(array(f(wg.tensor(a)[::2])), a[::2] * 2 + 1)
    read_only = a.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(array(f(read_only)), a * 2 + 1)


def test_argument_changed_in_place_inside():
    def f(buffer, x):
        buffer.add_(x)
        buffer[0] = 7.0
        return buffer * 1

    for call in (f, wg.compile(f)):
        buffer = wg.zeros(2)
        for _ in range(2):
            assert call(buffer, wg.ones(2)).tolist() == [7.0, buffer.tolist()[1]]
        assert buffer.tolist() == [7.0, 2.0]


@dataclasses.dataclass(eq=False)
class Counter:
    total: Any

    def add(self, x):
        self.total.add_(x)
        return self.total * 1


def test_argument_that_is_a_container_changed_inside():
    step = wg.compile(lambda c, x: c.add(x))
    counter = Counter(wg.zeros(2))
    for i in (1, 2):
        assert step(counter, wg.ones(2)).tolist() == [i, i]
    assert counter.total.tolist() == [2.0, 2.0]


def test_leaf_as_an_argument():
    f = wg.compile(lambda w, x: (w * w * x).sum().backward())
    w, other = leaf(1.0, 2.0), leaf(3.0, 4.0)
    f(w, np.ones(2))
    f(w, np.ones(2))
    assert w.grad.tolist() == [4.0, 8.0]
    f(other, np.ones(2))
    assert other.grad.tolist() == [6.0, 8.0]
    assert w.grad.tolist() == [4.0, 8.0]


def test_new_leaves_do_not_compile_again_and_are_not_kept():
    f = wg.compile(lambda w: wg.sum(w * w))
    references = []
    for i in range(4):
        w = leaf(float(i))
        references.append(weakref.ref(w))
        with wg.no_grad():
            assert f(w).item() == i * i
    del w
    gc.collect()
    assert sum(reference() is not None for reference in references) == 0
    assert len(f.compilations) == 1


def test_methods():
    class Model:
        def __init__(self, scale):
            self.w = wg.tensor([scale, 2.0])

        @wg.compile
        def forward(self, x):
            return self.w * x

        def plain(self, x):
            self.w.add_(1.0)
            return self.w * x

    first, second = Model(1.0), Model(10.0)
    assert first.forward(wg.ones(2)).tolist() == [1.0, 2.0]
    assert second.forward(wg.ones(2)).tolist() == [10.0, 2.0]
    assert first.forward(wg.ones(2)).tolist() == [1.0, 2.0]
    plain = wg.compile(first.plain)
    assert plain(wg.ones(2)).tolist() == [2.0, 3.0]
    assert plain(wg.ones(2)).tolist() == [3.0, 4.0]
    assert Model.forward(second, wg.ones(2)).tolist() == [10.0, 2.0]


def test_decorator():
    @wg.compile(threads=1)
    def f(x):
        """Say."""
        return x + 1

    assert (f.__name__, f.__doc__) == ("f", "Say.")
    assert f(wg.zeros(1)).item() == 1.0
    with pytest.raises(TypeError, match="compile: needs a function, got int; pass the function"):
        wg.compile(3)
    with pytest.raises(ValueError, match="compile: threads must be at least 1, got 0"):
        wg.compile(lambda x: x, threads=0)


def test_modules_and_optimisers():
    losses = []
    for make in (wg.compile, lambda f: f):
        wg.manual_seed(0)
        net = wg.nn.Sequential(
            wg.nn.Linear(4, 16), wg.nn.ReLU(), wg.nn.Dropout(0.2), wg.nn.Linear(16, 3)
        )
        criterion = wg.nn.CrossEntropyLoss()
        optimizer = wg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        @make
        def step(x, y, net=net, criterion=criterion, optimizer=optimizer):
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        x, y = wg.randn(12, 4), wg.randint(0, 3, (12,))
        found = []
        for epoch in range(10):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 / (1 + epoch)
            found.append(step(x, y).item())
        net.eval()
        found.append(make(net)(x).detach().numpy().sum())
        losses.append(found)
        if make is wg.compile:
            assert len(step.compilations) <= 2
    np.testing.assert_allclose(*losses, rtol=2e-5)


# --- Errors ---------------------------------------------------------------------------------------


def test_exception_while_tracing_leaves_no_trace():
    job, untouched = Job(), Job()
    wg.manual_seed(5)
    seed = default_generator.state.tolist()

    def broken(x, y):
        loss = job.step(x, y)
        if loss > 0:
            return loss
        return x

    step = wg.compile(broken)
    match = r"condition .*made by greater at test_compile_front.py:\d+"
    for _ in range(2):
        with pytest.raises(TracerError, match=match):
            step(job.x, job.y)
        agree(job, untouched, 0.0)
        assert all(p.grad is None for p in job.optimizer.params)
        assert default_generator.state.tolist() == seed
        assert THREAD.now.trace is None
        assert wg.is_grad_enabled()
    assert step.compilations == []
    wg.compile(job.step)(job.x, job.y)
    wg.manual_seed(5)
    untouched.step(untouched.x, untouched.y)
    agree(job, untouched)


def test_shape_error_while_tracing_names_the_line():
    f = wg.compile(lambda x: x @ wg.ones((3, 3)))
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3, 3\).*test_compile_front.py:\d+"):
        f(wg.ones(2))


def test_index_out_of_range_at_run_time():
    w = wg.ones(4)

    def f(i):
        w.add_(1.0)
        return wg.take(w, i)

    compiled = wg.compile(f)
    assert compiled(wg.tensor([3])).item() == 2.0
    with pytest.raises(IndexError, match=r"take|gather"):
        compiled(wg.tensor([4]))
    assert w.tolist() in ([2.0] * 4, [3.0] * 4)  # before or after the change, never between
    assert compiled(wg.tensor([-1])).shape == (1,)


def test_tensor_that_escapes_cannot_be_used():
    kept = []
    with contextlib.suppress(TracerError):  # it may be refused at once
        wg.compile(lambda x: kept.append(x * 2) or x)(wg.ones(2))
    with pytest.raises(TracerError, match=r"made by mul at test_compile_front.py:\d+\)"):
        kept[0] + 1
    f = wg.compile(lambda x: x + kept[0])
    with pytest.raises(TracerError, match=r"made by mul at test_compile_front.py:\d+\)"):
        f(wg.ones(2))


def test_function_runs_once_for_each_compilation():
    calls = []
    f = wg.compile(lambda x: calls.append(1) or x + 1)
    for _ in range(5):
        f(wg.ones(2))
    assert len(calls) == 1


def test_state_made_inside_is_right_or_refused():
    results = []
    for make in (lambda f: f, wg.compile):
        w, kept = leaf(1.0, 2.0), {}

        def step(x, w=w, kept=kept):
            w.grad = None
            (w * x).sum().backward()
            if "velocity" not in kept:
                kept["velocity"] = wg.zeros_like(w)
            kept["velocity"].mul_(0.9).add_(w.grad)
            with wg.no_grad():
                w.sub_(kept["velocity"])

        call = make(lambda x, step=step: step(x))
        try:
            for _ in range(3):
                call(np.ones(2))
        except TracerError:
            assert w.tolist() == [1.0, 2.0]
            return
        results.append(w.tolist())
    np.testing.assert_allclose(*results)


def test_reference_cycles_inside_are_not_kept_state():
    w = leaf(1.0, 2.0)

    def f(x):
        h = w * x
        h.register_hook(lambda g: g * h.detach())

        def power(n):
            return h if n == 0 else h * power(n - 1)

        w.grad = None
        wg.sum(h).backward()
        return power(2)

    compiled = wg.compile(f)
    assert compiled(np.array([3.0, 4.0])).tolist() == [27.0, 512.0]
    assert w.grad.tolist() == [9.0, 32.0]


def test_custom_rules_inside_keep_no_state():
    by_vjp = wg.custom_vjp(lambda x: wg.sin(x))  # noqa: PLW0108  (a function of its own)
    by_vjp.defvjp(lambda x: (wg.sin(x), x), lambda x, bar: (bar * wg.cos(x),))
    by_jvp = wg.custom_jvp(lambda x: wg.sin(x))  # noqa: PLW0108
    by_jvp.defjvp(lambda primals, tangents: (by_jvp(*primals), wg.cos(primals[0]) * tangents[0]))
    for rule in (by_vjp, by_jvp):

        def f(x, rule=rule):
            z = x * 1
            z += x
            return wg.sum(rule(z))

        close(wg.compile(wg.grad(f))(X), 2 * np.cos(2 * X), 1e-12)


def test_two_threads_use_two_compiled_functions():
    results = {}

    def work(i):
        w = leaf(1.0, 2.0)

        def step(x):
            w.grad = None
            (w * x).sum().backward()
            with wg.no_grad():
                w.sub_(w.grad, alpha=0.1)

        compiled = wg.compile(step)
        for _ in range(20):
            compiled(np.array([float(i), 1.0]))
        results[i] = w.tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        np.testing.assert_allclose(results[i], [1.0 - 2.0 * i, 0.0], atol=1e-12)


def test_one_compiled_function_in_two_threads_is_right_or_refused():
    f = wg.compile(lambda x: wg.sum(wg.tanh(x @ x)))
    xs = [np.random.default_rng(i).standard_normal((60, 60)) / 8 for i in range(2)]
    expected = [f(x).item() for x in xs]
    found, errors = {0: [], 1: []}, []

    def work(i):
        for _ in range(50):
            try:
                found[i].append(f(xs[i]).item())
            except RuntimeError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("running already" in error for error in errors)
    for i in range(2):
        assert set(found[i]) <= {expected[i]}

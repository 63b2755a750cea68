"""wg.compile as its users meet it: effects, guards, captured state, random numbers, errors."""

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
from tests.tensor.shared import FUNCTIONS, X, array, close, leaf
from wengert import ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.tensor import effects
from wengert.tensor.random import default_generator

pytest.importorskip("llvmlite")


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


# --- Training steps -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["zero first", "zero last"])
@pytest.mark.parametrize("threads", [1, 2])
def test_training_agrees_with_eager(order, threads):
    compiled, eager = Job(order), Job(order)
    step = wg.compile(compiled.step, threads=threads)
    losses = []
    for job, call in ((compiled, step), (eager, eager.step)):
        wg.manual_seed(5)
        losses.append([call(job.x, job.y).item() for _ in range(20)])
    np.testing.assert_allclose(*losses, rtol=1e-11)
    assert losses[0][-1] < losses[0][0]
    agree(compiled, eager)
    assert len(step.compilations) == (1 if order == "zero last" else 2) or order == "zero first"
    assert len(step.compilations) <= 2


def test_training_agrees_with_the_reference_evaluator():
    jobs = [Job(), Job()]
    for job, reference in zip(jobs, (False, True), strict=True):
        wg.manual_seed(5)
        step = wg.compile(job.step)
        for _ in range(5):
            if reference:
                with wg.disable_compile():
                    step(job.x, job.y)
            else:
                step(job.x, job.y)
    agree(*jobs)


def test_eager_and_compiled_steps_may_alternate():
    mixed, eager = Job(), Job()
    step = wg.compile(mixed.step)
    calls = [step, mixed.step, mixed.step, step, step, mixed.step]
    wg.manual_seed(5)
    for call in calls:
        call(mixed.x, mixed.y)
    wg.manual_seed(5)
    for _ in calls:
        eager.step(eager.x, eager.y)
    agree(mixed, eager)


def test_parameters_and_state_are_updated_in_place():
    job = Job()
    step = wg.compile(job.step)
    step(job.x, job.y)
    cells = [*job.optimizer.params, *job.optimizer.velocity, job.optimizer.steps]
    addresses = [cell._variable.value.ctypes.data for cell in cells]
    for _ in range(3):
        step(job.x, job.y)
    assert [cell._variable.value.ctypes.data for cell in cells] == addresses
    assert all(p.is_leaf and p.requires_grad for p in job.optimizer.params)
    assert job.optimizer.steps.item() == 4
    assert job.optimizer.steps.dtype == wg.int64


def test_gradients_are_left_for_the_user():
    job, eager = Job("never"), Job("never")
    wg.manual_seed(5)
    step = wg.compile(job.step)
    for _ in range(4):
        step(job.x, job.y)
    wg.manual_seed(5)
    for _ in range(4):
        eager.step(eager.x, eager.y)
    for p, q in zip(job.optimizer.params, eager.optimizer.params, strict=True):
        close(p.grad, q.grad, 1e-11)
    agree(job, eager)
    assert len(step.compilations) == 2  # without and with gradients from before


@pytest.mark.parametrize("plan", ["nnnn", "nznz", "znnz", "zzzz", "nnzn", "rnrn", "nrnn"])
def test_gradients_accumulate_between_zeroings(plan):
    results = []
    for make in (wg.compile, lambda f: f):
        w = leaf(1.0, 2.0)
        step = make(lambda x, w=w: (w * w * x).sum().backward())
        seen = []
        for i, action in enumerate(plan):
            if action == "z":
                w.grad = None
            elif action == "r" and w.grad is not None:
                w.grad = wg.tensor([100.0, 100.0], dtype=wg.float64)
            step(np.array([1.0 + i, 2.0 * i]))
            seen.append(w.grad.tolist())
        results.append(seen)
    assert results[0] == results[1]


def test_gradients_zeroed_in_place():
    results = []
    for make in (wg.compile, lambda f: f):
        w = leaf(1.0, 2.0)

        def step(x, w=w):
            if w.grad is not None:
                w.grad.zero_()
            (w * w * x).sum().backward()
            w.grad.mul_(0.5)

        call = make(lambda x, step=step: step(x))
        seen = []
        for i in range(4):
            call(np.array([1.0 + i, 2.0 * i]))
            seen.append(w.grad.tolist())
        results.append(seen)
    assert results[0] == results[1]


def test_gradient_held_from_before_is_not_corrupted():
    w = leaf(1.0, 2.0)

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    compiled = wg.compile(step)
    compiled(np.array([3.0, 4.0]))
    held = w.grad.detach()
    kept = w.grad
    compiled(np.array([5.0, 6.0]))
    assert held.tolist() == [3.0, 4.0]
    assert kept.tolist() == [3.0, 4.0]
    assert w.grad.tolist() == [5.0, 6.0]


# --- What does not compile again, and what does ---------------------------------------------------


def test_changed_hyper_parameters_do_not_compile_again():
    job, eager = Job("zero last"), Job("zero last")
    step = wg.compile(job.step)
    for each, call in ((job, step), (eager, eager.step)):
        wg.manual_seed(5)
        for lr, momentum, rate in [(0.1, 0.9, 0.5), (0.01, 0.0, 0.25), (0.5, 0.5, 0.1)]:
            each.optimizer.lr, each.optimizer.momentum, each.rate = lr, momentum, rate
            call(each.x, each.y)
            call(each.x, each.y)
    agree(job, eager)
    assert step.compilations == ["first call"]


def test_changed_mode_compiles_once_more():
    job = Job("zero last")
    step = wg.compile(job.step)
    for training in (True, False, True, False):
        job.training = training
        step(job.x, job.y)
    assert step.compilations == ["first call", "changed: training of the job"]


def test_changed_requires_grad_compiles_once_more():
    job, eager = Job("zero last"), Job("zero last")
    step = wg.compile(job.step)
    for each, call in ((job, step), (eager, eager.step)):
        wg.manual_seed(5)
        for required in (True, False, True, False):
            each.b.requires_grad_(required)
            call(each.x, each.y)
    agree(job, eager)
    assert len(step.compilations) == 2
    assert "requires_grad" in step.compilations[1]


def test_changed_batch_size_compiles_once_more():
    job = Job("zero last")
    step = wg.compile(job.step)
    for size in (16, 4, 16, 4):
        step(job.x[:size], job.y[:size])
    assert step.compilations == ["first call", "new argument shapes or values"]


def test_changed_dtype_compiles_once_more():
    double = wg.compile(lambda x: x * 2)
    for dtype in (wg.float32, wg.float64, wg.int64, wg.float32):
        assert double(wg.ones(2, dtype=dtype)).dtype == dtype
    assert len(double.compilations) == 3


def test_floats_are_inputs_and_integers_are_constants():
    f = wg.compile(lambda x, a, n=1: x * a**n)
    found = [f(wg.ones(2), a).tolist()[0] for a in (0.5, 0.25, -3.0, float("inf"))]
    assert found == [0.5, 0.25, -3.0, float("inf")]
    assert len(f.compilations) == 1
    assert [f(wg.ones(2), 2.0, n).tolist()[0] for n in (2, 3, 2)] == [4.0, 8.0, 4.0]
    assert len(f.compilations) == 3
    assert f(wg.ones(2), 3).tolist() == [3.0, 3.0]
    assert f(wg.ones(2), True).tolist() == [1.0, 1.0]
    assert f(wg.ones(2), 1).tolist() == [1.0, 1.0]  # 1 == True, yet another argument


def test_floats_are_weak_and_exact():
    f = wg.compile(lambda x, a: x * a)
    assert f(wg.ones(1), 0.1).dtype == wg.float32
    assert f(wg.ones(1, dtype=wg.float64), 0.1).item() == 0.1
    assert f(wg.ones(1, dtype=wg.int64), 0.5).dtype == wg.float32
    assert wg.compile(lambda a, b: a + b)(0.5, 0.25).item() == 0.75
    assert f(wg.ones(1), np.float64(0.1)).dtype == wg.float64


def test_static_arguments():
    def f(x, name, flag=None, *, table=()):
        assert isinstance(name, str)
        return x * len(name) if flag is None else x + sum(table)

    compiled = wg.compile(f)
    assert compiled(wg.ones(1), "abc").item() == 3.0
    assert compiled(wg.ones(1), "ab", flag=True, table=(1, 2)).item() == 4.0
    assert compiled(wg.ones(1), "ab", flag=True, table=(1, 3)).item() == 5.0
    assert len(compiled.compilations) == 3


def test_argument_that_is_neither_array_nor_hashable():
    with pytest.raises(
        TypeError, match=r"compile: an argument of type set is neither an array nor"
    ):
        wg.compile(lambda x, s: x)(wg.ones(1), {1, 2})


def test_many_compilations_are_warned_about():
    f = wg.compile(lambda x: x + 1)
    for size in range(1, 8):
        f(np.ones(size))
    with pytest.warns(UserWarning, match=r"was compiled 8 times .*pad batches"):
        f(np.ones(8))
    f(np.ones(1))  # warnings are errors


def test_grad_mode_is_part_of_the_key():
    w = leaf(2.0)
    f = wg.compile(lambda x: w * x if (w * x).requires_grad else w + x)
    with wg.no_grad():
        assert f(np.array([5.0])).item() == 7.0
    assert f(np.array([5.0])).item() == 10.0


def test_default_dtype_is_part_of_the_key():
    f = wg.compile(lambda x: wg.zeros(2) + x)
    assert f(wg.tensor(1)).dtype == wg.float32
    wg.set_default_dtype(wg.float64)
    try:
        assert f(wg.tensor(1)).dtype == wg.float64
    finally:
        wg.set_default_dtype(wg.float32)


def test_captured_tensor_that_was_replaced_by_another_shape():
    w = wg.ones(2)
    f = wg.compile(lambda x: wg.sum(w * x))
    assert f(wg.tensor(2.0)).item() == 4.0
    w._bind(wg.ones(3)._read())
    assert f(wg.tensor(2.0)).item() == 6.0


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


# --- Captured state -------------------------------------------------------------------------------


def test_exported_parameter_sees_updates():
    p = leaf(1.0, 2.0)
    before = p.detach().numpy()

    def step():
        with wg.no_grad():
            p.mul_(0.5)

    compiled = wg.compile(step)
    compiled()
    assert before.tolist() == [0.5, 1.0]
    during = p.detach().numpy()
    assert during is before
    compiled()
    assert during.tolist() == [0.25, 0.5]
    before[0] = 8.0
    compiled()
    assert p.tolist() == [4.0, 0.25]


def test_snapshot_is_not_corrupted():
    p = leaf(1.0, 2.0)
    first = p.detach()

    def step():
        with wg.no_grad():
            p.mul_(0.5)

    compiled = wg.compile(step)
    snapshots = [first]
    for _ in range(3):
        compiled()
        snapshots.append(p.detach())
        snapshots.append(p[:1].detach())
    assert [s.tolist() for s in snapshots[:3]] == [[1.0, 2.0], [0.5, 1.0], [0.5]]
    assert snapshots[3].tolist() == [0.25, 0.5]
    assert snapshots[4].tolist() == [0.25]


def test_recorded_graph_is_not_corrupted():
    p = leaf(1.0, 2.0)
    y = (p * p).sum()

    def step():
        with wg.no_grad():
            p.mul_(10.0)

    compiled = wg.compile(step)
    compiled()
    y.backward()
    assert p.grad.tolist() == [2.0, 4.0]
    assert p.tolist() == [10.0, 20.0]


def test_captured_tensor_changed_between_calls():
    w = wg.tensor([1.0, 2.0])
    f = wg.compile(lambda x: w * x)
    assert f(wg.ones(2)).tolist() == [1.0, 2.0]
    w.mul_(3.0)
    assert f(wg.ones(2)).tolist() == [3.0, 6.0]
    w.copy_([7.0, 8.0])
    w[0] = 0.0
    assert f(wg.ones(2)).tolist() == [0.0, 8.0]
    w.numpy()[1] = -1.0
    assert f(wg.ones(2)).tolist() == [0.0, -1.0]
    assert len(f.compilations) == 1


def test_old_and_new_value_together():
    w = wg.tensor([1.0, 2.0])

    @wg.compile
    def f():
        old = w.detach()
        w.add_(1.0)
        return old, w, w.detach(), old + w

    for i in range(3):
        a, b = 1.0 + i, 2.0 + i
        found = [r.tolist() for r in f()]
        assert found == [[a, b], [a + 1, b + 1], [a + 1, b + 1], [2 * a + 1, 2 * b + 1]]
    assert w.tolist() == [4.0, 5.0]


def test_cells_that_exchange_their_values():
    a, b, c = wg.tensor([1.0]), wg.tensor([2.0]), wg.tensor([3.0])

    @wg.compile
    def rotate():
        kept = a.clone()
        a.copy_(b)
        b.copy_(c)
        c.copy_(kept)

    rotate()
    assert (a.item(), b.item(), c.item()) == (2.0, 3.0, 1.0)
    rotate()
    assert (a.item(), b.item(), c.item()) == (3.0, 1.0, 2.0)


def test_cell_that_takes_the_value_of_an_argument_or_of_a_constant():
    a, b = wg.zeros(2), wg.ones(2)
    constant = np.array([5.0, 6.0], np.float32)

    @wg.compile
    def f(x):
        a.copy_(x)
        b.copy_(constant)
        return x

    x = wg.tensor([1.0, 2.0])
    f(x)
    x.add_(10.0)
    constant[:] = 0.0
    assert a.tolist() == [1.0, 2.0]
    assert b.tolist() == [5.0, 6.0]
    b.add_(1.0)
    f(x)
    assert a.tolist() == [11.0, 12.0]
    assert b.tolist() == [5.0, 6.0]


def test_two_cells_with_one_new_value():
    a, b = wg.zeros(2), wg.zeros(2)

    @wg.compile
    def f(x):
        y = x * 2
        a.copy_(y)
        b.copy_(y)
        return y

    y = f(wg.ones(2))
    a.add_(1.0)
    y.add_(5.0)
    assert (a.tolist(), b.tolist(), y.tolist()) == ([3.0, 3.0], [2.0, 2.0], [7.0, 7.0])


def doubled_and_increased(p):
    def f(x):
        p.mul_(2.0)
        p.add_(x)
        return x + p

    return f


def test_argument_that_is_the_memory_of_a_captured_cell():
    p = wg.tensor(np.arange(4.0))
    exported = p.numpy()
    call = wg.compile(doubled_and_increased(p))
    for part in (exported, exported[:], wg.asarray(exported), exported.reshape(2, 2).reshape(4)):
        before = exported.copy()
        assert call(part).tolist() == (4 * before).tolist()
        assert exported.tolist() == (3 * before).tolist()


def test_argument_that_is_a_captured_cell():
    results = []
    for make in (lambda f: f, wg.compile):
        p = wg.tensor(np.arange(4.0))
        call = make(doubled_and_increased(p))
        results.append(([call(p).tolist(), call(p).tolist()], p.tolist()))
    assert results[0] == results[1]


def test_captured_cells_that_share_memory():
    results = []
    for make in (lambda f: f, wg.compile):
        p = wg.tensor(np.arange(4.0))
        q = p.detach()

        def f(p=p, q=q):
            p.mul_(2.0)
            return q + p

        call = make(f)
        results.append(([call().tolist(), call().tolist()], p.tolist(), q.tolist()))
    assert results[0] == results[1]


def test_cells_that_change_in_every_way():
    results = []
    for make in (lambda f: f, wg.compile):
        t = wg.tensor(np.arange(6.0).reshape(2, 3))
        n = wg.zeros((), dtype=wg.int64)
        m = wg.tensor([True, False])

        def f(x, t=t, n=n, m=m):
            t[0] = x
            t[:, 1] += 1.0
            t[:, 0] = t[:, 2] - t[:, 0]
            n.add_(2)
            m[1] = True
            t.div_(n)
            return wg.where(m, n, -n)

        call = make(lambda x, f=f: f(x))
        seen = [call(np.array([9.0, 8.0, 7.0 + i])).tolist() for i in range(3)]
        results.append((seen, t.tolist(), n.item(), m.tolist()))
    assert results[0][0] == results[1][0]
    assert results[0][2:] == results[1][2:]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-13)


# --- Random numbers -------------------------------------------------------------------------------


def test_random_numbers_are_those_of_eager():
    own = wg.Generator(3)

    def f(x):
        return (
            wg.dropout(x, 0.5),
            wg.rand(5),
            wg.randint(0, 100, (4,)),
            wg.randperm(7),
            wg.bernoulli(0.3, (9,)),
            wg.rand(3, dtype=wg.float64, generator=own),
        )

    runs = []
    for call in (f, wg.compile(f)):
        wg.manual_seed(5)
        own.manual_seed(6)
        drawn = [[array(a) for a in call(wg.ones(100))] for _ in range(3)]
        runs.append((drawn, default_generator.state.tolist(), own.state.tolist()))
    assert runs[0][1:] == runs[1][1:]
    for eager, compiled in zip(runs[0][0], runs[1][0], strict=True):
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_array_equal(a, b)


def test_normal_numbers_are_those_of_eager():
    f = lambda: wg.randn(50)  # noqa: E731
    wg.manual_seed(5)
    eager = f()
    wg.manual_seed(5)
    np.testing.assert_allclose(array(wg.compile(f)()), array(eager), rtol=2e-6, atol=1e-7)


def test_lanes_draw_numbers_of_their_own():
    f = wg.vmap(lambda x: x + wg.rand(8))
    wg.manual_seed(5)
    eager = array(f(wg.zeros(4)))
    state = default_generator.state.tolist()
    wg.manual_seed(5)
    found = array(wg.compile(f)(wg.zeros(4)))
    np.testing.assert_array_equal(found, eager)
    assert default_generator.state.tolist() == state
    assert len(np.unique(found)) == 32


def test_checkpoint_draws_the_same_numbers_again():
    w = wg.tensor(np.ones(100), requires_grad=True)

    def step():
        w.grad = None
        wg.sum(wg.checkpoint(lambda x: wg.dropout(x, 0.5))(w)).backward()
        return w.grad * 1

    wg.manual_seed(5)
    eager = step()
    wg.manual_seed(5)
    np.testing.assert_array_equal(array(wg.compile(step)()), array(eager))


# --- Inside other transforms ----------------------------------------------------------------------


def test_derivatives_pass_through():
    f = wg.compile(lambda x: wg.sum(x * x * x))
    x = wg.tensor([1.0, 2.0])
    assert wg.grad(f)(x).tolist() == [3.0, 12.0]
    assert wg.hessian(f)(x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert wg.jvp(f, (x,), (x,))[1].item() == 27.0
    assert wg.vmap(f)(x[:, None]).tolist() == [1.0, 8.0]
    assert wg.vmap(wg.grad(f))(x[:, None]).tolist() == [[3.0], [12.0]]
    assert wg.trace(f)(x).outputs[0].shape == ()
    assert wg.compile(lambda x: f(x) + 1)(x).item() == 10.0
    assert wg.checkpoint(f)(x).item() == 9.0


def test_derivatives_pass_through_captured_tensors():
    def outer(w):
        return wg.compile(lambda x: wg.sum(x * w * w))(wg.ones(2))

    assert wg.grad(outer)(wg.tensor([2.0, 3.0])).tolist() == [4.0, 6.0]
    x = wg.tensor([2.0, 3.0])
    assert wg.jvp(outer, (x,), (x,))[1].item() == 26.0
    assert wg.vmap(outer)(x[:, None]).tolist() == [8.0, 18.0]


def test_backward_through_a_compiled_function():
    f = wg.compile(lambda x: x * x)
    x = leaf(3.0)
    f(x * 2).sum().backward()
    assert x.grad.tolist() == [24.0]


def test_backward_from_the_result_of_a_compiled_function():
    w = leaf(1.0, 2.0)
    loss = wg.compile(lambda x: wg.sum(w * w * x))
    for value in (loss(np.ones(2)), wg.compile(lambda w: wg.sum(w * w))(w)):
        w.grad = None
        try:
            value.backward()
        except RuntimeError as error:
            assert "compile" in str(error)  # noqa: PT017  (recorded, or refused with the reason)
        else:
            assert w.grad.tolist() == [2.0, 4.0]


def test_hooks_run_inside():
    w = leaf(1.0, 2.0)
    w.register_hook(lambda g: wg.clip(g, -1.0, 1.0))

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    wg.compile(step)(np.array([0.5, 5.0]))
    assert w.grad.tolist() == [0.5, 1.0]


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


def test_memory_does_not_grow():
    job = Job()
    step = wg.compile(job.step)
    for _ in range(3):
        step(job.x, job.y)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        step(job.x, job.y)
    gc.collect()
    assert len(gc.get_objects()) - before < 20


def test_compiled_function_and_its_state_can_be_freed():
    job = Job()
    step = wg.compile(job.step)
    step(job.x, job.y)
    reference = weakref.ref(job.w)
    del job, step
    gc.collect()
    assert reference() is None

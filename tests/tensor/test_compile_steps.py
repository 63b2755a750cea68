"""Compiled training steps: equal to eager ones, in place, compiled as often as need be."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.job import Job, agree
from tests.tensor.shared import close, leaf

pytest.importorskip("llvmlite")


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
    assert wg.compile(lambda a, b: a + b)(0.5, 0.25) == 0.75  # a number, as eagerly
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

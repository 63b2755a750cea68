"""Compiled functions and what they captured: cells, shared memory, random numbers."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, leaf
from wengert.tensor.random import default_generator

pytest.importorskip("llvmlite")


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
    results = []
    for make in (lambda f: f, wg.compile):
        p = wg.tensor(np.arange(4.0))
        exported = p.numpy()
        call = make(doubled_and_increased(p))
        parts = exported, exported[:], wg.asarray(exported), exported[::-1], exported * 1.0
        results.append([(call(part).tolist(), exported.tolist()) for part in parts])
    assert results[0] == results[1]


def test_two_tensors_in_the_memory_of_one_array():
    results = []
    for make in (lambda f: f, wg.compile):
        memory = np.arange(6.0)
        for first, second in ((slice(0, 4), slice(2, 6)), (slice(0, 3), slice(0, 3))):
            p, q = wg.asarray(memory[first]), wg.asarray(memory[second])

            def f(x, p=p, q=q):
                p.add_(x[: len(p)])
                q.mul_(2.0)
                return p * q

            call = make(f)
            results.append([(call(np.ones(4)).tolist(), memory.tolist()) for _ in range(4)])
    assert results[:2] == results[2:]


@pytest.mark.parametrize("part", [np.s_[::2], np.s_[::-1], np.s_[1:]])
def test_memory_that_is_not_in_order_is_written(part):
    results = []
    for make in (lambda f: f, wg.compile):
        memory = np.zeros(49, np.uint8)[1:].view(np.float64)
        x, call = wg.asarray(memory[part]), make(lambda x: x.add_(1.0) * 2)
        results.append([(call(x).tolist(), memory.tolist()) for _ in range(4)])
    assert results[0] == results[1]


def test_an_array_that_is_not_aligned():
    memory = np.zeros(17, np.uint8)[1:].view(np.float32)
    memory[:] = 1.0, 2.0, 3.0, 4.0
    double = wg.compile(lambda x: x * 2)
    for x in (memory, wg.asarray(memory)):
        assert [double(x).tolist() for _ in range(4)] == [[2.0, 4.0, 6.0, 8.0]] * 4


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

"""A call that fails leaves all as it was: on one thread and on two, through Python and not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import F as ops
from tests.compile.programs import graph_of
from wengert.compile.native.executable import compile_graph
from wengert.compile.plan import make_plan
from wengert.graph.errors import DTypeError
from wengert.nn import functional as F
from wengert.tensor.random import default_generator

BATCH = 128
X = wg.tensor(np.random.default_rng(0).random((BATCH, 4), np.float32))
GOOD = wg.zeros(BATCH, dtype="int64")
WRONG = wg.tensor(np.where(np.arange(BATCH) == BATCH - 2, 7, 0))

on_threads = pytest.mark.parametrize("threads", [1, 2])
of_width = pytest.mark.parametrize("width", [3, 64])


def check(function, cells, good, wrong, error=IndexError, threads=1):
    """Call and fail in turn, the first times through Python; compare the values of all `cells`."""
    compiled = wg.compile(function, threads=threads)
    for _ in range(5):
        compiled(*good)
        before = values(cells)
        for _ in range(2):
            with pytest.raises(error):
                compiled(*wrong)
            assert values(cells) == before
    assert len(compiled.compilations) <= 2


def values(cells):
    return [cell.tolist() for cell in cells()]


class Centred(wg.nn.Module):
    """Subtracts the means of the batch, and keeps running means."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("means", wg.zeros(width))

    def forward(self, x):
        means = wg.mean(x, axis=0)
        with wg.no_grad():
            self.means.mul_(0.9).add_(0.1 * means)
        return x - means


class Training:
    """A step that leaves parameters, running means, moments, a step counter, random numbers."""

    def __init__(self, width, head=lambda x: x):
        wg.manual_seed(0)
        self.net = wg.nn.Sequential(
            wg.nn.Linear(4, width),
            Centred(width),
            wg.nn.Tanh(),
            wg.nn.Dropout(0.5),
            wg.nn.Linear(width, 5),
        )
        self.optimizer = wg.optim.Adam(self.net.parameters())
        self.head = head
        self.keep_grads = False

    def step(self, x, labels):
        loss = F.cross_entropy(self.net(self.head(x)), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if not self.keep_grads:
            self.optimizer.zero_grad()
        return loss

    def cells(self):
        state = [cell for state in self.optimizer.state.values() for cell in state.values()]
        grads = [p.grad for p in self.net.parameters() if p.grad is not None]
        return [
            *self.net.parameters(),
            *self.net.buffers(),
            *state,
            *grads,
            default_generator.state,
        ]


@on_threads
@of_width
@pytest.mark.parametrize("keep_grads", [False, True])
def test_a_training_step(width, threads, keep_grads):
    training = Training(width)
    training.keep_grads = keep_grads
    check(training.step, training.cells, (X, GOOD), (X, WRONG), threads=threads)


@on_threads
def test_gradients_in_whose_memory_others_stand_meanwhile(threads):
    """Gradients of wide layers lend their memory; a call that fails has not touched it."""
    wg.manual_seed(0)
    layers = [wg.nn.Linear(*pair) for pair in itertools.pairwise((4, 256, 256, 256, 256, 5))]
    net = wg.nn.Sequential(*(part for layer in layers for part in (layer, wg.nn.Tanh())))
    optimizer = wg.optim.SGD(net.parameters(), lr=0.1)

    def step(x, labels):
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def cells():
        return [*net.parameters(), *(p.grad for p in net.parameters() if p.grad is not None)]

    check(step, cells, (X, GOOD), (X, WRONG), threads=threads)
    plan = wg.compile(step, threads=threads).plan(X, GOOD)
    assert any(buffer.output is not None for buffer in plan.buffers)
    assert "output" in str(plan)


@on_threads
@of_width
def test_a_table_of_which_rows_are_looked_up(width, threads):
    table = wg.nn.Parameter(wg.ones((10, 4)))
    training = Training(width, head=lambda rows: table[rows])
    training.optimizer.add_param_group({"params": [table], "lr": 0.1})
    rows, wrong = (wg.asarray(np.arange(BATCH) % n) for n in (10, 11))
    check(
        training.step,
        lambda: [*training.cells(), table],
        (rows, GOOD),
        (wrong, GOOD),
        threads=threads,
    )


@on_threads
def test_gradients_that_are_added_up_at_indices(threads):
    table = wg.zeros((50, 4)).requires_grad_()

    def add(rows, x):
        (table[rows] * x).sum().backward()

    add(GOOD, X)
    good, wrong = (wg.asarray(np.arange(BATCH) % n) for n in (50, 51))
    check(add, lambda: [table.grad], (good, X), (wrong, X), threads=threads)


@on_threads
def test_an_index_that_is_computed_of_what_is_written(threads):
    totals, table = wg.zeros((BATCH, 4)), wg.arange(3)

    def add(x, shift):
        totals.add_(x)
        return table[wg.argmax(totals, axis=1) + shift]

    x = wg.asarray(np.eye(4, dtype=np.float32)[np.arange(BATCH) % 3])
    shifts = wg.tensor(0), wg.tensor(1)
    check(add, lambda: [totals], *((x, shift) for shift in shifts), threads=threads)


@on_threads
def test_another_loss_after_the_update(threads):
    training = Training(64)

    def step(x, labels, others):
        training.step(x, labels)
        return F.cross_entropy(training.net(x), others)

    check(step, training.cells, (X, GOOD, GOOD), (X, GOOD, WRONG), threads=threads)


@on_threads
def test_a_gradient_that_says_what_to_read(threads):
    x, table = wg.ones(1000).requires_grad_(), wg.arange(1001)

    def step(scale, shift):
        x.grad = None
        (x * x * scale).sum().backward()
        return table[wg.argmax(x.grad) + shift]

    scale = wg.asarray(np.arange(1000, dtype=np.float32))
    good, wrong = (scale, wg.tensor(1)), (scale * 2, wg.tensor(2))
    check(step, lambda: [x.grad], good, wrong, threads=threads)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x, y: x // y, ZeroDivisionError),
        (lambda x, y: x % y, ZeroDivisionError),
        (lambda x, y: x**y, DTypeError),
    ],
    ids=["floor_divide", "remainder", "pow"],
)
@on_threads
def test_integers(function, error, threads):
    count, last = wg.tensor(0), wg.ones(BATCH, dtype="int64")

    def step(y):
        count.add_(1)
        last.copy_(function(last, y))

    zero = 0 if error is ZeroDivisionError else -1
    good, wrong = (wg.asarray(np.where(np.arange(BATCH) < 99, 2, n)) for n in (2, zero))
    check(step, lambda: [count, last], (good,), (wrong,), error, threads)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda table, n, i: (10 // table[i], n), IndexError),
        (lambda table, n, i: (table[i], n // (n - 1)), IndexError),
        (lambda table, n, i: (n // (n - 1), table[i]), ZeroDivisionError),
    ],
    ids=["of what it read", "before a longer one", "after it"],
)
@on_threads
def test_of_several_failures_the_first_is_raised(function, error, threads):
    table, n = wg.arange(3), wg.arange(100_000)
    for f in (function, wg.compile(function, threads=threads)):
        for _ in range(3):
            with pytest.raises(error):
                f(table, n, wg.tensor([5]))


def checks(function, *arrays):
    plan = make_plan(graph_of(function, *arrays), {})
    return [kernel for kernel in plan.kernels if kernel.kind == "check"]


def test_an_index_is_looked_at_once():
    x, labels = np.ones((BATCH, 5)), np.zeros(BATCH, np.int64)
    index = np.zeros(1, np.int32)

    def f(x, labels, index):
        losses = ops.cross_entropy(ops.softmax(x, -1), labels)
        return losses, ops.take(x, index, 1), ops.take(x * x, index, 1), ops.take(x, index, 0)

    assert [kernel.shape for kernel in checks(f, x, labels, index)] == [(BATCH,), (1,), (1,)]


def test_what_is_known_is_not_looked_at():
    x = np.arange(5)
    assert not checks(
        lambda x: (ops.floor_divide(x, 3), ops.remainder(x, -1), ops.take(x, np.array([4, -5]))), x
    )
    assert not checks(ops.power, x.astype(np.uint64), x.astype(np.uint64))
    graph = graph_of(lambda x: ops.floor_divide(x, 0), x)
    with pytest.raises(ZeroDivisionError, match="floor_divide: an integer was divided by zero"):
        compile_graph(graph, {})([x], [np.empty(5, np.int64)])

"""Work is linear in the graph: counted in operations and buffers, never in seconds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import wengert.ad.reverse as reverse_module
from tests.ops.running import forward, public_functions, reverse, trace, values
from wengert.ad.reverse import vjp
from wengert.ad.tape import horizon, isolate, record_tape
from wengert.graph.bind import bind, bind_inplace
from wengert.graph.variable import Variable
from wengert.graph.verify import verify
from wengert.ops.exponential import cos, sin
from wengert.ops.indexing import slice_p, slice_set_p
from wengert.ops.reduce import sum

ops = public_functions()
ONE = Variable(np.array(1.0))


def leaf(value) -> Variable:
    return Variable(np.array(value), requires_grad=True)


def diamonds(count):
    """A chain of x -> sin(x) cos(x): each link doubles the number of paths."""

    def f(xs):
        (x,) = xs
        for _ in range(count):
            x = sin(x) * cos(x)
        return (x,)

    return f


def counts(f, *arrays):
    """Return how many operations the graph of f has, and how many its backward graph adds."""
    graph = trace(f, arrays)
    both = trace(lambda xs: (*f(xs), *reverse(f, xs, (ONE,))), arrays)
    verify(both)
    return len(graph.operations), count_backward(both)


def count_backward(graph):
    return len([op for op in graph.operations if op.origin is not None])


def test_a_chain_of_diamonds_costs_four_times_at_most():
    k = 2_000  # 2 ** 2_000 paths
    forward_count, backward_count = counts(diamonds(k), np.array(0.5))
    assert forward_count == 3 * k
    assert backward_count <= 4 * forward_count


def test_the_work_of_a_chain_is_linear_in_its_length():
    small, medium, large = (np.array(counts(diamonds(k), np.array(0.5))) for k in (50, 100, 150))
    np.testing.assert_array_equal(large - medium, medium - small)


def test_gradient_of_a_chain_of_diamonds():
    k = 10_000  # 2 ** 10_000 paths
    (x_bar,) = values(reverse(diamonds(k), (leaf(0.5),), (ONE,)))
    (x_dot,) = values(forward(diamonds(k), (leaf(0.5),), (ONE,)))
    x, slope = 0.5, 1.0
    for _ in range(k):
        x, slope = np.sin(x) * np.cos(x), slope * np.cos(2 * x)
    assert float(x_bar) == pytest.approx(slope, rel=1e-10)
    assert float(x_dot) == pytest.approx(slope, rel=1e-10)


RNG = np.random.default_rng(0)


def perceptron(xs):
    """Two hidden layers and cross-entropy."""
    x, *parameters = xs
    *hidden, (w, b) = zip(parameters[::2], parameters[1::2], strict=True)
    for weight, bias in hidden:
        x = ops.relu(ops.linear(x, weight, bias))
    return (ops.cross_entropy(ops.linear(x, w, b), np.arange(8) % 3),)


def regression(xs):
    x, w, v = xs
    y = ops.matmul(ops.tanh(ops.matmul(x, w)), v)
    return (ops.mse_loss(y, np.zeros((8, 2))) + (sum(w * w) + sum(v * v)) * 0.01,)


def convolution(xs):
    x, w, b, v = xs
    h = ops.max_pool2d(ops.relu(ops.conv2d(x, w, b, padding=1)), 2)
    return (sum(ops.sigmoid(ops.matmul(ops.reshape(h, (2, -1)), v))),)


def draw(*shapes):
    return [RNG.standard_normal(shape) for shape in shapes]


PROGRAMS = {
    "perceptron": (perceptron, draw((8, 5), (6, 5), (6,), (6, 6), (6,), (3, 6), (3,))),
    "regression": (regression, draw((8, 5), (5, 6), (6, 2))),
    "convolution": (convolution, draw((2, 1, 6, 6), (3, 1, 3, 3), (3,), (27, 4))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_backward_has_four_times_the_operations_at_most(name):
    f, arrays = PROGRAMS[name]
    forward_count, backward_count = counts(f, *arrays)
    assert 0 < backward_count <= 4 * forward_count


def chain_of_scalars(count):
    x = leaf(0.5)
    y = x
    for _ in range(count):
        y = y * 0.999999
    return x, y


def test_a_long_chain_of_scalars_needs_no_recursion():
    x, y = chain_of_scalars(50_000)
    (x_bar,), _ = vjp([y], [ONE], [x])
    assert float(x_bar.value) == pytest.approx(0.999999**50_000, rel=1e-9)
    del y  # neither does freeing it


@pytest.mark.slow
def test_a_chain_of_ten_thousand_diamonds():
    forward_count, backward_count = counts(diamonds(10_000), np.array(0.5))
    assert forward_count == 30_000
    assert backward_count <= 4 * forward_count


@pytest.mark.slow
def test_a_million_scalar_operations():
    x, y = chain_of_scalars(1_000_000)
    (x_bar,), _ = vjp([y], [ONE], [x])
    assert float(x_bar.value) == pytest.approx(np.exp(-1.0), rel=1e-5)
    del y


# --- elements of an array, one by one -------------------------------------------------------------


def sum_of_squares(x: Variable, count: int) -> Variable:
    total = None
    for i in range(count):
        element = bind(slice_p, (x,), {"key": (i,)})
        square = element * element
        total = square if total is None else total + square
    return total


class Spy:
    """Counts what the backward pass changes in place by one primitive, and where."""

    def __init__(self, monkeypatch, primitive="slice_add") -> None:
        self.primitive = primitive
        self.buffers: list[int] = []
        self.copies = 0
        monkeypatch.setattr(reverse_module, "bind_inplace", self.bind_inplace)
        monkeypatch.setattr(reverse_module, "bind", self.bind)

    def bind_inplace(self, primitive, inputs, params=None):
        y = bind_inplace(primitive, inputs, params or {})
        if primitive.name == self.primitive:
            self.buffers.append(y.value.ctypes.data)
        return y

    def bind(self, primitive, inputs, params=None):
        self.copies += 1
        return bind(primitive, inputs, params or {})


def test_a_loop_over_elements_adds_into_one_buffer(monkeypatch):
    n = 20_000
    x = leaf(np.linspace(-1, 1, n))
    y = sum_of_squares(x, n)
    spy = Spy(monkeypatch)
    (x_bar,), _ = vjp([y], [ONE], [x])
    np.testing.assert_array_equal(x_bar.value, 2 * x.value)
    assert len(spy.buffers) == n
    assert set(spy.buffers) == {x_bar.value.ctypes.data}
    assert spy.copies <= 2 * n  # sums of two scalars, where an element is used twice


def test_a_loop_over_elements_allocates_linear_memory():
    n = 3_000
    x = leaf(np.linspace(-1, 1, n))
    y = sum_of_squares(x, n)
    tracemalloc.start()
    try:
        vjp([y], [ONE], [x])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n * 2_000, f"{peak} bytes: a full array for each element would be {8 * n * n}"


def test_a_loop_over_elements_in_a_graph_is_linear():
    def f(n):
        return lambda xs: (sum_of_squares(xs[0], n),)

    work = [
        count_backward(trace(lambda xs, n=n: reverse(f(n), xs, (ONE,)), [np.zeros(n)]))
        for n in (50, 100, 150)
    ]
    assert work[2] - work[1] == work[1] - work[0]


# --- an array that is filled, element by element --------------------------------------------------


def filled(x: Variable, count: int) -> Variable:
    """Return the sums of the elements of `x` before each and its square."""
    table = x * 0.0
    for i in range(count):
        element = bind(slice_p, (x,), {"key": (i,)})
        value = element * element
        if i:
            value = value + bind(slice_p, (table,), {"key": (i - 1,)})
        table = bind_inplace(slice_set_p, (table, value), {"key": (i,)})
    return table


@pytest.mark.parametrize("record", [False, True])
def test_a_loop_that_fills_an_array_is_pulled_back_in_one_buffer(monkeypatch, record):
    n = 5_000
    x = leaf(np.linspace(-1, 1, n))
    y = filled(x, n)
    spy = Spy(monkeypatch, "slice_set")
    seed = Variable(np.ones(n), requires_grad=record)
    (x_bar,), _ = vjp([y], [seed], [x])
    np.testing.assert_allclose(x_bar.value, 2 * x.value * np.arange(n, 0, -1), rtol=1e-15)
    np.testing.assert_array_equal(seed.value, np.ones(n))
    assert len(spy.buffers) == n - 1  # the first one copies the seed
    assert len(set(spy.buffers)) == 1


def test_a_loop_that_fills_an_array_allocates_linear_memory():
    n = 3_000
    x = leaf(np.linspace(-1, 1, n))
    y = filled(x, n)
    tracemalloc.start()
    try:
        vjp([y], [Variable(np.ones(n))], [x])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n * 2_000, f"{peak} bytes: a full array for each element would be {8 * n * n}"


def test_second_order_through_elements():
    n = 200
    x = np.linspace(-1, 1, n)

    def f(xs):
        total = None
        for i in range(n - 1):
            a, b = (bind(slice_p, (xs[0],), {"key": (j,)}) for j in (i, i + 1))
            total = a * a * b if total is None else total + a * a * b
        return (total,)

    ones = Variable(np.ones(n))
    wanted = np.zeros(n)
    wanted[:-1] += 2 * x[1:] + 2 * x[:-1]
    wanted[1:] += 2 * x[:-1]

    def gradient(xs):
        return reverse(f, xs, (ONE,))

    for product in (forward(gradient, (leaf(x),), (ones,)), reverse(gradient, (leaf(x),), (ones,))):
        np.testing.assert_allclose(product[0].value, wanted, rtol=1e-13, atol=1e-13)


# --- only what is asked for -----------------------------------------------------------------------


def test_the_walk_stops_at_the_horizon():
    _, y = chain_of_scalars(1_000)
    since = horizon()
    inner = isolate(y)
    z = sin(inner) * 2.0
    tape = record_tape([z], [inner], since)
    assert [v.op.primitive.name for v in tape.results] == ["alias", "sin", "mul"]
    assert tape.reached is not None
    assert z in tape.reached


def test_what_is_not_asked_for_is_not_computed():
    asked, w = np.ones((4, 3)), leaf(np.ones((3, 2)))

    def f(xs):
        return (sum(sin(ops.matmul(xs[0], ops.exp(w)))),)

    both = trace(lambda xs: reverse(f, xs, (ONE,)), [asked])
    names = [op.primitive.name for op in both.operations if op.origin is not None]
    assert names.count("contract") == 1
    assert names.count("cotangent_mul") == 1  # of the sine; none of the exponential


@pytest.mark.parametrize("which", [0, 1])
def test_one_product_for_each_operand_asked_for(which):
    x, w = Variable(np.ones((4, 3))), Variable(np.ones((3, 2)))

    def f(xs):
        operands = [xs[0], w] if which == 0 else [x, xs[0]]
        return (sum(sin(ops.matmul(*operands))),)

    graph = trace(lambda xs: reverse(f, xs, (ONE,)), [(x, w)[which].value])
    backward = [op.primitive.name for op in graph.operations if op.origin is not None]
    assert backward.count("contract") == 1


def test_operations_that_lead_nowhere_are_not_walked():
    x = leaf([1.0, 2.0])
    y = sin(x)
    for _ in range(100):
        cos(y)
    tape = record_tape([y], [x])
    assert len(tape.results) == 1

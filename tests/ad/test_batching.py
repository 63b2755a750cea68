"""batch: a graph of one example becomes a graph of many."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.running import forward, public_functions, reverse, trace, values, variables
from wengert.ad.batching import batch
from wengert.graph.variable import Variable
from wengert.graph.verify import verify
from wengert.ops.exponential import exp, sin
from wengert.ops.reduce import sum

ops = public_functions()
RNG = np.random.default_rng(0)
XS, W, B = RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3)), RNG.standard_normal(4)
LABELS = np.array([0, 3, 1, 1, 2])


def loss(xs):
    x, w, b, label = xs
    logits = ops.linear(ops.tanh(x), w, b)
    return (ops.cross_entropy(ops.reshape(logits, (1, 4)), ops.reshape(label, (1,))),)


def looped(f, arrays, pattern, size):
    lanes = [[a[i] if b else a for a, b in zip(arrays, pattern, strict=True)] for i in range(size)]
    results = [values(f(variables(lane))) for lane in lanes]
    return [np.stack(parts) for parts in zip(*results, strict=True)]


def batched(f, arrays, pattern, size):
    one = [a[0] if b else a for a, b in zip(arrays, pattern, strict=True)]
    graph = trace(f, one)
    verify(graph)
    found, flags = batch(graph, variables(arrays), pattern, size)
    return [
        y.value if flag else np.broadcast_to(y.value, (size, *y.shape))
        for y, flag in zip(found, flags, strict=True)
    ]


ARRAYS, PATTERN = (XS, W, B, LABELS), (True, False, False, True)


def test_a_loss_for_each_example():
    np.testing.assert_allclose(
        batched(loss, ARRAYS, PATTERN, 5)[0], looped(loss, ARRAYS, PATTERN, 5)[0], rtol=1e-13
    )


def test_a_gradient_for_each_example():
    def gradient(xs):
        *floats, label = xs
        one = variables([np.array(1.0)])
        return reverse(lambda v: loss((*v, label)), tuple(floats), one)

    found, wanted = (run(gradient, ARRAYS, PATTERN, 5) for run in (batched, looped))
    assert found[1].shape == (5, 4, 3)
    for a, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, w, rtol=1e-12, atol=1e-14)


def test_a_hessian_product_for_each_example():
    def product(xs):
        x, w, b, label = xs
        one = variables([np.array(1.0)])
        g = lambda v: reverse(lambda u: loss((*u, w, b, label)), v, one)  # noqa: E731
        return forward(g, (x,), (x * x,))

    found, wanted = (run(product, ARRAYS, PATTERN, 5) for run in (batched, looped))
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)


def test_jacobian_is_a_batch_of_cotangents():
    x = XS[0]
    f = lambda xs: (sin(ops.matmul(Variable(W), xs[0])),)  # noqa: E731
    graph = trace(lambda xs: reverse(f, (xs[0],), (xs[1],)), [x, B])
    (rows,), flags = batch(graph, variables([x, np.eye(4)]), (False, True), 4)
    assert flags == (True,)
    np.testing.assert_allclose(rows.value, np.cos(W @ x)[:, None] * W, rtol=1e-13)


def test_differentiating_a_batch_is_batching_the_derivative():
    graph = trace(loss, [XS[0], W, B, LABELS[0]])

    def total(xs):
        found, _ = batch(graph, (*xs, Variable(LABELS)), PATTERN, 5)
        return (sum(found[0]),)

    x_bar, w_bar, b_bar = values(reverse(total, variables([XS, W, B]), variables([np.array(1.0)])))

    def gradient(xs):
        *floats, label = xs
        one = variables([np.array(1.0)])
        return reverse(lambda v: loss((*v, label)), tuple(floats), one)

    wanted = looped(gradient, ARRAYS, PATTERN, 5)
    np.testing.assert_allclose(x_bar, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(w_bar, wanted[1].sum(0), rtol=1e-12)
    np.testing.assert_allclose(b_bar, wanted[2].sum(0), rtol=1e-12)


def test_outputs_that_are_inputs_constants_or_unbatched():
    known = Variable(np.arange(3.0))
    f = lambda xs: (xs[0], xs[1], known, exp(xs[1]), xs[0] * xs[1])  # noqa: E731
    graph = trace(f, [XS[0], XS[1]])
    found, flags = batch(graph, variables([XS, XS[1]]), (True, False), 5)
    assert flags == (True, False, False, False, True)
    np.testing.assert_array_equal(found[0].value, XS)
    np.testing.assert_array_equal(found[1].value, XS[1])
    assert found[2] is known
    np.testing.assert_array_equal(found[3].value, np.exp(XS[1]))
    np.testing.assert_array_equal(found[4].value, XS * XS[1])


def test_what_is_the_same_for_each_example_is_computed_once():
    graph = trace(lambda xs: (xs[0] * exp(xs[1]),), [XS[0], XS[1]])
    both = trace(lambda xs: batch(graph, xs, (True, False), 5)[0], [XS, XS[1]])
    (of_exp,) = [op for op in both.operations if op.primitive.name == "exp"]
    assert of_exp.inputs[0].shape == (3,)


@pytest.mark.parametrize("size", [0, 1])
def test_batches_of_none_and_of_one(size):
    found = batched(lambda xs: (ops.softmax(ops.matmul(xs[1], xs[0])),), (XS, W), (True, False), 5)
    graph = trace(lambda xs: (ops.softmax(ops.matmul(xs[1], xs[0])),), [XS[0], W])
    (y,), (flag,) = batch(graph, variables([XS[:size], W]), (True, False), size)
    assert flag
    np.testing.assert_allclose(y.value, found[0][:size], rtol=1e-14)


@pytest.mark.parametrize("inner", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("outer", [(True, False), (False, True), (True, True)])
def test_a_batch_of_batches(inner, outer):
    """All patterns of two nested batch axes of different lengths, against two loops."""
    f = lambda xs: (sum(sin(xs[0]) * xs[1], axis=0),)  # noqa: E731
    shapes = []
    for i in range(2):
        shape = (3,)
        shape = (2, *shape) if inner[i] else shape
        shapes.append((4, *shape) if outer[i] else shape)
    arrays = [RNG.standard_normal(shape) for shape in shapes]

    def middle(xs):
        return batch(trace(f, [XS[0], XS[1]]), xs, inner, 2)[0]

    np.testing.assert_allclose(
        batched(middle, arrays, outer, 4)[0], looped(middle, arrays, outer, 4)[0], rtol=1e-13
    )

"""System B: Algorithms 6.3 and 6.4, the worked example, and Newton's method by products."""

from __future__ import annotations

from itertools import pairwise

import b_multilayer_perceptron as b
import numpy as np
import pytest

import wengert as wg

DEPTHS = [(3, 2), (3, 4, 2), (2, 5, 4, 3), (3, 5, 5, 5, 5, 2)]


def column(n, seed):
    return wg.tensor(np.random.default_rng(seed).normal(size=(n, 1)))


def same(found, expected, tolerance=1e-12):
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", DEPTHS)
@pytest.mark.parametrize("f", b.TRANSITIONS)
@pytest.mark.parametrize("regularised", ["", "W", "b", "Wb"])
def test_algorithm_6_4_is_what_backpropagation_gives(sizes, f, regularised):
    net = b.perceptron(sizes, seed=1, f=f, strength=0.3, regularised=frozenset(regularised))
    x, y = column(sizes[0], 2), column(sizes[-1], 3)
    same(b.gradients(net, x, y), b.gradients_by_wengert(net, x, y))


def test_penalty_is_on_what_is_asked_for():
    sizes, x, y = (3, 4, 2), column(3, 2), column(2, 3)
    plain = b.gradients(b.perceptron(sizes), x, y)
    net = b.perceptron(sizes, strength=0.3, regularised=frozenset("b"))
    moved = [p - q for p, q in zip(b.gradients(net, x, y), plain, strict=True)]
    same(moved, [*(0 * W for W in net.weights), *(0.3 * bias for bias in net.biases)])


@pytest.mark.parametrize("sizes", DEPTHS)
def test_layers_may_be_updated_as_soon_as_their_gradient_is_known(sizes):
    x, y = column(sizes[0], 2), column(sizes[-1], 3)
    settings = {"strength": 0.1, "regularised": frozenset("Wb")}
    net, later = b.perceptron(sizes, **settings), b.perceptron(sizes, **settings)
    found = b.gradients(later, x, y)
    expected = [p - 0.1 * g for p, g in zip((*later.weights, *later.biases), found, strict=True)]
    b.step_as_it_goes(net, x, y, rate=0.1)
    same([*net.weights, *net.biases], expected)


def batch_of(examples, sizes, seed=0):
    rng = np.random.default_rng(seed)
    X = wg.tensor(rng.normal(size=(examples, sizes[0])))
    return [*b.weights_of(sizes, seed), X, wg.tensor(rng.integers(sizes[2], size=examples))]


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_worked_example_is_what_backpropagation_gives(decay):
    arguments = [*batch_of(7, (5, 6, 4)), decay]
    found = wg.grad(b.objective, argnums=(0, 1))(*arguments)
    same(b.worked_gradients(*arguments), found)


def test_weight_decay_contributes_two_lambda_W():
    arguments = batch_of(7, (5, 6, 4))
    gradient = wg.grad(b.objective, argnums=(0, 1))
    with_decay, without = gradient(*arguments, 0.01), gradient(*arguments, 0.0)
    moved = [p - q for p, q in zip(with_decay, without, strict=True)]
    same(moved, [2 * 0.01 * W for W in arguments[:2]])


@pytest.mark.parametrize(("m", "hidden"), [(50, 50), (100, 50), (50, 100)])
def test_cost_is_dominated_by_matrix_products(m, hidden):
    sizes = (64, hidden, 10)
    first, second = 64 * hidden, hidden * 10
    w = first + second
    counted = b.cost(m, sizes)
    assert counted["forward"] == m * w
    # The same again for each operand asked for: X Wᵀ-like products for W1, W2 and H, not for X.
    assert counted["backward"] == m * (w + second)
    assert b.cost(m, sizes, wrt_X=True)["backward"] == 2 * m * w


def test_memory_is_of_the_order_of_examples_times_hidden_units():
    def kept(m, hidden):
        return b.cost(m, (64, hidden, 10))["kept"]

    # What belongs to the outputs does not depend on the number of hidden units.
    assert (kept(100, 200) - kept(100, 100)) % (100 * 100) == 0
    assert kept(100, 200) - kept(100, 100) == 2 * (kept(50, 200) - kept(50, 100))


def test_digits_are_learned():
    history = list(b.train(b.digits(), epochs=6))
    losses = [J for _, J, _ in history]
    assert losses == sorted(losses, reverse=True)
    assert history[-1][2] > 0.93


def test_conjugate_gradients_solve_in_as_many_products_as_unknowns():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    A, x = wg.tensor(root @ root.T + np.eye(6)), wg.tensor(rng.normal(size=6))
    v, products = b.conjugate_gradients(lambda u: A @ u, A @ x, tolerance=1e-12)
    assert products <= 7
    np.testing.assert_allclose(v.numpy(), x.numpy(), rtol=1e-9)


def test_newton_direction_is_that_of_the_whole_hessian():
    rng = np.random.default_rng(0)
    X, labels = wg.tensor(rng.normal(size=(20, 4))), wg.tensor(rng.integers(3, size=20))
    J, W = b.convex_objective(X, labels), wg.tensor(rng.normal(size=(4, 3)))
    gradient = wg.grad(J)(W)
    direction, _ = b.conjugate_gradients(lambda v: wg.hvp(J, W, v), gradient, tolerance=1e-13)
    hessian = wg.hessian(J)(W).numpy().reshape(12, 12)
    expected = np.linalg.solve(hessian, gradient.numpy().ravel())
    np.testing.assert_allclose(direction.numpy().ravel(), expected, rtol=1e-9)


def test_newton_converges_faster_and_faster():
    data = b.digits(train=100)
    J = b.convex_objective(data.X, data.labels)
    norms = [norm for _, norm, _ in b.newton(J, wg.zeros((64, 10), dtype=wg.float64), steps=9)]
    assert norms[-1] < 1e-12
    shrunk = [after / before for before, after in pairwise(norms[4:])]
    assert shrunk == sorted(shrunk, reverse=True)
    assert shrunk[-1] < 1e-4

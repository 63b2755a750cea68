"""System C: the recursion over layers of a batch, its misprint, and training by it alone."""

from __future__ import annotations

import c_batched_layers as c
import numpy as np
import pytest

import wengert as wg

CASES = list(c.cases())


def same(found, expected):
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1].bias}")
def test_recursion_is_what_backward_gives(case):
    _, net, W, X, Y = case
    same(c.recursion(net, W, X, Y), c.by_backward(net, W, X, Y))


@pytest.mark.parametrize("name", c.TRANSITIONS)
def test_derivative_from_the_own_output(name):
    function, from_output = c.TRANSITIONS[name]
    rng = np.random.default_rng(0)
    A, Z_bar = wg.tensor(rng.normal(size=(4, 3))), wg.tensor(rng.normal(size=(4, 3)))
    Z, pullback = wg.vjp(function, A)
    same([from_output(Z_bar, Z)], pullback(Z_bar))


@pytest.mark.parametrize("name", c.LOSSES)
def test_loss_is_the_mean_over_rows_and_its_gradient_is_right(name):
    loss, gradient = c.LOSSES[name]
    rng = np.random.default_rng(0)
    Z, Y = wg.tensor(rng.uniform(0.1, 1, size=(4, 3))), wg.tensor(np.eye(3)[[0, 2, 1, 1]])
    rows = [loss(Z[i : i + 1], Y[i : i + 1]).item() for i in range(4)]
    assert loss(Z, Y).item() == pytest.approx(np.mean(rows), rel=1e-14)
    same([gradient(Z, Y)], [wg.grad(loss)(Z, Y)])


def test_mse_of_one_output_is_the_formula_of_the_text():
    h, y = np.array([[1.0], [2.0], [4.0]]), np.array([[0.0], [2.0], [1.0]])
    assert c.LOSSES["mse"][0](wg.tensor(h), wg.tensor(y)).item() == pytest.approx((1 + 0 + 9) / 3)


def test_column_of_ones_is_a_bias():
    net, plain = (c.Net(("tanh", "identity"), "mse", bias) for bias in (True, False))
    rng = np.random.default_rng(0)
    W = [wg.tensor(rng.normal(size=shape)) for shape in ((4, 5), (6, 2))]
    X, Y = wg.tensor(rng.normal(size=(7, 3))), wg.tensor(rng.normal(size=(7, 2)))
    weights, biases = [W_l[:-1] for W_l in W], [W_l[-1] for W_l in W]

    def with_biases(weights, biases):
        Z = wg.tanh(X @ weights[0] + biases[0]) @ weights[1] + biases[1]
        return c.LOSSES["mse"][0](Z, Y)

    assert c.objective(net, W, X, Y).item() == pytest.approx(with_biases(weights, biases).item())
    found = c.recursion(net, W, X, Y)
    by_weights, by_biases = wg.grad(with_biases, argnums=(0, 1))(weights, biases)
    same([g[:-1] for g in found], by_weights)
    same([g[-1] for g in found], by_biases)
    assert len(c.recursion(plain, weights, X, Y)) == 2


def test_printed_pseudocode_does_not_fit_the_shapes():
    net = c.Net(("tanh", "identity"), "mse", bias=False)
    X, Y = wg.ones((5, 3), dtype=wg.float64), wg.ones((5, 2), dtype=wg.float64)
    with pytest.raises(wg.ShapeError, match=r"inner dimensions .* got \(5, 2\) @ \(4, 3\)"):
        c.recursion_as_printed(net, net.weights((3, 4, 2)), X, Y)


def test_printed_pseudocode_is_wrong_where_the_shapes_fit():
    net = c.Net(("tanh", "tanh", "identity"), "mse", bias=False)
    W, X = net.weights((3, 3, 3, 3)), wg.tensor(np.random.default_rng(0).normal(size=(5, 3)))
    Y = wg.ones((5, 3), dtype=wg.float64)
    printed, right = c.recursion_as_printed(net, W, X, Y), c.by_backward(net, W, X, Y)
    same(printed[-1:], right[-1:])  # the last layer has no δ of another layer in it
    for wrong, true in zip(printed[:-1], right[:-1], strict=True):
        assert np.max(np.abs(wrong.numpy() - true.numpy())) > 0.1


def test_backward_graph_takes_slopes_from_outputs():
    for name, gap, added, exponentials in c.slopes_from_outputs():
        assert gap < 1e-15, name
        assert exponentials == 0
        assert added <= 4


def test_update_moves_each_weight_against_its_gradient():
    W = [wg.ones((2, 2), dtype=wg.float64), wg.ones((2, 1), dtype=wg.float64)]
    c.update(W, [2 * wg.ones_like(W[0]), -wg.ones_like(W[1])], alpha=0.1)
    same(W, [0.8 * wg.ones((2, 2), dtype=wg.float64), 1.1 * wg.ones((2, 1), dtype=wg.float64)])


def test_digits_are_learned_by_the_recursion_alone():
    X, Y, X_test, Y_test = c.digits()
    net = c.Net(("tanh", "softmax"), "cross-entropy")
    W = net.weights((64, 40, 10))
    losses = list(c.train(net, W, X, Y, alpha=0.3, epochs=8))
    assert losses == sorted(losses, reverse=True)
    assert c.accuracy(net, W, X_test, Y_test) > 0.95


def test_curve_is_fitted_by_the_recursion_alone():
    X, Y = c.curve()
    net = c.Net(("tanh", "identity"), "mse")
    W = net.weights((2, 20, 1))
    *_, loss = c.train(net, W, X, Y, alpha=0.1, epochs=200)
    assert loss < 0.25 * np.var(Y.numpy())

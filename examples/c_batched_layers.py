"""The batched recursion over layers, "Formalize forward and backpropagation" (system C).

Rows are examples: A_l = Z_(l−1) W_l, Z_l = σ_l(A_l), Z_0 = X. The bias is absorbed into W_l by a
column of ones beside Z_(l−1). Any number of layers; the last transition function is softmax for
classification, the identity for regression.

    δ_L = ∂L/∂Z_L ⊙ σ′_L(A_L)
    for l = L−1 … 1:   ∂L/∂W_(l+1) = Z_lᵀ δ_(l+1),   δ_l = (δ_(l+1) W_(l+1)ᵀ) ⊙ σ′_l(A_l)
    last:              ∂L/∂W_1 = Z_0ᵀ δ_1

The text's pseudocode prints W_l in the line of δ_l. The shapes need W_(l+1), as its formulas have.

Run it: ``python examples/c_batched_layers.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from _count import calls
from _show import array, difference, heading, table

import wengert as wg

# The product of an incoming gradient with the transposed Jacobian of σ, from the output Z = σ(A)
# alone. For an elementwise σ that is a product with σ′; softmax mixes the elements of a row.
FromOutput = Callable[[wg.Tensor, wg.Tensor], wg.Tensor]
TRANSITIONS: dict[str, tuple[Callable[[wg.Tensor], wg.Tensor], FromOutput]] = {
    "sigmoid": (wg.sigmoid, lambda Z_bar, Z: Z_bar * (Z * (1 - Z))),
    "tanh": (wg.tanh, lambda Z_bar, Z: Z_bar * (1 - Z * Z)),
    "relu": (wg.relu, lambda Z_bar, Z: Z_bar * (Z > 0)),
    "identity": (lambda A: A, lambda Z_bar, Z: Z_bar),
    "softmax": (
        lambda A: wg.softmax(A, axis=1),
        lambda Z_bar, Z: Z * (Z_bar - wg.sum(Z_bar * Z, axis=1, keepdims=True)),
    ),
}

# L of all examples together, and ∂L/∂Z_L. Y has one row for each example.
LOSSES: dict[str, tuple[Callable[..., wg.Tensor], Callable[..., wg.Tensor]]] = {
    "mse": (
        lambda Z, Y: wg.sum((Z - Y) * (Z - Y)) / Z.shape[0],
        lambda Z, Y: 2 * (Z - Y) / Z.shape[0],
    ),
    "cross-entropy": (
        lambda Z, Y: -wg.sum(Y * wg.log(Z)) / Z.shape[0],
        lambda Z, Y: -Y / Z / Z.shape[0],
    ),
}


@dataclass(frozen=True)
class Net:
    """What a net is besides its weights.

    Attributes
    ----------
    transitions : tuple of str
        σ_1 … σ_L, keys of `TRANSITIONS`.
    loss : str
        A key of `LOSSES`.
    bias : bool
        Whether a column of ones stands beside each Z_(l−1), and W_l has one row more for it.
    """

    transitions: tuple[str, ...]
    loss: str
    bias: bool = True

    def weights(self, sizes: tuple[int, ...], seed: int = 0) -> list[wg.Tensor]:
        """Return W_1 … W_L for layers of the given sizes, the input first, in float64."""
        rng = np.random.default_rng(seed)
        drawn = [rng.normal(size=(m, n)) / m**0.5 for m, n in pairwise(sizes)]
        rows = [np.zeros((int(self.bias), W.shape[1])) for W in drawn]
        return [wg.tensor(np.concatenate(pair)) for pair in zip(drawn, rows, strict=True)]


def with_ones(net: Net, Z: wg.Tensor) -> wg.Tensor:
    """Return Z with the column of ones that absorbs the bias, where there is one."""
    return wg.concat([Z, wg.ones((Z.shape[0], 1), dtype=Z.dtype)], axis=1) if net.bias else Z


def forward(net: Net, W: list[wg.Tensor], X: wg.Tensor) -> list[wg.Tensor]:
    """Return Z_0 … Z_L; with a bias, all but the last with their column of ones."""
    Z = [X]
    for W_l, name in zip(W, net.transitions, strict=True):
        Z[-1] = with_ones(net, Z[-1])
        Z.append(TRANSITIONS[name][0](Z[-1] @ W_l))
    return Z


def objective(net: Net, W: list[wg.Tensor], X: wg.Tensor, Y: wg.Tensor) -> wg.Tensor:
    """Return L."""
    return LOSSES[net.loss][0](forward(net, W, X)[-1], Y)


def recursion(net: Net, W: list[wg.Tensor], X: wg.Tensor, Y: wg.Tensor) -> list[wg.Tensor]:
    """Return ∂L/∂W_1 … ∂L/∂W_L by the recursion of the text."""
    Z = forward(net, W, X)
    back = [TRANSITIONS[name][1] for name in net.transitions]
    last = len(W)
    delta = back[-1](LOSSES[net.loss][1](Z[last], Y), Z[last])
    gradients = []
    for layer in range(last - 1, 0, -1):
        gradients.append(Z[layer].T @ delta)
        # The row of the bias leads to the column of ones, which depends on nothing.
        into, outputs = (W[layer][:-1], Z[layer][:, :-1]) if net.bias else (W[layer], Z[layer])
        delta = back[layer - 1](delta @ into.T, outputs)
    gradients.append(Z[0].T @ delta)
    return gradients[::-1]


def recursion_as_printed(
    net: Net, W: list[wg.Tensor], X: wg.Tensor, Y: wg.Tensor
) -> list[wg.Tensor]:
    """Return what the pseudocode gives as printed: with W_l in the place of W_(l+1).

    Without biases, as there. It fails unless all layers have one size, and is wrong if they have.
    """
    Z = forward(net, W, X)
    back = [TRANSITIONS[name][1] for name in net.transitions]
    last = len(W)
    delta = back[-1](LOSSES[net.loss][1](Z[last], Y), Z[last])
    gradients = []
    for layer in range(last - 1, 0, -1):
        gradients.append(Z[layer].T @ delta)
        delta = back[layer - 1](delta @ W[layer - 1].T, Z[layer])
    gradients.append(Z[0].T @ delta)
    return gradients[::-1]


def by_backward(net: Net, W: list[wg.Tensor], X: wg.Tensor, Y: wg.Tensor) -> list[wg.Tensor]:
    """Return the same gradients as `recursion`, through ``loss.backward()``."""
    leaves = [W_l.clone().requires_grad_() for W_l in W]
    objective(net, leaves, X, Y).backward()
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


def update(W: list[wg.Tensor], gradients: list[wg.Tensor], alpha: float) -> None:
    """Carry out W_l ← W_l − α ∂L/∂W_l."""
    for W_l, gradient in zip(W, gradients, strict=True):
        W_l.sub_(alpha * gradient)


def slopes_from_outputs() -> list[tuple[str, float, int, int]]:
    """Return how well σ′ from the own output fits, and what 𝓑 spends on it.

    Each row: the name, the difference from the derivative by the definition, how many operations
    𝓑 adds to 𝓖, and how many exponentials are among them.
    """
    A = wg.tensor(np.linspace(-3, 3, 13))
    by_definition: dict[str, Callable[[wg.Tensor], wg.Tensor]] = {
        "sigmoid": lambda A: wg.exp(-A) / ((1 + wg.exp(-A)) * (1 + wg.exp(-A))),
        "tanh": lambda A: 4 / ((wg.exp(A) + wg.exp(-A)) * (wg.exp(A) + wg.exp(-A))),
    }
    rows: list[tuple[str, float, int, int]] = []
    for name, slope in by_definition.items():
        function, from_output = TRANSITIONS[name]
        gap = difference(from_output(wg.ones_like(A), function(A)), slope(A))
        graph = wg.trace(lambda A, function=function: wg.sum(function(A)))(A)
        backward = graph.backward()
        added = [op for op in backward.operations if op.origin is not None]
        again = calls(backward, name) - calls(graph, name)
        rows.append((name, gap, len(added), calls(backward, "exp") + again))
    return rows


def digits(seed: int = 0) -> tuple[wg.Tensor, ...]:
    """Return X and Y of 1,400 handwritten digits to learn from, and of the 397 others, float64."""
    data = wg.data.load_digits()
    X = data.features.astype(np.float64) / 16
    Y = np.eye(10)[data.targets.astype(np.int64)]
    order = np.random.default_rng(seed).permutation(len(data))
    return tuple(wg.tensor(v[part]) for part in (order[:1400], order[1400:]) for v in (X, Y))


def curve(count: int = 200, seed: int = 0) -> tuple[wg.Tensor, wg.Tensor]:
    """Return X and Y of a regression problem: y = sin(3x₁) + x₂² with a little noise, float64."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(count, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 0.05 * rng.normal(size=count)
    return wg.tensor(X), wg.tensor(y[:, None])


def train(
    net: Net, W: list[wg.Tensor], X: wg.Tensor, Y: wg.Tensor, alpha: float, epochs: int
) -> Iterator[float]:
    """Train by the recursion alone, in minibatches of 50; yield L of all examples."""
    rng = np.random.default_rng(1)
    for _ in range(epochs):
        for rows in rng.permutation(X.shape[0]).reshape(-1, 50):
            update(W, recursion(net, W, X[rows], Y[rows]), alpha)
        yield objective(net, W, X, Y).item()


def accuracy(net: Net, W: list[wg.Tensor], X: wg.Tensor, Y: wg.Tensor) -> float:
    """Return the share of rows whose largest output is the right one."""
    found = wg.argmax(forward(net, W, X)[-1], axis=1)
    return float(np.mean(array(found) == np.argmax(array(Y), axis=1)))


def cases() -> Iterator[tuple[str, Net, list[wg.Tensor], wg.Tensor, wg.Tensor]]:
    """Yield nets of one to five layers for both tasks, with weights and examples."""
    rng = np.random.default_rng(5)
    for sizes in ((3, 2), (3, 4, 2), (3, 5, 5, 4, 4, 2)):
        X = wg.tensor(rng.normal(size=(7, 3)))
        hidden = ("tanh", "sigmoid", "relu", "tanh")[: len(sizes) - 2]
        name = "-".join(map(str, sizes))
        for bias in (True, False):
            net = Net((*hidden, "softmax"), "cross-entropy", bias)
            Y = wg.tensor(np.eye(2)[rng.integers(2, size=7)])
            yield f"{name} softmax", net, net.weights(sizes), X, Y
            net = Net((*hidden, "identity"), "mse", bias)
            yield f"{name} identity", net, net.weights(sizes), X, wg.tensor(rng.normal(size=(7, 2)))


def show_misprint() -> None:
    """Print what the pseudocode as printed comes to."""
    heading("The misprint: δ_l = (δ_(l+1) W_lᵀ) ⊙ σ′_l(A_l)")
    rng = np.random.default_rng(6)
    for sizes in ((3, 4, 2), (3, 3, 3)):
        net = Net(("tanh", "identity"), "mse", bias=False)
        W, X = net.weights(sizes), wg.tensor(rng.normal(size=(5, 3)))
        Y = wg.tensor(rng.normal(size=(5, sizes[-1])))
        try:
            printed = recursion_as_printed(net, W, X, Y)
        except wg.ShapeError as error:
            print(f"layers {sizes}: {error}")
            continue
        gap = difference(printed[0], by_backward(net, W, X, Y)[0])
        print(f"layers {sizes}: the shapes fit, and ∂L/∂W_1 is wrong by {gap:.2f}.")


def main() -> None:
    """Print the recursion beside backpropagation, the misprint, and two trainings."""
    heading("The recursion against loss.backward(): largest difference of any ∂L/∂W_l")
    rows: list[tuple[object, ...]] = []
    for name, net, W, X, Y in cases():
        pairs = zip(recursion(net, W, X, Y), by_backward(net, W, X, Y), strict=True)
        gap = max(difference(*pair) for pair in pairs)
        rows.append((name, net.loss, "yes" if net.bias else "no", f"{gap:.0e}"))
    table(("layers and σ_L", "loss", "ones", "difference"), rows)

    show_misprint()

    heading("The derivative of a transition function from its own output")
    rows = [(name, f"{gap:.0e}", *spent) for name, gap, *spent in slopes_from_outputs()]
    table(("σ", "difference from exp's", "operations of 𝓑", "exponentials"), rows)

    heading("W_l ← W_l − α ∂L/∂W_l: handwritten digits, softmax and cross-entropy")
    X, Y, X_test, Y_test = digits()
    net = Net(("tanh", "softmax"), "cross-entropy")
    W = net.weights((64, 40, 10))
    for epoch, loss in enumerate(train(net, W, X, Y, alpha=0.3, epochs=20), start=1):
        if epoch in (1, 5, 10, 20):
            right = accuracy(net, W, X_test, Y_test)
            print(f"epoch {epoch:2d}   L = {loss:.6f}   test accuracy {right:.1%}")

    heading("The same for a curve: identity and MSE = (1/n) Σ (h(x_i) − y_i)²")
    X, Y = curve()
    net = Net(("tanh", "tanh", "identity"), "mse")
    W = net.weights((2, 20, 20, 1))
    for epoch, loss in enumerate(train(net, W, X, Y, alpha=0.1, epochs=200), start=1):
        if epoch in (1, 10, 50, 200):
            print(f"epoch {epoch:3d}   MSE = {loss:.6f}")


if __name__ == "__main__":
    main()

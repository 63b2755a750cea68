"""Backpropagation in a multilayer perceptron, as in section 6.5 of Deep Learning (system B).

First Algorithms 6.3 and 6.4 for any depth, with J = L(ŷ, y) + λ Ω(θ), where Ω takes in weights and
biases as asked. Then the worked example of section 6.5.7, trained on handwritten digits: H =
max{0, X W1}, U2 = H W2, J = J_MLE + λ (Σ W1² + Σ W2²), with what it costs. Last, a Newton step
through products with the Hessian, which is never formed.

Run it: ``python examples/b_multilayer_perceptron.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from _count import backward_operations, forward_operations, kept_bytes, multiply_adds
from _show import array, difference, heading, table

import wengert as wg

# f(a) and f′(a); softplus is the logarithm of 1 + exp(a), and its slope the sigmoid.
TRANSITIONS: dict[str, tuple[Callable[..., wg.Tensor], Callable[..., wg.Tensor]]] = {
    "relu": (wg.relu, lambda a: wg.astype(a > 0, a.dtype)),
    "tanh": (wg.tanh, lambda a: 1 - wg.tanh(a) * wg.tanh(a)),
    "softplus": (wg.softplus, wg.sigmoid),
}

# ------------------------------------------------------------------------- Algorithms 6.3 and 6.4


@dataclass(frozen=True)
class Perceptron:
    """A net of any depth: h(k) = f(b(k) + W(k) h(k−1)), and what of it is regularised.

    Attributes
    ----------
    weights, biases : tuple of Tensor
        W(k), of shape (n(k), n(k−1)), and b(k), of shape (n(k), 1).
    f : str
        The transition function of every layer, a key of `TRANSITIONS`.
    strength : float
        λ.
    regularised : frozenset of str
        Which of "W" and "b" are in Ω, half the sum of their squares.
    """

    weights: tuple[wg.Tensor, ...]
    biases: tuple[wg.Tensor, ...]
    f: str = "tanh"
    strength: float = 0.0
    regularised: frozenset[str] = frozenset({"W"})


Forward = tuple[wg.Tensor, list[wg.Tensor], list[wg.Tensor]]


def perceptron(sizes: tuple[int, ...], seed: int = 0, **settings: object) -> Perceptron:
    """Return a net with layers of the given sizes, the input first, in float64."""
    rng = np.random.default_rng(seed)
    pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = tuple(wg.tensor(rng.normal(size=pair) / pair[1] ** 0.5) for pair in pairs)
    biases = tuple(wg.tensor(rng.normal(size=(n, 1))) for n, _ in pairs)
    return Perceptron(weights, biases, **settings)  # type: ignore[arg-type]


def algorithm_6_3(net: Perceptron, x: wg.Tensor, y: wg.Tensor) -> Forward:
    """Return J, all h(k) from h(0) = x, and all a(k); L is half the squared error."""
    f = TRANSITIONS[net.f][0]
    h, a = [x], []
    for W, b in zip(net.weights, net.biases, strict=True):
        a.append(b + W @ h[-1])
        h.append(f(a[-1]))
    loss = 0.5 * wg.sum((h[-1] - y) * (h[-1] - y))
    chosen = {"W": net.weights, "b": net.biases}
    for name in sorted(net.regularised):
        for parameter in chosen[name]:
            loss = loss + net.strength / 2 * wg.sum(parameter * parameter)
    return loss, h, a


def algorithm_6_4(
    net: Perceptron, y: wg.Tensor, h: list[wg.Tensor], a: list[wg.Tensor]
) -> Iterator[tuple[int, wg.Tensor, wg.Tensor]]:
    """Yield, from the last layer down, k with the gradients by W(k) and b(k).

    The gradient has gone on to the layer below when they are yielded: they may be used at once
    to change W(k) and b(k) in place.
    """
    slope = TRANSITIONS[net.f][1]
    W_decay, b_decay = (net.strength * (name in net.regularised) for name in "Wb")
    g = h[-1] - y  # ∇_ŷ L
    for k in reversed(range(len(net.weights))):
        W, b = net.weights[k], net.biases[k]
        g = g * slope(a[k])  # ∇_a(k) J
        b_gradient = g + b_decay * b
        W_gradient = g @ h[k].T + W_decay * W  # h[k] is what entered layer k
        g = W.T @ g  # ∇_h(k−1) J
        yield k, W_gradient, b_gradient


def gradients(net: Perceptron, x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """Return the gradients by all weights, then by all biases, by Algorithm 6.4."""
    _, h, a = algorithm_6_3(net, x, y)
    found = sorted(algorithm_6_4(net, y, h, a), key=lambda item: item[0])
    return [*(W for _, W, _ in found), *(b for _, _, b in found)]


def gradients_by_wengert(net: Perceptron, x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """Return the same gradients, by backpropagation through Algorithm 6.3."""

    def objective(weights: list[wg.Tensor], biases: list[wg.Tensor]) -> wg.Tensor:
        inner = Perceptron(tuple(weights), tuple(biases), net.f, net.strength, net.regularised)
        return algorithm_6_3(inner, x, y)[0]

    W, b = wg.grad(objective, argnums=(0, 1))(list(net.weights), list(net.biases))
    return [*W, *b]


def step_as_it_goes(net: Perceptron, x: wg.Tensor, y: wg.Tensor, rate: float) -> None:
    """Carry out a step of gradient descent, each layer as soon as its gradient is known."""
    _, h, a = algorithm_6_3(net, x, y)
    for k, W_gradient, b_gradient in algorithm_6_4(net, y, h, a):
        net.weights[k].sub_(rate * W_gradient)
        net.biases[k].sub_(rate * b_gradient)


# --------------------------------------------------------------------- The example of section 6.5.7


def objective(
    W1: wg.Tensor, W2: wg.Tensor, X: wg.Tensor, labels: wg.Tensor, decay: float
) -> wg.Tensor:
    """Return J = J_MLE + λ (Σ W1² + Σ W2²) of H = max{0, X W1}, U2 = H W2; rows are examples."""
    H = wg.maximum(X @ W1, 0.0)
    U2 = H @ W2
    J_MLE = wg.cross_entropy(U2, labels)  # from unnormalised log probabilities
    return J_MLE + decay * (wg.sum(W1 * W1) + wg.sum(W2 * W2))


def worked_gradients(
    W1: wg.Tensor, W2: wg.Tensor, X: wg.Tensor, labels: wg.Tensor, decay: float
) -> tuple[wg.Tensor, wg.Tensor]:
    """Return ∇_W1 J and ∇_W2 J as the text finds them; weight decay gives 2λW each."""
    U1 = X @ W1
    H = wg.maximum(U1, 0.0)
    U2 = H @ W2
    one_hot = wg.eye(W2.shape[1], dtype=W2.dtype)[labels]
    G = (wg.softmax(U2, axis=1) - one_hot) / X.shape[0]
    W2_gradient = H.T @ G + 2 * decay * W2
    H_gradient = G @ W2.T
    G1 = wg.where(U1 > 0, H_gradient, 0.0)  # G′: zero where U1 is below 0
    return X.T @ G1 + 2 * decay * W1, W2_gradient


@dataclass(frozen=True)
class Digits:
    """Handwritten digits with grey levels from 0 to 1, one a row, cut in two."""

    X: wg.Tensor
    labels: wg.Tensor
    X_test: wg.Tensor
    labels_test: wg.Tensor


def digits(train: int = 1400, seed: int = 0) -> Digits:
    """Return the digits that come with Wengert, in float64."""
    data = wg.data.load_digits()
    X = data.features.astype(np.float64) / 16
    labels = data.targets.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(data))
    parts = (order[:train], order[train:])
    return Digits(*(wg.tensor(values[part]) for part in parts for values in (X, labels)))


WORKED_EQUATIONS = ("∇_W1 J = Xᵀ G′ + 2λ W1", "∇_W2 J = Hᵀ G + 2λ W2")


def weights_of(sizes: tuple[int, int, int], seed: int = 0) -> list[wg.Tensor]:
    """Return W1 and W2 for the worked example, in float64."""
    rng = np.random.default_rng(seed)
    pairs = (sizes[:2], sizes[1:])
    return [wg.tensor(rng.normal(size=pair) * (2 / pair[0]) ** 0.5) for pair in pairs]


def accuracy(W1: wg.Tensor, W2: wg.Tensor, X: wg.Tensor, labels: wg.Tensor) -> float:
    """Return the share of examples whose most probable class is right."""
    found = wg.argmax(wg.maximum(X @ W1, 0.0) @ W2, axis=1)
    return float(np.mean(array(found) == array(labels)))


def train(
    data: Digits, hidden: int = 50, epochs: int = 20, rate: float = 0.3, decay: float = 1e-4
) -> Iterator[tuple[int, float, float]]:
    """Train by minibatch gradient descent; yield the epoch, its mean J and the test accuracy."""
    W1, W2 = weights_of((data.X.shape[1], hidden, 10))
    rng = np.random.default_rng(1)
    step = wg.value_and_grad(objective, argnums=(0, 1))
    count, batch = data.X.shape[0], 50
    for epoch in range(1, epochs + 1):
        losses = []
        for rows in rng.permutation(count).reshape(-1, batch):
            J, found = step(W1, W2, data.X[rows], data.labels[rows], decay)
            for W, gradient in zip((W1, W2), found, strict=True):
                W.sub_(rate * gradient)
            losses.append(J.item())
        yield epoch, float(np.mean(losses)), accuracy(W1, W2, data.X_test, data.labels_test)


def cost(examples: int, sizes: tuple[int, int, int], *, wrt_X: bool = False) -> dict[str, int]:
    """Return multiply-adds of the matrix products, forward and backward, and the bytes kept."""
    W1, W2 = weights_of(sizes)
    X, labels = wg.zeros((examples, sizes[0]), dtype=W1.dtype), wg.zeros(examples, dtype=wg.int64)
    asked = (0, 1, 2) if wrt_X else (0, 1)
    graph = wg.trace(wg.value_and_grad(objective, argnums=asked))(W1, W2, X, labels, 1e-4)
    return {
        "forward": multiply_adds(forward_operations(graph)),
        "backward": multiply_adds(backward_operations(graph)),
        "kept": kept_bytes(graph),
    }


# ----------------------------------------------- Second order without the Hessian: Krylov methods


def conjugate_gradients(
    product: Callable[[wg.Tensor], wg.Tensor], b: wg.Tensor, tolerance: float = 1e-10
) -> tuple[wg.Tensor, int]:
    """Solve A v = b from products with A alone, which must be positive definite.

    Returns
    -------
    v : Tensor
        The solution, to `tolerance` times the norm of b.
    products : int
        How many products with A it took.
    """
    v = wg.zeros_like(b)
    residual, direction = b, b
    square = start = wg.sum(b * b).item()
    products = 0
    while square > tolerance**2 * start and products < 10 * b.size:
        image = product(direction)
        products += 1
        length = square / wg.sum(direction * image).item()
        v = v + length * direction
        residual = residual - length * image
        square, before = wg.sum(residual * residual).item(), square
        direction = residual + square / before * direction
    return v, products


def convex_objective(X: wg.Tensor, labels: wg.Tensor) -> Callable[[wg.Tensor], wg.Tensor]:
    """Return J(W) of a net without a hidden layer: convex, so that Newton's method fits."""

    def J(W: wg.Tensor) -> wg.Tensor:
        return wg.cross_entropy(X @ W, labels) + 1e-3 * wg.sum(W * W)

    return J


def newton(
    J: Callable[[wg.Tensor], wg.Tensor], W: wg.Tensor, steps: int
) -> Iterator[tuple[wg.Tensor, float, int]]:
    """Yield W, the norm of the gradient there, and the products with the Hessian so far."""
    total = 0
    for _ in range(steps):
        gradient = wg.grad(J)(W)
        yield W, float(np.linalg.norm(array(gradient))), total
        direction, products = conjugate_gradients(partial(wg.hvp, J, W), gradient)
        total += products
        W = W - direction


def main() -> None:
    """Print both nets, their cost, and Newton's method."""
    heading("Algorithms 6.3 and 6.4: any depth, J = L + λ Ω(θ)")
    rng = np.random.default_rng(3)
    rows: list[tuple[object, ...]] = []
    for sizes in ((3, 2), (3, 4, 2), (3, 5, 5, 5, 5, 2)):
        x, y = (wg.tensor(rng.normal(size=(n, 1))) for n in (sizes[0], sizes[-1]))
        for regularised in ("", "W", "b", "Wb"):
            net = perceptron(sizes, strength=0.1, regularised=frozenset(regularised))
            found = gradients_by_wengert(net, x, y)
            gap = max(map(difference, gradients(net, x, y), found))
            loss = algorithm_6_3(net, x, y)[0].item()
            name = " ".join(regularised) or "nothing"
            rows.append(("-".join(map(str, sizes)), name, f"{loss:.9f}", f"{gap:.0e}"))
    table(("layers", "regularised", "J", "difference from backpropagation"), rows)

    heading("The worked example: J = J_MLE + λ (Σ W1² + Σ W2²)")
    data, decay = digits(), 1e-4
    W1, W2 = weights_of((64, 50, 10))
    batch = (data.X[:50], data.labels[:50])
    gaps = map(
        difference,
        worked_gradients(W1, W2, *batch, decay),
        wg.grad(objective, argnums=(0, 1))(W1, W2, *batch, decay),
    )
    for equation, gap in zip(WORKED_EQUATIONS, gaps, strict=True):
        print(f"{equation}   difference from backpropagation {gap:.0e}")
    print("\nMultiply-adds of the matrix products, and bytes kept between forward and backward:")
    rows = []
    for examples, hidden in ((50, 50), (100, 50), (100, 100)):
        counted = cost(examples, (64, hidden, 10))
        more = cost(examples, (64, hidden, 10), wrt_X=True)["backward"]
        weights = 64 * hidden + hidden * 10
        rows.append((f"{examples}, {hidden}", weights, *counted.values(), more))
    table(("m, n_h", "w", "forward m·w", "backward", "bytes kept", "backward, ∇_X too"), rows)
    print("\nThe same again for each operand: ∇_X would bring the backward pass to 2 m·w.\n")
    for epoch, J, right in train(data):
        if epoch in (1, 2, 5, 10, 20):
            print(f"epoch {epoch:2d}   J = {J:.6f}   test accuracy {right:.1%}")

    heading("Newton's method, with the Hessian in conjugate gradients as a product only")
    convex = convex_objective(data.X[:300], data.labels[:300])
    for W, norm, products in newton(convex, wg.zeros((64, 10), dtype=wg.float64), steps=7):
        print(f"J = {convex(W).item():.12f}   ‖∇J‖ = {norm:.1e}   products so far {products}")
    print("The Hessian, 640 × 640, was never formed.")


if __name__ == "__main__":
    main()

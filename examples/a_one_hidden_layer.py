"""One hidden layer with weight decay, as in section 5.3 of Dive into Deep Learning (system A).

One example is a column vector x. Squares are variables, arrows run rightward and upward, and
parameters stand above the operation that uses them::

                   (l2)───────────[s]────────────(+)──[J]
          ┌─────────┴─────────┐                   │
         [W1]                [W2]      [y]       [L]
          │                   │         │         │
    [x]──(×)──[z]──(φ)──[h]──(×)──[o]──(l)────────┘

Run it: ``python examples/a_one_hidden_layer.py``. Each equation of the text is evaluated with
Wengert's own arrays beside what backpropagation gives; then come the chain rule for arrays of any
shape, both graphs, and the memory that training needs and prediction does not.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
from _count import kept_bytes, peak_bytes
from _show import difference, heading, side_by_side, table

import wengert as wg

LAMBDA = 0.1

# Each transition function φ with its derivative φ′.
TRANSITIONS: dict[str, tuple[Callable[..., wg.Tensor], Callable[..., wg.Tensor]]] = {
    "tanh": (wg.tanh, lambda z: 1 - wg.tanh(z) * wg.tanh(z)),
    "sigmoid": (wg.sigmoid, lambda z: wg.sigmoid(z) * (1 - wg.sigmoid(z))),
    "relu": (wg.relu, lambda z: wg.astype(z > 0, z.dtype)),
}

# Each loss l(o, y) with its gradient ∂L/∂o; for the second, y holds one 1 and else 0.
LOSSES: dict[str, tuple[Callable[..., wg.Tensor], Callable[..., wg.Tensor]]] = {
    "squared": (lambda o, y: 0.5 * wg.sum((o - y) * (o - y)), lambda o, y: o - y),
    "cross-entropy": (
        lambda o, y: wg.logsumexp(o) - wg.sum(o * y),
        lambda o, y: wg.softmax(o, axis=0) - y,
    ),
}

EQUATIONS = {
    "∂J/∂L": "1",
    "∂J/∂s": "1",
    "∂J/∂o": "prod(∂J/∂L, ∂L/∂o) = ∂L/∂o",
    "∂s/∂W1": "λ W1",
    "∂s/∂W2": "λ W2",
    "∂J/∂W2": "(∂J/∂o) hᵀ + λ W2",
    "∂J/∂h": "W2ᵀ (∂J/∂o)",
    "∂J/∂z": "(∂J/∂h) ⊙ φ′(z)",
    "∂J/∂W1": "(∂J/∂z) xᵀ + λ W1",
}


def problem(inputs: int = 3, hidden: int = 4, outputs: int = 2, seed: int = 0) -> list[wg.Tensor]:
    """Return x, y, W1 and W2: one example as columns, and two weight matrices, in float64."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(inputs, 1))
    y = np.eye(outputs)[:, [1 % outputs]]
    weights = [rng.normal(size=(hidden, inputs)), rng.normal(size=(outputs, hidden))]
    return [wg.tensor(value) for value in (x, y, *weights)]


def penalty(W1: wg.Tensor, W2: wg.Tensor) -> wg.Tensor:
    """Return s = (λ/2)(‖W1‖² + ‖W2‖²), with the Frobenius norm."""
    return LAMBDA / 2 * (wg.sum(W1 * W1) + wg.sum(W2 * W2))


def forward(
    x: wg.Tensor, y: wg.Tensor, W1: wg.Tensor, W2: wg.Tensor, phi: str, loss: str
) -> dict[str, wg.Tensor]:
    """Return every intermediate of the forward pass: each is needed by the backward pass."""
    z = W1 @ x
    h = TRANSITIONS[phi][0](z)
    o = W2 @ h
    L = LOSSES[loss][0](o, y)
    s = penalty(W1, W2)
    values = {"z": z, "h": h, "o": o, "L": L, "s": s, "J": L + s}
    for name, value in values.items():
        value.name = name  # as it is called in printed graphs
    return values


def backward_by_hand(
    x: wg.Tensor, y: wg.Tensor, W1: wg.Tensor, W2: wg.Tensor, phi: str, loss: str
) -> dict[str, wg.Tensor]:
    """Evaluate the equations of the text, in its order."""
    values = forward(x, y, W1, W2, phi, loss)
    slope, loss_gradient = TRANSITIONS[phi][1], LOSSES[loss][1]
    one = wg.ones((), dtype=x.dtype)
    o_bar = one * loss_gradient(values["o"], y)
    s_W1, s_W2 = LAMBDA * W1, LAMBDA * W2
    W2_bar = o_bar @ values["h"].T + s_W2
    h_bar = W2.T @ o_bar
    z_bar = h_bar * slope(values["z"])
    W1_bar = z_bar @ x.T + s_W1
    results = (one, one, o_bar, s_W1, s_W2, W2_bar, h_bar, z_bar, W1_bar)
    return dict(zip(EQUATIONS, results, strict=True))


def backward_by_wengert(
    x: wg.Tensor, y: wg.Tensor, W1: wg.Tensor, W2: wg.Tensor, phi: str, loss: str
) -> dict[str, wg.Tensor | None]:
    """Return the same gradients as `backward_by_hand`, found by backpropagation."""
    W1, W2 = (W.clone().requires_grad_() for W in (W1, W2))
    values = forward(x, y, W1, W2, phi, loss)
    for name in ("L", "s", "o", "h", "z"):
        values[name].retain_grad()
    values["J"].backward()
    found = {f"∂J/∂{name}": value.grad for name, value in values.items() if name != "J"}
    found |= {"∂J/∂W1": W1.grad, "∂J/∂W2": W2.grad}
    found["∂s/∂W1"], found["∂s/∂W2"] = wg.grad(penalty, argnums=(0, 1))(W1.detach(), W2.detach())
    return {name: found[name] for name in EQUATIONS}


# The chain rule for arrays of any shape.


def prod(dZ_dY: wg.Tensor, dY_dX: wg.Tensor, y_ndim: int) -> wg.Tensor:
    """Return ∂Z/∂X = prod(∂Z/∂Y, ∂Y/∂X): the axes of Y are summed over.

    ∂Z/∂Y has the axes of Z, then those of Y; the text's `prod` hides the transposes and reshapes
    that make a matrix product of this.
    """
    return wg.tensordot(dZ_dY, dY_dX, axes=y_ndim)


def higher_rank_chain() -> tuple[wg.Tensor, wg.Tensor, wg.Tensor, wg.Tensor]:
    """Return ∂Z/∂Y, ∂Y/∂X, their `prod`, and ∂Z/∂X itself, for arrays of rank 2, 2 and 1."""
    rng = np.random.default_rng(1)
    A, B = rng.normal(size=(4, 2, 2, 3)), rng.normal(size=(5, 4, 2))
    X = wg.tensor(rng.normal(size=(2, 3)))

    def f(X: wg.Tensor) -> wg.Tensor:
        return wg.tanh(wg.tensordot(A, X, axes=2))

    def g(Y: wg.Tensor) -> wg.Tensor:
        return wg.tensordot(B, wg.sin(Y), axes=2)

    dZ_dY, dY_dX = wg.jacobian(g)(f(X)), wg.jacobian(f)(X)
    return dZ_dY, dY_dX, prod(dZ_dY, dY_dX, y_ndim=2), wg.jacobian(lambda X: g(f(X)))(X)


def outer_product_as_prod() -> tuple[wg.Tensor, wg.Tensor, wg.Tensor]:
    """Return ∂o/∂W2 in full, prod(∂J/∂o, ∂o/∂W2), and what it comes to: (∂J/∂o) hᵀ."""
    _, _, _, W2 = problem()
    h, o_bar = wg.tensor(np.array([[0.1], [0.2], [0.3], [0.4]])), wg.tensor(np.array([[1.0], [2]]))
    jacobian = wg.jacobian(lambda W2: W2 @ h)(W2)
    return jacobian, prod(o_bar, jacobian, y_ndim=2), o_bar @ h.T


# The two graphs.


def graphs(phi: str = "tanh", loss: str = "squared") -> tuple[wg.Graph, wg.Graph]:
    """Return 𝓖, and 𝓑 with one output for each gradient of the text, in its order."""

    def objective(x: wg.Tensor, y: wg.Tensor, W1: wg.Tensor, W2: wg.Tensor) -> wg.Tensor:
        return forward(x, y, W1, W2, phi, loss)["J"]

    graph = wg.trace(objective)(*problem())
    made = [v for op in graph.operations for v in graph.results(op)]
    by_name = {v.name: v for v in (*graph.inputs, *made)}
    order = [name.removeprefix("∂J/∂") for name in EQUATIONS if name.startswith("∂J")]
    return graph, graph.backward(wrt=[by_name[name] for name in order])


# The memory of training, prediction, and training with recomputation.


def deep(weights: list[wg.Tensor], x: wg.Tensor) -> wg.Tensor:
    """Return the output of a net of any depth; rows are examples."""
    for W in weights:
        x = wg.tanh(x @ W)
    return x


def deep_loss(weights: list[wg.Tensor], x: wg.Tensor, segments: int = 1) -> wg.Tensor:
    """Return the mean square of the output; with `segments` above 1, each is recomputed."""
    if segments == 1:
        x = deep(weights, x)
    else:
        size = math.ceil(len(weights) / segments)
        for start in range(0, len(weights), size):
            x = wg.checkpoint(deep)(weights[start : start + size], x)
    return wg.mean(x * x)


def deep_problem(layers: int, batch: int, width: int) -> tuple[list[wg.Tensor], wg.Tensor]:
    """Return the weights and a batch of inputs of a net, in float64."""
    rng = np.random.default_rng(2)
    weights = [wg.tensor(rng.normal(size=(width, width)) / width**0.5) for _ in range(layers)]
    return weights, wg.tensor(rng.normal(size=(batch, width)))


def memory(layers: int, batch: int, width: int = 32) -> dict[str, int]:
    """Return the bytes of intermediates, counted from graphs: nothing is run.

    Returns
    -------
    dict
        The most that is alive at one time in *prediction* (𝓖 alone) and in *training* (𝓖 and 𝓑);
        the sum of what is *kept* by 𝓖 for 𝓑; and, with √layers segments that are recomputed, the
        *checkpointed* peak.
    """
    weights, x = deep_problem(layers, batch, width)
    segments = round(layers**0.5)
    training = wg.trace(wg.value_and_grad(deep_loss))(weights, x)
    thrifty = wg.trace(wg.value_and_grad(deep_loss))(weights, x, segments=segments)
    return {
        "prediction": peak_bytes(wg.trace(deep)(weights, x)),
        "kept": kept_bytes(training),
        "training": peak_bytes(training),
        "checkpointed": peak_bytes(thrifty),
    }


def measured_bytes(layers: int, batch: int, width: int = 32, *, grad: bool) -> int:
    """Return the bytes that an eager forward pass holds when it is done, as Python counts them."""
    weights, x = deep_problem(layers, batch, width)
    for W in weights:
        W.requires_grad_(grad)
    deep_loss(weights, x)  # so that nothing is allocated for the first time below
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    loss = deep_loss(weights, x)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del loss
    return after - before


def main() -> None:
    """Print the walk through section 5.3."""
    x, y, W1, W2 = problem()
    for loss in LOSSES:
        heading(f"Forward, then backward equation by equation (φ = tanh, l = {loss})")
        values = forward(x, y, W1, W2, "tanh", loss)
        print(f"L = {values['L'].item():.9f}   s = {values['s'].item():.9f}   ", end="")
        print(f"J = L + s = {values['J'].item():.9f}\n")
        by_hand = backward_by_hand(x, y, W1, W2, "tanh", loss)
        side_by_side(by_hand, backward_by_wengert(x, y, W1, W2, "tanh", loss), EQUATIONS)

    heading("The chain rule for arrays of any shape: ∂Z/∂X = prod(∂Z/∂Y, ∂Y/∂X)")
    dZ_dY, dY_dX, product, direct = higher_rank_chain()
    print(f"∂Z/∂Y {dZ_dY.shape}, ∂Y/∂X {dY_dX.shape}: prod sums over the two axes of Y and gives")
    print(f"∂Z/∂X {product.shape}; difference from ∂Z/∂X itself {difference(product, direct):.1e}")
    jacobian, product, outer = outer_product_as_prod()
    print(f"∂o/∂W2 {jacobian.shape} in full; prod(∂J/∂o, ∂o/∂W2) is the outer product (∂J/∂o) hᵀ,")
    print(f"difference {difference(product, outer):.1e}: nobody needs to store ∂o/∂W2.")

    heading("𝓖 and 𝓑, which uses the intermediates of 𝓖")
    for graph in graphs():
        print(graph, end="\n\n")

    heading("Bytes of intermediates: 𝓖 alone, 𝓖 and 𝓑, and with √layers recomputed segments")
    rows: list[tuple[object, ...]] = []
    for layers, batch in [(4, 128), (9, 128), (16, 128), (16, 256), (16, 512), (64, 512)]:
        counted = memory(layers, batch)
        rows.append((f"{layers} × {batch}", *counted.values()))
    table(("layers × batch", "prediction", "kept for 𝓑", "training peak", "checkpointed"), rows)
    print("\nKept are layers × batch × width × 8 bytes; prediction needs one layer at a time.")
    print("Checkpointing computes each segment twice and gives the same gradients.")
    kept, free = (measured_bytes(16, 512, grad=grad) for grad in (True, False))
    print(f"Measured after an eager forward pass, 16 × 512: {kept:,} bytes held where a gradient")
    print(f"may be asked for (z and h of each layer), {free:,} where none is.")


if __name__ == "__main__":
    main()

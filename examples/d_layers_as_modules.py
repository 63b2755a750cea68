"""Layers as modules, "Deep networks & backpropagation" (system D).

A module computes a = h(x), remembers what it needs, and gives the product of its transposed local
Jacobian with the incoming gradient: ∂L/∂x = (∂a/∂x)ᵀ ∂L/∂a, and for its weights ∂L/∂w = (∂a/∂w)ᵀ
∂L/∂a. Two demonstrations follow: a net of 2, 2 and 2 units with every number to 9 digits, and
what ``backward()`` does. The third, a convolutional network, is in `d_lenet.py`.

The 2-2-2 net is M. Mazur's "A Step by Step Backpropagation Example". Its text says that hidden
gradients use the output weights as they were; its numbers after the first update and after 10,000
came from an older script, which used them as already updated. Both are here: `train_222` does what
the text says, and with ``in_place=True`` what the script did.

Run it: ``python examples/d_layers_as_modules.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from _show import array, heading, table

import wengert as wg
from wengert import nn

# ------------------------------------------------------------------ Modules with a local product


class Layer:
    """A module: `forward` remembers, `backward` multiplies by the transposed local Jacobian."""

    def __init__(self) -> None:
        self.weights: dict[str, wg.Tensor] = {}
        self.gradients: dict[str, wg.Tensor] = {}
        self.x = self.a = wg.zeros(0)

    def __call__(self, x: wg.Tensor) -> wg.Tensor:
        """Return a = h(x), and remember both."""
        self.x, self.a = x, self.h(x)
        return self.a

    def h(self, x: wg.Tensor) -> wg.Tensor:
        """Return h(x)."""
        raise NotImplementedError

    def to_input(self, a_bar: wg.Tensor) -> wg.Tensor:
        """Return (∂a/∂x)ᵀ ∂L/∂a."""
        raise NotImplementedError

    def to_weights(self, a_bar: wg.Tensor) -> dict[str, wg.Tensor]:
        """Return (∂a/∂w)ᵀ ∂L/∂a for each weight array."""
        del a_bar
        return {}

    def update(self, rate: float) -> None:
        """Carry out w ← w − rate · ∂L/∂w for the arrays in `weights`."""
        for name, w in self.weights.items():
            w.sub_(rate * self.gradients[name])


class Affine(Layer):
    """a = W x + b. Only W is trained: the worked example never changes its biases."""

    def __init__(self, W: wg.Tensor, b: wg.Tensor) -> None:
        super().__init__()
        self.weights = {"W": W}
        self.b = b

    def h(self, x: wg.Tensor) -> wg.Tensor:
        """Return W x + b."""
        return self.weights["W"] @ x + self.b

    def to_input(self, a_bar: wg.Tensor) -> wg.Tensor:
        """Return Wᵀ ∂L/∂a."""
        return self.weights["W"].T @ a_bar

    def to_weights(self, a_bar: wg.Tensor) -> dict[str, wg.Tensor]:
        """Return (∂L/∂a) xᵀ, and ∂L/∂a for the bias."""
        return {"W": wg.outer(a_bar, self.x), "b": a_bar}


class Logistic(Layer):
    """a = 1/(1 + exp(−x))."""

    def h(self, x: wg.Tensor) -> wg.Tensor:
        """Return σ(x)."""
        return wg.sigmoid(x)

    def to_input(self, a_bar: wg.Tensor) -> wg.Tensor:
        """Return ∂L/∂a ⊙ a (1 − a): the local Jacobian is diagonal, from the own output."""
        return a_bar * (self.a * (1 - self.a))


class HalfSquaredError(Layer):
    """a = Σ ½ (target − x)²."""

    def __init__(self, target: wg.Tensor) -> None:
        super().__init__()
        self.target = target

    def h(self, x: wg.Tensor) -> wg.Tensor:
        """Return half the squared distance from the target."""
        return 0.5 * wg.sum((self.target - x) * (self.target - x))

    def to_input(self, a_bar: wg.Tensor) -> wg.Tensor:
        """Return ∂L/∂a (x − target)."""
        return a_bar * (self.x - self.target)


def forward(layers: list[Layer], x: wg.Tensor) -> wg.Tensor:
    """Return what the last module gives."""
    for layer in layers:
        x = layer(x)
    return x


def backward(layers: list[Layer]) -> list[wg.Tensor]:
    """Fill in `gradients` from the last module to the first; return ∂L/∂x for each module."""
    a_bar, inputs = wg.ones_like(layers[-1].a), []
    for layer in reversed(layers):
        layer.gradients = layer.to_weights(a_bar)
        a_bar = layer.to_input(a_bar)
        inputs.append(a_bar)
    return inputs[::-1]


# ------------------------------------------------------------------------------ The 2-2-2 example

RATE = 0.5
INPUT, TARGET = np.array([0.05, 0.10]), np.array([0.01, 0.99])
W_HIDDEN = np.array([[0.15, 0.20], [0.25, 0.30]])  # w1 w2 lead to h1, w3 w4 to h2
W_OUTPUT = np.array([[0.40, 0.45], [0.50, 0.55]])  # w5 w6 lead to o1, w7 w8 to o2
B_HIDDEN, B_OUTPUT = np.full(2, 0.35), np.full(2, 0.60)

# The numbers of the text, and of what it passes over, to the digits given; w⁺ is w updated. The
# text has −0.019049119 for ∂E_o2/∂out_h1, which is −0.038098237 · 0.50 = −0.019049118.
_NUMBERS = """
net_h1 = 0.3775, net_h2 = 0.3925, out_h1 = 0.593269992, out_h2 = 0.596884378
net_o1 = 1.105905967, net_o2 = 1.224921404, out_o1 = 0.75136507, out_o2 = 0.772928465
E_o1 = 0.274811083, E_o2 = 0.023560026, E = 0.298371109
∂E/∂out_o1 = 0.74136507, ∂E/∂out_o2 = -0.217071535
∂out_o1/∂net_o1 = 0.186815602, ∂out_o2/∂net_o2 = 0.175510053
∂E/∂net_o1 = 0.138498562, ∂E/∂net_o2 = -0.0380982365
∂net_o1/∂w5 = 0.593269992, ∂E/∂w5 = 0.082167041, ∂E/∂w6 = 0.0826676278
∂E/∂w7 = -0.0226025405, ∂E/∂w8 = -0.0227402422, ∂E/∂b2 = 0.100400325
∂net_o1/∂out_h1 = 0.40, ∂E_o1/∂out_h1 = 0.055399425, ∂E_o2/∂out_h1 = -0.019049118
∂E/∂out_h1 = 0.036350306, ∂E/∂out_h2 = 0.0413703226
∂out_h1/∂net_h1 = 0.241300709, ∂out_h2/∂net_h2 = 0.240613417
∂net_h1/∂w1 = 0.05, ∂E/∂w1 = 0.000438568, ∂E/∂w2 = 0.000877135469
∂E/∂w3 = 0.000497712735, ∂E/∂w4 = 0.00099542547, ∂E/∂b1 = 0.0187256094
w1⁺ = 0.149780716, w2⁺ = 0.19956143, w3⁺ = 0.24975114, w4⁺ = 0.29950229
w5⁺ = 0.35891648, w6⁺ = 0.408666186, w7⁺ = 0.511301270, w8⁺ = 0.561370121
"""
EXPECTED = dict(
    pair.split(" = ") for line in _NUMBERS.strip().splitlines() for pair in line.split(", ")
)
# E after so many updates: as the text's rule has it, and as its older script had it.
LOSSES = {
    1: "0.291027774",
    2: "0.283547133",
    10: "0.220918592",
    100: "0.0200468282",
    1000: "0.00111434945",
    9999: "0.0000351085481",
    10_000: "0.0000351018778",
}
LOSSES_IN_PLACE = {1: "0.291027924", 10_000: "0.0000350848"}
OUTPUTS, OUTPUTS_IN_PLACE = ("0.015913620", "0.984064274"), ("0.015912196", "0.984065734")
WEIGHTS = (
    *("0.378509988", "0.657019977", "0.477300706", "0.754601411"),
    *("-3.892977199", "-3.868416688", "2.861810949", "2.925688967"),
)


def net_222() -> list[Layer]:
    """Return the five modules of the example with its first weights, in float64."""
    parameters = (W_HIDDEN, B_HIDDEN, W_OUTPUT, B_OUTPUT, TARGET)
    W1, b1, W2, b2, target = map(wg.tensor, parameters)
    return [Affine(W1, b1), Logistic(), Affine(W2, b2), Logistic(), HalfSquaredError(target)]


def numbers_222() -> dict[str, float]:
    """Return each number of the first forward pass, backward pass and update, by its name."""
    layers = net_222()
    x, target = wg.tensor(INPUT), wg.tensor(TARGET)
    E = forward(layers, x)
    to = backward(layers)
    hidden, output = layers[0], layers[2]
    out_h, out_o = layers[1].a, layers[3].a
    shares = output.weights["W"] * to[3][:, None]  # ∂E_o/∂out_h: one row for each o
    columns = {
        "net_h{}": hidden.a,
        "out_h{}": out_h,
        "net_o{}": output.a,
        "out_o{}": out_o,
        "E_o{}": 0.5 * (target - out_o) * (target - out_o),
        "∂E/∂out_h{}": to[2],
        "∂E/∂net_o{}": to[3],
        "∂E/∂out_o{}": to[4],
        "∂out_o{0}/∂net_o{0}": out_o * (1 - out_o),
        "∂out_h{0}/∂net_h{0}": out_h * (1 - out_h),
        "∂E_o{}/∂out_h1": shares[:, 0],
    }
    found = {name.format(k + 1): v[k].item() for name, v in columns.items() for k in (0, 1)}
    found["E"] = E.item()
    found["∂E/∂b1"] = wg.sum(hidden.gradients["b"]).item()  # one bias for both units
    found["∂E/∂b2"] = wg.sum(output.gradients["b"]).item()
    found["∂net_h1/∂w1"], found["∂net_o1/∂w5"] = x[0].item(), out_h[0].item()
    found["∂net_o1/∂out_h1"] = output.weights["W"][0, 0].item()
    gradients = [layer.gradients["W"] for layer in (hidden, output)]
    found |= {f"∂E/∂w{k}": value for k, value in _numbered(gradients)}
    for layer in layers:
        layer.update(RATE)
    weights = [layer.weights["W"] for layer in (hidden, output)]
    return found | {f"w{k}⁺": value for k, value in _numbered(weights)}


def _numbered(arrays: Sequence[wg.Tensor]) -> Iterator[tuple[int, float]]:
    """Yield the elements of both weight arrays with their numbers, from 1 to 8."""
    return enumerate(np.concatenate([array(a).ravel() for a in arrays]).tolist(), start=1)


def agrees(value: float, text: str) -> bool:
    """Tell whether `value` is `text`, to the decimals that it has."""
    return f"{value:.{len(text.partition('.')[2])}f}" == text


@dataclass(frozen=True)
class Trained:
    """E before training and after each update, and what came of it."""

    losses: list[float]
    outputs: list[float]
    weights: list[float]


def train_222(updates: int, *, in_place: bool = False) -> Trained:
    """Train by the modules above.

    Parameters
    ----------
    updates : int
        How many updates.
    in_place : bool
        Whether each layer is updated before the gradient goes on to the layer below, as the older
        script did: then Wᵀ ∂L/∂a is a product with the wrong W.
    """
    layers, x = net_222(), wg.tensor(INPUT)

    @wg.compile
    def step() -> wg.Tensor:
        E = forward(layers, x)
        if in_place:
            a_bar = wg.ones_like(E)
            for layer in reversed(layers):
                layer.gradients = layer.to_weights(a_bar)
                layer.update(RATE)
                a_bar = layer.to_input(a_bar)
        else:
            backward(layers)
            for layer in layers:
                layer.update(RATE)
        return E

    losses = [step().item() for _ in range(updates)]
    losses.append(forward(layers, x).item())
    weights = [value for _, value in _numbered([layers[k].weights["W"] for k in (0, 2)])]
    return Trained(losses, array(layers[3].a).tolist(), weights)


def train_222_by_nn(updates: int) -> Trained:
    """Train the same net with `wengert.nn` and `wengert.optim`; biases are frozen."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 2), nn.Sigmoid()).double()
    values = {"0.weight": W_HIDDEN, "0.bias": B_HIDDEN, "2.weight": W_OUTPUT, "2.bias": B_OUTPUT}
    net.load_state_dict(values)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.endswith("weight"))
    x, target = wg.tensor(INPUT), wg.tensor(TARGET)
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = wg.optim.SGD(trained, lr=RATE)

    def loss_of() -> wg.Tensor:
        return 0.5 * wg.sum((target - net(x)) * (target - net(x)))

    @wg.compile
    def step() -> wg.Tensor:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(updates)] + [loss_of().item()]
    return Trained(losses, array(net(x)).tolist(), [value for _, value in _numbered(trained)])


# ------------------------------------------------------------------------ What backward() does


def accumulation() -> list[list[float]]:
    """Return `.grad` after one backward pass, after two, and after zeroing and one more."""
    x = wg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = wg.optim.SGD([x])
    found = []
    for zero_first in (False, False, True):
        if zero_first:
            optimizer.zero_grad()
        wg.sum(x * x).backward()
        found.append(array(x.grad).tolist())
    return found


def incoming_gradient() -> tuple[str, list[float]]:
    """Return what backward says of an array, and `.grad` with an incoming gradient given."""
    x = wg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    try:
        (x * x).backward()
        said = ""
    except RuntimeError as error:
        said = str(error)
    (x * x).backward(wg.tensor([1.0, 10.0, 100.0]))
    return said, array(x.grad).tolist()


def freed_graph() -> tuple[str, list[float]]:
    """Return what a second backward pass says, and `.grad` after two with the graph kept."""
    x = wg.tensor([1.0, 2.0], requires_grad=True)
    y = wg.sum(wg.exp(x))
    y.backward()
    try:
        y.backward()
        said = ""
    except wg.GraphFreedError as error:
        said = str(error)
    x.grad = None
    y = wg.sum(x * x)
    y.backward(retain_graph=True)
    y.backward()
    return said, array(x.grad).tolist()


def show_222() -> None:
    """Print the worked example, and why its text and its numbers differ."""
    heading("2-2-2: forward, backward, one update with η = 0.5")
    found = numbers_222()
    table(
        ("", "text", "computed"),
        [(name, text, f"{found[name]:.9g}") for name, text in EXPECTED.items()],
    )
    print("(For ∂E_o2/∂out_h1 the text has -0.019049119, one too much in the last digit.)")
    heading("10,000 updates, η = 0.5, biases as they are")
    right, wrong = train_222(10_000), train_222(10_000, in_place=True)
    by_nn = train_222_by_nn(10_000)
    rows: list[tuple[object, ...]] = [
        (f"E after {n:,}", *(f"{t.losses[n]:.9g}" for t in (right, by_nn, wrong)))
        for n in (0, *LOSSES)
    ]
    rows += [
        (name, *(f"{t.outputs[k]:.9f}" for t in (right, by_nn, wrong)))
        for k, name in enumerate(("out_o1", "out_o2"))
    ]
    rows += [
        (f"w{k + 1}", *(f"{t.weights[k]:.9f}" for t in (right, by_nn, wrong))) for k in range(8)
    ]
    table(("", "modules", "wg.nn", "old script"), rows)
    print(f"\nThe text prints E = {LOSSES_IN_PLACE[1]} after the first update and the last outputs")
    print(
        f"{' and '.join(OUTPUTS_IN_PLACE)}: those of its older script, which changed w5 … w8 first"
    )
    print(
        "and took ∂E/∂out_h = Wᵀ ∂E/∂net_o with the changed W. By the rule of the text itself they"
    )
    print(f"are {right.losses[1]:.12f}, and {' and '.join(f'{o:.9f}' for o in right.outputs)}.")
    print("Its last loss, 0.0000351085, is the rule's after 9,999 updates.")


def show_backward() -> None:
    """Print what `backward` does that surprises at first."""
    heading("What backward() does")
    once, twice, zeroed = accumulation()
    print(f"gradients accumulate: {once}, then {twice}; after optimizer.zero_grad() again {zeroed}")
    said, found = incoming_gradient()
    print(f"an array needs an incoming gradient:\n    {said}")
    print(f"    with [1, 10, 100]: {found}, the product with the transposed Jacobian")
    said, found = freed_graph()
    print(f"a graph is freed once it was walked:\n    {said}")
    print(f"    kept by retain_graph=True, two passes add up: {found}")


def main() -> None:
    """Print the worked example and the habits of `backward`."""
    show_222()
    show_backward()


if __name__ == "__main__":
    main()

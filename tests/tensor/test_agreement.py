"""Random programs, differentiated in every way there is: all ways agree."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, close

UNARY = [
    wg.sin,
    wg.tanh,
    wg.sigmoid,
    lambda x: wg.exp(-x * x),
    lambda x: wg.sqrt(1 + x * x),
    wg.erf,
]
BINARY = [
    lambda x, y: x * y,
    lambda x, y: x - 2 * y,
    lambda x, y: x / (2 + y * y),
    wg.maximum,
    wg.minimum,
    lambda x, y: wg.where(x > y, x * x, y),
    lambda x, y: wg.stop_gradient(x) * y,
]
RESHAPED = [
    lambda x: wg.flip(x),  # noqa: PLW0108  (one axis or all, as the function has it)
    lambda x: wg.cumulative_sum(x),  # noqa: PLW0108
    lambda x: wg.sort(x),  # noqa: PLW0108
    lambda x: x[::-1] * x[[1, 2, 3, 4, 0]],
    lambda x: wg.pad(x[1:-1], 1),
    lambda x: wg.concat([x[3:], x[:3] * x[3]]),
    lambda x: wg.flatten(wg.outer(x, x))[3:23:4],
    lambda x: wg.reshape(wg.stack([x, x * x]), (5, 2)) @ x[:2],
    lambda x: wg.softmax(x) * wg.logsumexp(x),
    lambda x: x - wg.mean(x) + wg.var(x) * wg.max(x),
    lambda x: wg.take(x, wg.argsort(x)),
    lambda x: wg.broadcast_to(wg.sum(x, keepdims=True), (5,)) * x,
    lambda x: wg.einsum("i,j,j->i", x, x, wg.cos(x)),
]


def add_in_place(x, y):
    z = x * 1
    z += y
    z[1:3] = y[2:4] * z[0]
    z.mul_(0.5)
    return z


def set_elements(x, y):
    z = wg.zeros_like(x)
    for i in range(5):
        z[i] = x[i] * y[4 - i]
    z[wg.tensor([True, False, False, True, False])] = 0.25
    return z


def checkpointed(x, y):
    return wg.checkpoint(lambda x: wg.tanh(x * y) + y)(x)


def batched(x, y):
    return wg.vmap(lambda a, b: wg.sin(a) * b + wg.sum(y * a), in_axes=(0, 0))(x, y)


def differentiated(x, y):
    return wg.grad(lambda x: wg.sum(wg.sin(x * y) * x))(x)


def pushed(x, y):
    return wg.jvp(lambda x: wg.tanh(x * y), (x,), (y * y,))[1]


@wg.custom_vjp
def ruled(x, y):
    return wg.sin(x) * y


def _ruled_forward(x, y):
    return ruled(x, y), (wg.cos(x), wg.sin(x), y)


def _ruled_backward(residuals, bar):
    cosine, sine, y = residuals
    return bar * cosine * y, bar * sine


ruled.defvjp(_ruled_forward, _ruled_backward)


@wg.custom_jvp
def stated(x, y):
    return wg.tanh(x * y)


@stated.defjvp
def _stated_pushforward(primals, tangents):
    (x, y), (x_dot, y_dot) = primals, tangents
    value = stated(x, y)
    return value, (1 - value * value) * (x_dot * y + x * y_dot)


def curved(x, y):
    return wg.hessian(lambda x: wg.sum(wg.sin(x) * x * y))(x) @ y


def walked_back(x, y):
    moved = (x * 1).detach().requires_grad_()
    wg.sum(wg.sin(moved) * y).backward(create_graph=True, inputs=[moved])
    return moved.grad * x


def saved_lanes(x, y):
    lane = wg.checkpoint(lambda a: wg.sum(wg.tanh(a * x) * y))
    return wg.vmap(lane)(wg.outer(y, x))


STATEFUL = [
    *(add_in_place, set_elements, checkpointed, batched, differentiated, pushed),
    *(ruled, stated, curved, walked_back, saved_lanes),
]


def program(seed):
    """Return a random function of two vectors of five numbers that returns one number."""
    rng = np.random.default_rng(seed)
    steps = []
    for _ in range(rng.integers(3, 9)):
        kind = rng.choice(["unary", "binary", "reshaped", "stateful"])
        table = {"unary": UNARY, "binary": BINARY, "reshaped": RESHAPED, "stateful": STATEFUL}[kind]
        steps.append((table[rng.integers(len(table))], rng.random(2)))
    weights = rng.standard_normal(5)

    def run(x, y):
        known = [v if isinstance(v, wg.Tensor) else wg.tensor(v) for v in (x, y)]
        for step, picks in steps:
            chosen = [known[int(pick * len(known))] for pick in picks]
            takes_two = step in BINARY or step in STATEFUL
            known.append(step(*chosen) if takes_two else step(chosen[0]))
        return wg.sum(known[-1] * weights) + wg.sum(wg.sin(known[-2])) + 0.1 * wg.sum(x * x * y)

    return run


def arguments(seed):
    rng = np.random.default_rng(1000 + seed)
    return rng.standard_normal(5), rng.standard_normal(5)


BOTH = (0, 1)
TOLERANCE = {"rtol": 1e-11, "atol": 1e-12}


@pytest.mark.parametrize("seed", range(60))
def test_first_derivatives_agree(seed):
    f, (x, y) = program(seed), arguments(seed)
    value, expected = wg.value_and_grad(f, argnums=BOTH)(x, y)
    leaves = [wg.tensor(a, requires_grad=True) for a in (x, y)]
    loss = f(*leaves)
    loss.backward()
    np.testing.assert_array_equal(array(loss), array(value))
    saved = wg.grad(wg.checkpoint(f), argnums=BOTH)(x, y)
    graph = wg.trace(f)(x, y)
    backward = graph.backward()
    wg.verify(graph)
    wg.verify(backward)
    traced = backward(x, y)
    lanes = [np.stack([a, a[::-1]]) for a in (x, y)]
    batch = wg.vmap(wg.grad(f, argnums=BOTH))(*lanes)
    around = wg.grad(lambda x, y: wg.sum(wg.vmap(f)(x[None], y[None])), argnums=BOTH)(x, y)
    columns = wg.jacobian(f, argnums=BOTH, mode="forward")(x, y)
    for i in BOTH:
        close(leaves[i].grad, expected[i], **TOLERANCE)
        close(saved[i], expected[i], **TOLERANCE)
        close(traced[i], expected[i], **TOLERANCE)
        close(batch[i][0], expected[i], **TOLERANCE)
        close(around[i], expected[i], **TOLERANCE)
        close(columns[i], expected[i], **TOLERANCE)
    u, v = arguments(seed + 1)
    tangent = wg.jvp(f, (x, y), (u, v))[1]
    close(tangent, array(expected[0]) @ u + array(expected[1]) @ v, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(60))
def test_second_derivatives_agree(seed):
    f, (x, y) = program(seed), arguments(seed)
    u, _ = arguments(seed + 1)
    hessian = wg.hessian(f)(x, y)
    expected = array(hessian) @ u
    close(hessian, array(hessian).T, rtol=1e-10, atol=1e-11)
    tolerance = {"rtol": 1e-10, "atol": 1e-11}
    close(wg.hvp(lambda x: f(x, y), x, u), expected, **tolerance)
    close(wg.grad(lambda x: wg.sum(wg.grad(f)(x, y) * u))(x), expected, **tolerance)
    by_forward = wg.grad(lambda x: wg.jvp(lambda x: f(x, y), (x,), (u,))[1])(x)
    close(by_forward, expected, **tolerance)
    leaf = wg.tensor(x, requires_grad=True)
    f(leaf, y).backward(create_graph=True)
    first, leaf.grad = leaf.grad, None
    wg.sum(first * u).backward()
    close(leaf.grad, expected, **tolerance)
    close(wg.vmap(wg.hessian(f))(x[None], y[None])[0], hessian, **tolerance)


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_compiled_derivatives_agree(seed):
    f, (x, y) = program(seed), arguments(seed)
    expected = wg.grad(f, argnums=BOTH)(x, y)
    found = wg.compile(wg.grad(f, argnums=BOTH))(x, y)
    for i in BOTH:
        close(found[i], expected[i], rtol=1e-10, atol=1e-11)
    leaves = [wg.tensor(a, requires_grad=True) for a in (x, y)]
    wg.compile(lambda: f(*leaves).backward())()
    for i in BOTH:
        close(leaves[i].grad, expected[i], rtol=1e-10, atol=1e-11)


# --- Effects --------------------------------------------------------------------------------------


class Cells:
    """Tensors that random steps change, and what the steps return."""

    def __init__(self):
        self.a = wg.tensor(np.array([0.5, -1.0, 2.0, 0.25]))
        self.b = wg.tensor(np.array([1.0, 2.0, -0.5, 0.75]))
        self.n = wg.tensor(3)
        self.w = wg.tensor(np.array([0.1, 0.2, -0.3, 0.4]), requires_grad=True)
        self.seen = []

    def snapshot(self):
        grad = None if self.w.grad is None else self.w.grad.tolist()
        return [self.a.tolist(), self.b.tolist(), self.n.item(), self.w.tolist(), grad]


def exchange(c, x):
    kept = c.a.clone()
    c.a.copy_(c.b)
    c.b.copy_(kept)


def remember(c, x):
    c.seen.append(c.a.detach())
    c.seen.append(c.w.detach())


def count(c, x):
    c.n.add_(1)
    c.seen.append(c.n * 2)


def differentiate(c, x):
    wg.sum(wg.tanh(c.w * x) * c.a.detach()).backward()


def descend(c, x):
    if c.w.grad is not None:
        with wg.no_grad():
            c.w.sub_(c.w.grad, alpha=0.1)


def zero(c, x):
    if c.w.grad is not None:
        c.w.grad.zero_()


def scale_gradient(c, x):
    if c.w.grad is not None:
        c.w.grad.mul_(0.5)


def forget(c, x):
    c.w.grad = None


def draw(c, x):
    c.a.add_(wg.rand(4, dtype=wg.float64))
    c.b.copy_(wg.dropout(c.b, 0.25))


ACTIONS = [
    *(exchange, remember, count, differentiate, differentiate, descend, zero, scale_gradient),
    *(forget, draw),
    lambda c, x: c.a.add_(x),
    lambda c, x: c.b.mul_(0.9).add_(c.a, alpha=0.1),
    lambda c, x: c.b.__setitem__(slice(1, 3), c.a[::2]),
    lambda c, x: c.a.__setitem__(0, x[1] * c.b[2]),
    lambda c, x: c.a.copy_(x),
    lambda c, x: c.b.zero_(),
    lambda c, x: c.seen.append(c.a * c.b + c.w.detach() * x),
    lambda c, x: c.seen.append(x * 1),
]


def between(c, kind, held):
    """Do what a user does between two calls."""
    if kind == 0:
        c.a.mul_(0.5)
    elif kind == 1:
        held.append((c.a.detach(), c.a.tolist()))
        held.append((c.w.detach(), c.w.tolist()))
    elif kind == 2:
        c.b.numpy()[0] += 1.0
    elif kind == 3:
        c.w.grad = None
    elif kind == 4 and c.w.grad is not None:
        held.append((c.w.grad.detach(), c.w.grad.tolist()))


@pytest.mark.parametrize("seed", range(40))
def test_compiled_effects_are_those_of_eager(seed):
    rng = np.random.default_rng(seed)
    actions = [ACTIONS[i] for i in rng.integers(len(ACTIONS), size=rng.integers(2, 8))]
    kinds = rng.integers(7, size=6)
    inputs = rng.standard_normal((6, 4))
    histories = []
    for make in (lambda f: f, wg.compile):
        cells, held = Cells(), []
        wg.manual_seed(seed)

        def step(x, cells=cells):
            cells.seen = []
            for action in actions:
                action(cells, x)
            return cells.seen

        call = make(step)
        history = []
        for x, kind in zip(inputs, kinds, strict=True):
            seen = call(x)
            cells.seen = []
            history.append(([value.tolist() for value in seen], cells.snapshot()))
            between(cells, kind, held)
        for snapshot, expected in held:
            if kinds.tolist().count(2) == 0:
                assert snapshot.tolist() == expected
        histories.append(history)
    for eager, compiled in zip(*histories, strict=True):
        compare(eager, compiled)


def compare(a, b):
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            compare(x, y)
    elif a is None or b is None:
        assert a is b
    else:
        assert b == pytest.approx(a, rel=1e-12, abs=1e-13)

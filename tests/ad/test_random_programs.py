"""Random programs of many primitives: every transform of them agrees with every other."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.differences import along
from tests.ops.running import forward, public_functions, reverse, trace, values, variables
from wengert.ad.batching import batch
from wengert.graph.bind import bind
from wengert.graph.primitive import registry
from wengert.graph.variable import Variable
from wengert.graph.verify import verify

ops = public_functions()
SHAPE = (3, 4)
ONE = Variable(np.array(1.0))


def row(x: Variable, i: int) -> Variable:
    return bind(registry["slice"], (x,), {"key": (i,)})


def scattered(x, y):
    index = np.array([2, 0, 2])
    params = {"axes": (0,), "batch_axes": ()}
    return bind(registry["scatter_add"], (x, y, Variable(index)), params)


def checkpointed(x, y):
    graph = trace(lambda v: (ops.sin(v[0]) * v[1] + v[0],), [np.zeros(SHAPE)] * 2)
    return bind(registry["checkpoint"], (x, y), {"graph": graph})[0]


# Each step takes two arrays of SHAPE and gives one.
STEPS = {
    "add": lambda x, y: x + y,
    "product": lambda x, y: x * y,
    "same twice": lambda x, y: x + x - y,
    "quotient": lambda x, y: x / (ops.exp(y) + 1.0),
    "power": lambda x, y: ops.power(ops.exp(ops.tanh(x)), ops.tanh(y)),
    "sine": lambda x, y: ops.sin(x) - y,
    "where": lambda x, y: ops.where(ops.greater(x, y), x * x, ops.cos(y)),
    "dead branch": lambda x, y: ops.where(ops.greater(x, x), ops.log(x * 0.0), ops.sigmoid(y) + x),
    "maximum": ops.maximum,
    "clipped": lambda x, y: ops.clip(x, -0.7, 0.9) + y * 0.5,
    "matrices": lambda x, y: ops.matmul(ops.matmul(x, ops.matrix_transpose(y)), x),
    "sum": lambda x, y: x - ops.sum(y, axis=0),
    "mean of squares": lambda x, y: x * ops.mean(y * y, axis=1, keepdims=True),
    "largest": lambda x, y: x + ops.max(y, axis=1, keepdims=True),
    "largest and where": lambda x, y: x * ops.expand_dims(ops.max_with_index(y, axis=0)[0], 0),
    "softmax": lambda x, y: ops.softmax(x, axis=1) * y,
    "log_softmax": lambda x, y: ops.log_softmax(x, axis=0) + y,
    "logsumexp": lambda x, y: x - ops.logsumexp(y, axis=1, keepdims=True),
    "sorted": lambda x, y: ops.sort(x, axis=1) * y,
    "running sum": lambda x, y: ops.cumulative_sum(x, axis=0) - y,
    "running product": lambda x, y: ops.cumulative_prod(ops.tanh(x) + 1.5, axis=1) + y,
    "product of all": lambda x, y: x * ops.prod(ops.tanh(y) + 1.2, axis=0),
    "norm": lambda x, y: x / (ops.norm(y, axis=1, keepdims=True) + 1.0),
    "gathered": lambda x, y: ops.take(x, np.array([2, 0, 2]), axis=0) + y,
    "scattered": scattered,
    "picked": lambda x, y: x + ops.take_along_axis(y, np.array([[3], [0], [1]]), axis=1),
    "rows": lambda x, y: x + row(x, 0) * row(y, -1) + row(x, 0),
    "joined": lambda x, y: ops.reshape(row(ops.stack((x, y, x)), 2), SHAPE) + y,
    "reshaped": lambda x, y: ops.reshape(ops.reshape(x, (4, 3)), SHAPE) * y,
    "flipped": lambda x, y: ops.flip(x, axis=1) + ops.flip(y),
    "padded": lambda x, y: (
        bind(registry["slice"], (ops.pad(x, 1),), {"key": (slice(0, 3), slice(2, 6))}) + y
    ),
    "normalised": lambda x, y: (x - ops.mean(x)) / ops.sqrt(ops.var(y) + 0.1),
    "checkpointed": checkpointed,
}


def program(seed: int, length: int = 7):
    """Return a random program of two arrays, and what it is made of."""
    rng = np.random.default_rng(seed)
    names = rng.choice(sorted(STEPS), length)
    operands = [tuple(rng.integers(0, i + 2, 2)) for i in range(length)]
    weights = rng.standard_normal((length + 2, *SHAPE))

    def f(xs):
        known = list(xs)
        for name, (i, j) in zip(names, operands, strict=True):
            y = STEPS[name](known[i], known[j])
            known.append(ops.tanh(y * 0.5) if len(known) % 3 else y)
        total = None
        for x, weight in zip(known, weights, strict=True):
            term = ops.sum(ops.tanh(x) * Variable(weight))
            total = term if total is None else total + term
        return (total,)

    return f, " ".join(names)


def close(actual, wanted, what, rtol=1e-9):
    scale = max(float(np.abs(w).max()) for w in wanted) + 1e-3
    for a, w in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(a, w, rtol=0, atol=rtol * scale, err_msg=what)


@pytest.mark.parametrize("seed", range(60))
def test_all_transforms_agree(seed):
    f, names = program(seed)
    rng = np.random.default_rng(seed + 1000)
    arrays = [rng.standard_normal(SHAPE) for _ in range(2)]
    directions = [rng.standard_normal(SHAPE) for _ in range(2)]
    xs, dots = variables(arrays), variables(directions)

    def gradient(v):
        return reverse(f, v, (ONE,))

    def tangent(v):
        return forward(f, v, dots)

    first = values(gradient(xs))
    (slope,) = values(tangent(xs))
    paired = sum(float((a * d).sum()) for a, d in zip(first, directions, strict=True))
    close([paired], [slope], f"{names}: the two modes")

    second = values(forward(gradient, xs, dots))
    close(values(reverse(gradient, xs, dots)), second, f"{names}: reverse over reverse")
    close(values(reverse(tangent, xs, (ONE,))), second, f"{names}: reverse over forward")

    graph = trace(lambda v: (*gradient(v), *forward(gradient, v, dots)), arrays)
    verify(graph)
    close(graph(*arrays), [*first, *second], f"{names}: traced")

    def flat_gradient(moved):
        return np.concatenate([g.ravel() for g in values(gradient(variables(moved)))])

    found, _ = along(flat_gradient, arrays, dict(enumerate(directions)))
    wanted = np.concatenate([s.ravel() for s in second])
    close([found], [wanted], f"{names}: differences of the gradient", 1e-5)


@pytest.mark.parametrize("seed", range(60, 80))
def test_a_batch_is_a_loop(seed):
    f, names = program(seed)
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal((3, *SHAPE)), rng.standard_normal(SHAPE)]

    def gradient(v):
        return (*f(v), *reverse(f, v, (ONE,)))

    graph = trace(gradient, [arrays[0][0], arrays[1]])
    found, flags = batch(graph, variables(arrays), (True, False), 3)
    loop = [graph(x, arrays[1]) for x in arrays[0]]
    wanted = [np.stack(parts) for parts in zip(*loop, strict=True)]
    full = [y if flag else np.stack([y] * 3) for y, flag in zip(values(found), flags, strict=True)]
    close(full, wanted, names)

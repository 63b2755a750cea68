"""What the tests of this folder share: finite differences, comparisons, small functions."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np

import wengert as wg

STEP = 1e-3


def array(x):
    """Return the values of a tensor, whether or not a derivative can flow through it."""
    return np.asarray(x.detach().numpy() if isinstance(x, wg.Tensor) else x)


def close(found, expected, rtol=1e-10, atol=0.0):
    """Compare shapes exactly and values normwise: no element is off by `rtol` of the largest."""
    found, expected = array(found), array(expected)
    assert found.shape == expected.shape
    largest = float(np.abs(expected).max(initial=0.0))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * largest + atol)


def slope(function, x, direction):
    """Return the derivative of `function`, of arrays, along `direction` by finite differences."""

    def moved(t):
        return np.asarray(function(x + t * direction), np.float64)

    def central(h):
        return (moved(h) - moved(-h)) / (2 * h)

    return (4 * central(STEP / 2) - central(STEP)) / 3


def numeric_jacobian(function, x):
    """Return the Jacobian of `function`, of arrays, by finite differences: output, then input."""
    columns = []
    for i in range(x.size):
        unit = np.zeros(x.size)
        unit[i] = 1
        columns.append(slope(function, x, unit.reshape(x.shape)))
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(stacked.shape[:-1] + x.shape)


def scalar(value):
    return wg.tensor(value, dtype=wg.float64)


def leaf(*values, dtype=wg.float64):
    return wg.tensor(values, dtype=dtype, requires_grad=True)


def derivative(f):
    """Return the derivative of a function of one number, in forward mode."""
    return lambda x: wg.jvp(f, (x,), (wg.ones_like(x),))[1]


def leaves(tree):
    """Return the arrays of a container, without the pytree code that is tested."""
    if dataclasses.is_dataclass(tree):
        return [
            leaf for field in dataclasses.fields(tree) for leaf in leaves(getattr(tree, field.name))
        ]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [] if tree is None else [tree]


class Watch:
    """Weak references to the values of intermediates."""

    def __init__(self):
        self.references = []

    def __call__(self, x):
        if x._variable.value is not None:
            self.references.append(weakref.ref(x._variable.value))
        return x

    def alive(self):
        return sum(reference() is not None for reference in self.references)


# Functions of four numbers that return four, smooth for a step around X.

X = np.array([0.62, -0.41, 0.17, -0.88])
_SQUARE = np.array([[0.7, -0.4], [0.3, 0.9]])
_MATRIX = np.random.default_rng(1).standard_normal((4, 4)) / 2
_KERNEL = np.array([[[[0.5, -0.3], [0.8, 0.4]]]])


def by_matmul(x):
    m = wg.reshape(x, (2, 2))
    return wg.flatten(wg.tanh(m @ _SQUARE @ m.T))


def by_linear(x):
    return wg.sin(x @ _MATRIX) * (_MATRIX @ x)


def by_softmax(x):
    return wg.softmax(3 * x) * x


def by_where(x):
    return wg.where(x > 0, wg.sin(2 * x), x * wg.exp(x)) + wg.exp(wg.where(x > 0.5, x, 0.3))


def by_indexing(x):
    parts = [x[::2] * x[1::2], wg.exp(x[[3, 0]]) * x[-1], x[None, 2]]
    return wg.concat(parts)[1:] * wg.cos(x[::-1])


def by_sort(x):
    return wg.sin(wg.sort(2 * x) * np.array([1.0, 2.0, -1.0, 0.5])) + wg.exp(wg.max(x) * wg.min(x))


def by_cumulative_sum(x):
    return wg.cumulative_sum(wg.sin(x)) * wg.cumulative_sum(x * x)


def by_conv2d(x):
    image = wg.reshape(x, (1, 1, 2, 2))
    y = wg.conv2d(wg.pad(image, ((0, 0), (0, 0), (1, 0), (1, 0))), _KERNEL * (1 + image))
    return wg.flatten(wg.tanh(y))


def by_reductions(x):
    spread = wg.var(x) + wg.logsumexp(x) + wg.mean(x * x)
    return wg.stack([spread * x[0], wg.sum(wg.sqrt(1 + x * x)), wg.prod(x + 2), spread**2])


def by_gather(x):
    picked = wg.take_along_axis(x, wg.tensor([2, 3, 0, 1]), axis=0) * wg.take(x, [1, 1, 3, 0])
    return wg.einsum("i,ij,j->j", picked, wg.outer(x, wg.exp(x)), x) + wg.flip(picked)


FUNCTIONS = [
    *(by_matmul, by_linear, by_softmax, by_where, by_indexing),
    *(by_sort, by_cumulative_sum, by_conv2d, by_reductions, by_gather),
]

"""Cotangents are summed into one buffer as they arrive, and never into one that is shared."""

from __future__ import annotations

import numpy as np
import pytest

import wengert.ad.reverse as reverse_module
from tests.ops.running import forward, public_functions, random_like, reverse, values, variables
from wengert.ad.reverse import CotangentTable, add_hook, vjp
from wengert.graph.bind import bind, bind_inplace
from wengert.graph.variable import Variable
from wengert.ops.exponential import exp, sin
from wengert.ops.indexing import slice_p, slice_set_p
from wengert.ops.reduce import sum

ops = public_functions()
X = np.array([[0.3, -0.7, 1.1], [0.2, 0.9, -0.4]])


def leaf(value) -> Variable:
    return Variable(np.array(value), requires_grad=True)


def _set_rows(table: Variable, y: Variable) -> Variable:
    """Set the rows of `table` in turn, one of them to what another was."""
    first, second = ({"key": (i,)} for i in range(2))
    table = bind(slice_set_p, (table, bind(slice_p, (y,), second)), first)
    table = bind(slice_set_p, (table, bind(slice_p, (table,), first)), second)
    return bind(slice_set_p, (table, bind(slice_p, (table,), {"key": (1, 2)})), {"key": (0, 0)})


def _all_stages(table: Variable, y: Variable, x: Variable) -> Variable:
    total = table
    for i in range(2):
        table = bind(slice_set_p, (table, bind(slice_p, (y,), {"key": (i,)})), {"key": (i,)})
        total = total + table * x
    return total + table


def _set_to_itself(table: Variable) -> Variable:
    return bind(slice_set_p, (table, table), {"key": (slice(None),)}) + table


# Programs whose rules hand one cotangent, or views of it, to several variables.
SHARING = {
    "sum and more uses": lambda x, y: (x + y) + (sin(x) + exp(x)) + x * y,
    "an operand twice": lambda x, y: (x + x) + (y + x) + (x + x),
    "difference": lambda x, y: (x - y) + (x - y) * x + y,
    "reshapes are views": lambda x, y: (
        ops.reshape(ops.reshape(x, (6,)) + ops.reshape(y, (6,)), (2, 3)) + x + y + x
    ),
    "transposes are views": lambda x, y: (
        ops.matrix_transpose(ops.matrix_transpose(x) + ops.matrix_transpose(y)) + x + x + y
    ),
    "broadcasts are read-only": lambda x, y: (
        ops.broadcast_to(sum(x, axis=0), (2, 3)) + x + ops.broadcast_to(sum(y), (2, 3)) + y + x
    ),
    "flips are views": lambda x, y: ops.flip(x + y, 1) + x + y + ops.flip(x),
    "parts": lambda x, y: (
        x
        + bind(slice_p, (x,), {"key": (slice(None, None, -1),)})
        + bind(slice_p, (x,), {"key": (0,)})
        + y
        + bind(slice_p, (y,), {"key": (1,)})
    ),
    "joined": lambda x, y: (
        bind(slice_p, (ops.concat((x, y, x)),), {"key": (slice(1, 3),)}) + x + x + y
    ),
    "parts are set": lambda x, y: _set_rows(sin(x), y) + x,
    "parts are set and kept": lambda x, y: _all_stages(sin(x), y, x),
    "all is set": lambda x, y: bind(slice_set_p, (x * y, sin(y)), {"key": (slice(None),)}) + x,
    "set to itself": lambda x, y: _set_to_itself(x * y),
    "set after many uses": lambda x, y: (x * y + x) * y + _set_rows(x + y, x) + (x + y),
    "padded": lambda x, y: (
        bind(slice_p, (ops.pad(x + y, 1),), {"key": (slice(1, 3), slice(0, 3))}) + x + y + x
    ),
}


@pytest.mark.parametrize("name", SHARING)
def test_gradients_of_programs_that_share_cotangents(name):
    """Each use of x contributes on its own: the sum over uses made different variables."""
    f, rng = SHARING[name], np.random.default_rng(0)
    y_value = X[::-1].copy()
    (seed,) = random_like(rng, [X])
    kept = seed.copy()
    seed.flags.writeable = False
    x_bar, y_bar = values(reverse(lambda v: (f(*v),), variables([X, y_value]), variables([seed])))
    np.testing.assert_array_equal(seed, kept)
    for i, bar in enumerate((x_bar, y_bar)):
        direction = random_like(rng, [X])[0]
        dots = [Variable(direction) if j == i else None for j in range(2)]
        (y_dot,) = values(forward(lambda v: (f(*v),), variables([X, y_value]), dots))
        np.testing.assert_allclose((bar * direction).sum(), (seed * y_dot).sum(), rtol=1e-13)


@pytest.mark.parametrize("name", SHARING)
def test_second_order_of_programs_that_share_cotangents(name):
    """Adding in place takes values away from 𝓑's variables; no rule of second order misses one."""
    f, rng = SHARING[name], np.random.default_rng(0)
    g = lambda v: (sum(f(*v) * sin(v[0]) * exp(v[1])),)  # noqa: E731
    xs = variables([X, X[::-1].copy()])
    dots = variables(random_like(rng, [X, X]))
    one = variables([np.array(1.0)])

    def gradient(v):
        return reverse(g, v, one)

    products = [
        values(forward(gradient, xs, dots)),
        values(reverse(gradient, xs, dots)),
        values(reverse(lambda v: forward(g, v, dots), xs, one)),
    ]
    for product in products[1:]:
        for a, w in zip(product, products[0], strict=True):
            np.testing.assert_allclose(a, w, rtol=1e-12, atol=1e-14)
    h = 1e-6
    ahead, behind = (
        values(gradient(variables([x.value + s * d.value for x, d in zip(xs, dots, strict=True)])))
        for s in (h, -h)
    )
    for a, b, w in zip(ahead, behind, products[0], strict=True):
        np.testing.assert_allclose((a - b) / (2 * h), w, rtol=1e-7, atol=1e-7)


def test_the_third_contribution_is_added_in_place(monkeypatch):
    written: list[int] = []

    def spy(primitive, inputs, params=None):
        before = inputs[0].value.ctypes.data
        y = bind_inplace(primitive, inputs, params or {})
        assert y.value.ctypes.data == before
        written.append(before)
        return y

    monkeypatch.setattr(reverse_module, "bind_inplace", spy)
    x = leaf(X)
    y = sin(x) + exp(x) + x * x + x
    (x_bar,), _ = vjp([y], [Variable(np.ones_like(X))], [x])
    np.testing.assert_allclose(x_bar.value, np.cos(X) + np.exp(X) + 2 * X + 1, rtol=1e-15)
    assert set(written) == {x_bar.value.ctypes.data}
    assert len(written) == 3  # five contributions: one kept, one added, three added in place


def test_table_writes_only_to_what_it_made():
    table, x = CotangentTable(), leaf(X)
    given = [Variable(np.full(X.shape, v)) for v in (1.0, 2.0, 4.0, 8.0)]
    for contribution in given:
        table.add(x, contribution)
    np.testing.assert_array_equal(table.get(x).value, np.full(X.shape, 15.0))
    for contribution, v in zip(given, (1.0, 2.0, 4.0, 8.0), strict=True):
        np.testing.assert_array_equal(contribution.value, np.full(X.shape, v))
    assert table.take(x) is not None
    assert table.get(x) is None
    assert table.variables() == []


def test_one_cotangent_given_to_two_variables_is_not_written_to():
    table, x, y = CotangentTable(), leaf(X), leaf(X)
    shared = Variable(np.ones_like(X))
    for v in (x, y, x, x):
        table.add(v, shared)
    np.testing.assert_array_equal(shared.value, np.ones_like(X))
    np.testing.assert_array_equal(table.get(x).value, np.full(X.shape, 3.0))
    assert table.get(y) is shared


def test_hook_sees_the_complete_cotangent_once_and_may_replace_it():
    x = leaf(X)
    middle = exp(x)
    y = middle * middle + sin(middle)
    seen: list[np.ndarray] = []

    def hook(bar: Variable) -> Variable:
        seen.append(bar.value.copy())
        return bar * 2.0

    add_hook(middle, hook)
    (x_bar,), _ = vjp([y], [Variable(np.ones_like(X))], [x])
    m = np.exp(X)
    assert len(seen) == 1
    np.testing.assert_allclose(seen[0], 2 * m + np.cos(m), rtol=1e-14)
    np.testing.assert_allclose(x_bar.value, 2 * seen[0] * m, rtol=1e-14)


def test_hooks_are_called_in_order_until_they_are_removed():
    x = leaf(X)
    seed = Variable(np.ones_like(X))
    registered = add_hook(x, lambda bar: bar * 2.0)
    add_hook(x, lambda bar: bar + 1.0)
    (x_bar,), _ = vjp([x * 3.0], [seed], [x])
    np.testing.assert_array_equal(x_bar.value, np.full(X.shape, 7.0))
    registered.clear()
    (x_bar,), _ = vjp([x * 3.0], [seed], [x])
    np.testing.assert_array_equal(x_bar.value, np.full(X.shape, 3.0))


def test_what_a_hook_keeps_is_not_written_to():
    x = leaf(X)
    kept: list[Variable] = []
    add_hook(x, kept.append)
    y = sin(x) + exp(x) + x
    (x_bar,), _ = vjp([y], [Variable(np.ones_like(X))], [x])
    wanted = np.cos(X) + np.exp(X) + 1
    np.testing.assert_allclose(x_bar.value, wanted, rtol=1e-15)
    np.testing.assert_allclose(kept[-1].value, wanted, rtol=1e-15)


def test_result_asked_for_twice_or_in_the_middle():
    x = leaf(X)
    middle = exp(x)
    y = middle * middle
    (first, inner, again), _ = vjp([y], [Variable(np.ones_like(X))], [x, middle, x])
    np.testing.assert_allclose(first.value, 2 * np.exp(2 * X), rtol=1e-14)
    np.testing.assert_allclose(inner.value, 2 * np.exp(X), rtol=1e-14)
    assert again is first


def test_output_that_is_the_input_gives_the_seed_back():
    x = leaf(X)
    seed = Variable(np.full(X.shape, 3.0))
    (x_bar,), _ = vjp([x, x + x], [seed, seed], [x])
    np.testing.assert_array_equal(x_bar.value, np.full(X.shape, 9.0))
    np.testing.assert_array_equal(seed.value, np.full(X.shape, 3.0))


@pytest.mark.parametrize("hooked", [False, True])
def test_a_cotangent_that_somebody_else_sees_is_not_taken_over(hooked):
    x, y, seen = leaf(X), leaf(X[0]), []
    table = bind(slice_set_p, (sin(x), y), {"key": (0,)})
    out = bind(slice_set_p, (table, y), {"key": (1,)})
    if hooked:
        add_hook(table, seen.append)
        add_hook(out, seen.append)
    asked = [x] if hooked else [x, table, out]
    bars, _ = vjp([out + out * out], [Variable(np.ones_like(X))], asked)
    slope = 1 + 2 * np.array([X[0], X[0]])
    for bar, without in zip([*bars, *reversed(seen)], ([[0], [0]], [[1], [0]], 1), strict=True):
        np.testing.assert_allclose(bar.value, slope * without * (np.cos(X) ** (bar is bars[0])))


def test_no_path_gives_none():
    x, y = leaf(X), leaf(X)
    bars, _ = vjp([sin(x)], [Variable(np.ones_like(X))], [y])
    assert bars == [None]


def test_missing_seed_is_zero():
    x = leaf(X)
    (x_bar,), _ = vjp([sin(x), x * 2.0], [None, Variable(np.ones_like(X))], [x])
    np.testing.assert_array_equal(x_bar.value, np.full(X.shape, 2.0))

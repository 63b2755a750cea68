"""Calls of compiled functions that run no Python: their arguments."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import wengert as wg
from tests.compile.call.quick import (
    RTOL,
    X,
    double,
    is_fast,
    needs_fast_calls,
    slow_calls,
    warm,
)

pytestmark = needs_fast_calls


def test_arguments_of_the_same_kind_are_fast_and_read_anew():
    compiled = warm(wg.compile(lambda x, c: x * c), wg.ones(3), 2.0)
    before = slow_calls(compiled)
    for value in range(5):
        assert compiled(wg.full(3, float(value)), value / 2).tolist() == [value * value / 2] * 3
    assert slow_calls(compiled) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: wg.ones(4),
        lambda: wg.ones((3, 1)),
        lambda: wg.ones(3, dtype="float64"),
        lambda: wg.ones(3, dtype="int32"),
        lambda: wg.ones(3).requires_grad_(),
        lambda: wg.nn.Parameter(wg.ones(3)),
        lambda: wg.asarray(np.ones((3, 2), np.float32)[:, 0]),
        lambda: np.ones(3, np.float32),
        lambda: np.ones(3, ">f4").astype(np.float32),
        lambda: np.ones((3, 2), np.float32)[:, 0],
        lambda: np.float32(1.0),
        lambda: 1,
        lambda: 1.0,
        lambda: True,
    ],
)
def test_another_kind_of_argument(make):
    compiled = warm(wg.compile(lambda x: x * 2 + 1), wg.ones(3))
    x = make()
    expected = (x if isinstance(x, wg.Tensor) else wg.tensor(x)) * 2 + 1
    for _ in range(4):
        found = compiled(x)
        assert np.asarray(wg.asarray(found).detach()).tolist() == expected.tolist()


class Unlike(np.ndarray):
    """An array of another class, which shares its memory."""


@pytest.mark.parametrize(
    "x", [np.ones(3, np.float32).view(Unlike), wg.ones(3), [1.0], 1.0, None, np.float32(1), "a"]
)
def test_something_else_in_place_of_an_array(x):
    compiled = warm(wg.compile(lambda x: x), np.ones(3, np.float32))
    for _ in range(3):
        found, expected = compiled(x), x[0] if isinstance(x, list) else x
        found = found[0] if isinstance(x, list) else found
        assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("x", [3, True, np.float64(3.0), np.ones(()), wg.tensor(3.0), "3"])
def test_something_else_in_place_of_a_float(x):
    compiled = warm(wg.compile(lambda a, x: x if isinstance(x, str) else a * x), X, 2.0)
    for _ in range(3):
        found = compiled(X, x)
        assert found == x if isinstance(x, str) else found.tolist() == (X * x).tolist()


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_arrays_are_arguments_too_and_may_change_their_shape():
    compiled = wg.compile(lambda x: wg.sum(x, axis=0))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    warm(compiled, x)
    x[0, 0] = 10
    assert is_fast(compiled, x)
    assert compiled(x).tolist() == [13.0, 5.0, 7.0]
    x.shape = 3, 2
    assert compiled(x).tolist() == [16.0, 9.0]


def test_plain_values_are_constants():
    compiled = warm(wg.compile(lambda x, n, name=None: x + n if name else x), X, 2, "sum")
    assert compiled(X, 3, "sum").tolist() == (X + 3).tolist()
    assert compiled(X, 2, "").tolist() == X.tolist()
    assert compiled(X, True, "sum").tolist() == (X + 1).tolist()
    assert is_fast(compiled, X, 2, "sum")


def test_one_tensor_in_two_places():
    compiled = wg.compile(lambda x, y: x - y)
    a, b = wg.ones(3), wg.full(3, 3.0)
    warm(compiled, a, b)
    assert compiled(a, a).tolist() == [0.0] * 3
    warm(compiled, a, a)
    assert compiled(a, b).tolist() == [-2.0] * 3
    assert compiled(b, b).tolist() == [0.0] * 3


def test_an_argument_that_is_also_captured():
    weight = wg.ones(3)

    def change(x):
        weight.add_(1.0)
        return x * 1

    compiled = warm(wg.compile(change), wg.zeros(3))
    before = weight.tolist()
    assert compiled(weight).tolist() == [before[0] + 1] * 3


def test_an_argument_is_changed_in_place():
    def change(x):
        x.mul_(2.0)

    compiled = wg.compile(change)
    x = wg.ones(3)
    warm(compiled, x)
    before, alias = x.tolist(), x.detach()
    assert compiled(x) is None
    assert x.tolist() == [2 * before[0]] * 3
    assert alias.tolist() == before
    view = x[1:]
    kept = view.tolist()
    compiled(x)
    assert view.tolist() == kept


def test_wrong_arguments_are_refused_as_before():
    compiled = warm(wg.compile(lambda x, y: x + y), X, X)
    for call in (lambda: compiled(X), lambda: compiled(X, X, X), lambda: compiled(X, z=X)):
        with pytest.raises(TypeError, match="argument"):
            call()
    with pytest.raises(TypeError, match="neither an array nor hashable"):
        compiled(X, {1, 2})
    assert compiled(X, y=X).tolist() == (X + X).tolist()
    assert compiled(*[X, X]).tolist() == (X + X).tolist()
    assert is_fast(compiled, X, X)


# --- Nested and named arguments -------------------------------------------------------------------


def weighted(tree, scale=1.0, *, shift=0.0):
    more = (len(tree) - 2, len(tree["a"]) - 2, len(tree["b"]) - 1)
    found = tree["b"][0] * scale + tree["a"][1][0] * 10 + tree["a"][0] * 100 + shift
    return found + 1000.0 * sum(more)


def tree(a=1.0, b=2.0, c=3.0):
    return {"b": [double(a)], "a": (double(c), [double(b)])}


def test_parts_of_nested_arguments_are_fast_and_read_anew():
    compiled = warm(wg.compile(weighted), tree())
    before = slow_calls(compiled)
    for i in range(4):
        assert compiled(tree(i, i + 1, i + 2)).item() == i + 10 * (i + 1) + 100 * (i + 2)
    assert slow_calls(compiled) == before


OTHER_TREES = {
    "a tuple for a list": lambda t: {**t, "b": tuple(t["b"])},
    "a list for a tuple": lambda t: {**t, "a": list(t["a"])},
    "more in a list": lambda t: {**t, "b": [*t["b"], double(5.0)]},
    "more in a tuple": lambda t: {**t, "a": (*t["a"], double(5.0))},
    "more in a dict": lambda t: {**t, "c": double(5.0)},
    "another order": lambda t: dict(reversed(t.items())),
    "one tensor twice": lambda t: {**t, "a": (t["b"][0], t["a"][1])},
    "a float for a tensor": lambda t: {**t, "b": [7.0]},
    "another shape": lambda t: {**t, "b": [double([1.0, 2.0])]},
    "another dict": collections.OrderedDict,
}


@pytest.mark.parametrize("name", OTHER_TREES)
def test_another_structure_of_nested_arguments(name):
    compiled = warm(wg.compile(weighted), tree())
    for _ in range(4):
        other = OTHER_TREES[name](tree(4.0, 5.0, 6.0))
        assert compiled(other).tolist() == weighted(other).tolist()
    assert compiled(tree()).item() == 321.0


def test_a_key_is_missing():
    compiled = warm(wg.compile(weighted), tree())
    for _ in range(2):
        with pytest.raises(KeyError, match="'b'"):
            compiled({"c": [double(1.0)], "a": tree()["a"]})


def test_named_arguments_are_fast():
    compiled = wg.compile(weighted)
    for _ in range(3):
        compiled(tree(), shift=4.0, scale=2.0)
        compiled(tree(), scale=2.0)
        compiled(scale=2.0, tree=tree())
    before = slow_calls(compiled)
    for i in range(3):
        assert compiled(tree(), shift=float(i), scale=2.0).item() == 322.0 + i
        assert compiled(tree(), scale=float(i)).item() == 320.0 + i
        assert compiled(scale=float(i), tree=tree()).item() == 320.0 + i
    assert slow_calls(compiled) == before
    assert compiled(tree(), shift=2.0).item() == 323.0
    assert compiled(tree(), 2.0, shift=3.0).item() == 325.0
    assert compiled(**{"tree": tree(), "scale": 3.0}).item() == 323.0
    with pytest.raises(TypeError, match="scal"):
        compiled(tree(), scal=2.0)


def test_a_functional_step():
    def step(params, velocity, x, *, rate):
        def loss(params):
            return ((x @ params["w"] + params["b"]) ** 2).mean()

        value, grads = wg.value_and_grad(loss)(params)
        velocity = {k: 0.9 * velocity[k] + grads[k] for k in params}
        return {k: params[k] - rate * velocity[k] for k in params}, velocity, value

    compiled, states = wg.compile(step), []
    for call in (compiled, step):
        params = {"w": double([[1.0], [2.0]]), "b": double([0.5])}
        velocity = {k: p * 0 for k, p in params.items()}
        for i in range(6):
            params, velocity, value = call(params, velocity, X, rate=0.1 / (i + 1))
        states.append((params, velocity, value))
    (mine, _, value), (other, _, expected) = states
    np.testing.assert_allclose(value.item(), expected.item(), rtol=RTOL)
    for key in other:
        np.testing.assert_allclose(mine[key].tolist(), other[key].tolist(), rtol=RTOL)
    assert slow_calls(compiled) < 6

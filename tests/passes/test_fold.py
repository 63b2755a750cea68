"""Constant folding: what is computed once, and what is left to each call."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.passes.shared import F, apply, checked, graph_of, improved, names, specials, untouched
from wengert.graph.bind import bind
from wengert.graph.dtypes import FLOAT64, INT64, UINT64
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import registry
from wengert.passes import fold as module
from wengert.passes.fold import LIMIT, fold


def full(shape, value, dtype=FLOAT64):
    return apply("full", shape=shape, dtype=np.dtype(dtype), value=value)


def counted(n):
    return apply("iota", length=n, dtype=INT64)


def floats(n):
    """Return 0, 1, … as an operation: what has a value is computed when it is traced."""
    return apply("iota", length=n, dtype=FLOAT64)


FOLDED = {
    "numbers": (lambda x: x * F.exp(full((), 2.0)), ["mul"]),
    "a chain of numbers": (lambda x: x * (1.0 - full((), 3.0) / 7.0), ["mul"]),
    "a number repeated": (lambda x: F.broadcast_to(full((), 2.0), (5, 4)), ["full"]),
    "a number moved": (lambda x: F.flip(F.reshape(full((5, 4), 2.0), (20,))), ["full"]),
    "of repeated numbers": (lambda x: F.equal(full((5, 4), 2.0), 0.0), ["full"]),
    "minus zero": (lambda x: full((5, 4), 0.0) * -1.0, ["full"]),
    "nan": (lambda x: full((5, 4), np.nan) + 1.0, ["full"]),
    "an array": (lambda x: x * F.tanh(floats(4)), ["mul"]),
    "an array of equal elements": (lambda x: x + floats(4) * 0.0, ["full", "add"]),
    "an array of zeros of both signs": (lambda x: x / ((floats(4) - 1.0) * 0.0), ["div"]),
    "places": (lambda x: F.take(x, counted(3) + 1, axis=0), ["gather"]),
    "places compared": (
        lambda x: F.where(F.equal(F.expand_dims(counted(5), 1), 2), x, 0.0),
        ["where"],
    ),
    "a product": (lambda x: F.matmul(F.reshape(floats(6), (3, 2)), floats(2)), []),
    "an index": (lambda x: F.argmax(floats(4), axis=0), []),
    "nothing": (lambda x: F.exp(floats(0)), []),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_is_folded(name):
    function, left = FOLDED[name]
    assert improved(fold, function, specials()) == left


STAY = {
    "inputs": lambda x: F.exp(x) * 2.0,
    "what native code stores nowhere": lambda x: x + full((5, 4), 2.0),
    "too much to read": lambda x: F.sum(floats(LIMIT + 1)),
    "a function of a long array": lambda x: F.exp(full((5, 4), 2.0)),
}


@pytest.mark.parametrize("name", STAY)
def test_what_stays(name):
    untouched(fold, STAY[name], specials())


def test_what_is_left_of_large_constants_draws_and_several_outputs():
    def too_wide(x):
        return F.expand_dims(floats(LIMIT), 1) + F.expand_dims(floats(2), 0)

    graph = graph_of(too_wide, np.ones(2))
    assert names(fold(graph)) == ["add"]

    def drawn(x):
        return apply("random_bits", F.astype(counted(3), UINT64), shape=(4,), dtype=UINT64)[0]

    graph = graph_of(drawn, np.ones(2))
    assert names(fold(graph)) == ["random_bits"]
    graph = graph_of(lambda x: F.max_with_index(floats(3), axis=0)[0], np.ones(2))
    assert names(fold(graph)) == ["max_with_index"]


def test_draws_stay_whatever_they_return():
    draw = dataclasses.replace(registry["exp"], name="draw", per_lane=True)
    graph = graph_of(lambda x: x * bind(draw, (floats(4),)), np.ones(4))
    assert names(fold(graph)) == ["draw", "mul"]


def test_what_raises_an_error_is_left_to_the_call():
    def f(x):
        return x + F.power(counted(2) + 2, counted(2) - 1)

    graph = graph_of(f, np.array([1, 2]))
    assert names(fold(graph)) == ["pow", "add"]
    with pytest.raises(DTypeError, match="negative power"):
        fold(graph)(np.array([1, 2]))


def test_constants_cannot_be_written():
    graph = graph_of(lambda x: x + F.reshape(floats(6), (2, 3)), np.ones((2, 3)))
    (constant,) = checked(fold, graph, np.ones((2, 3))).free
    assert not constant.value.flags.writeable


def test_work_does_not_depend_on_the_length_of_repeated_numbers(monkeypatch):
    seen = []
    evaluated = module._evaluated

    def watched(primitive, arrays, params):
        seen.extend(array.size for array in arrays)
        return evaluated(primitive, arrays, params)

    monkeypatch.setattr(module, "_evaluated", watched)
    graph = graph_of(lambda x: x + (full((1000, 1000), 2.0) * 3.0 - 1.0), np.ones(1000))
    assert names(fold(graph)) == ["full", "add"]
    assert set(seen) == {1}

"""Common subexpressions: what is computed once, and what is not the same."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.passes.shared import F, apply, graph_of, improved, names, specials, untouched
from wengert.graph.dtypes import FLOAT64, UINT64
from wengert.graph.variable import Variable
from wengert.passes.cse import cse
from wengert.passes.pipeline import optimise

STATE = np.array([1, 2, 3], np.uint64)


def bits(state, n):
    return apply("random_bits", state, shape=(n,), dtype=UINT64)


def full(value, dtype=FLOAT64):
    return apply("full", shape=(5, 4), dtype=dtype, value=value)


def clip(x, lower):
    return apply("clip", x, lower=lower, upper=None)


ONCE = {
    "the same": (lambda x: F.exp(x) * F.exp(x), ["exp", "mul"]),
    "chains": (lambda x: F.exp(F.sin(x)) / F.exp(F.sin(x)), ["sin", "exp", "div"]),
    "either order": (lambda x: (x + F.sin(x)) / (F.sin(x) + x), ["sin", "add", "div"]),
    "either order of masks": (
        lambda x: F.logical_and(F.equal(x, 1.0), F.equal(1.0, x)),
        ["equal", "logical_and"],
    ),
    "parameters": (
        lambda x: apply("slice", x, key=(slice(0, 2),)) * apply("slice", x, key=(slice(0, 2),)),
        ["slice", "mul"],
    ),
    "equal constants": (
        lambda x: (x * Variable(np.arange(4.0))) / (x * Variable(np.arange(4.0))),
        ["mul", "div"],
    ),
    "not a number": (lambda x: (x * full(np.nan)) + (x * full(np.nan)), ["full", "mul", "add"]),
    "several outputs": (
        lambda x: F.max_with_index(x, axis=0)[0] + F.max_with_index(x, axis=0)[0],
        ["max_with_index", "add"],
    ),
}


@pytest.mark.parametrize("name", ONCE)
def test_what_is_computed_once(name):
    function, left = ONCE[name]
    assert improved(cse, function, specials()) == left


APART = {
    "another order": lambda x: (x - 1.0) / (1.0 - x),
    "a strong zero the other way": lambda x: (
        F.cotangent_mul(x, F.sin(x)) / F.cotangent_mul(F.cos(x), x)
    ),
    "other parameters": lambda x: F.flip(x, 0) / F.flip(x, 1),
    "signs of zero": lambda x: clip(x, 0.0) / clip(x, -0.0),
    "signs of constant zeros": lambda x: (x * Variable(np.zeros(4))) / (x * Variable(-np.zeros(4))),
    "signs of zeros in full": lambda x: (x * full(0.0)) / (x * full(-0.0)),
}


@pytest.mark.parametrize("name", APART)
def test_what_is_not_the_same(name):
    untouched(cse, APART[name], specials())


def test_draws_are_functions_of_their_state():
    def f(state):
        first, after = bits(state, 3)
        again, _ = bits(state, 3)
        other, _ = bits(after, 3)
        longer, _ = bits(state, 4)
        return first, again, other, longer

    assert improved(cse, f, STATE) == ["random_bits"] * 3


def test_what_a_checkpoint_computes_again_is_not_kept_from_before():
    def segment(x):
        return wg.tanh(wg.sin(x))

    def f(x):
        kept = segment(x)  # as the checkpoint does: only this one may be kept
        return wg.sum(kept * wg.checkpoint(segment)(x))

    gradient = wg.compile(wg.grad(f))
    before, after = gradient.graph(wg.ones(3)), gradient.passes(wg.ones(3)).after
    assert names(before).count("sin") == names(after).count("sin") == 2
    plain = wg.compile(wg.grad(lambda x: wg.sum(segment(x) * segment(x))))
    assert names(plain.passes(wg.ones(3)).after).count("sin") == 1


def test_operations_that_are_computed_again_are_shared_among_themselves():
    x = wg.ones(3)
    twice = wg.compile(wg.grad(lambda x: wg.sum(wg.checkpoint(lambda x: wg.sin(wg.sin(x)))(x))))
    assert names(twice.passes(x).after).count("sin") == 1  # the inner one, for cos(sin(x))


def test_an_object_among_the_parameters_is_the_same_as_itself_alone():
    def f(x):
        return tuple(wg.checkpoint(lambda y, k=k: wg.sin(y) * k)(x) for k in (2.0, 3.0))

    x = wg.ones(3)
    graph = wg.trace(f)(x)
    assert names(optimise(graph)) == ["checkpoint", "checkpoint"]


def test_constants_in_one_memory_are_compared_by_value():
    value = np.arange(4.0)
    graph = graph_of(lambda x: (x + Variable(value)) * (x + Variable(value[::-1])), np.ones(4))
    assert cse(graph) is graph

"""Simplification: what goes, what stays, and always the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.shared import F, apply, improved, specials, untouched
from wengert.graph.dtypes import FLOAT32, FLOAT64, INT64
from wengert.graph.variable import Variable
from wengert.passes.simplify import simplify

INT8, INT32, UINT8, BOOL = (np.dtype(name) for name in ("int8", "int32", "uint8", "bool"))


def full(shape, value, dtype=FLOAT64):
    return apply("full", shape=shape, dtype=np.dtype(dtype), value=value)


def cast(x, *dtypes):
    for dtype in dtypes:
        x = apply("cast", x, dtype=np.dtype(dtype))
    return x


def part(x, *key):
    return apply("slice", x, key=key)


def positive(x):
    return F.greater(x, 0.0)


def number(value, shape=()):
    return Variable(np.full(shape, value))


SIMPLER = {
    "identities": (lambda x: F.stop_gradient(apply("alias", x)), []),
    "times one": (lambda x: 1.0 * (x * 1.0), []),
    "times a one of more axes": (lambda x: x * number(1.0, (1, 1, 1)), ["broadcast"]),
    "minus zero": (lambda x: x - 0.0, []),
    "plus minus zero": (lambda x: number(-0.0) + (x + number(-0.0)), []),
    "divided by one": (lambda x: x / 1.0, []),
    "negated twice": (lambda x: F.negative(-x), []),
    "times minus one": (lambda x: x * -1.0, ["neg"]),
    "plus a negative": (lambda x: x + (-F.tanh(x)), ["tanh", "sub"]),
    "negative plus": (lambda x: (-F.tanh(x)) + x, ["tanh", "sub"]),
    "minus a negative": (lambda x: x - (-F.tanh(x)), ["tanh", "add"]),
    "a power of two": (lambda x: x / 4.0 + x / -0.125, ["mul", "mul", "add"]),
    "ones": (lambda x: x * full((5, 4), 1), []),
    "a cotangent of ones": (lambda x: F.cotangent_mul(full((5, 4), 1), x), []),
    "a cotangent without zeros": (lambda x: F.cotangent_mul(full((5, 4), 0.5), x), ["mul"]),
    "a mask as slope": (
        lambda x: F.cotangent_mul(full((5, 4), 1), positive(x)),
        ["greater", "cast"],
    ),
    "a finite slope": (lambda x: F.cotangent_mul(x, number(-3.0)), ["mul"]),
    "a counted slope": (
        lambda x: F.cotangent_mul(x, cast(positive(x), FLOAT64)),
        ["greater", "cast", "mul"],
    ),
    "chosen": (lambda x: F.where(Variable(np.array(True)), x, F.sin(x)), []),
    "the other": (lambda x: F.where(full((5, 4), False, bool), F.sin(x), x), []),
    "either way": (lambda x: F.where(positive(x), x, x), []),
    "not chosen": (lambda x: F.where(F.logical_not(positive(x)), x, 2.0), ["greater", "where"]),
    "not not": (lambda x: F.logical_not(F.logical_not(positive(x))), ["greater"]),
    "one term": (
        lambda x: F.sum(part(x, slice(None), slice(0, 1)), axis=1),
        ["slice", "reshape", "add"],
    ),
    "terms over no axis": (lambda x: F.sum(x, axis=()), ["add"]),
    "flipped twice": (lambda x: F.flip(F.flip(x, 1), 1), []),
    "flipped one": (lambda x: F.flip(part(x, slice(0, 1)), 0), ["slice"]),
    "reshaped twice": (lambda x: F.reshape(F.reshape(x, (2, 10)), (10, 2)), ["reshape"]),
    "reshaped back": (lambda x: F.reshape(F.reshape(x, (2, 10)), (5, 4)), []),
    "permuted twice": (
        lambda x: apply("permute", apply("permute", x, axes=(1, 0)), axes=(1, 0)),
        [],
    ),
    "permuted twice, in the order of both": (
        lambda x: apply(
            "permute", apply("permute", F.reshape(x, (5, 2, 2)), axes=(1, 2, 0)), axes=(0, 2, 1)
        ),
        ["reshape", "permute"],
    ),
    "permuted to the same": (lambda x: apply("permute", x, axes=(0, 1)), []),
    "ones permuted": (
        lambda x: apply("permute", part(x, slice(0, 1)), axes=(1, 0)),
        ["slice", "reshape"],
    ),
    "repeated twice": (
        lambda x: F.broadcast_to(F.broadcast_to(x, (1, 5, 4)), (3, 5, 4)),
        ["broadcast"],
    ),
    "repeated after ones in front": (
        lambda x: F.broadcast_to(F.reshape(x, (1, 5, 4)), (3, 5, 4)),
        ["broadcast"],
    ),
    "repeated operands": (
        lambda x: F.broadcast_to(part(x, slice(0, 1)), (5, 4)) * x + full((5, 4), 2),
        ["slice", "mul", "add"],
    ),
    "one of two repeated operands": (
        lambda x: (
            F.broadcast_to(part(x, slice(0, 1)), (5, 4))
            * F.broadcast_to(part(x, slice(1, 2)), (5, 4))
        ),
        ["slice", "slice", "broadcast", "mul"],
    ),
    "the whole": (lambda x: apply("slice", x, key=(slice(None), slice(0, 4))), []),
    "joined to nothing": (lambda x: apply("concat", x, axis=0), []),
    "padded by nothing": (lambda x: apply("pad", x, widths=((0, 0), (0, 0))), []),
    "cast to the same": (lambda x: cast(x, FLOAT64), []),
    "cast up and back": (lambda x: cast(cast(x, FLOAT32), FLOAT64, FLOAT32), ["cast"]),
    "cast by way of more bits": (lambda x: cast(positive(x), INT64, FLOAT32), ["greater", "cast"]),
    "a transposed factor": (lambda x: F.matmul(x, F.permute_dims(x, (1, 0))), ["contract"]),
    "both factors": (
        lambda x: F.matmul(F.permute_dims(x, (1, 0)), F.permute_dims(F.reshape(x, (4, 5)), (1, 0))),
        ["reshape", "contract"],
    ),
}


@pytest.mark.parametrize("name", SIMPLER)
def test_what_is_simplified(name):
    function, left = SIMPLER[name]
    assert improved(simplify, function, specials()) == left


STAY = {
    "plus zero": lambda x: x + 0.0,
    "minus minus zero": lambda x: x - number(-0.0),
    "times zero": lambda x: x * 0.0,
    "minus itself": lambda x: x - x,
    "divided by itself": lambda x: x / x,
    "divided by three": lambda x: x / 3.0,
    "divided by the tiniest": lambda x: x / number(np.finfo(np.float64).smallest_subnormal),
    "divided by zero": lambda x: x / 0.0,
    "one divided": lambda x: 1.0 / x,
    "zero minus": lambda x: 0.0 - x,
    "difference negated": lambda x: -(x - F.sin(x)),
    "equal to itself": lambda x: F.equal(x, x),
    "a slope that may be infinite": lambda x: F.cotangent_mul(F.sin(x), x),
    "a cotangent with zeros": lambda x: F.cotangent_mul(number(0.0), x),
    "a slope that is infinite": lambda x: F.cotangent_mul(x, number(np.inf)),
    "a slope of bool": lambda x: F.cotangent_mul(x, F.greater(x, 1.0)),
    "several terms": lambda x: F.sum(x, axis=1),
    "sums of repeated terms": lambda x: F.sum(F.broadcast_to(x, (2, 5, 4)), axis=0),
    "cast down and back": lambda x: cast(x, FLOAT32, FLOAT64),
    "floats to integers by way of others": lambda x: cast(F.clip(x, 0, 9), INT64, FLOAT64),
    "flipped along two axes": lambda x: F.flip(F.flip(x, 0), 1),
    "permuted": lambda x: F.permute_dims(x, (1, 0)),
    "a part": lambda x: part(x, slice(1, None)),
    "reversed": lambda x: part(x, slice(None, None, -1)),
    "ones in between": lambda x: F.broadcast_to(F.reshape(x, (5, 1, 4)), (5, 3, 4)),
    "a function of repeated operands": lambda x: F.power(x, full((5, 4), 2)),
}


@pytest.mark.parametrize("name", STAY)
def test_what_stays(name):
    untouched(simplify, STAY[name], specials())


INTEGERS = {
    "plus zero": (lambda x: x + 0, []),
    "times minus one": (lambda x: x * -1, ["neg"]),
    "one term": (lambda x: apply("sum", F.reshape(x, (6, 1)), axes=(1,)), []),
    "narrowed by way of fewer bits": (lambda x: cast(x, INT64, INT8), ["cast"]),
    "read as numbers": (lambda x: cast(x, FLOAT64, FLOAT32), ["cast"]),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name):
    function, left = INTEGERS[name]
    limits = np.iinfo(np.int32)
    assert (
        improved(simplify, function, np.array([0, 1, -1, 7, limits.min, limits.max], INT32)) == left
    )


def test_integers_that_floats_cannot_hold_stay():
    x = np.array([2**53 + 1, 2**62 + 1, -(2**53) - 1])
    untouched(simplify, lambda x: cast(x, FLOAT64, FLOAT32), x)
    untouched(simplify, lambda x: cast(x, INT8, INT64), x)


def test_terms_of_several_axes_are_summed_in_the_order_in_which_they_were():
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    y = np.random.default_rng(1).standard_normal((3, 4, 6))

    def f(x, y):
        swapped = apply("permute", x, axes=(1, 0, 2))
        return apply("contract", swapped, y, spec="bac,abd->cd")

    untouched(simplify, f, x, y)

    def g(x, y):
        swapped = apply("permute", y, axes=(2, 1, 0))
        return apply("contract", x, swapped, spec="abc,dba->cd")

    assert improved(simplify, g, x, y) == ["contract"]


def test_a_chain_takes_one_walk():
    def f(x):
        for _ in range(50):
            x = F.permute_dims(F.reshape(F.negative(-x) * 1.0, (1, 20, 1)), (2, 1, 0))
            x = F.reshape(x - 0.0, (5, 4))
        return x

    assert improved(simplify, f, specials()) == []


def test_unsigned_integers_have_no_minus_one():
    untouched(simplify, lambda x: x * Variable(np.array(255, UINT8)), np.arange(5, dtype=UINT8))


def test_masks():
    x = np.array([True, False])
    true, false = Variable(np.array(True)), Variable(np.array(False))
    assert improved(simplify, lambda x: F.logical_and(F.logical_or(false, x), true), x) == []
    untouched(simplify, lambda x: F.logical_and(x, false), x)
    assert improved(simplify, lambda x: cast(x, INT64, BOOL), x) == []

"""Which kernels are taken to have the same code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, same_bits
from wengert.compile.kernels.signature import behaviour


def adding(value):
    return lambda e, x: e.add(x, value)


def with_default(value):
    def expression(e, x, *, constant=value):
        return e.add(x, constant)

    return expression


@pytest.mark.parametrize("make", [adding, with_default])
@pytest.mark.parametrize(
    "value", [1, 2.5, -0.0, True, "exp", (1, 2.0), np.float32(3), float("nan")]
)
def test_functions_over_equal_constants_are_equal(make, value):
    assert behaviour(make(value)) == behaviour(make(value))


@pytest.mark.parametrize("make", [adding, with_default])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (np.float32(0), np.float32(-0.0)),
        (np.float32(1), np.float64(1)),
        (0j, complex(0, -0.0)),
        ((0.0,), (-0.0,)),
        ({"a": 0.0}, {"a": -0.0}),
        ("exp", "log"),
    ],
)
def test_functions_over_other_constants_are_not(make, one, other):
    assert behaviour(make(one)) != behaviour(make(other))


def test_what_is_unknown_is_equal_to_itself_alone():
    thing = object()
    assert behaviour(adding(thing)) == behaviour(adding(thing))
    assert behaviour(adding([thing])) != behaviour(adding([object()]))


def test_kernels_that_share_code_read_elsewhere_what_is_theirs():
    x, at = np.arange(7), np.array([0, 3, 3, 6, -1])

    def f(v):
        taken = F.take(v, at)
        return F.concat([taken, F.flip(taken, 0), taken], axis=0)

    wanted = np.concatenate([x[at], x[at][::-1], x[at]])
    same_bits(compiled(graph_of(f, x), [x]), [wanted])

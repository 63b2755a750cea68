"""Conversions of floats to integers, also of those that no integer is: as NumPy's on x86-64."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, reference, same_bits
from tests.ops.running import reverse

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def numbers(dtype):
    """Return numbers around all powers of two, and those that are not finite."""
    steps = 2.0 ** np.arange(70)
    found = [s * f for s in (steps, -steps) for f in (1, 1.25, 1 + 1e-7, 1 - 1e-7)]
    with np.errstate(over="ignore"):
        odd = np.array([0.0, -0.0, 0.5, -0.5, 1.9, np.nan, np.inf, -np.inf, 1e300, -3e38])
        return np.concatenate([*found, odd]).astype(dtype)


def lowest_bits(x, dtype):
    """Return what is promised, computed in Python's integers."""

    def whole(value, bits):
        limit = 2 ** (bits - 1)
        fits = np.isfinite(value) and -limit <= int(value) < limit
        return int(value) if fits else -limit

    found = []
    for value in x.astype(np.float64):
        if dtype == np.uint64 and value >= 2.0**63:
            number = whole(value - 2.0**63, 64) + 2**63
        else:
            number = whole(value, 32 if dtype.itemsize <= 2 or dtype == np.int32 else 64)
        found.append(number % 2 ** (8 * dtype.itemsize))
    return np.array(found, np.uint64).astype(f"u{dtype.itemsize}").view(dtype)


@pytest.mark.parametrize("source", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.usefixtures("every_processor")
def test_floats_out_of_range(name, source):
    x, dtype = numbers(source), np.dtype(name)
    graph = graph_of(
        lambda v: (F.astype(v, dtype), F.astype(F.getitem(v, (slice(None, None, -3),)), dtype)), x
    )
    found = compiled(graph, [x])
    same_bits(found, [lowest_bits(x, dtype), lowest_bits(x[::-3], dtype)])
    if platform.machine() in {"x86_64", "AMD64"}:
        with np.errstate(invalid="ignore"):
            if dtype == np.uint32:  # beyond, arrays and numbers give two answers
                within = (x > -(2.0**31)) & (x < 2.0**32)
                same_bits([found[0][within]], [x[within].astype(dtype)])
                wanted = [v.astype(dtype) for v in x]
            else:
                wanted = x.astype(dtype)
        same_bits(found[:1], [np.array(wanted)])


@pytest.mark.usefixtures("every_processor")
def test_casts_round_where_they_stand():
    rng = np.random.default_rng(3)
    x, n = rng.standard_normal(1001) * 1e3, rng.integers(-(2**62), 2**62, 1001)
    f32, f64 = np.float32, np.float64
    graph = graph_of(
        lambda v, i: (
            F.astype(F.astype(v, f32), f64) * 3.0,
            F.astype(F.astype(v, f32) * 3.0, f64) + v,
            F.astype(F.astype(i, f64), f32),
            F.astype(i, f32),
            F.astype(F.astype(i, f32), np.int64),
            F.astype(F.astype(i, np.uint64), f32),
        ),
        x,
        n,
    )
    narrow = x.astype(f32)
    wanted = [
        narrow.astype(f64) * 3.0,
        (narrow * f32(3)).astype(f64) + x,
        n.astype(f64).astype(f32),
        n.astype(f32),
        n.astype(f32).astype(np.int64),
        n.astype(np.uint64).astype(f32),
    ]
    same_bits(compiled(graph, [x, n]), wanted)


@pytest.mark.usefixtures("every_processor")
def test_gradients_round_where_their_casts_stand():
    x = np.random.default_rng(4).standard_normal(1001)

    def f(some):
        (v,) = some
        w = F.astype(v, np.float32)
        return (F.astype(w * w / 3.0 - F.sqrt(F.absolute(w)), np.float64) * v / 7.0,)

    def both(v):
        gradient = reverse(f, (v,), [F.ones(v.shape, dtype=v.dtype)])
        return (*f((v,)), *gradient)

    graph = graph_of(both, x)
    same_bits(compiled(graph, [x]), reference(graph, [x]))

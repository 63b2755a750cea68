"""Native code of every primitive, at every one of its samples, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import (
    compiled,
    in_units,
    reference,
    same_bits,
    samples_graph,
    shared_finely,
)
from tests.ops.checks import integer_samples
from tests.ops.running import load_registry, samples_of
from wengert.ops.lowering import Inexact

pytestmark = pytest.mark.usefixtures("any_processor")

PRIMITIVES = list(load_registry().values())
every_primitive = pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda p: p.name)


def agree(primitive, actual, wanted):
    """Check all outputs against the bounds that the lowering states: without any, every bit."""
    lower = primitive.lower
    units, normwise = (lower.units, lower.normwise) if isinstance(lower, Inexact) else (0, 0)
    for a, w in zip(actual, wanted, strict=True):
        if a.dtype.kind == "f" and units:
            assert in_units(a, w).max(initial=0) <= units
        elif a.dtype.kind == "f" and normwise:
            size = np.abs(w).max(initial=0)
            np.testing.assert_allclose(a, w, rtol=0, atol=normwise * np.spacing(size))
        else:
            same_bits([a], [w], primitive.name)


@every_primitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_native_code_agrees_with_the_reference(primitive, dtype, monkeypatch):
    samples = samples_of(primitive, dtype)
    graph, inputs = samples_graph(primitive, samples)
    wanted = reference(graph, inputs)
    whole = compiled(graph, inputs)
    agree(primitive, whole, wanted)

    shared_finely(monkeypatch)
    same_bits(compiled(graph, inputs, threads=2), whole, "cut finely, on two threads")


@every_primitive
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_and_bool_agree(primitive, dtype):
    samples = integer_samples(primitive, dtype)
    if not samples:
        return
    graph, inputs = samples_graph(primitive, samples)
    agree(primitive, compiled(graph, inputs), reference(graph, inputs))

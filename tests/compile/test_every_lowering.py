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

PRIMITIVES = list(load_registry().values())
every_primitive = pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda p: p.name)

# Functions of the mathematical library: NumPy's own versions are within 4 units of the truth, the
# library within 1; more where several of them are chained.
UNITS = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "pow"), 5),
    **dict.fromkeys(("sigmoid", "softplus", "elu"), 10),
    "softmax": 20,  # a quotient of a sum of exponentials of a difference
}

# Sums in another order, relative to the size of their terms: in units of the dtype's precision.
NORMWISE = {
    **dict.fromkeys(("sum", "norm", "contract", "linear"), 8),
    "prod": 40,  # one rounding for each factor
    **dict.fromkeys(("logsumexp", "log_softmax", "logaddexp"), 16),
    **dict.fromkeys(("class_loss", "class_loss_slope"), 16),
    **dict.fromkeys(("checkpoint", "custom"), 8),  # their samples call `sin`
}


def agree(name, actual, wanted):
    """Check all outputs against the tolerance stated for the primitive: by default, every bit."""
    for a, w in zip(actual, wanted, strict=True):
        if a.dtype.kind != "f" or name not in {*UNITS, *NORMWISE}:
            same_bits([a], [w], name)
        elif name in UNITS:
            assert in_units(a, w).max(initial=0) <= UNITS[name]
        else:
            size = np.abs(w).max(initial=0)
            np.testing.assert_allclose(a, w, rtol=0, atol=NORMWISE[name] * np.spacing(size))


@every_primitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_native_code_agrees_with_the_reference(primitive, dtype, monkeypatch):
    samples = samples_of(primitive, dtype)
    graph, inputs = samples_graph(primitive, samples)
    wanted = reference(graph, inputs)
    whole = compiled(graph, inputs)
    agree(primitive.name, whole, wanted)

    shared_finely(monkeypatch)
    same_bits(compiled(graph, inputs, threads=2), whole, "cut finely, on two threads")


@every_primitive
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integers_and_bool_agree(primitive, dtype):
    samples = integer_samples(primitive, dtype)
    if not samples:
        return
    graph, inputs = samples_graph(primitive, samples)
    agree(primitive.name, compiled(graph, inputs), reference(graph, inputs))

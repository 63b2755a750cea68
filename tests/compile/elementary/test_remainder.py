"""The remainder of a division is exact, whatever the quotient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compile.elementary.kernels import native, processors
from tests.compile.elementary.references import extremes
from tests.compile.programs import same_bits

floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@floats
@pytest.mark.parametrize("cpu", processors())
@pytest.mark.parametrize("width", [1, 4, 16])
def test_remainders_are_those_of_the_library(dtype, cpu, width):
    rng = np.random.default_rng(0)
    bits = np.finfo(dtype).bits
    anything = rng.integers(0, 2**bits, (2, 4000), np.uint64, endpoint=False)
    x, y = anything.astype(f"u{bits // 8}").view(dtype)
    near = rng.uniform(-100, 100, (2, 4000)).astype(dtype)
    whole = rng.integers(-50, 50, (2, 4000)).astype(dtype)
    step = (near[1] * np.exp2(rng.uniform(-60, 0, 4000))).astype(dtype)
    special = np.append(extremes(dtype), [np.inf, -np.inf, np.nan]).astype(dtype)
    pairs = np.array(list(itertools.product(special, repeat=2)), dtype).T
    x = np.concatenate([x, near[0], near[0], whole[0], whole[0] * near[1], pairs[0]])
    y = np.concatenate([y, near[1], step, whole[1], near[1], pairs[1]])
    with np.errstate(all="ignore"):
        wanted = np.fmod(x, y)
    same_bits([native("fmod", dtype, width, cpu, 2)(x, y)], [wanted])

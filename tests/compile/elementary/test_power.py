"""Powers: exact enough on every kind of processor, and special operands as in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpmath import mp

from tests.compile.elementary.kernels import native, processors
from tests.compile.programs import same_bits

floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
BOUND = 1.5


def operands(dtype, count, seed=0):
    """Return positive bases and exponents whose powers fill the range of the dtype."""
    rng = np.random.default_rng(seed)
    limits = np.finfo(dtype)
    x = np.exp2(rng.uniform(limits.minexp - 10, limits.maxexp, count))
    near = 1 + rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-limits.precision, -1, count)
    x = np.concatenate([x, near]).astype(dtype)
    wanted = rng.uniform(limits.minexp - 30, limits.maxexp, 2 * count)
    with np.errstate(divide="ignore", over="ignore"):
        y = (wanted / np.log2(x.astype(np.float64))).astype(dtype)
    x = np.concatenate([x, rng.uniform(0.1, 4, count).astype(dtype)])
    y = np.concatenate([y, rng.uniform(-4, 4, count).astype(dtype)])
    usual = np.isfinite(y) & (x > 0)
    return x[usual], y[usual]


def exact_units(x, y, power):
    limits = np.finfo(power.dtype)
    worst = 0.0
    with mp.workprec(250):
        for base, exponent, value in zip(x.tolist(), y.tolist(), power.tolist(), strict=True):
            exact = mp.power(mp.mpf(base), mp.mpf(exponent))
            if value == np.inf:
                assert exact > mp.mpf(float(limits.max))
                continue
            place = max(int(mp.frexp(exact)[1]) - 1, int(limits.minexp)) - limits.nmant
            worst = max(worst, float(abs(mp.mpf(value) - exact) / mp.ldexp(1, place)))
    return worst


@floats
@pytest.mark.parametrize("cpu", processors())
def test_errors_stay_within_the_bound(dtype, cpu):
    x, y = operands(dtype, 400)
    assert exact_units(x, y, native("pow", dtype, cpu=cpu, operands=2)(x, y)) <= BOUND


@floats
def test_the_width_changes_no_bit(dtype):
    x, y = operands(dtype, 300, seed=1)
    wide = native("pow", dtype, operands=2)(x, y)
    for width in (1, 2, 4, 8):
        same_bits([native("pow", dtype, width, operands=2)(x, y)], [wide], f"{width} lanes")


@floats
@pytest.mark.parametrize("cpu", processors())
@pytest.mark.parametrize("width", [1, 16])
def test_special_operands(dtype, cpu, width):
    limits = np.finfo(dtype)
    whole = 2.0**limits.nmant
    numbers = [0, 1, 0.5, 1.5, 2, 3, whole + 1, whole * 2 - 1, whole * 2, np.inf, np.nan]
    numbers += [limits.max, limits.tiny, limits.smallest_subnormal]
    signed = np.array([sign * n for n in numbers for sign in (1, -1)], dtype)
    x, y = (np.array(column) for column in zip(*itertools.product(signed, repeat=2), strict=True))
    with np.errstate(all="ignore"):
        wanted = np.power(x, y)
    found = native("pow", dtype, width, cpu, 2)(x, y)
    usual = np.isfinite(wanted) & (wanted != 0)
    same_bits([found[~usual]], [wanted[~usual]])
    np.testing.assert_array_max_ulp(found[usual], wanted[usual], 4)

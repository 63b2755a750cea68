"""Elementary functions keep their bounds, on every kind of processor and at any width."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from tests.compile.elementary.kernels import native, processors
from tests.compile.elementary.references import BOUNDS, REFERENCES, exact_units, points
from tests.compile.programs import same_bits

floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
every = pytest.mark.parametrize("name", REFERENCES)


@lru_cache(maxsize=1)
def numbers(name, dtype):
    return points(name, dtype, 150)


@floats
@every
@pytest.mark.parametrize("cpu", processors())
def test_errors_stay_within_the_bounds(name, dtype, cpu):
    x = numbers(name, dtype)
    y = native(name, dtype, cpu=cpu)(x)
    errors = exact_units(name, x, y)
    worst = int(np.argmax(errors))
    assert errors[worst] <= BOUNDS[np.dtype(dtype)], (x[worst], y[worst])
    same = ~np.isnan(y) & (x != 0)
    if name in {"expm1", "log1p", "tanh"}:
        np.testing.assert_array_equal(np.signbit(y[same]), np.signbit(x[same]))


@floats
@every
def test_the_width_changes_no_bit(name, dtype):
    x = np.concatenate([points(name, dtype, 500, seed=1), np.array([np.inf, -np.inf, np.nan])])
    x = np.concatenate([x, -x]).astype(dtype)
    wide = native(name, dtype)(x)
    for width in (1, 2, 4, 8):
        same_bits([native(name, dtype, width)(x)], [wide], f"{width} lanes")


@pytest.mark.slow
@every
def test_every_97th_number_of_float32(name):
    function, reference = native(name, np.float32), REFERENCES[name]
    bound = BOUNDS[np.dtype(np.float32)]
    for start in range(0, 2**32, 2**28):
        x = np.arange(start, start + 2**28, 97, dtype=np.uint64).astype(np.uint32)
        x = x.view(np.float32)
        x = x[np.isfinite(x) & (x > reference.start)]
        if x.size:
            with np.errstate(all="ignore"):
                wanted = reference.wide(x.astype(np.float64))
            assert wide_units(function(x), wanted).max() <= bound


DENSE = {"log": (0.5, 2.0), "tanh": (2.0**-8, 10.0), "erf": (2.0**-8, 4.0)}
"""Where a function is more than its argument, a constant, or the same thing scaled."""


@pytest.mark.slow
@every
def test_every_number_of_float32_where_it_matters(name):
    function, reference = native(name, np.float32), REFERENCES[name]
    first, last = (int(np.float32(x).view(np.uint32)) for x in DENSE.get(name, (2.0**-9, 104.0)))
    for start in range(first, last, 2**21):
        x = np.arange(start, min(start + 2**21, last), dtype=np.uint32).view(np.float32)
        x = np.concatenate([x, -x])
        x = x[x > reference.start]
        wanted = reference.wide(x.astype(np.float64))
        assert wide_units(function(x), wanted).max() <= BOUNDS[np.dtype(np.float32)]


@pytest.mark.slow
@every
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="needs a wider long double")
def test_many_numbers_of_float64(name):
    x = points(name, np.float64, 400_000, seed=2)
    with np.errstate(all="ignore"):
        wanted = REFERENCES[name].wide(x.astype(np.longdouble))
    assert wide_units(native(name, np.float64)(x), wanted).max() <= BOUNDS[np.dtype(np.float64)]


HARD = [
    6381956970095103.0 * 2.0**797,  # the float64 nearest to a multiple of π / 2
    2.0**1023,
    np.finfo(np.float64).max,
    *(float(np.float32(k * np.pi / 2)) for k in (1, 2, 3, 11, 1001, 65537)),
    float(np.finfo(np.float32).max),
    16367173.0 * 2.0**72,  # the float32 nearest to one
]


@floats
@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("cpu", processors())
def test_angles_near_quarter_turns_keep_their_digits(name, dtype, cpu):
    with np.errstate(over="ignore"):
        x = np.array([*HARD, *(k * np.pi / 2 for k in range(1, 3000, 7))]).astype(dtype)
    x = x[np.isfinite(x)]
    x = np.concatenate([x, -x, np.nextafter(x, dtype(0))])
    y = native(name, dtype, cpu=cpu)(x)
    assert exact_units(name, x, y).max() <= BOUNDS[np.dtype(dtype)]


def wide_units(actual, wanted):
    """Return the errors in units in the last place; `wanted` has more digits."""
    limits = np.finfo(actual.dtype)
    with np.errstate(over="ignore"):
        rounded = wanted.astype(actual.dtype)
    infinite = ~np.isfinite(rounded)
    np.testing.assert_array_equal(actual[infinite], rounded[infinite])
    exponent = np.maximum(np.frexp(np.abs(wanted))[1] - 1, limits.minexp)
    unit = np.ldexp(wanted.dtype.type(1), exponent - limits.nmant)
    with np.errstate(invalid="ignore"):
        return np.where(infinite, 0, np.abs(actual.astype(wanted.dtype) - wanted) / unit)

"""The instructions of AVX-512 do what their functions say, at any width."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.elementary.kernels import native
from tests.compile.elementary.references import extremes
from tests.compile.programs import same_bits
from wengert.compile.elementary import FUNCTIONS, instructions
from wengert.compile.emit.llvm import machine

pytestmark = pytest.mark.skipif(not machine().avx512, reason="needs AVX-512")

floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
widths = pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])


@pytest.fixture
def made(monkeypatch):
    """Return a function that makes native code of an instruction."""

    def make(function, dtype, width, operands=1):
        monkeypatch.setitem(FUNCTIONS, "instruction", function)
        return native("instruction", dtype, width, operands=operands)

    return make


def positive(dtype):
    rng = np.random.default_rng(0)
    bits = np.finfo(dtype).bits
    numbers = rng.integers(0, 2 ** (bits - 1), 1000, np.uint64).astype(f"u{bits // 8}")
    near = np.array([0.75, 1.5, 1.49, 3.0], dtype)
    x = np.concatenate([numbers.view(dtype), extremes(dtype), near])
    return x[np.isfinite(x) & (x > 0)]


@floats
@widths
def test_exponents_and_mantissas_take_a_number_apart(made, dtype, width):
    x = positive(dtype)
    k = made(instructions.exponent_of, dtype, width)(x)
    m = made(instructions.mantissa_of, dtype, width)(x)
    np.testing.assert_array_equal(k, np.frexp(x)[1] - 1)
    assert (m >= 0.75).all()
    assert (m < 1.5).all()
    np.testing.assert_array_equal(np.ldexp(m, (k + (m < 1)).astype(int)), x)


@floats
@widths
def test_zeros_infinities_and_negative_numbers_have_parts(made, dtype, width):
    x = np.array([0, -0.0, np.inf, -1, -np.inf, np.nan], dtype)
    inf, nan = np.inf, np.nan
    k = made(instructions.exponent_of, dtype, width)(x)
    np.testing.assert_array_equal(k, np.array([-inf, -inf, inf, 0, inf, nan], dtype))
    m = made(instructions.mantissa_of, dtype, width)(x)
    np.testing.assert_array_equal(m, np.array([1, 1, 1, nan, nan, nan], dtype))


@floats
@widths
def test_scaling_rounds_once_and_takes_the_exponent_down(made, dtype, width):
    limits = np.finfo(dtype)
    k = np.arange(limits.minexp - limits.nmant - 5, limits.maxexp + 5)
    x = np.linspace(1, 2, k.size).astype(dtype)
    with np.errstate(over="ignore"):
        wanted = np.ldexp(x, k)
    scale = made(instructions.scale, dtype, width, 2)
    same_bits([scale(x, k.astype(dtype) + dtype(0.75))], [wanted])


@floats
@widths
def test_inverses_are_good_to_fourteen_bits(made, dtype, width):
    x = np.linspace(1, 2, 1001).astype(dtype)
    y = made(instructions.about_inverse, dtype, width)(x)
    assert np.abs(y.astype(np.float64) * x - 1).max() <= 2.0**-14


@floats
@widths
def test_numbers_are_looked_up_by_the_lowest_bits(made, dtype, width):
    count = instructions.TABLE[np.dtype(dtype)]
    table = [float(i * i) for i in range(count)]
    index = np.arange(3 * count).astype(f"u{np.dtype(dtype).itemsize}")
    found = made(lambda e, x: instructions.looked_up(e, table, e.bits(x)), dtype, width)
    same_bits([found(index.view(dtype))], [np.tile(table, 3).astype(dtype)])

"""The tables of coefficients are what the program that makes them says."""

from __future__ import annotations

import numpy as np
import pytest

from tools.elementary_coefficients import FITS, fitted, nodes, reciprocal
from wengert.compile.elementary import coefficients

TABLES = [
    pytest.param(fit, dtype, marks=() if dtype == "float32" and degree < 4 else pytest.mark.slow)
    for fit in FITS
    for dtype, degree in fit.degrees.items()
]


@pytest.mark.parametrize(("fit", "dtype"), TABLES, ids=lambda v: getattr(v, "name", v))
def test_tables_are_up_to_date(fit, dtype):
    table = getattr(coefficients, fit.name)[np.dtype(dtype)]
    assert fitted(fit, dtype)[0] == list(table)


def test_the_reciprocal_is_as_near_as_a_cubic_can_be():
    x = np.linspace(1, 2, 100_001)
    table = coefficients.RECIPROCAL[np.dtype(np.float64)]
    assert list(table) == reciprocal(3)
    error = 1 - x * np.polynomial.polynomial.polyval(x, table)
    np.testing.assert_allclose([error.max(), -error.min()], 1 / 577, rtol=1e-8)


def test_no_fit_looks_at_zero_where_its_function_has_no_value():
    for fit in FITS:
        assert 0 not in nodes(fit.interval)

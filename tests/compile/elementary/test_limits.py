"""Elementary functions of zeros with their sign, infinities and NaN, and beyond the range."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.elementary.kernels import native
from tests.compile.programs import same_bits

INF, NAN = np.inf, np.nan

LIMITS = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (1e4, INF), (-1e4, 0)],
    "expm1": [(0.0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN), (1e4, INF), (-1e4, -1)],
    "log": [(1.0, 0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (NAN, NAN)],
    "log1p": [(0.0, 0), (-0.0, -0.0), (-1.0, -INF), (-1.5, NAN), (INF, INF), (NAN, NAN)],
    "sin": [(0.0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "erf": [(0.0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (1e4, 1), (-1e4, -1)],
    "tanh": [(0.0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (1e4, 1), (-1e4, -1)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (NAN, NAN), (1e4, 1), (-1e4, 0)],
}


@pytest.mark.usefixtures("every_processor")
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("width", [1, 16])
@pytest.mark.parametrize("name", LIMITS)
def test_limits(name, width, dtype):
    x, wanted = (np.array(column, dtype) for column in zip(*LIMITS[name], strict=True))
    same_bits([native(name, dtype, width)(x)], [wanted], name)


@pytest.mark.parametrize(
    ("dtype", "last", "least"),
    [(np.float32, 88.72283, -103.972077), (np.float64, 709.782712893384, -745.1332191019411)],
    ids=["float32", "float64"],
)
def test_the_exponential_fades_gradually_and_ends_where_it_must(dtype, last, least):
    limits = np.finfo(dtype)
    last, least = dtype(last), dtype(least)
    x = np.array([last, np.nextafter(last, dtype(INF)), least, np.nextafter(least, dtype(-INF))])
    y = native("exp", dtype)(x)
    assert limits.max * 0.99 < y[0] < INF
    assert y[1] == INF
    assert y[2] == limits.smallest_subnormal
    assert y[3] == 0

"""Every primitive of the registry, at every one of its samples, against what must hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.ops.checks import (
    CHECKS,
    check_infer,
    check_record,
    check_single_precision,
    integer_samples,
)
from tests.ops.running import load_registry, samples_of
from tests.ops.smoothness import check_smoothness, elementwise_params
from wengert.graph.primitive import Primitive, Sample

PRIMITIVES = list(load_registry().values())
every_primitive = pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda p: p.name)


@every_primitive
def test_record_is_complete(primitive: Primitive) -> None:
    check_record(primitive)


@every_primitive
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_every_sample(check: Callable[[Primitive, Sample], None], primitive: Primitive) -> None:
    for sample in samples_of(primitive, np.float64):
        check(primitive, sample)


@every_primitive
def test_single_precision(primitive: Primitive) -> None:
    for sample in samples_of(primitive, np.float32):
        check_infer(primitive, sample)
        if sample.differentiable:
            check_single_precision(primitive, sample)


@every_primitive
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers_and_bool_where_accepted(primitive: Primitive, dtype: str) -> None:
    for sample in integer_samples(primitive, dtype):
        check_infer(primitive, sample)


@every_primitive
def test_smoothness_is_as_declared(primitive: Primitive) -> None:
    samples = samples_of(primitive, np.float64)
    for params in elementwise_params(primitive, samples):
        check_smoothness(primitive, params, len(samples[0].inputs))

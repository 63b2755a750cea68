"""The laws that records state, by which graphs are simplified: at ordinary and special values."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import same_bits
from tests.ops.running import evaluate, load_registry, samples_of
from wengert.graph.dtypes import SUPPORTED
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import registry
from wengert.graph.variable import Variable
from wengert.ops.lowering import Inexact

PRIMITIVES = list(load_registry().values())
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan, 1e-300, -1e-40, 3.7, -2.5)


def stating(law):
    chosen = [p for p in PRIMITIVES if law(p.laws)]
    assert chosen
    return pytest.mark.parametrize("primitive", chosen, ids=lambda p: p.name)


def every_dtype(primitive):
    """Return special values of each dtype that the primitive accepts, as a column and a row."""
    params = samples_of(primitive, np.float64)[0].params
    for dtype in sorted(SUPPORTED, key=str):
        with np.errstate(all="ignore"):
            values = np.array(SPECIAL).astype(dtype)
        x, y = values[:, None], values[None, ::-1]
        try:
            primitive.infer(Variable(x).aval, Variable(y).aval, **params)
        except DTypeError:
            continue
        yield x, y, params


def special_cases(primitive):
    """Return special values in place of each sample's, as far as its operands are floats."""
    for dtype in (np.float32, np.float64):
        for sample in samples_of(primitive, dtype):
            yield sample.inputs, sample.params
            specials = tuple(
                np.resize(np.array(SPECIAL), x.shape).astype(x.dtype) if x.dtype.kind == "f" else x
                for x in sample.inputs
            )
            yield specials, sample.params


def quiet(primitive, arrays, params):
    return evaluate(primitive, arrays, params)[0]


@stating(lambda laws: laws.elementwise)
def test_elements_depend_on_those_at_their_place_alone(primitive):
    """Every element is what its operands give on their own, without axes.

    NumPy's functions may give one number other bits; those whose lowering is inexact may, too.
    """
    for arrays, params in special_cases(primitive):
        whole = quiet(primitive, arrays, params)
        wide = np.broadcast_arrays(*arrays)
        assert whole.shape == wide[0].shape
        for place in np.ndindex(whole.shape):
            alone = quiet(primitive, [x[place] for x in wide], params)
            if isinstance(primitive.lower, Inexact):
                np.testing.assert_allclose(alone, whole[place], rtol=1e-6)
            else:
                same_bits([alone], [whole[place]], primitive.name)


@stating(lambda laws: laws.moves)
def test_elements_come_from_the_operand(primitive):
    for (x,), params in special_cases(primitive):
        places = np.arange(float(x.size)).reshape(x.shape)
        source = quiet(primitive, [places], params).astype(int)
        same_bits([quiet(primitive, [x], params)], [x.reshape(-1)[source]], primitive.name)


@stating(lambda laws: laws.identity)
def test_identities(primitive):
    for (x,), params in special_cases(primitive):
        same_bits([quiet(primitive, [x], params)], [x], primitive.name)


@stating(lambda laws: laws.self_inverse)
def test_applied_twice(primitive):
    for (x,), params in special_cases(primitive):
        once = quiet(primitive, [x], params)
        same_bits([quiet(primitive, [once], params)], [x], primitive.name)


@stating(lambda laws: laws.commutative)
def test_operands_may_be_exchanged(primitive):
    for x, y, params in every_dtype(primitive):
        found, wanted = quiet(primitive, [y, x], params), quiet(primitive, [x, y], params)
        same_bits([found], [wanted], primitive.name)


@stating(lambda laws: laws.neutral != (None, None))
@pytest.mark.parametrize("place", [0, 1])
def test_neutral_numbers(primitive, place):
    neutral = primitive.laws.neutral[place]
    if neutral is None:
        return
    for x, _, params in every_dtype(primitive):
        pair = [x, x]
        pair[place] = np.array(neutral, x.dtype)
        found = quiet(primitive, pair, params)
        same_bits([found], [x], primitive.name)


def test_a_mask_times_the_neutral_number_is_cast():
    cotangent_mul = registry["cotangent_mul"]
    assert cotangent_mul.laws.neutral == (1, 1)
    slope = np.array([True, False])
    same_bits([quiet(cotangent_mul, [np.array(1.0), slope], {})], [slope.astype(np.float64)])

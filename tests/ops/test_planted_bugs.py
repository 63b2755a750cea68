"""Records that are wrong on purpose: each must be caught by the check that is there for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.ops.batch_checks import check_batch
from tests.ops.checks import (
    check_first_order,
    check_infer,
    check_inplace,
    check_inputs_untouched,
    check_layouts,
    check_record,
    check_second_order,
    check_single_precision,
    check_unrecorded,
)
from tests.ops.running import load_registry, samples_of
from tests.ops.smoothness import check_smoothness, elementwise_params
from wengert.ad.tape import close_off
from wengert.graph.bind import bind
from wengert.graph.primitive import Nonsmooth, Primitive
from wengert.graph.variable import Aval, Variable
from wengert.ops import compare, define, exponential
from wengert.ops.assembly import concat
from wengert.ops.convert import cast
from wengert.ops.derivatives import Elementwise, Linear, Multilinear, Rules, emit, scaled
from wengert.ops.shape import expand_dims

REGISTRY = load_registry()
Check = Callable[..., None]


class WithoutUnbroadcast(Elementwise):
    """Forgets to sum over the axes along which an operand was repeated."""

    def pullback(self, y_bar, y, xs, params, needed):
        return [scaled(y_bar, partial(y, *xs, **params)) for partial in self.partials]


def _keep_axes(primitive, xs, batched, size, params):
    """Leave the axes of one example as they are."""
    return bind(primitive, xs, params), True


def _loop(primitive, xs, batched, size, params):
    """Batch by a loop, and stack."""
    lanes = [
        bind(primitive, tuple(x if not b else emit("slice", x, key=(i,)) for x, b in pairs), params)
        for i in range(size)
        for pairs in [list(zip(xs, batched, strict=True))]
    ]
    return concat([expand_dims(y, 0) for y in lanes]), True


def _unaligned(primitive, xs, batched, size, params):
    """Forget that operands of different ranks need axes of length 1 after the batch axis."""
    return bind(primitive, xs, params), True


def _claims_unbatched(primitive, xs, batched, size, params):
    return bind(primitive, xs, params), False


def _exp_into_its_input(x):
    return np.exp(x, out=x)


def _exp_in_memory_order(x):
    return np.exp(x.ravel(order="K")).reshape(x.shape)


def _wrong_pushforward(primitive, x_dots, y, xs, params):
    return bind(primitive, (-x_dots[0],), params)


def _replace(name: str, **changes: Any) -> Primitive:
    return dataclasses.replace(REGISTRY[name], **changes)


def _slopes(name: str, *partials: Any) -> Primitive:
    return _replace(name, derivative=Elementwise(*partials))


def _with_slope(name: str, slope: Any) -> Primitive:
    """Return a primitive whose pullback uses `slope` where nothing is recorded."""
    (partial,) = REGISTRY[name].derivative.partials
    return _replace(name, derivative=Elementwise(partial, slope=slope))


def _double(slope: Variable) -> Variable:
    return cast(slope, np.dtype(np.float64))


RIGHT_TRANSPOSE = REGISTRY["cumulative_sum"].derivative.pullback
CONTRACT = REGISTRY["contract"].derivative.transposes

PLANTED: dict[str, tuple[Primitive, Check]] = {
    "wrong sign": (_slopes("sin", lambda y, x: -exponential.cos(x)), check_first_order),
    "missing factor": (_slopes("mul", lambda z, x, y: y, lambda z, x, y: 1), check_first_order),
    "a factor of 2 for one operand": (
        _replace(
            "contract",
            derivative=Multilinear(
                CONTRACT[0], lambda z_bar, *xs, **params: 2.0 * CONTRACT[1](z_bar, *xs, **params)
            ),
        ),
        check_first_order,
    ),
    "slope right only near 1": (_slopes("log", lambda y, x: 2 - x), check_first_order),
    "slope wrong only for tiny inputs": (
        _slopes("log", lambda y, x: 1 / (x + 1e-12)),
        check_first_order,
    ),
    "forgotten unbroadcast": (
        _replace("add", derivative=WithoutUnbroadcast(lambda *v: 1, lambda *v: 1)),
        check_first_order,
    ),
    "wrong transpose of a permutation": (
        _replace(
            "permute",
            derivative=Linear(lambda y_bar, xs, needed, axes: [emit("permute", y_bar, axes=axes)]),
        ),
        check_first_order,
    ),
    "transpose forgotten": (
        _replace("flip", derivative=Linear(lambda y_bar, xs, needed, axes: [y_bar])),
        check_first_order,
    ),
    "cumulative sum pulled back in the same direction": (
        _replace(
            "cumulative_sum",
            derivative=Linear(
                lambda y_bar, xs, needed, **params: [emit("cumulative_sum", y_bar, **params)]
            ),
        ),
        check_first_order,
    ),
    "the two modes disagree": (
        _replace("cumulative_sum", derivative=Rules(RIGHT_TRANSPOSE, _wrong_pushforward)),
        check_first_order,
    ),
    "first order right, second order cut off": (
        _slopes("tanh", lambda y, x: 1 - close_off(y) * close_off(y)),
        check_second_order,
    ),
    "another slope where nothing is recorded": (
        _with_slope("relu", lambda y, x: np.greater_equal(y, 0)),
        check_unrecorded,
    ),
    "NaN lost where nothing is recorded": (
        _with_slope("tanh", lambda y, x: np.nan_to_num(1 - y * y)),
        check_unrecorded,
    ),
    "overflows for huge inputs": (
        _slopes("sigmoid", lambda y, x: exponential.exp(-x) * y * y),
        check_single_precision,
    ),
    "gradient of another dtype": (
        _slopes("exp", lambda y, x: _double(y)),
        check_single_precision,
    ),
    "dtype of the shape rule": (
        _replace(
            "argmax", infer=lambda x, axis: Aval(x.shape[:axis] + x.shape[axis + 1 :], x.dtype)
        ),
        check_infer,
    ),
    "shape of the shape rule": (
        _replace("max", infer=lambda x, axes: Aval(x.shape, x.dtype)),
        check_infer,
    ),
    "batch axis forgotten": (_replace("sum", batch=_keep_axes), check_batch),
    "batch axis forgotten in a shape": (_replace("flip", batch=_keep_axes), check_batch),
    "ranks not aligned": (_replace("add", batch=_unaligned), check_batch),
    "wrong batch flag": (_replace("exp", batch=_claims_unbatched), check_batch),
    "batched by a loop": (_replace("exp", batch=_loop), check_batch),
    "writes to its input": (_replace("exp", evaluate=_exp_into_its_input), check_inputs_untouched),
    "depends on the memory layout": (
        _replace("exp", evaluate=_exp_in_memory_order),
        check_layouts,
    ),
    "in place is another function": (
        _replace("slice_set", inplace=REGISTRY["slice_add"].inplace),
        check_inplace,
    ),
}


def check_samples(primitive: Primitive, check: Check) -> None:
    dtype = np.float32 if check is check_single_precision else np.float64
    for sample in samples_of(primitive, dtype):
        check(primitive, sample)


def check_params(primitive: Primitive) -> None:
    samples = samples_of(primitive, np.float64)
    for params in elementwise_params(primitive, samples):
        check_smoothness(primitive, params, len(samples[0].inputs))


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_caught(name: str) -> None:
    primitive, check = PLANTED[name]
    with pytest.raises((AssertionError, ValueError), match=primitive.name):
        check_samples(primitive, check)


@pytest.mark.parametrize("name", PLANTED)
def test_the_right_record_passes_the_same_check(name: str) -> None:
    primitive, check = PLANTED[name]
    check_samples(REGISTRY[primitive.name], check)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"derivative": None}, "has no derivative"),
        ({"derivative": object()}, "no pullback"),
        ({"samples": lambda rng, dtype: []}, "no samples"),
        ({"samples": define.unary_samples(define.positive)}, "no sample is tiny"),
        ({"notation": ""}, "no notation"),
        ({"notation": "e"}, "leaves the operands out"),
        ({"batch": None}, "no batching rule"),
        ({"infer": None}, "no shape rule"),
    ],
    ids=lambda p: next(iter(p)) if isinstance(p, dict) else "",
)
def test_missing_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_record(_replace("exp", **changes))


def _at_zero(y: Variable, x: Variable) -> Variable:
    return compare.equal(x, 0.0)


def _one_between_multiples(z: Variable, x: Variable, y: Variable) -> Variable:
    return compare.not_equal(z, 0.0)


def _next_quotient(z: Variable, x: Variable, y: Variable) -> Variable:
    """Return the slope on the other side of a multiple, where the remainder is not the value."""
    slope = REGISTRY["remainder"].derivative.partials[1](z, x, y)
    return compare.where(compare.equal(z, 0.0), slope + 1.0, slope)


@pytest.mark.parametrize(
    ("primitive", "message"),
    [
        (_replace("abs", nonsmooth=(Nonsmooth("kink", _at_zero, ((0.0, 1.0),)),)), "abs: kink"),
        (_replace("abs", nonsmooth=()), "nothing is declared"),
        (_replace("abs", nonsmooth=(Nonsmooth("jump", _at_zero),)), "does not jump"),
        (_replace("sign", nonsmooth=(Nonsmooth("pole", _at_zero),)), "gives a number"),
        (_replace("log", nonsmooth=REGISTRY["log"].nonsmooth[:1]), "undeclared infinity"),
        (_slopes("relu", lambda y, x: compare.greater_equal(x, 0.0)), "slope chosen"),
        (_slopes("sign", lambda y, x: 1), "slope at a jump"),
        (_slopes("floor", compare.equal), "operand 0: the slope at a jump"),
        (_slopes("remainder", _one_between_multiples, 0), "operand 0: the slope at a jump"),
        (_slopes("remainder", 1, _next_quotient), "operand 1: the slope at a jump"),
        (
            _replace("maximum", derivative=REGISTRY["minimum"].derivative),
            "nothing is declared",
        ),
    ],
)
def test_wrong_smoothness_is_caught(primitive: Primitive, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_params(primitive)

"""What must hold for every primitive, as plain functions of a primitive and a sample.

Each function raises AssertionError, with the primitive's name and the numbers, where its rule is
broken. `tests/ops/test_every_op.py` runs them over the registry; `test_planted_bugs.py` runs them
over records that are wrong on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.ops.batch_checks import check_batch, check_batch_of_derivative
from tests.ops.differences import STEP, along, flat, jacobian
from tests.ops.running import (
    Array,
    Variables,
    assert_close,
    assert_within,
    evaluate,
    float_outputs,
    forward,
    function_of,
    generator,
    norm,
    outputs,
    random_like,
    relative_directions,
    reverse,
    samples_of,
    tape_of,
    trace,
    values,
    variables,
    varied,
)
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.primitive import Params, Primitive, Sample
from wengert.graph.variable import Aval, Variable
from wengert.ops.derivatives import Elementwise, add_all
from wengert.ops.lowering import Inexact

EXACT = 1e-10
DIFFERENCES = 1e-6
SINGLE = 2e-5

SATURATING = frozenset({"sigmoid", "tanh", "softmax", "log_softmax", "logaddexp"})
"""Their slopes are differences from 1, which has lost their digits when the function saturates:
exact next to the largest slope, 1, not next to a slope of 1e-17."""

FITTED = frozenset(
    {"gather", "scatter_add", "slice_add", "slice_set", "linear_recurrence", "overlap_add"}
)
"""Bound with shapes that fit, by derivative rules and by functions that broadcast first."""
WHOLE_GRAPHS = frozenset({"checkpoint", "custom"})
"""Carry a graph, which has the shapes that it was traced for."""
STOPS = "stop_gradient"
"""Has no derivative although it has floats of floats: what it is there for (docs/design/005)."""


LOOSEST = 40
"""Units in the last place beyond which native code is not the function that NumPy computes."""


def saturation(primitive: Primitive, dtype: type[np.floating], *factors: Array) -> float:
    """Return the error of slopes times `factors` that comes from saturation alone."""
    if primitive.name not in SATURATING:
        return 0.0
    largest = [float(np.abs(f).max(initial=0)) for f in factors]
    return 32 * float(np.finfo(dtype).eps) * float(np.prod(largest))


# ---- the record ------------------------------------------------------------------------


def check_record(primitive: Primitive) -> None:
    """Every rule is there; a derivative is missing only where none can exist."""
    name = primitive.name
    assert name.isidentifier(), name
    assert primitive.notation, f"{name}: no notation"
    assert primitive.infer is not None, f"{name}: no shape rule"
    assert primitive.evaluate is not None, f"{name}: no evaluation"
    assert primitive.batch is not None, f"{name}: no batching rule"
    assert primitive.samples is not None, f"{name}: no samples"
    samples = samples_of(primitive, np.float64)
    assert samples, f"{name}: no samples"
    written = primitive.notation.format(*(f"x_{i}" for i in range(_arity(samples))))
    assert "x_0" in written or not _arity(samples), f"{name}: {written} leaves the operands out"
    _check_derivative(primitive, samples)
    _check_magnitudes(primitive, samples)
    assert not (primitive.nonsmooth and primitive.derivative is None), f"{name}: smoothness of what"
    if isinstance(primitive.lower, Inexact):
        loosest = max(primitive.lower.units, primitive.lower.normwise)
        assert loosest <= LOOSEST, f"{name}: its native code may be {loosest} units off"


def _check_magnitudes(primitive: Primitive, samples: Sequence[Sample]) -> None:
    """Check that an elementwise primitive is tried at ordinary, tiny and huge numbers."""
    sizes = [np.abs(x[x != 0]) for s in samples for x in varied(s)]
    if not isinstance(primitive.derivative, Elementwise) or not sizes:
        return
    drawn = np.concatenate(sizes)
    assert drawn.min() <= 1e-4, f"{primitive.name}: no sample is tiny"
    bounded = any(n.kind == "domain" for n in primitive.nonsmooth)
    assert drawn.max() >= 30 or bounded, f"{primitive.name}: no sample is huge"


def _arity(samples: Sequence[Sample]) -> int:
    return max(len(s.inputs) for s in samples)


def _check_derivative(primitive: Primitive, samples: Sequence[Sample]) -> None:
    name = primitive.name
    if primitive.derivative is None:
        for s in samples:
            floats_in = any(x.dtype.kind == "f" for x in s.inputs)
            floats_out = bool(float_outputs(primitive, s))
            lacks = floats_in and floats_out and primitive.name != STOPS
            assert not lacks, f"{name}: a float of floats has no derivative"
            assert not s.differentiable, f"{name}: a sample says it is differentiable"
        return
    if _arity(samples) == 0:
        return
    assert hasattr(primitive.derivative, "pullback"), f"{name}: no pullback"
    assert hasattr(primitive.derivative, "pushforward"), f"{name}: no pushforward"
    tried = [s for s in samples if s.differentiable and sum(x.size for x in varied(s)) > 1]
    assert tried, f"{name}: no sample tries its derivative"
    for s in samples:
        kinds = {x.dtype.kind for x in varied(s)}
        assert kinds <= {"f"}, f"{name}: an integer or mask is said to be differentiable"


# ---- shapes and dtypes -----------------------------------------------------------------


def integer_samples(primitive: Primitive, dtype: npt.DTypeLike) -> list[Sample]:
    """Return samples whose floats are of another dtype, where the shape rule takes that."""
    return [
        s
        for s in (samples_of(primitive, dtype) if _takes(primitive, dtype) else ())
        if _inferred(primitive, [Variable(x).aval for x in s.inputs], s.params)
    ]


def _takes(primitive: Primitive, dtype: npt.DTypeLike) -> bool:
    s = samples_of(primitive, np.float64)[0]
    retyped = [Aval(x.shape, np.dtype(dtype) if x.dtype.kind == "f" else x.dtype) for x in s.inputs]
    return _inferred(primitive, retyped, s.params) is not None


def _inferred(primitive: Primitive, avals: Sequence[Aval], params: Params) -> Any:
    try:
        return primitive.infer(*avals, **params)
    except DTypeError:
        return None


def check_infer(primitive: Primitive, sample: Sample) -> None:
    """The shape rule says what evaluation gives: eager, and in a trace."""
    name = primitive.name
    inferred = primitive.infer(*(Variable(x).aval for x in sample.inputs), **sample.params)
    expected = inferred if primitive.several else (inferred,)
    direct = evaluate(primitive, sample.inputs, sample.params)
    eager = values(outputs(primitive, variables(sample.inputs), sample.params))
    graph = trace(lambda xs: outputs(primitive, xs, sample.params), sample.inputs)
    traced = graph(*sample.inputs)
    assert len(expected) == len(direct) == len(eager) == len(traced), f"{name}: outputs"
    for position, aval in enumerate(expected):
        v = graph.outputs[position]
        assert (v.shape, v.dtype) == (aval.shape, aval.dtype), f"{name}: traced {v.aval}"
        for way, arrays in (("evaluated", direct), ("eager", eager), ("replayed", traced)):
            found = arrays[position]
            assert (found.shape, found.dtype) == (aval.shape, aval.dtype), (
                f"{name}: {way} {found.dtype}{found.shape}, the rule says {aval}"
            )
            np.testing.assert_array_equal(found, direct[position], err_msg=f"{name}: {way}")


def check_wrong_shapes(primitive: Primitive, sample: Sample) -> None:
    """What the shape rule refuses of axes that do not fit, eager evaluation refuses too."""
    if len(sample.inputs) < 2 or primitive.name in FITTED | WHOLE_GRAPHS:
        return
    for inputs in _other_lengths(sample.inputs):
        try:
            inferred = primitive.infer(*(Variable(x).aval for x in inputs), **sample.params)
        except ShapeError:
            shapes = [x.shape for x in inputs]
            assert _refuses(primitive, inputs, sample.params), (
                f"{primitive.name}: eager takes shapes {shapes} with {dict(sample.params)}, which "
                "the shape rule refuses"
            )
            continue
        expected = inferred if primitive.several else (inferred,)
        try:
            found = evaluate(primitive, inputs, sample.params)
        except IndexError:
            continue  # an index is out of range, which no shape shows
        assert [y.shape for y in found] == [aval.shape for aval in expected], primitive.name


def _other_lengths(inputs: Sequence[Array]) -> Iterator[list[Array]]:
    """Yield the inputs with one axis of one of them longer or shorter."""
    for i, x in enumerate(inputs):
        for axis, n in enumerate(x.shape if x.size else ()):
            before, after = x.shape[:axis], x.shape[axis + 1 :]
            for length in {n + 1, n - 1, 1} - {n, 0}:
                other = np.resize(x, (*before, length, *after))
                yield [*inputs[:i], other, *inputs[i + 1 :]]


def _refuses(primitive: Primitive, inputs: Sequence[Array], params: Params) -> bool:
    try:
        outputs(primitive, variables(inputs), params)
    except ShapeError:
        return True
    return False


# ---- derivatives -------------------------------------------------------------


def check_first_order(primitive: Primitive, sample: Sample) -> None:
    """Both modes agree with finite differences, and with each other."""
    if not (sample.differentiable and float_outputs(primitive, sample)):
        return
    _check_reverse(primitive, sample)
    _check_dot_product(primitive, sample)


def _float_evaluation(primitive: Primitive, sample: Sample) -> Callable[[Sequence[Array]], Array]:
    def f(xs: Sequence[Array]) -> Array:
        found = evaluate(primitive, xs, sample.params)
        return flat([y for y in found if y.dtype.kind == "f"])

    return f


def jacobians(primitive: Primitive, sample: Sample) -> list[tuple[Array, Array]]:
    """Return, for each differentiable input, the Jacobian by differences and its error bound."""
    f = _float_evaluation(primitive, sample)
    return [jacobian(f, sample.inputs, i) for i in sample.differentiable]


def _check_reverse(primitive: Primitive, sample: Sample) -> None:
    rng = generator(primitive)
    y_bars = random_like(rng, float_outputs(primitive, sample))
    f, xs = function_of(primitive, sample), variables(varied(sample))
    x_bars = values(reverse(f, xs, variables(y_bars)))
    traced = tape_of(lambda vs: reverse(f, vs, variables(y_bars)), varied(sample))
    assert_close(f"{primitive.name}: traced gradient", traced, x_bars, EXACT)
    seed = flat(y_bars)
    pairs = zip(x_bars, varied(sample), jacobians(primitive, sample), strict=True)
    for x_bar, x, (slopes, errors) in pairs:
        what = f"{primitive.name}: gradient at {x!r} {dict(sample.params)}"
        assert (x_bar.shape, x_bar.dtype) == (x.shape, x.dtype), f"{what} has {x_bar.dtype}"
        scale = np.abs(seed) @ np.abs(slopes)
        bound = DIFFERENCES * scale + np.abs(seed) @ errors
        assert_within(what, x_bar.ravel(), seed @ slopes, bound)


def _check_dot_product(primitive: Primitive, sample: Sample) -> None:
    """Check that <y_bar, jvp(x_dot)> == <vjp(y_bar), x_dot>, for all inputs and for each alone."""
    rng = generator(primitive)
    f, xs = function_of(primitive, sample), variables(varied(sample))
    y_bars = random_like(rng, float_outputs(primitive, sample))
    x_dots = random_like(rng, varied(sample))
    x_bars = values(reverse(f, xs, variables(y_bars)))
    count = len(xs)
    alone = [{i} for i in range(count)] if count > 1 else []
    for chosen in ({*range(count)}, *alone):
        dots = [Variable(d) if i in chosen else None for i, d in enumerate(x_dots)]
        y_dots = values(forward(f, xs, dots))
        for y, y_dot in zip(float_outputs(primitive, sample), y_dots, strict=True):
            assert (y_dot.shape, y_dot.dtype) == (y.shape, y.dtype), f"{primitive.name}: tangent"
        picked = [i for i in range(count) if i in chosen]
        left = flat(y_bars) * flat(y_dots)
        right = flat([x_bars[i] for i in picked]) * flat([x_dots[i] for i in picked])
        bound = EXACT * (np.abs(left).sum() + np.abs(right).sum())
        bound += saturation(primitive, np.float64, flat(y_bars), flat(x_dots))
        assert abs(left.sum() - right.sum()) <= bound, (
            f"{primitive.name}: <y_bar, y_dot> = {left.sum()}, <x_bar, x_dot> = {right.sum()} "
            f"for inputs {picked} of {dict(sample.params)}"
        )


def check_second_order(primitive: Primitive, sample: Sample) -> None:
    """The three ways to a Hessian-vector product agree, and so do differences of the gradient."""
    if not (sample.differentiable and float_outputs(primitive, sample)):
        return
    rng, f = generator(primitive), function_of(primitive, sample)
    xs = variables(varied(sample))
    y_bars = variables(random_like(rng, float_outputs(primitive, sample)))
    x_dots = variables(relative_directions(rng, varied(sample)))

    def gradient(vs: Variables) -> Variables:
        return reverse(f, vs, y_bars)

    def directional(vs: Variables) -> Variables:
        return forward(f, vs, x_dots)

    products = {
        "forward over reverse": forward(gradient, xs, x_dots),
        "reverse over forward": reverse(directional, xs, y_bars),
        "reverse over reverse": reverse(gradient, xs, x_dots),
    }
    wanted = values(products["forward over reverse"])
    floor = saturation(primitive, np.float64, flat(values(y_bars)), flat(values(x_dots)))
    for way, product in products.items():
        _compare_products(primitive, sample, way, values(product), wanted, floor)
    traced = tape_of(lambda vs: forward(gradient, vs, x_dots), varied(sample))
    assert_close(f"{primitive.name}: traced second order", traced, wanted, EXACT)
    floor += saturation(primitive, np.float64, flat(values(y_bars))) / STEP
    _check_gradient_differences(primitive, sample, gradient, values(x_dots), wanted, floor)


def _compare_products(
    primitive: Primitive,
    sample: Sample,
    way: str,
    actual: list[Array],
    wanted: list[Array],
    floor: float,
) -> None:
    shape = evaluate(primitive, sample.inputs, sample.params)[0].shape
    for a, w in zip(actual, wanted, strict=True):
        what = f"{primitive.name}: {way}, {dict(sample.params)}"
        if isinstance(primitive.derivative, Elementwise) and a.shape == shape:
            assert_within(what, a, w, EXACT * np.abs(w) + floor)
        elif norm([a - w]) > floor:
            assert_close(what, [a], [w], EXACT)


def _check_gradient_differences(
    primitive: Primitive,
    sample: Sample,
    gradient: Callable[[Variables], Variables],
    x_dots: list[Array],
    wanted: list[Array],
    floor: float,
) -> None:
    xs = varied(sample)
    first = np.abs(flat(values(gradient(variables(xs)))))
    found, error = along(
        lambda moved: flat(values(gradient(variables(moved)))), xs, dict(enumerate(x_dots))
    )
    size = first + np.abs(flat(wanted))
    if not isinstance(primitive.derivative, Elementwise):
        size = np.full_like(size, size.max(initial=0))
    what = f"{primitive.name}: second derivative, {dict(sample.params)}"
    assert_within(what, flat(wanted), found, DIFFERENCES * size + error + floor)


def check_partial_cotangents(primitive: Primitive, sample: Sample) -> None:
    """A missing cotangent of one of several outputs counts as zero."""
    ys = float_outputs(primitive, sample)
    if not sample.differentiable or not primitive.several or not ys:
        return
    rng, f, xs = generator(primitive), function_of(primitive, sample), variables(varied(sample))
    y_bars = variables(random_like(rng, ys))
    total: list[Variable | None] = [None] * len(xs)
    for i, y_bar in enumerate(y_bars):
        alone = [y_bar if j == i else None for j in range(len(ys))]
        total = [add_all(p) for p in zip(total, reverse(f, xs, alone), strict=True)]
    wanted = values(reverse(f, xs, y_bars))
    found = values([t for t in total if t is not None])
    assert_close(f"{primitive.name}: one output alone", found, wanted, EXACT)


def check_unrecorded(primitive: Primitive, sample: Sample) -> None:
    """A pullback that nobody will differentiate is the recorded one, with special values too."""
    ys = float_outputs(primitive, sample)
    if not sample.differentiable or not ys:
        return
    rng = generator(primitive)
    special = Sample(
        tuple(_with_special_values(x, 3) if x.dtype.kind == "f" else x for x in sample.inputs),
        sample.params,
        sample.differentiable,
    )
    for tried in (sample, special):
        y_bars = random_like(rng, ys)
        for bars in (y_bars, [_with_special_values(y, 2) for y in y_bars]):
            xs, recorded = variables(varied(tried)), variables(varied(tried))
            for x in recorded:
                x.requires_grad = True
            f = function_of(primitive, tried)
            found = values(reverse(f, xs, variables(bars)))
            wanted = values(reverse(f, recorded, variables(bars)))
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=f"{primitive.name}: unrecorded")


def _with_special_values(x: Array, stride: int) -> Array:
    """Return `x` with zero, infinities and NaN among its elements."""
    changed = x.copy()
    places = changed.reshape(-1)[::stride]
    places[:] = np.resize(np.array([0.0, np.inf, np.nan, -np.inf], x.dtype), places.shape)
    return changed


def check_single_precision(primitive: Primitive, sample: Sample) -> None:
    """In float32, values and gradients are those of float64 at the same points, in float32."""
    if not float_outputs(primitive, sample):
        return
    f = function_of(primitive, sample)
    double = Sample(
        tuple(x.astype(np.float64) if x.dtype.kind == "f" else x for x in sample.inputs),
        {k: np.dtype(np.float64) if v == np.float32 else v for k, v in sample.params.items()},
        sample.differentiable,
    )
    g = function_of(primitive, double)
    y_bars = random_like(generator(primitive), float_outputs(primitive, sample))
    found = values(reverse(f, variables(varied(sample)), variables(y_bars)))
    doubled = variables(y.astype(np.float64) for y in y_bars)
    wanted = values(reverse(g, variables(varied(double)), doubled))
    for a, w, m in zip(found, wanted, magnitudes(primitive, double, doubled), strict=True):
        what = f"{primitive.name}: float32 gradient, {dict(sample.params)}"
        assert a.dtype == np.float32, f"{what} is {a.dtype}"
        fits = (np.abs(w) < 1e38) & (m < 1e38)
        tiny = float(np.finfo(np.float32).tiny)
        single = isinstance(primitive.derivative, Elementwise)
        bound = (
            SINGLE * (m[fits] if single else m[fits].max(initial=0))
            + tiny
            + saturation(primitive, np.float32, *y_bars)
        )
        assert_within(what, a[fits].astype(np.float64), w[fits], bound)


def magnitudes(primitive: Primitive, sample: Sample, y_bars: Sequence[Variable]) -> list[Array]:
    """Return the sums of the magnitudes of the terms of the gradient, by differences."""
    seed = np.abs(flat(values(y_bars)))
    pairs = zip(varied(sample), jacobians(primitive, sample), strict=True)
    return [
        (seed @ np.abs(slopes) + seed @ errors).reshape(x.shape) for x, (slopes, errors) in pairs
    ]


# ---- memory -----------------------------------------------------------------------


def layouts(x: Array) -> Iterator[Array]:
    """Yield arrays equal to `x` in other memory layouts."""
    if x.ndim == 0:
        return
    doubled = np.repeat(x, 2, axis=-1)
    yield doubled[..., ::2]
    yield np.asfortranarray(x)
    yield np.flip(np.flip(x).copy())


def check_layouts(primitive: Primitive, sample: Sample) -> None:
    """Values and gradients do not depend on the memory layout of the inputs."""
    wanted = evaluate(primitive, sample.inputs, sample.params)
    y_bars = variables(
        random_like(generator(primitive), [y for y in wanted if y.dtype.kind == "f"])
    )
    if not sample.inputs:
        return
    x_bars = _gradient(primitive, sample, y_bars)
    choices = [list(layouts(x)) or [x] * 3 for x in sample.inputs]
    for inputs in zip(*choices, strict=True):
        moved = Sample(inputs, sample.params, sample.differentiable)
        found = evaluate(primitive, inputs, sample.params)
        assert_close(f"{primitive.name}: other layout", found, wanted, 1e-12)
        again = _gradient(primitive, moved, y_bars)
        assert_close(f"{primitive.name}: gradient in other layout", again, x_bars, 1e-12)


def _gradient(primitive: Primitive, sample: Sample, y_bars: Variables) -> list[Array]:
    if not (sample.differentiable and y_bars):
        return []
    f = function_of(primitive, sample)
    return values(reverse(f, variables(varied(sample)), y_bars))


def check_inputs_untouched(primitive: Primitive, sample: Sample) -> None:
    """Neither evaluation nor a derivative writes to an input, a cotangent or a tangent."""
    rng = generator(primitive)
    copies = [x.copy() for x in sample.inputs]
    ys = float_outputs(primitive, sample)
    y_bars, x_dots = random_like(rng, ys), random_like(rng, varied(sample))
    kept = [a.copy() for a in (*y_bars, *x_dots)]
    if sample.differentiable and ys:
        f, xs = function_of(primitive, sample), variables(varied(sample))
        reverse(lambda vs: reverse(f, vs, variables(y_bars)), xs, variables(x_dots))
        forward(lambda vs: reverse(f, vs, variables(y_bars)), xs, variables(x_dots))
    everything = zip((*sample.inputs, *y_bars, *x_dots), (*copies, *kept), strict=True)
    for array, copy in everything:
        np.testing.assert_array_equal(array, copy, err_msg=f"{primitive.name} wrote to an input")


def check_inplace(primitive: Primitive, sample: Sample) -> None:
    """The in-place evaluation leaves the result of `evaluate` in its first operand."""
    if primitive.inplace is None:
        return
    buffer = np.array(sample.inputs[0])
    wanted = evaluate(primitive, sample.inputs, sample.params)
    if wanted[0].shape != buffer.shape:
        return
    rest = [x.copy() for x in sample.inputs[1:]]
    primitive.inplace(buffer, *rest, **sample.params)
    np.testing.assert_array_equal(buffer, wanted[0], err_msg=f"{primitive.name}: in place")
    for x, y in zip(rest, sample.inputs[1:], strict=True):
        np.testing.assert_array_equal(x, y, err_msg=f"{primitive.name}: wrote to an operand")


CHECKS: tuple[Callable[[Primitive, Sample], None], ...] = (
    check_infer,
    check_wrong_shapes,
    check_first_order,
    check_second_order,
    check_partial_cotangents,
    check_unrecorded,
    check_batch,
    check_batch_of_derivative,
    check_layouts,
    check_inputs_untouched,
    check_inplace,
)

"""Running a primitive, and the transforms of it, on arrays; comparing what comes out."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import zlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

import wengert.ad
import wengert.ops
from tests.ops.differences import flat
from wengert.ad.forward import jvp
from wengert.ad.reverse import vjp
from wengert.ad.tape import horizon, isolate
from wengert.graph.bind import bind
from wengert.graph.graph import Graph
from wengert.graph.primitive import Primitive, Sample, registry
from wengert.graph.tracing import Trace
from wengert.graph.variable import Variable
from wengert.ops.derivatives import zeros_like

Array = Any
Variables = tuple[Variable, ...]
Function = Callable[[Variables], Variables]


def load_registry() -> dict[str, Primitive]:
    """Import every module that may define a primitive; return the registry, by name."""
    for package in (wengert.ops, wengert.ad):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    return dict(sorted(registry.items()))


_NOT_OF_VARIABLES = ("special", "define", "lower")  # namesakes of ours, of other arguments


def public_functions() -> SimpleNamespace:
    """Return the functions of all modules of ops, whichever file they stand in."""
    load_registry()
    found = {}
    for name, module in sorted(sys.modules.items()):
        if name.startswith("wengert.ops.") and not name[12:].startswith(_NOT_OF_VARIABLES):
            own = {k: f for k, f in vars(module).items() if getattr(f, "__module__", "") == name}
            found.update({k: f for k, f in own.items() if callable(f) and k[0] != "_"})
    return SimpleNamespace(**found)


def generator(primitive: Primitive) -> np.random.Generator:
    """Return the generator of the primitive's samples: the same in every run."""
    return np.random.default_rng(zlib.crc32(primitive.name.encode()))


def samples_of(primitive: Primitive, dtype: Any) -> list[Sample]:
    with np.errstate(invalid="ignore"):
        drawn = list(primitive.samples(generator(primitive), np.dtype(dtype)))
    return [Sample(tuple(map(np.asarray, s.inputs)), s.params, s.differentiable) for s in drawn]


# ---- running a primitive -------------------------------------------------------------------


def outputs(primitive: Primitive, xs: Sequence[Variable], params: Any) -> Variables:
    """Bind the primitive and return its outputs, always as a tuple."""
    y = bind(primitive, tuple(xs), params)
    return y if primitive.several else (y,)


def evaluate(primitive: Primitive, arrays: Sequence[Array], params: Any) -> tuple[Array, ...]:
    """Evaluate by the record's own function, outside the engine."""
    with np.errstate(all="ignore"):
        y = primitive.evaluate(*arrays, **params)
    return tuple(np.asarray(a) for a in y) if primitive.several else (np.asarray(y),)


def function_of(primitive: Primitive, sample: Sample) -> Function:
    """Return the primitive as a function of its differentiable inputs, to its float outputs."""

    def f(xs: Variables) -> Variables:
        chosen = dict(zip(sample.differentiable, xs, strict=True))
        full = [chosen.get(i, Variable(a)) for i, a in enumerate(sample.inputs)]
        return tuple(y for y in outputs(primitive, full, sample.params) if y.dtype.kind == "f")

    return f


def varied(sample: Sample) -> list[Array]:
    return [sample.inputs[i] for i in sample.differentiable]


def variables(arrays: Sequence[Array]) -> Variables:
    return tuple(Variable(np.asarray(a)) for a in arrays)


def values(xs: Sequence[Variable]) -> list[Array]:
    return [x.concrete("a test") for x in xs]


def reverse(f: Function, xs: Variables, y_bars: Sequence[Variable | None]) -> Variables:
    """Return the cotangents of `xs`, zeros where no path leads to them."""
    since = horizon()
    inner = tuple(isolate(x) for x in xs)
    x_bars, _ = vjp(f(inner), y_bars, inner, since)
    return tuple(zeros_like(x) if b is None else b for x, b in zip(xs, x_bars, strict=True))


def forward(f: Function, xs: Variables, x_dots: Sequence[Variable | None]) -> Variables:
    """Return the tangents of the outputs, zeros where they do not depend on `xs`."""
    since = horizon()
    inner = tuple(isolate(x) for x in xs)
    ys = f(inner)
    y_dots, _ = jvp(ys, inner, x_dots, since)
    return tuple(zeros_like(y) if d is None else d for y, d in zip(ys, y_dots, strict=True))


def trace(f: Function, arrays: Sequence[Array]) -> Graph:
    """Return the graph of `f` on inputs of the shapes and dtypes of `arrays`."""
    with Trace("test") as context:
        inputs = [context.new_input(Variable(np.asarray(a)).aval) for a in arrays]
        return Graph(inputs, f(tuple(inputs)))


def tape_of(f: Function, arrays: Sequence[Array]) -> list[Array]:
    """Evaluate `f` through a trace."""
    return list(trace(f, arrays)(*arrays))


# ---- comparing -----------------------------------------------------------------------------


def norm(arrays: Sequence[Array]) -> float:
    with np.errstate(over="ignore"):
        v = flat(arrays)
    top = float(np.abs(v).max(initial=0))
    return top * float(np.linalg.norm(v / top)) if 0 < top < np.inf else top


def assert_close(
    what: str, actual: Sequence[Array], wanted: Sequence[Array], tolerance: float
) -> None:
    """Compare two lists of arrays normwise; NaN and infinities must stand at equal places."""
    for a, w in zip(actual, wanted, strict=True):
        assert a.shape == w.shape, f"{what}: shape {a.shape}, wanted {w.shape}"
    a, w = flat(actual), flat(wanted)
    odd = ~(np.isfinite(a) & np.isfinite(w))
    np.testing.assert_array_equal(a[odd], w[odd], err_msg=what)
    distance, size = norm([a[~odd] - w[~odd]]), norm([w[~odd]])
    assert distance <= tolerance * size, f"{what}: {a} differs from {w} by {distance / size:.2g}"


def assert_within(what: str, actual: Array, wanted: Array, bound: Array) -> None:
    """Compare two vectors element by element, each with its own bound."""
    wrong = ~(np.abs(actual - wanted) <= bound)
    assert not wrong.any(), (
        f"{what}: {actual[wrong]} differs from {wanted[wrong]} by more than {bound[wrong]}"
    )


def random_like(rng: np.random.Generator, arrays: Sequence[Array]) -> list[Array]:
    return [np.asarray(rng.standard_normal(a.shape)).astype(a.dtype) for a in arrays]


def relative_directions(rng: np.random.Generator, arrays: Sequence[Array]) -> list[Array]:
    """Draw directions whose coordinates are of the magnitudes of those of `arrays`."""
    draws = [rng.uniform(0.5, 1.5, a.shape) * rng.choice([-1, 1], a.shape) for a in arrays]
    return [
        np.asarray(r * np.where(a == 0, 1, np.abs(a))).astype(a.dtype)
        for r, a in zip(draws, arrays, strict=True)
    ]


def float_outputs(primitive: Primitive, sample: Sample) -> list[Array]:
    found = evaluate(primitive, sample.inputs, sample.params)
    return [y for y in found if y.dtype.kind == "f"]

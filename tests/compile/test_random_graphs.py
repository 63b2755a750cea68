"""Random graphs of random operations: native code against the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compile.programs import F, assert_apart, compiled, graph_of, reference, same_bits
from wengert.compile.emit.llvm import machine
from wengert.compile.lowering.pipeline import prepare
from wengert.compile.native.executable import compile_graph
from wengert.passes.pipeline import optimise

pytestmark = pytest.mark.usefixtures("any_processor")

LENGTHS = (1, 2, 5, 17)

SAME_SHAPE = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: F.tanh(x) * y,
    "maximum": F.maximum,
    "where": lambda x, y: F.where(F.greater(x, y), x, F.sin(y)),
    "slope": lambda x, y: F.cotangent_mul(F.relu(x), F.greater(y, 0.0)),
}
ONE = {
    "neg": lambda x: -x,
    "sigmoid": F.sigmoid,
    "flip": lambda x: F.flip(x, 0),
    "transpose": lambda x: F.permute_dims(x, (1, 0)),
    "flat": lambda x: F.reshape(x, (1, -1)),
    "part": lambda x: F.getitem(x, (slice(None, None, 2),)),
    "rows": lambda x: x - F.sum(x, axis=1, keepdims=True) / x.shape[1],
    "columns": lambda x: x - F.max(x, axis=0),
    "softmax": lambda x: F.softmax(x, axis=1),
    "running": lambda x: F.cumulative_sum(x, axis=0) / x.shape[0],
    "sorted": lambda x: F.sort(x, axis=1),
    "written": lambda x: F.setitem(x, (0,), 1.5),
    "square": lambda x: F.matmul(x, F.permute_dims(x, (1, 0))) / x.shape[1],
}


@dataclass
class Step:
    name: str
    first: int
    second: int


steps = st.builds(
    Step,
    st.sampled_from([*SAME_SHAPE, *ONE, "matmul"]),
    st.integers(0, 100),
    st.integers(0, 100),
)


def apply(step, known):
    """Return what a step makes of two of the variables known so far."""
    x, y = known[step.first % len(known)], known[step.second % len(known)]
    if step.name in ONE:
        return ONE[step.name](x)
    if step.name == "matmul":
        y = y if y.shape[0] == x.shape[1] else F.permute_dims(x, (1, 0))
        return F.matmul(x, y) / x.shape[1]
    fits = all(n == m or 1 in (n, m) for n, m in zip(x.shape, y.shape, strict=True))
    return SAME_SHAPE[step.name](x, y if fits else x)


@st.composite
def programs(draw):
    """Return a graph, its inputs, and which outputs take over the memory of which inputs."""
    shapes = draw(st.lists(st.tuples(*[st.sampled_from(LENGTHS)] * 2), min_size=1, max_size=3))
    chosen = draw(st.lists(steps, min_size=1, max_size=12))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    inputs = [rng.standard_normal(shape).astype(dtype) for shape in shapes]

    def f(*xs):
        known = list(xs)
        for step in chosen:
            known.append(apply(step, known))
        return tuple(known[-3:])

    graph = graph_of(f, *inputs)
    aliases = {}
    for i, v in enumerate(graph.outputs):
        free = [j for j, a in enumerate(inputs) if a.shape == v.shape and j not in aliases.values()]
        if free and draw(st.booleans()):
            aliases[i] = draw(st.sampled_from(free))
    return graph, inputs, aliases


@settings(max_examples=60, deadline=None, derandomize=True)
@given(programs())
def test_native_code_agrees_with_the_reference(program):
    graph, inputs, aliases = program
    names = {f"o{output}": source for output, source in aliases.items()}
    found = compiled(graph, inputs, 1, **names)
    tolerance = 1e-3 if inputs[0].dtype == np.float32 else 1e-11
    for a, w in zip(found, reference(graph, inputs), strict=True):
        size = max(1.0, np.abs(w).max(initial=0))
        np.testing.assert_allclose(a, w, rtol=0, atol=tolerance * size)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(programs())
def test_memory_taken_over_changes_no_bit(program):
    graph, inputs, aliases = program
    names = {f"o{output}": source for output, source in aliases.items()}
    same_bits(compiled(graph, inputs, 1, **names), compiled(graph, inputs))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(programs())
def test_buffers_that_live_at_one_time_do_not_overlap(program):
    graph, _, aliases = program
    lowered = prepare(optimise(graph), aliases, machine())
    assert_apart(lowered)
    assert compile_graph(graph, aliases).arena_bytes == lowered.arena_bytes


EXACT = {
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "minimum": F.minimum,
    "where": lambda x, y: F.where(F.greater(x, y), y, x),
    "less": lambda x, y: F.cast(F.less(x, y), x.dtype),
    "flip": lambda x, y: F.flip(x, 0),
    "transpose": lambda x, y: F.permute_dims(x, (1, 0)),
    "part": lambda x, y: F.getitem(x, (slice(None, None, -2),)),
    "flat": lambda x, y: F.reshape(x, (-1, 1)),
    "top": lambda x, y: F.max(x, axis=0, keepdims=True),
    "total": lambda x, y: F.cast(F.sum(x, axis=1, keepdims=True), x.dtype),
    "sorted": lambda x, y: F.sort(x, axis=0),
    "taken": lambda x, y: F.take(x, np.array([-1, 0]), axis=0),
    "written": lambda x, y: F.setitem(x, (0,), 1),
    "joined": lambda x, y: F.concat([x, x], axis=1),
}


@st.composite
def exact_programs(draw):
    """Return a graph of operations that are exact for the dtype of its inputs, and the inputs."""
    dtype = np.dtype(draw(st.sampled_from(["int8", "uint8", "int32", "int64", "uint64", "bool"])))
    shapes = draw(st.lists(st.tuples(*[st.sampled_from(LENGTHS)] * 2), min_size=1, max_size=3))
    chosen = draw(
        st.lists(
            st.tuples(st.sampled_from([*EXACT]), st.integers(0, 100), st.integers(0, 100)),
            min_size=1,
            max_size=10,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    inputs = [rng.integers(0, 2 if dtype.kind == "b" else 100, s).astype(dtype) for s in shapes]

    def f(*xs):
        known = list(xs)
        for name, first, second in chosen:
            x, y = known[first % len(known)], known[second % len(known)]
            fits = all(n == m or 1 in (n, m) for n, m in zip(x.shape, y.shape, strict=True))
            known.append(EXACT[name](x, y if fits else x))
        return tuple(known[-3:])

    return graph_of(f, *inputs), inputs


@settings(max_examples=60, deadline=None, derandomize=True)
@given(exact_programs())
def test_integers_and_masks_agree_in_every_bit(program):
    graph, inputs = program
    same_bits(compiled(graph, inputs), reference(graph, inputs))

"""All passes together: the same bits for random programs, a fixed point, linear work, reports."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from tests.ad.test_random_programs import ONE, SHAPE, program
from tests.ops.running import forward, reverse, trace, variables
from tests.passes.shared import F, apply, checked, graph_of, names, same_bits, specials
from wengert.compile.native.executable import compile_graph
from wengert.graph.variable import Variable
from wengert.graph.verify import verify
from wengert.passes.pipeline import PASSES, optimise
from wengert.passes.report import PassReport

# --- Random programs ------------------------------------------------------------------------------


def number(x, value):
    return Variable(np.array(value, x.dtype))


def full(x, value):
    return apply("full", shape=x.shape, dtype=x.dtype, value=value)


def as_dtypes(x, *dtypes):
    for dtype in dtypes:
        x = apply("cast", x, dtype=np.dtype(dtype))
    return x


def transposed(x):
    return apply("permute", x, axes=(1, 0))


NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, np.inf, np.nan, 5e-324)
STEPS = {
    **{f"times {n}": lambda x, y, n=n: x * number(x, n) for n in NUMBERS},
    **{f"plus {n}": lambda x, y, n=n: number(x, n) + x for n in NUMBERS},
    **{f"minus {n}": lambda x, y, n=n: x - number(x, n) for n in NUMBERS},
    **{f"over {n}": lambda x, y, n=n: x / number(x, n) for n in NUMBERS},
    **{f"slope {n}": lambda x, y, n=n: F.cotangent_mul(x, number(x, n)) for n in NUMBERS},
    **{f"cotangent {n}": lambda x, y, n=n: F.cotangent_mul(full(x, n), x) for n in NUMBERS},
    "negative": lambda x, y: -x,
    "sum": lambda x, y: x + y,
    "difference": lambda x, y: x - y,
    "product": lambda x, y: F.tanh(x) * y,
    "masked": lambda x, y: F.cotangent_mul(x, F.greater(y, 0.0)),
    "masked as numbers": lambda x, y: F.cotangent_mul(x, as_dtypes(F.greater(y, 0.0), x.dtype)),
    "slope": F.cotangent_mul,
    "where": lambda x, y: F.where(F.greater(x, y), x, y),
    "where not": lambda x, y: F.where(F.logical_not(F.equal(x, y)), x, -y),
    "where known": lambda x, y: F.where(F.equal(full(x, 0.0), -0.0), x, F.sin(y)),
    "stopped": lambda x, y: F.stop_gradient(x),
    "narrowed": lambda x, y: as_dtypes(x, np.float32, np.float64, np.float32, x.dtype),
    "counted": lambda x, y: as_dtypes(F.greater(x, y), np.int64, np.float64, x.dtype),
    "transposed": lambda x, y: transposed(x),
    "flat": lambda x, y: F.reshape(x, (1, -1)),
    "tall": lambda x, y: F.reshape(x, (-1, 1)),
    "flipped": lambda x, y: F.flip(x, 0),
    "part": lambda x, y: apply("slice", x, key=(slice(None, None, 2),)),
    "whole": lambda x, y: apply("slice", x, key=(slice(None), slice(0, x.shape[1]))),
    "padded": lambda x, y: apply("pad", x, widths=((0, 0), (0, 0))),
    "of rows": lambda x, y: x + F.sum(x, axis=1, keepdims=True),
    "of columns": lambda x, y: F.broadcast_to(F.sum(x, axis=0), x.shape),
    "matrices": lambda x, y: F.matmul(x, transposed(x)),
    "transposed matrices": lambda x, y: F.matmul(transposed(x), transposed(transposed(x))),
    "places": lambda x, y: x * as_dtypes(apply("iota", length=x.shape[1], dtype=x.dtype), x.dtype),
    "again": lambda x, y: (x + y) * (y + x) - F.sin(x) * F.sin(x),
}
steps = st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 50), st.integers(0, 50))


@st.composite
def programs(draw):
    """Return a graph and its inputs, special values among them."""
    shapes = draw(st.lists(st.tuples(*[st.sampled_from((1, 2, 3))] * 2), min_size=1, max_size=3))
    chosen = draw(st.lists(steps, min_size=1, max_size=14))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    pool = specials(dtype, (20,))
    inputs = [rng.choice(pool, shape).astype(dtype) for shape in shapes]

    def f(*xs):
        known = list(xs)
        for name, i, j in chosen:
            x, y = known[i % len(known)], known[j % len(known)]
            fits = all(n == m or 1 in (n, m) for n, m in zip(x.shape, y.shape, strict=True))
            known.append(STEPS[name](x, y if fits else x))
        return tuple(known[-4:])

    return graph_of(f, *inputs), inputs


@settings(max_examples=300, deadline=None, derandomize=True)
@given(programs())
@pytest.mark.parametrize("run", [*PASSES.values(), optimise], ids=[*PASSES, "all"])
def test_random_programs_give_the_same_bits(run, example):
    graph, inputs = example
    after = checked(run, graph, *inputs)
    assert len(after.operations) <= len(graph.operations) + names(graph).count("sum")
    assert run(after) is after


@settings(max_examples=40, deadline=None, derandomize=True)
@given(programs())
def test_native_code_of_random_programs_agrees_with_the_reference(example):
    graph, inputs = example
    exact = [name for name in names(graph) if name in {"contract", "sum", "tanh", "sin"}]
    outputs = [np.empty(v.shape, v.dtype) for v in graph.outputs]
    compile_graph(graph, {})(inputs, outputs)
    if not exact:
        same_bits(outputs, graph(*inputs))


@pytest.mark.parametrize("seed", range(12))
def test_derivatives_of_random_programs_give_the_same_bits(seed):
    f, what = program(seed)
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(SHAPE) for _ in range(2)]
    dots = variables([rng.standard_normal(SHAPE) for _ in range(2)])

    def derivatives(v):
        def gradient(v):
            return reverse(f, v, (ONE,))

        return (*f(v), *gradient(v), *forward(gradient, v, dots))

    graph = trace(derivatives, arrays)
    after = checked(optimise, graph, *arrays)
    assert len(after.operations) < len(graph.operations), what
    assert optimise(after) is after


# --- Work -----------------------------------------------------------------------------------------


def calls_of(function, *args):
    """Return how many functions are called meanwhile: a measure of work without a clock."""
    count = 0

    def seen(frame, event, argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(seen)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return count


def chain(x, length):
    for k in range(length):
        x = F.permute_dims(F.reshape(F.negative(-x) * (k % 3 - 1.0), (3, 1, 4)), (1, 0, 2))
        x = F.reshape(F.tanh(x) + F.broadcast_to(F.sin(full(x, 2.0)), x.shape), (3, 4)) / 4.0
    return x


def together(x, length):
    return tuple(F.exp(x) * float(k % 5) + F.sum(F.exp(x)) for k in range(length))


@pytest.mark.parametrize("run", [*PASSES.values(), optimise], ids=[*PASSES, "all"])
@pytest.mark.parametrize("function", [chain, together])
def test_work_grows_with_the_number_of_operations(run, function):
    small, large = (graph_of(lambda x, n=n: function(x, n), np.ones((3, 4))) for n in (100, 400))
    run(small)  # fills the tables of specs and constants
    assert calls_of(run, large) < 4.4 * calls_of(run, small)


def test_passes_stop_when_none_finds_anything(monkeypatch):
    runs = []
    for name, run in PASSES.items():
        monkeypatch.setitem(PASSES, name, lambda g, name=name, run=run: runs.append(name) or run(g))
    once = optimise(graph_of(lambda x: F.sin(F.negative(-x)) + F.sin(x), np.ones(3)))
    assert runs == ["fold", "simplify", "cse", "dce", "fold", "simplify"]
    runs.clear()
    assert optimise(once) is once
    assert runs == list(PASSES)


def test_deep_chains_do_not_recurse():
    graph = graph_of(lambda x: chain(x, 500), np.ones((3, 4)))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        optimise(graph)
    finally:
        sys.setrecursionlimit(limit)


# --- Training steps -------------------------------------------------------------------------------


def training_step(optimizer):
    wg.manual_seed(0)
    model = wg.nn.Sequential(wg.nn.Linear(4, 8), wg.nn.Tanh(), wg.nn.Linear(8, 3))
    rule = optimizer(model.parameters())

    def step(x, y):
        loss = wg.cross_entropy(model(x), y)
        rule.zero_grad()
        loss.backward()
        rule.step()
        return loss

    return wg.compile(step), (wg.randn(6, 4), wg.tensor([0, 1, 2, 0, 1, 2]))


def test_a_training_step_loses_what_derivatives_and_optimisers_repeat():
    step, data = training_step(lambda p: wg.optim.SGD(p, lr=0.1, momentum=0.9))
    before, after = step.graph(*data), step.passes(*data).after
    verify(after)
    assert names(before).count("cast") == 9
    assert names(after).count("cast") == 3  # lr and momentum, each once, and the count of targets
    assert "stop_gradient" not in names(after)
    assert len(after.operations) < 0.75 * len(before.operations)


def test_a_training_step_gives_the_bits_of_the_graph_as_traced():
    step, data = training_step(lambda p: wg.optim.Adam(p, lr=0.01))
    graph = step.graph(*data)
    rng = np.random.default_rng(0)
    inputs = [
        np.abs(rng.standard_normal(v.shape)).astype(v.dtype)
        if v.dtype.kind == "f"
        else rng.integers(0, 3, v.shape)
        for v in graph.inputs
    ]
    checked(optimise, graph, *inputs)


def test_a_product_with_a_hessian_needs_about_half():
    W = wg.randn(4, 3)
    product = wg.compile(lambda x, v: wg.hvp(lambda x: wg.sum(wg.tanh(x @ W) ** 2), x, v))
    report = product.passes(wg.randn(2, 4), wg.randn(2, 4))
    assert len(report.after.operations) <= 0.6 * len(report.before.operations)


def test_graphs_inside_are_simplified():
    f = wg.compile(wg.checkpoint(lambda x: wg.sin(wg.negative(-x)) * 1.0))
    after = f.passes(wg.ones(3)).after
    (op,) = after.operations
    assert names(op.params["graph"]) == ["sin"]


# --- Reports --------------------------------------------------------------------------------------


def test_a_report_tells_what_each_pass_has_changed():
    f = wg.compile(lambda x: wg.sin(wg.negative(-x)) + wg.sin(x))
    report = f.passes(wg.ones(2))
    assert [change.name for change in report.changes] == ["simplify", "cse"]
    assert report.changes[0].before is report.before
    assert report.changes[-1].after is report.after
    head, first, second, blank, graph, *_ = str(report).splitlines()
    assert head == "passes of <lambda>: 5 → 2 operations"
    assert first == "  1 simplify 5 → 3         neg -2"
    assert second == "  1 cse      3 → 2         sin -1"
    assert (blank, graph) == ("", str(report.after).splitlines()[0])
    assert str(report.changes[1]).startswith(
        "after 1 cse      3 → 2         sin -1\ngraph <lambda>("
    )
    assert repr(report) == "<PassReport of <lambda>: simplify, cse>"
    assert f.compilations == ["first call"]


def test_a_report_of_nothing():
    report = wg.compile(wg.sin).passes(wg.ones(2))
    assert report.after is report.before
    assert report.changes == ()
    assert str(report).startswith("passes of sin: 1 → 1 operations\n\ngraph sin(")
    assert repr(report) == "<PassReport of sin: no change>"
    assert isinstance(report, PassReport)


def test_the_environment_asks_for_changes_to_be_printed(monkeypatch, capsys):
    def compiled():
        wg.compile(lambda x: wg.sin(wg.negative(-x)) + wg.sin(x))(wg.ones(2))
        lines = capsys.readouterr().err.splitlines()
        words = [line.split() for line in lines if line.startswith("after")]
        return [w[1][:-1] if w[1].endswith(":") else w[2] for w in words]

    assert compiled() == []
    monkeypatch.setenv("WENGERT_PRINT_PASSES", "all")
    kernels = ["lower", "fuse", "arrange", "place"]
    assert compiled() == ["simplify", "cse", *kernels]
    monkeypatch.setenv("WENGERT_PRINT_PASSES", "fold,cse")
    assert compiled() == ["cse"]
    monkeypatch.setenv("WENGERT_PRINT_PASSES", "cse,fused")
    with pytest.raises(
        ValueError, match=r"WENGERT_PRINT_PASSES: there is no pass .fused.; give all or"
    ):
        compiled()

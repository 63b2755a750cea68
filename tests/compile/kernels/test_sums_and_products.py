"""Reductions and matrix products of all shapes: how exact they are, and always the same bits."""

from __future__ import annotations

import ast
import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest

import wengert
import wengert as wg
from tests.compile.programs import F, compiled, graph_of, reference, same_bits, shared_finely
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels import panels
from wengert.compile.kernels import rows as rows_alone
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.reduce import Reduce
from wengert.compile.lowering import rounds
from wengert.compile.lowering.pipeline import prepare
from wengert.compile.native import translate
from wengert.compile.native.codegen import generate
from wengert.compile.native.executable import compile_graph
from wengert.compile.plan import make_plan

pytestmark = pytest.mark.usefixtures("any_processor")

RNG = np.random.default_rng(11)
MACHINES = (
    Machine(16, 16, False, False),
    Machine(16, 32, True, False),
    Machine(32, 16, True, False),
    Machine(64, 32, True, True),
)
floats = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def shared_and_whole(graph, inputs, monkeypatch):
    """Return the outputs, which must not depend on how the work is cut and shared."""
    whole = compiled(graph, inputs)
    with monkeypatch.context() as patch:
        shared_finely(patch)
        same_bits(compiled(graph, inputs, threads=2), whole)
    return whole


@floats
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1,), 0),
        ((15,), 0),
        ((16,), 0),
        ((1023,), 0),
        ((1024,), 0),
        ((1025,), 0),
        ((200_003,), 0),
        ((3, 5000), 1),
        ((5000, 3), 0),
        ((5000, 33), 0),
        ((70, 3, 90), (0, 2)),
        ((7, 2000, 5), 1),
        ((40, 50, 60), None),
        ((2, 3, 4, 5), (1, 3)),
    ],
)
def test_sums_are_as_exact_as_their_tree_is_deep(shape, axis, dtype, monkeypatch):
    x = RNG.standard_normal(shape).astype(dtype)
    graph = graph_of(lambda v: (F.sum(v, axis=axis), F.max(v, axis=axis)), x)
    total, top = shared_and_whole(graph, [x], monkeypatch)
    np.testing.assert_array_equal(top, np.max(x, axis=axis))
    wide = x.astype(np.longdouble)
    # At most 1024 terms are added one after the other, and that at most three times over.
    depth = min(x.size // max(total.size, 1), 1100)
    bound = depth * np.finfo(dtype).eps * np.abs(wide).sum(axis=axis)
    assert np.all(np.abs(total - wide.sum(axis=axis)) <= bound)


def test_sums_of_a_transposed_array(monkeypatch):
    x = RNG.standard_normal((50, 40, 30))

    def f(v):
        turned = F.permute_dims(v, (2, 0, 1))
        return F.sum(turned, axis=0), F.sum(turned, axis=(0, 2)), F.argmax(turned, axis=1)

    found = shared_and_whole(graph_of(f, x), [x], monkeypatch)
    turned = x.transpose(2, 0, 1)
    np.testing.assert_allclose(found[0], turned.sum(axis=0), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found[1], turned.sum(axis=(0, 2)), rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(found[2], turned.argmax(axis=1))


def test_a_chunk_of_one_result_is_summed_as_the_others(monkeypatch):
    x = RNG.standard_normal((64, 17)).astype(np.float32)
    graph = graph_of(lambda v: (F.sum(v * v, axis=0), v - F.sum(v, axis=0)), x)
    shared_and_whole(graph, [x], monkeypatch)


@floats
@pytest.mark.parametrize("length", range(2, 34))
def test_lanes_that_are_not_in_use_make_no_nan(length, dtype):
    """0 / 0 there is no term of the sum."""
    x = np.arange(1, 5 * length + 1, dtype=dtype).reshape(5, length)

    def f(x):
        y = x + 1.0
        return F.sum(x / y, axis=1), F.sum((x - y) / (x + y), axis=1), F.max(F.log(x / y), axis=1)

    graph = graph_of(f, x)
    for found, wanted in zip(compiled(graph, [x]), reference(graph, [x]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


@floats
@pytest.mark.parametrize("rows", [65, 75])
@pytest.mark.parametrize("length", [2, 3, 5, 8, 10, 16, 23, 64, 300])
def test_rows_reduced_together_have_the_bits_of_rows_alone(length, rows, dtype, monkeypatch):
    x = RNG.standard_normal((rows, length)).astype(dtype)
    x[3, 1], x[40:, length // 2], x[50, 0] = np.nan, 7.0, np.inf

    def f(x):
        values = F.sum(x, axis=1), F.max(x, axis=1), F.argmin(x, axis=1), F.prod(x, axis=1)
        blocks = F.reshape(x, (5, rows // 5, length))
        more = F.max(F.greater(x, 2.0), axis=1), F.max(F.permute_dims(blocks, (1, 0, 2)), axis=2)
        return (
            *values,
            *more,
            F.sum(x, axis=1) + F.getitem(x, (slice(None), 0)),
            F.logsumexp(x, axis=1),
        )

    graph = graph_of(f, x)
    together = shared_and_whole(graph, [x], monkeypatch)
    monkeypatch.setattr(rows_alone, "FEW", 1 << 20)
    same_bits(together, compiled(graph, [x]))


@pytest.mark.parametrize(
    ("shape", "asked"), [((10_000, 54), True), ((100, 54), False), ((10_000, 300), False)]
)
def test_short_rows_of_large_arrays_are_asked_for_ahead(shape, asked):
    x = np.empty(shape, np.float32)
    program = prepare(graph_of(lambda x: F.sum(x, axis=1), x), {}, MACHINES[-1])
    module, _ = generate(program.phases, 2, MACHINES[-1], "", None)
    assert ("llvm.prefetch" in module.text()) == asked


def test_lanes_are_what_is_neighbours_in_most_of_what_is_read():
    x = RNG.standard_normal((3000, 54)).astype(np.float32)
    y, z = x[:, 0].copy(), x[0].copy()

    def by_rows(spec, x, y):
        program = prepare(graph_of(lambda x, y: F.contract(spec, x, y), x, y), {}, MACHINES[-1])
        return {k.by_rows for k in program.kernels if isinstance(k, Reduce)}

    assert by_rows("ab,a->b", x, y) == {False}
    assert by_rows("ab,b->a", x, z) == {True}


@pytest.mark.parametrize("shape", [(64, 17), (2500, 3), (3000, 54), (1025, 2)])
def test_a_vector_times_a_matrix_is_summed_alike_in_all_chunks(shape, monkeypatch):
    x = RNG.standard_normal(shape).astype(np.float32)
    y = RNG.standard_normal(shape[0]).astype(np.float32)
    graph = graph_of(lambda x, y: F.contract("ab,a->b", x, F.tanh(y)), x, y)
    (found,) = shared_and_whole(graph, [x, y], monkeypatch)
    wanted = np.tanh(y) @ x.astype(np.float64)
    bound = 1100 * np.finfo(np.float32).eps * (np.abs(np.tanh(y)) @ np.abs(x))
    assert np.all(np.abs(found - wanted) <= bound)


def test_the_place_of_a_maximum_among_many(monkeypatch):
    x = RNG.integers(0, 50, (3, 4000)).astype(np.float64)
    graph = graph_of(lambda v: (F.argmax(v, axis=1), F.argmin(v), F.argmax(v, axis=0)), x)
    rows, least, columns = shared_and_whole(graph, [x], monkeypatch)
    np.testing.assert_array_equal(rows, x.argmax(axis=1))
    np.testing.assert_array_equal(least, x.argmin())
    np.testing.assert_array_equal(columns, x.argmax(axis=0))


def check_product(x, y, z):
    """Check a product against the bound for sums of products in any order."""
    depth, eps = x.shape[-1], np.finfo(x.dtype).eps
    wanted = x.astype(np.longdouble) @ y.astype(np.longdouble)
    bound = (depth + 1) * eps * (np.abs(x).astype(np.longdouble) @ np.abs(y))
    assert np.all(np.abs(z - wanted) <= bound)


@floats
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.vector_bytes}x{m.registers}")
def test_products_of_all_shapes(machine, dtype, monkeypatch):
    monkeypatch.setattr(translate, "machine", lambda: machine)
    shapes = itertools.product((4, 6, 12, 13, 29), (1, 2, 31), (4, 8, 10, 16, 33, 70))
    cases = [*shapes, (1, 40, 50), (50, 40, 1), (3, 7, 64), (2, 0, 5), (5, 0, 8)]
    xs = [RNG.standard_normal((m, k)).astype(dtype) for m, k, _ in cases]
    ys = [RNG.standard_normal((k, n)).astype(dtype) for _, k, n in cases]

    def f(*operands):
        pairs = zip(operands[: len(cases)], operands[len(cases) :], strict=True)
        return tuple(F.matmul(x, y) for x, y in pairs)

    graph = graph_of(f, *xs, *ys)
    for x, y, z in zip(xs, ys, compiled(graph, [*xs, *ys]), strict=True):
        check_product(x, y, z)


def test_every_cut_and_tile_gives_the_same_bits(monkeypatch):
    x, y = RNG.standard_normal((130, 75)), RNG.standard_normal((75, 90))
    graph = graph_of(F.matmul, x, y)
    (wanted,) = shared_and_whole(graph, [x, y], monkeypatch)
    check_product(x, y, wanted)
    for machine in MACHINES[1:]:
        monkeypatch.setattr(translate, "machine", lambda machine=machine: machine)
        same_bits(compiled(graph, [x, y]), compiled(graph, [x, y], threads=2))
    found = []
    for registers, nbytes in itertools.product((4, 13, 32), (16, 32, 64)):
        fused = Machine(nbytes, registers, True, False)
        monkeypatch.setattr(translate, "machine", lambda fused=fused: fused)
        found.append(compiled(graph, [x, y]))
    for other in found[1:]:
        same_bits(other, found[0])


@pytest.mark.parametrize("terms", [255, 256, 259, 1000])
@pytest.mark.parametrize("spec", ["ka,kb->ab", "ak,kb->ba", "kna,knb->ab", "kan,knb->ab"])
def test_products_of_many_terms_are_sums_of_blocks(spec, terms, monkeypatch):
    monkeypatch.setattr(rounds, "LONGEST", 32)
    lengths = {"k": terms, "n": 3, "a": 5, "b": 7}
    left, right = spec.split("->")[0].split(",")
    x, y = (RNG.standard_normal([lengths[a] for a in labels]) for labels in (left, right))
    graph = graph_of(lambda x, y: F.tanh(F.contract(spec, x, y) / terms), x, y)
    (found,) = shared_and_whole(graph, [x, y], monkeypatch)
    np.testing.assert_allclose(found, np.tanh(np.einsum(spec, x, y) / terms), rtol=1e-11)
    kernels = prepare(graph, {}, MACHINES[-1]).kernels
    counts = [math.prod(k.inner) for k in kernels if isinstance(k, Product)]
    one_axis = spec != "kan,knb->ab"  # k and n are one axis of one factor only
    in_blocks = one_axis and math.prod(lengths[a] for a in left if a != "a") >= 256
    assert (max(counts) <= 32) == in_blocks


def test_large_results_are_not_sums_of_blocks():
    x, y = np.empty((9000, 400), np.float32), np.empty((9000, 300), np.float32)
    kernels = prepare(graph_of(lambda x, y: F.contract("ka,kb->ab", x, y), x, y), {}, MACHINES[-1])
    (made,) = [k for k in kernels.kernels if isinstance(k, Product)]
    assert made.inner == (9000,)


@floats
@pytest.mark.parametrize("turned", ["", "x", "y", "xy"])
@pytest.mark.parametrize("shape", [(70, 75, 90), (65, 40, 33), (131, 200, 16), (20, 1, 40)])
def test_panels_change_no_bit(shape, turned, dtype, monkeypatch):
    rows, inner, columns = shape
    x = RNG.standard_normal((inner, rows) if "x" in turned else (rows, inner)).astype(dtype)
    y = RNG.standard_normal((columns, inner) if "y" in turned else (inner, columns)).astype(dtype)

    def f(x, y):
        left = F.permute_dims(x, (1, 0)) if "x" in turned else x
        right = F.permute_dims(y, (1, 0)) if "y" in turned else y
        return F.tanh(F.matmul(left, right))

    graph = graph_of(f, x, y)
    found = []
    for least, strip, chunk in (
        (1 << 40, 0, 0),  # as they are
        (1, 1 << 20, 1 << 20),  # some panels together
        (1, 1 << 20, 20),  # by several chunks of rows
        (1, 4096, 20),  # in blocks of terms, with sums that are kept aside
    ):
        monkeypatch.setattr(panels, "PAGE", 1 << 20 if strip else 16)  # tiles of any or of few rows
        monkeypatch.setattr(panels, "ROWS", least)
        monkeypatch.setattr(panels, "FEW", least)
        monkeypatch.setattr(panels, "FAR", 0)
        monkeypatch.setattr(panels, "STRIP", strip)
        monkeypatch.setattr(panels, "WIDE_STRIP", strip)
        monkeypatch.setattr(panels, "CHUNK", chunk)
        monkeypatch.setattr(panels, "NEAR_CHUNK", chunk)
        monkeypatch.setattr(panels, "SUMS", 1 << 15)
        monkeypatch.setattr(panels, "PACKED", chunk << 10)  # one row of tiles, some, or all
        found.append(shared_and_whole(graph, [x, y], monkeypatch))
    for other in found[1:]:
        same_bits(other, found[0])


@pytest.mark.parametrize(
    "shape",
    [(20000, 100, 16), (20000, 100, 64), (20000, 600, 64), (20000, 100, 300), (1500, 900, 300)],
)
def test_copies_take_little_memory(shape, monkeypatch):
    monkeypatch.setattr(rounds, "BLOCKS", 1 << 20)  # terms in one block, however many
    terms, rows, columns = shape
    x, y = np.empty((terms, rows), np.float32), np.empty((terms, columns), np.float32)
    graph = graph_of(lambda x, y: F.matmul(F.permute_dims(x, (1, 0)), y), x, y)
    plan = make_plan(graph, {})
    whole = 1.1 * max(x.nbytes, y.nbytes)
    assert plan.scratch_bytes <= min(whole, panels.WIDE_STRIP) + panels.STRIP
    assert plan.scratch_bytes > 0 or columns < panels.ROWS


def test_large_products_run_in_threads_with_small_stacks():
    x, y = np.ones((600, 600), np.float32), np.ones((600, 600), np.float32)
    graph = graph_of(lambda x, y: F.contract("ji,kj->ik", x, y), x, y)
    executable, z = compile_graph(graph, {}), np.empty((600, 600), np.float32)
    before = threading.stack_size(1 << 17)
    try:
        thread = threading.Thread(target=executable, args=([x, y], [z]))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert executable.scratch_bytes > 1 << 17
    assert np.all(z == 600)


@pytest.mark.parametrize(
    "spec",
    [
        "nab,nbc->nac",
        "abn,bcn->nca",
        "ab,cb->ca",
        "nab,bcd->ndca",
        "abc,abc->b",
        "ab,b->a",
        "a,ab->b",
    ],
)
def test_contractions_of_permuted_operands(spec, monkeypatch):
    lengths = dict(zip("abcdn", (9, 11, 8, 5, 3), strict=True))
    left, right = spec.split("->")[0].split(",")
    x, y = (RNG.standard_normal([lengths[a] for a in labels]) for labels in (left, right))
    graph = graph_of(lambda v, w: F.contract(spec, v, w), x, y)
    (found,) = shared_and_whole(graph, [x, y], monkeypatch)
    np.testing.assert_allclose(found, np.einsum(spec, x, y), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("turned", ["", "x", "y", "xy"])
def test_products_of_no_terms_are_zero(turned):
    x = np.ones((0, 100) if "x" in turned else (100, 0))
    y = np.ones((50, 0) if "y" in turned else (0, 50))

    def f(x, y):
        left = F.permute_dims(x, (1, 0)) if "x" in turned else x
        right = F.permute_dims(y, (1, 0)) if "y" in turned else y
        return F.matmul(left, right) + 1.0

    same_bits(compiled(graph_of(f, x, y), [x, y]), [np.ones((100, 50))])


def test_only_one_module_imports_llvmlite():
    folder = Path(wengert.__file__).parent
    users = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "llvmlite" for name in names):
                users.add(path.relative_to(folder).as_posix())
    assert users == {"compile/emit/llvm.py"}


@pytest.mark.parametrize("n", [3, 20, 130])
def test_factors_that_are_not_in_memory_are_copied_without_repetition(n):
    x = RNG.standard_normal((n, n))

    @wg.compile
    def f(x):
        half = wg.full((n, n), 0.5, dtype=wg.float64)
        counted = wg.broadcast_to(wg.arange(n, dtype=wg.float64), (n, n))
        return [a @ b for o in (half, counted) for a, b in ((x, o), (o, x), (o, o))]

    half, counted = np.full((n, n), 0.5), np.broadcast_to(np.arange(n, dtype=float), (n, n))
    pairs = [pair for o in (half, counted) for pair in ((x, o), (o, x), (o, o))]
    for (left, right), z in zip(pairs, f(wg.tensor(x)), strict=True):
        check_product(left, right, z.numpy())
    assert all(math.prod(kernel.shape) <= n * n for kernel in f.plan(wg.tensor(x)).kernels)

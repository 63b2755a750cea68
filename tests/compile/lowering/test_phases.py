"""Phases: few of them, and nothing in one of them that waits for, or disturbs, something else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import wengert as wg
from tests.compile.programs import F, compiled, graph_of, reference, same_bits, shared_finely
from tests.compile.test_random_graphs import programs
from tests.compile.test_training_steps import Training, adam, sgd
from wengert.compile.emit.arrays import Buffer, dense
from wengert.compile.emit.llvm import machine
from wengert.compile.lowering import phases, rounds
from wengert.compile.lowering.narrow import (
    Access,
    accesses,
    aligned,
    cuttable,
    place_of,
    steps,
)
from wengert.compile.lowering.phases import schedule
from wengert.compile.lowering.pipeline import prepare
from wengert.passes.pipeline import optimise

RNG = np.random.default_rng(11)


def places(view, move=0):
    """Return the addresses of all bytes of a view: memory and place in it."""
    offsets = np.array([view.offset])
    for n, s in zip(view.shape, view.strides, strict=True):
        offsets = (offsets[:, None] + np.arange(n) * s).ravel()
    home = view.base.home
    start = offsets * view.dtype.itemsize + home.offset + move
    return {(home.slot, b) for a in start.tolist() for b in range(a, a + view.dtype.itemsize)}


def touched(kernel, moves, by):
    """Return what is read and what is written by a kernel that is moved `by` places."""
    read, written = set(), set()
    for x, _, is_written in accesses(kernel, -1):
        found = places(x, moves.get(place_of(x), 0) * by)
        (written if is_written else read).update(found)
    return read, written


def items(chain):
    """Yield what each work item of a chain reads and writes: (read, written)."""
    grid = chain.grid
    if len(chain.kernels) == 1 or grid is None:
        parts = [[(kernel, {}, 0) for _, kernel in chain.kernels]]
    else:
        parts = []
        for start in range(0, grid.length, grid.step):
            length = min(grid.step, grid.length - start)
            found = chain.parts(start, length)
            parts.append([(kernel, steps(kernel, walk.axis), at) for kernel, walk, at in found])
    for part in parts:
        sets = [touched(*entry) for entry in part]
        yield set().union(*(r for r, _ in sets)), set().union(*(w for _, w in sets))


def check(program):
    """Assert that no item of a phase touches what another item of it writes."""
    count = 0
    for phase in program.phases:
        found = [item for chain in phase for item in items(chain)]
        for (read, written), (other_read, other_written) in itertools.combinations(found, 2):
            assert not written & (other_read | other_written)
            assert not other_written & read
        count += len(found)
    return count


def spans(program):
    """Return the spans by which kernels go along the cuts of their chains."""
    chains = [c for phase in program.phases for c in phase if c.grid and len(c.kernels) > 1]
    return {walk.span for c in chains for walk in c.cuts[0].walks.values()}


@pytest.mark.parametrize("longest", [rounds.LONGEST, 4])
def test_no_item_of_a_phase_touches_what_another_writes(longest, monkeypatch):
    shared_finely(monkeypatch)
    monkeypatch.setattr(rounds, "LONGEST", longest)
    shared = []

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(programs())
    def examine(program):
        graph, _, aliases = program
        lowered = prepare(graph, aliases, machine())
        shared.append(check(lowered) > len(lowered.phases))

    examine()
    assert sum(shared) > len(shared) / 2


def read_beside(x):
    y = F.cumulative_sum(x, axis=1)
    total = F.sum(y)
    columns = F.sum(y * total, axis=0)
    z = y + total
    return columns, F.sum(z * z, axis=1), F.matmul(z, x)


def read_across(x):
    y = F.cumulative_sum(x, axis=1)
    columns = F.expand_dims(F.sum(y, axis=0), 1)
    z = y + columns
    return F.sum(z * z, axis=1), F.matmul(z, x)


@pytest.mark.parametrize("function", [read_beside, read_across])
def test_what_other_items_read_is_not_overwritten(function, monkeypatch):
    shared_finely(monkeypatch)
    x = RNG.integers(-3, 4, (48, 48)).astype(np.float64)
    graph = graph_of(function, x)
    assert check(prepare(graph, {}, machine())) > 2
    same_bits(compiled(graph, [x], 3), reference(graph, [x]))


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_no_item_of_a_training_step_touches_what_another_writes(optimizer, monkeypatch):
    shared_finely(monkeypatch)
    training = Training(F.relu, "cross_entropy", optimizer, np.float32)
    program = prepare(training.graph, training.aliases, machine())
    assert check(program) > len(program.phases)


def logistic(w, x, y):
    """Return the loss of logistic regression and its slope, which read `x` once each."""
    z = F.matmul(x, w)
    residual = F.sigmoid(z) - y
    return F.sum(F.softplus(z) - y * z), F.matmul(F.permute_dims(x, (1, 0)), residual)


def softmax(w, x, y):
    """Return the share of each class, less its target, and what weights have to do with it."""
    residual = F.softmax(F.matmul(x, w), axis=1) - y
    return F.sum(residual, axis=0), F.matmul(F.permute_dims(x, (1, 0)), residual)


def scaled(w, x, y):
    """Return blocks that are scaled by their sums, and the sum of each of their rows."""
    blocks = F.reshape(x, (x.shape[0] // 16, -1))
    wide = F.tanh(F.sum(blocks, axis=1, keepdims=True)) * blocks
    return wide, F.softmax(F.reshape(wide, x.shape), axis=1) * F.sum(w), F.sum(y)


@pytest.mark.parametrize("rows", [16, 31, 160, 163, 500])
@pytest.mark.parametrize("columns", [1, 3, 7])
@pytest.mark.parametrize("function", [logistic, softmax, scaled])
def test_blocks_of_rows_share_a_phase_with_the_rows(function, rows, columns, monkeypatch):
    rows = rows // 16 * 16 if function is scaled else rows
    shared_finely(monkeypatch)
    monkeypatch.setattr(rounds, "LONGEST", 16)
    given = [RNG.standard_normal(shape) for shape in ((5, columns), (rows, 5), (rows, columns))]
    graph = graph_of(function, *given)
    program = prepare(optimise(graph), {}, machine())
    check(program)
    assert (spans(program) > {1}) == (rows > 32)
    one = compiled(graph, given)
    for found, wanted in zip(one, reference(graph, given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
    for threads in (2, 3, 4):
        same_bits(compiled(graph, given, threads), one)


def test_a_gradient_reads_its_data_while_it_is_near():
    shapes = (54, 1), (100_000, 54), (100_000, 1)
    graph = graph_of(logistic, *(np.zeros(shape, np.float32) for shape in shapes))
    program = prepare(optimise(graph), {}, machine())
    data = program.inputs[1].buffer
    readers = [
        [kernel for _, kernel in chain.kernels if data in {x.buffer for x in kernel.reads}]
        for phase in program.phases
        for chain in phase
    ]
    assert len(program.phases) == 2
    first, *rest = readers
    assert len(first) == 2
    assert sum(map(len, rest)) == 0  # no rows are left over
    grid = program.phases[0][0].grid
    assert grid.step * 54 * 4 < 2 * phases.NEAR


def test_the_bits_of_random_graphs_do_not_depend_on_the_number_of_threads(monkeypatch):
    shared_finely(monkeypatch)
    monkeypatch.setenv("WENGERT_CACHE", "0")

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(programs())
    def examine(program):
        graph, inputs, aliases = program
        names = {f"o{output}": source for output, source in aliases.items()}
        one = compiled(graph, inputs, 1, **names)
        for threads in (2, 3, 4):
            same_bits(compiled(graph, inputs, threads, **names), one)

    examine()


def training_step(widths, batch, loss):
    """Return the program of a step of gradient descent."""
    layers = []
    for n, m in itertools.pairwise(widths):
        layers += [wg.nn.Linear(n, m), wg.nn.ReLU()]
    model = wg.nn.Sequential(*layers[:-1])
    optimizer = wg.optim.SGD(model.parameters(), lr=0.1)

    @wg.compile
    def step(x, y):
        value = loss(model(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value

    x = wg.tensor(RNG.standard_normal((batch, widths[0])).astype(np.float32))
    y = wg.tensor(RNG.standard_normal((batch, widths[-1])).astype(np.float32))
    if loss is wg.cross_entropy:
        y = wg.tensor(RNG.integers(0, widths[-1], batch))
    return step.plan(x, y)


@pytest.mark.parametrize("loss", [wg.mse_loss, wg.cross_entropy], ids=["mse", "cross_entropy"])
def test_a_training_step_needs_few_phases_and_two_more_for_every_six_layers(loss):
    assert training_step((128, 256, 128, 10), 128, loss).phases <= 4
    for layers in (15, 30, 60):
        phases = training_step((64,) * layers + (10,), 128, loss).phases
        assert 2 * layers / 6 <= phases <= 2 * layers / 6 + 3


def test_cotangents_do_not_wait_for_the_gradients_of_all_weights():
    layers, batch = 30, 128
    plan = training_step((64,) * layers + (10,), batch, wg.mse_loss)
    one = batch * 64 * 4  # the output of a layer
    assert plan.arena_bytes < (layers + 14) * one


def test_small_programs_have_one_phase():
    assert training_step((2, 2, 2), 1, wg.mse_loss).phases == 1


def test_elementwise_chains_share_a_phase_and_transposes_do_not():
    x = RNG.standard_normal((600, 600))

    def chain(x):
        return F.tanh(x - F.sum(x, axis=1, keepdims=True))

    program = prepare(graph_of(chain, x), {}, machine())
    assert len(program.kernels) == 2
    assert len(program.phases) == 1

    def across(x):
        y = F.sum(x, axis=1, keepdims=True)
        return F.tanh(x - y * F.permute_dims(y, (1, 0)))

    program = prepare(graph_of(across, x), {}, machine())
    assert len(program.phases) == 2


def test_a_sum_over_rows_is_cut_into_rows_rather_than_columns():
    x = RNG.standard_normal((20_000, 54)).astype(np.float32)
    program = prepare(graph_of(lambda x: F.sum(x, axis=0), x), {}, machine())
    blocks = program.kernels[0]
    assert blocks.shape == (54, 25)  # of 800 rows
    assert cuttable(blocks) == [1]
    assert cuttable(program.kernels[-1]) == [0]  # which has no other axis


def test_what_is_read_must_be_what_the_same_chunk_wrote():
    wide = dense(Buffer(8 * 64 * 64), (64, 64), np.dtype(np.float64))

    def view(shape, strides, offset, axis, written=False):
        return Access(wide.with_axes(shape, strides, offset), axis, written)

    target = view((64, 64), (64, 1), 0, 0, True)
    assert aligned(target, view((64, 64), (64, 1), 0, 0))
    assert aligned(target, view((64, 64), (1, 64), 0, 1))
    assert aligned(target, view((64, 32), (64, 2), 1, 0))
    assert not aligned(target, view((64, 64), (64, 1), 0, 1))
    assert not aligned(target, view((64, 64), (1, 64), 0, 0))
    assert not aligned(target, view((64, 64), (64, 0), 64, 0))
    assert not aligned(target, view((64, 64), (-64, 1), 63 * 64, 0))
    assert not aligned(target, view((64, 64), (0, 1), 0, 0))
    columns = view((64, 64), (64, 1), 0, 1, True)
    assert aligned(columns, view((64, 64), (1, 64), 0, 0))
    assert not aligned(columns, view((63, 64), (64, 1), 1, 1))


def test_blocks_of_places_meet_the_places():
    rows = dense(Buffer(8 * 70 * 4), (70, 4), np.dtype(np.float64))

    def view(shape, strides, offset=0, axis=0):
        return Access(rows.with_axes(shape, strides, offset), axis, False)

    written = Access(rows, 0, True)
    blocks = view((4, 16, 4), (64, 4, 1))
    assert aligned(written, blocks, 1, 16)
    assert aligned(blocks, written, 16, 1)
    assert not aligned(written, blocks, 1, 8)
    assert not aligned(written, blocks)
    assert not aligned(written, view((4, 17, 4), (64, 4, 1)), 1, 16)  # reaches into the next
    assert not aligned(written, view((4, 16, 4), (64, 4, 1), 4), 1, 16)
    assert not aligned(written, view((4, 16, 4), (64, 4, 1), 64), 1, 16)
    assert aligned(blocks, view((2, 32, 4), (128, 4, 1)), 16, 32)
    assert not aligned(written, view((4, 16, 4), (64, 4, 1), axis=1), 1, 16)


def test_a_program_without_kernels_has_no_phases():
    assert schedule([]) == []


def test_square_arrays_do_not_double_the_ways_to_cut_with_each_chain():
    together = phases.Chain([], [], 0)
    for _ in range(30):
        chain = phases.Chain([], [phases.Cut(16, {}), phases.Cut(16, {})], 1)
        together = phases._side_by_side(together, chain) if together.cuts else chain
        assert 2 <= len(together.cuts) <= 16


@pytest.mark.parametrize(("rows", "even"), [(1600, True), (1616, False)])
def test_chunks_are_of_one_length_where_that_can_be(rows, even):
    x = RNG.standard_normal((rows, 600))
    program = prepare(
        graph_of(lambda x: F.tanh(x - F.sum(x, axis=1, keepdims=True)), x), {}, machine()
    )
    ((chain,),) = program.phases
    assert chain.grid.chunks >= 8
    assert (chain.grid.length % chain.grid.step == 0) is even


def test_kernels_that_share_no_long_axis_do_not_share_a_chain():
    x = RNG.standard_normal((64, 6, 14, 14)).astype(np.float32)
    w = RNG.standard_normal((16, 6, 5, 5)).astype(np.float32)

    def f(x, w):
        return F.max_pool2d(F.relu(F.conv2d(x, w)), 2)

    program = prepare(graph_of(f, x, w), {}, machine())
    chains = [chain for phase in program.phases for chain in phase]
    for chain in chains:
        if chain.work >= 16 * phases.grid.GRAIN:
            own = chain.kernels[0][1].grid.chunks if len(chain.kernels) == 1 else 1
            assert own > 1 or chain.grid is not None

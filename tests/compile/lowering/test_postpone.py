"""Phases that need less memory: what is moved, what stays, and the order that is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.compile.programs import F, compiled, graph_of, reference, same_bits, shared_finely
from tests.compile.test_random_graphs import programs
from wengert.compile.emit.llvm import machine
from wengert.compile.kernels.check import Check
from wengert.compile.lowering import memory, phases, postpone
from wengert.compile.lowering.narrow import accesses, extent, memory_of
from wengert.compile.lowering.pipeline import prepare
from wengert.passes.pipeline import optimise

RNG = np.random.default_rng(5)
N = 48


def draw(*shape):
    return RNG.integers(-2, 3, shape).astype(np.float64)


def as_early_as_possible(monkeypatch):
    monkeypatch.setattr(phases, "postponed", lambda phases, followers: phases)


def phase_by_phase(x, w):
    """Return what is made by products of rows and of columns in turn: each waits for the other."""
    for _ in range(3):
        x = F.relu(F.matmul(w, F.relu(F.matmul(x, w))))
    return x


def sum_at_the_end(x, w, wide):
    """Return a sum, one part of which could be made at once, while memory is short."""
    early = F.matmul(w, x)
    x = F.matmul(F.tanh(F.matmul(x, wide)), F.permute_dims(wide, (1, 0)))
    return F.sum(F.matmul(phase_by_phase(x, w), w) * early, axis=0)


def makers(program, function):
    """Return the numbers of the phases of the kernels of which `function` is true."""
    return [
        number
        for number, phase in enumerate(program.phases)
        for chain in phase
        for _, kernel in chain.kernels
        if function(kernel)
    ]


def test_what_is_read_late_is_made_late(monkeypatch):
    shared_finely(monkeypatch)
    graph = graph_of(sum_at_the_end, draw(N, N), draw(N, N), draw(N, 4 * N))
    late = prepare(graph, {}, machine())
    as_early_as_possible(monkeypatch)
    early = prepare(graph, {}, machine())
    assert late.arena_bytes <= early.arena_bytes - N * N * 8
    assert len(late.phases) <= len(early.phases)


def test_what_lets_memory_go_is_not_postponed(monkeypatch):
    """A sum over an array that nobody else reads later is made at once."""
    shared_finely(monkeypatch)

    def f(x, w):
        total = F.sum(F.relu(F.matmul(x, w)), axis=0)
        return F.matmul(phase_by_phase(x, w), w) + total

    graph = graph_of(f, draw(N, N), draw(N, N))
    late = prepare(graph, {}, machine())
    as_early_as_possible(monkeypatch)
    early = prepare(graph, {}, machine())
    assert str(late) == str(early)


def test_long_sequences_have_a_phase_each(monkeypatch):
    shared_finely(monkeypatch)
    inputs = draw(N, N), draw(N, N)

    def f(x, w):
        return F.matmul(F.permute_dims(x, (1, 0)), w), F.matmul(x, F.permute_dims(w, (1, 0)))

    graph = graph_of(f, *inputs)
    assert len(prepare(graph, {}, machine()).phases) == 1
    monkeypatch.setattr(postpone, "LONG", 1)
    assert len(prepare(graph, {}, machine()).phases) == 2
    same_bits(compiled(graph, inputs, 2), reference(graph, inputs))


def test_checks_are_not_postponed():
    """Until they are over, the memory of what a failure leaves alone is nobody's to use."""

    def f(x, w, rows):
        found = F.cumulative_sum(rows)  # made with the check, and read at the end
        return F.take(phase_by_phase(x, w), found, axis=0)

    graph = graph_of(f, draw(160, 160), draw(160, 160), RNG.integers(0, 2, 160))
    program = prepare(graph, {}, machine())
    assert makers(program, lambda kernel: isinstance(kernel, Check)) == [0]
    assert len(program.phases) > 3


@pytest.mark.parametrize("long", [postpone.LONG, 1])
def test_all_that_a_kernel_needs_is_there(long, monkeypatch):
    shared_finely(monkeypatch)
    monkeypatch.setattr(postpone, "LONG", long)
    monkeypatch.setattr(memory, "take_over", lambda phases: None)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(programs())
    def examine(program):
        graph, _, aliases = program
        lowered = prepare(optimise(graph), aliases, machine())
        place = {
            number: (when, chain)
            for when, phase in enumerate(lowered.phases)
            for chain in phase
            for number, _ in chain.kernels
        }
        kernels = sorted(
            (item for phase in lowered.phases for chain in phase for item in chain.kernels),
            key=lambda item: item[0],
        )
        for i, (later, kernel) in enumerate(kernels):
            for earlier, other in kernels[:i]:
                if place[earlier][1] is not place[later][1] and disturbs(other, kernel):
                    assert place[earlier][0] < place[later][0]

    examine()


def disturbs(kernel, other):
    """Tell whether one of two kernels writes what the other one touches."""
    for x in accesses(kernel, -1):
        for y in accesses(other, -1):
            if (x.written or y.written) and memory_of(x.view) == memory_of(y.view):
                (a, b), (c, d) = extent(x.view), extent(y.view)
                if a < d and c < b:
                    return True
    return False

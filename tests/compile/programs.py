"""Making graphs, running them as native code and by NumPy, and comparing what comes out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.ops.running import outputs, public_functions, trace
from wengert.compile.emit.arrays import Buffer
from wengert.compile.kernels import grid
from wengert.compile.lowering.lower import Program
from wengert.compile.native.executable import Executable, compile_graph
from wengert.graph.graph import Graph, evaluate
from wengert.graph.primitive import Primitive, Sample
from wengert.graph.tracing import Trace
from wengert.graph.variable import Variable

Array = Any

F = public_functions()
"""The functions of `wengert.ops`, on variables."""


def graph_of(function: Callable[..., Any], *arrays: Array) -> Graph:
    """Return the graph of ``function(*variables)``, which gives a variable or several."""

    def f(xs: tuple[Variable, ...]) -> Any:
        found = function(*xs)
        return found if isinstance(found, tuple) else (found,)

    return trace(f, arrays)


def samples_graph(primitive: Primitive, samples: Sequence[Sample]) -> tuple[Graph, list[Array]]:
    """Return one graph that applies the primitive to every sample, and its inputs."""
    arrays = [np.array(a, order="C") for s in samples for a in s.inputs]
    with Trace("samples") as context:
        inputs = [context.new_input(Variable(a).aval) for a in arrays]
        rest = iter(inputs)
        made = [
            y for s in samples for y in outputs(primitive, [next(rest) for _ in s.inputs], s.params)
        ]
        return Graph(inputs, made, primitive.name), arrays


def poisoned(executable: Executable) -> Executable:
    """Fill its memory with NaN, so that reading what was never written shows."""
    executable._arena[:] = executable._scratch[:] = 0xFF
    return executable


def filled(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an array all of whose bits are set: NaN."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.full(size, 0xFF, np.uint8).view(dtype).reshape(shape)


def run(executable: Executable, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Call on fresh arrays: copies of the inputs, outputs full of NaN."""
    given = [np.array(a, order="C") for a in inputs]
    aliases = executable._aliases
    results = [
        given[aliases[i]] if i in aliases else filled(v.shape, v.dtype)
        for i, v in enumerate(graph.outputs)
    ]
    poisoned(executable)(given, results)
    for place, (before, after) in enumerate(zip(inputs, given, strict=True)):
        if place not in aliases.values():
            np.testing.assert_array_equal(after, before, err_msg=f"input {place} was changed")
    return results


def compiled(
    graph: Graph, inputs: Sequence[Array], threads: int = 1, **aliases: int
) -> list[Array]:
    """Compile and run `graph`; ``o1=0`` lets output 1 take over the memory of input 0."""
    taken = {int(name[1:]): source for name, source in aliases.items()}
    return run(compile_graph(graph, taken, threads), graph, inputs)


def results_of(function: Callable[..., Any], *arrays: Array) -> list[Array]:
    """Compile and run a function of variables."""
    return compiled(graph_of(function, *arrays), arrays)


def reference(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Evaluate by NumPy, on copies."""
    return [np.array(a) for a in evaluate(graph, [np.array(a, order="C") for a in inputs])]


def _room(program: Program, slot: int) -> int:
    """Return the bytes of the arena, or of the output whose memory is lent."""
    if slot < 0:
        return program.arena_bytes
    output = slot - len(program.inputs)
    assert 0 <= output < len(program.results)
    return program.results[output].size * program.results[output].dtype.itemsize


def assert_apart(program: Program) -> int:
    """Assert that no two arrays are in one place at one time; return how many outputs lend memory.

    Arrays of a phase that is cut into chunks all live at one time, and outputs from then on.
    """
    lives: dict[Buffer, list[tuple[int, int]]] = {}
    for number, phase in enumerate(program.phases):
        in_turn = len(phase) == 1 and phase[0].grid is None
        for chain in phase:
            for place, (_, kernel) in enumerate(chain.kernels):
                time = number, place if in_turn else 0
                for x in (*kernel.reads, *kernel.writes):
                    if x.buffer is not None:
                        lives.setdefault(x.buffer, []).append(time)
    given = {x.buffer for x in program.inputs}
    for buffer, times in lives.items():
        if buffer.place == "table" and buffer not in given:
            times.append((len(program.phases), 0))
        if buffer.place == "arena":
            assert buffer.offset + buffer.nbytes <= _room(program, buffer.slot)
    arrays = [b for b in lives if b.nbytes and b not in given]
    for a, b in itertools.combinations(arrays, 2):
        together = min(lives[a]) <= max(lives[b]) and min(lives[b]) <= max(lives[a])
        apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
        assert a.slot != b.slot or apart or not together
    return len({b.slot for b in arrays if b.place == "arena" and b.slot >= 0})


def shared_finely(monkeypatch: Any) -> None:
    """Cut even the smallest work into as many chunks as there may be."""
    monkeypatch.setattr(grid, "GRAIN", 1)


def same_bits(actual: Sequence[Array], wanted: Sequence[Array], what: str = "") -> None:
    """Compare bit by bit, except that one NaN is as good as another."""
    for a, w in zip(actual, wanted, strict=True):
        assert (a.shape, a.dtype) == (w.shape, w.dtype)
        np.testing.assert_array_equal(a, w, err_msg=what)
        if a.dtype.kind == "f":
            numbers = ~np.isnan(w)
            np.testing.assert_array_equal(
                np.signbit(a)[numbers], np.signbit(w)[numbers], err_msg=f"{what}: sign of zero"
            )


def in_units(actual: Array, wanted: Array) -> Array:
    """Return the distance in units in the last place; NaN and infinities must agree."""
    np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(wanted))
    odd = ~np.isfinite(wanted)
    np.testing.assert_array_equal(actual[odd], wanted[odd])
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(actual.astype(np.float64) - wanted.astype(np.float64))
        unit = np.spacing(np.minimum(np.abs(wanted), np.finfo(wanted.dtype).max / 2))
    return np.where(odd, 0.0, distance / unit.astype(np.float64))

"""What holds for a thread holds for no other: recording, traces, layers, and serial numbers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.graph.shared import F64, constant, leaf, traced
from wengert.graph.bind import bind
from wengert.graph.graph import Graph
from wengert.graph.mode import THREAD, emitting, recording, scope
from wengert.graph.primitive import registry
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval
from wengert.graph.verify import verify
from wengert.ops.creation import full
from wengert.ops.exponential import exp, log, sin


def elsewhere(function: Callable[[], Any]) -> Any:
    """Return what `function` returns in another thread; its exception is raised here."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((function(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    result, error = found[0]
    if error is not None:
        raise error
    return result


def test_recording_off_here_is_on_there():
    x = leaf([1.0])
    with recording(False):
        assert exp(x).op is None
        assert elsewhere(lambda: exp(x)).op is not None


def test_recording_off_there_stays_on_here():
    elsewhere(lambda: recording(False).__enter__())
    assert exp(leaf([1.0])).op is not None


def test_trace_layer_and_origin_are_of_one_thread():
    x = leaf([1.0])
    origin = exp(x).op
    with Trace("step"), scope("net"), emitting(origin):
        assert full((), 1.0, F64).value is None
        now = elsewhere(lambda: (THREAD.now.trace, THREAD.now.scope, THREAD.now.origin))
        assert now == (None, "", None)
        assert elsewhere(lambda: full((), 1.0, F64)).value == 1.0
        assert elsewhere(lambda: exp(x)).op.scope == ""
    assert THREAD.now.trace is None


def test_floating_point_warnings_are_silent_in_every_thread():
    assert elsewhere(lambda: log(constant(0.0))).value == -np.inf


def test_a_variable_made_there_can_be_used_here():
    y = elsewhere(lambda: exp(leaf([1.0])))
    z = sin(y)
    assert z.op.inputs[0] is y
    assert z.op.serial > y.op.serial


def test_an_error_there_names_the_line_there():
    with pytest.raises(ValueError, match=r"\(test_threads\.py:\d+\)"):
        elsewhere(lambda: constant([1.0, 2.0]) + constant([1.0, 2.0, 3.0]))


def test_many_traces_at_once():
    barrier = threading.Barrier(4, timeout=60)
    graphs: dict[int, Graph] = {}

    def work(number: int) -> None:
        with Trace(str(number)) as trace:
            x = trace.new_input(Aval((3,), F64))
            y = x
            for step in range(300):
                if step % 100 == 0:
                    barrier.wait()
                y = sin(y) * float(number) + full((), 1.0, F64)
                assert y.trace is trace
            graphs[number] = Graph((x,), (y,), str(number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(graphs) == [0, 1, 2, 3]
    serials = [op.serial for graph in graphs.values() for op in graph.operations]
    assert len(set(serials)) == len(serials) == 4 * 1200
    for graph in graphs.values():
        verify(graph)
        assert len(graph.operations) == 1200


def test_a_trace_can_be_read_in_another_thread():
    graph = traced(lambda x: exp(x) * x, (3,))
    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(elsewhere(lambda: graph(x))[0], np.exp(x) * x)


def test_generator_of_random_bits_is_of_one_thread():
    params = {"shape": (500,), "dtype": np.dtype(np.uint64)}
    state = constant([1, 2, 3], np.uint64)
    wanted = bind(registry["random_bits"], (state,), params)[0].value
    found: list[np.ndarray] = []

    def draw() -> None:
        found.extend(bind(registry["random_bits"], (state,), params)[0].value for _ in range(50))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 200
    assert all((bits == wanted).all() for bits in found)

"""What an executable checks, what it refuses, and what it leaves behind: nothing."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest

from tests.compile.programs import F, graph_of, reference
from wengert.compile.lowering.lower import LoweringError
from wengert.compile.native.executable import compile_graph
from wengert.graph.bind import bind
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import Primitive
from wengert.graph.variable import Aval
from wengert.ops.batching import batch_elementwise


def double():
    x = np.arange(6.0).reshape(2, 3)
    return compile_graph(graph_of(lambda v: v * 2, x), {}), x


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:1], ValueError, r"input 0 must be f64\[2, 3\], got f64\[1, 3\]"),
        (lambda x: x.astype(np.float32), ValueError, r"must be f64\[2, 3\], got f32\[2, 3\]"),
        (np.asfortranarray, ValueError, "input 0 must be C-contiguous"),
        (lambda x: x.tolist(), TypeError, "input 0 must be an ndarray, got list"),
    ],
)
def test_wrong_inputs_are_refused(change, error, message):
    executable, x = double()
    with pytest.raises(error, match=message):
        executable([change(x)], [np.empty_like(x)])


def test_wrong_outputs_are_refused():
    executable, x = double()
    with pytest.raises(ValueError, match=r"output 0 must be f64\[2, 3\], got f64\[3, 2\]"):
        executable([x], [np.empty((3, 2))])
    with pytest.raises(TypeError, match="needs 1 inputs and 1 outputs, got 1 arrays"):
        executable([x], [])
    fixed = np.empty_like(x)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="output 0 is read-only"):
        executable([x], [fixed])


def test_an_output_in_place_must_be_the_very_input():
    x = np.ones(3)
    executable = compile_graph(graph_of(lambda v: v * 2, x), {0: 0})
    with pytest.raises(ValueError, match="output 0 takes over the memory of input 0; pass"):
        executable([x], [np.empty(3)])
    executable([x], [x])
    np.testing.assert_array_equal(x, 2)


def test_arrays_of_earlier_calls_are_not_mistaken_for_new_ones():
    executable, _ = double()
    out = np.empty((2, 3))
    for k in range(50):
        x = np.full((2, 3), float(k))
        executable([x], [out])
        np.testing.assert_array_equal(out, 2 * k)
        del x


def test_threads_must_be_positive():
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        compile_graph(graph_of(lambda v: v * 2, np.ones(3)), {}, threads=0)


def test_an_operation_without_native_code_is_named_with_its_line():
    strange = Primitive(
        name="strange",
        notation="",
        infer=lambda x: Aval(x.shape, x.dtype),
        evaluate=lambda x: x,
        derivative=None,
        batch=batch_elementwise,
        samples=lambda rng, dtype: (),
    )
    graph = graph_of(lambda v: bind(strange, (v,)), np.ones(3))
    with pytest.raises(LoweringError, match=r"strange: has no native code yet \(test_executable"):
        compile_graph(graph, {})


def test_integers_to_negative_powers_are_an_error_as_they_are_eagerly():
    x = np.arange(1, 4)
    executable = compile_graph(graph_of(F.power, x, x), {})
    out = np.empty(3, np.int64)
    executable([x, x], [out])
    np.testing.assert_array_equal(out, [1, 4, 27])
    for run in (lambda: executable([x, -x], [out]), lambda: F.power(x, -x)):
        with pytest.raises(DTypeError, match="integers to a negative power are not integers; cast"):
            run()


def test_an_index_out_of_range_is_an_error_and_the_next_call_works():
    x, out = np.arange(5.0), np.empty(3)
    graph = graph_of(F.take, x, np.zeros(3, np.int64))
    executable = compile_graph(graph, {})
    for bad in (5, -6, 2**40):
        with pytest.raises(
            IndexError, match=r"gather: an index is out of range for axis 0 of length 5 \(\w+.py"
        ):
            executable([x, np.array([0, bad, 1])], [out])
    executable([x, np.array([-5, 4, -1])], [out])
    np.testing.assert_array_equal(out, [0, 4, 4])


def test_any_index_into_nothing_is_out_of_range():
    x, index = np.zeros((3, 0)), np.zeros((3, 2), np.int64)
    graph = graph_of(lambda v, i: F.take_along_axis(v, i, 1), x, index)
    with pytest.raises(IndexError, match="axis 1 of length 0"):
        compile_graph(graph, {})([x, index], [np.empty((3, 2))])


def test_a_call_waits_for_the_one_under_way():
    executable, x = double()
    out = np.zeros_like(x)
    executable.turns.callers.append(1)
    thread = threading.Thread(target=executable, args=([x], [out]))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    assert not out.any()
    executable.turns.callers.remove(1)
    thread.join()
    np.testing.assert_array_equal(out, 2 * x)
    assert executable.turns.callers == []


def test_calls_from_several_threads_are_right():
    x = np.random.default_rng(0).standard_normal((150, 150))
    graph = graph_of(lambda v: F.tanh(F.matmul(v, v)), x)
    executable = compile_graph(graph, {})
    (wanted,) = reference(graph, [x])
    right = []

    def work():
        out = np.empty_like(x)
        for _ in range(20):
            executable([x], [out])
            right.append(np.allclose(out, wanted, rtol=1e-9, atol=1e-12))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert right == [True] * 60


@pytest.mark.parametrize("threads", [1, 2])
def test_ten_thousand_calls_leave_nothing_behind(threads):
    x = np.random.default_rng(0).standard_normal((64, 64))
    executable = compile_graph(graph_of(lambda v: F.matmul(v, v), x), {}, threads)

    def calls(count):
        for _ in range(count):
            executable([x], [np.empty_like(x)])

    calls(100)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    objects = len(gc.get_objects())
    calls(10_000)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 50_000
    assert len(gc.get_objects()) - objects < 100


@pytest.mark.parametrize("threads", [1, 2])
def test_executables_are_freed(threads):
    x = np.random.default_rng(0).standard_normal((300, 300))
    executable = compile_graph(graph_of(lambda v: F.matmul(v, v), x), {}, threads)
    executable([x], [np.empty_like(x)])
    alive = weakref.ref(executable)
    del executable
    gc.collect()
    for _ in range(500):
        if alive() is None:
            break
        time.sleep(0.01)  # a helper may hold it until it goes to sleep
    assert alive() is None


SHAPES = """
    import resource
    import wengert as wg

    def kilobytes():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    wg.compile(lambda x: wg.sum(x))(wg.ones(10))
    before, made = kilobytes(), []
    for i in range(40):
        made.append(wg.compile(lambda x: wg.sum(x)))
        made[-1](wg.ones(20 + i))
    print((kilobytes() - before) // 40)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count in other units")
def test_a_compiled_function_keeps_little_memory():
    environment = os.environ | {"WENGERT_CACHE": "0"}
    command = [sys.executable, "-c", textwrap.dedent(SHAPES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400  # what generates code keeps 700, and some hundred is usual

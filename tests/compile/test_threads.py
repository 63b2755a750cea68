"""Threads: one set of bits for any number of them, and no call that waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from tests.compile.programs import F, graph_of, run, same_bits
from wengert.compile import threads as pool
from wengert.compile.executable import compile_graph

RNG = np.random.default_rng(5)


def network():
    """Return a graph that has work to share and work for one thread, and its inputs."""
    x, w, v = (RNG.standard_normal(s).astype(np.float32) for s in ((200, 90), (90, 300), (300, 7)))

    def f(x, w, v):
        h = F.relu(F.matmul(x, w))
        y = F.log_softmax(F.matmul(h, v), axis=1)
        mean = F.sum(y) * 0.001
        return mean, F.matmul(F.permute_dims(h, (1, 0)), y), F.sum(h, axis=0), F.tanh(w - mean)

    return graph_of(f, x, w, v), [x, w, v]


@pytest.fixture(scope="module")
def case():
    graph, inputs = network()
    return graph, inputs, run(compile_graph(graph, {}), graph, inputs)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_bits_do_not_depend_on_the_number_of_threads(case, threads):
    graph, inputs, wanted = case
    executable = compile_graph(graph, {}, threads)
    assert executable.threads == threads
    for _ in range(200):
        same_bits(run(executable, graph, inputs), wanted)


def test_small_work_is_not_shared():
    x = np.ones((3, 3))
    assert compile_graph(graph_of(lambda x: F.tanh(x) + 1.0, x), {}, 2).threads == 1


def test_helpers_that_never_come_are_not_waited_for(case, monkeypatch):
    graph, inputs, wanted = case
    monkeypatch.setattr(pool, "summon", lambda executable, count: None)
    same_bits(run(compile_graph(graph, {}, 4), graph, inputs), wanted)


def test_helpers_that_come_late_do_no_harm(case, monkeypatch):
    graph, inputs, wanted = case
    executable = compile_graph(graph, {}, 2)
    monkeypatch.setattr(pool, "summon", lambda executable, count: None)
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            executable.assist(1)
            time.sleep(0.0003)

    helper = threading.Thread(target=disturb)
    helper.start()
    try:
        for _ in range(300):
            same_bits(run(executable, graph, inputs), wanted)
    finally:
        stop.set()
        helper.join()


def test_two_executables_share_the_helpers(case):
    graph, inputs, wanted = case
    both = [compile_graph(graph, {}, 2) for _ in range(2)]
    failed = []

    def work(executable):
        try:
            for _ in range(100):
                same_bits(run(executable, graph, inputs), wanted)
        except AssertionError as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(e,)) for e in both]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed


def test_helpers_sleep_when_there_is_nothing_to_do(case):
    graph, inputs, _ = case
    executable = compile_graph(graph, {}, 2)
    run(executable, graph, inputs)
    for _ in range(500):
        if executable._helpers[0] == 0:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_has_helpers_of_its_own(case):
    graph, inputs, wanted = case
    executable = compile_graph(graph, {}, 2)
    run(executable, graph, inputs)
    executable._control[0] = 1  # as if another thread were in a call when the process forks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads is the point
        child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(20):
                same_bits(run(executable, graph, inputs), wanted)
            names = [t.name for t in threading.enumerate()]
            status = 0 if "wengert-helper-1" in names else 2
        finally:
            os._exit(status)
    executable._control[0] = 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    same_bits(run(executable, graph, inputs), wanted)


INTERRUPTED = """
    import _thread, threading, time
    import numpy as np
    from tests.compile.test_threads import network
    from tests.compile.programs import run, same_bits
    from wengert.compile.executable import compile_graph

    graph, inputs = network()
    wanted = run(compile_graph(graph, {}), graph, inputs)
    executable = compile_graph(graph, {}, 2)
    interrupted = calls = 0
    while interrupted < 40:
        timer = threading.Timer(0.002 + 0.0007 * (interrupted % 5), _thread.interrupt_main)
        try:
            timer.start()
            while True:
                outputs = [np.empty(v.shape, v.dtype) for v in graph.outputs]
                executable(inputs, outputs)
                calls += 1
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        same_bits(run(executable, graph, inputs), wanted)
    print("interrupted", interrupted, calls > 40)
"""


def test_an_interrupt_leaves_everything_in_order():
    code = textwrap.dedent(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "interrupted 40 True", done.stderr

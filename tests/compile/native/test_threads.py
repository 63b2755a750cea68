"""Threads: one set of bits for any number of them, and no call that waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import F, graph_of, run, same_bits
from wengert.compile.emit import layout, llvm
from wengert.compile.native import executable as executable_module
from wengert.compile.native import threads as pool
from wengert.compile.native import tuning
from wengert.compile.native.executable import compile_graph

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


def test_there_are_no_more_threads_than_have_work_at_one_time(case):
    graph, inputs, wanted = case
    executable = compile_graph(graph, {}, 1_000_000)
    assert 1 < executable.threads < 1000
    assert executable._scratch.nbytes == executable.threads * executable.scratch_bytes
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_process_does_not_begin_while_another_thread_compiles(monkeypatch):
    """What that thread has locked would stay locked in the child."""
    inside, over, object_code = threading.Event(), threading.Event(), llvm.object_code

    def slowly(*texts):
        inside.set()
        time.sleep(0.2)
        over.set()
        return object_code(*texts)

    monkeypatch.setenv("WENGERT_CACHE", "0")
    monkeypatch.setattr(llvm, "object_code", slowly)
    thread = threading.Thread(target=wg.compile(lambda x: x * 2), args=(wg.ones(3),))
    thread.start()
    inside.wait(10)
    child = os.fork()
    if not child:
        os._exit(not over.is_set())
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def script(code, timeout=240):
    """Run Python code in a process of its own; return what it printed and its exit status."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"WENGERT_CACHE": "0"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout.strip(), done.returncode


def test_a_program_ends_also_if_an_interrupt_left_the_lock_taken():
    code = """
    from wengert.compile.native import threads
    threads._lock.acquire()
    print("end")
    """
    assert script(code, 30) == ("end", 0)


INTERRUPTED = """
    import _thread, signal, threading, time
    import numpy as np
    from tests.compile.native.test_threads import network
    from tests.compile.programs import run, same_bits
    from wengert.compile.native.executable import compile_graph

    graph, inputs = network()
    wanted = run(compile_graph(graph, {}), graph, inputs)
    executable = compile_graph(graph, {}, 2)
    armed = done = False

    def interrupt(number, frame):
        global armed
        if armed:  # one that comes too late does nothing, as does one that Python swallows
            armed = False
            raise KeyboardInterrupt

    def disturb():
        while not done:
            time.sleep(0.002)
            _thread.interrupt_main()

    signal.signal(signal.SIGINT, interrupt)
    other = threading.Thread(target=disturb)
    other.start()
    interrupted = calls = 0
    while interrupted < 40:
        try:
            armed = True
            while armed:
                outputs = [np.empty(v.shape, v.dtype) for v in graph.outputs]
                executable(inputs, outputs)
                calls += 1
        except KeyboardInterrupt:
            pass
        interrupted += 1
        same_bits(run(executable, graph, inputs), wanted)
    done = True
    other.join()
    print("interrupted", interrupted)
"""


def test_an_interrupt_leaves_everything_in_order():
    assert script(INTERRUPTED) == ("interrupted 40", 0)


ENDED = """
    import threading
    from tests.compile.native.test_threads import network
    from tests.compile.programs import run
    from wengert.compile.native.executable import compile_graph

    graph, inputs = network()
    executable = compile_graph(graph, {}, 3)

    def work():
        while True:
            run(executable, graph, inputs)
            ready.set()

    ready = threading.Event()
    threading.Thread(target=work, daemon=True).start()
    ready.wait()
    print("over", flush=True)
"""


def test_a_program_ends_while_threads_are_at_work():
    assert script(ENDED) == ("over", 0)


def test_helpers_end_with_the_program():
    code = """
        import threading
        from tests.compile.native.test_threads import network
        from tests.compile.programs import run
        from wengert.compile.native import threads as pool
        from wengert.compile.native.executable import compile_graph

        graph, inputs = network()
        executable = compile_graph(graph, {}, 3)
        run(executable, graph, inputs)
        helpers = [t for t in threading.enumerate() if t.name.startswith("wengert-helper")]
        pool._end()
        run(executable, graph, inputs)
        print(len(helpers), any(t.is_alive() for t in helpers), len(pool._helpers))
    """
    assert script(code) == ("2 False 0", 0)


def test_one_function_called_by_three_threads_is_right(case):
    graph, inputs, wanted = case
    executable = compile_graph(graph, {}, 2)
    outcomes = []

    def work():
        for _ in range(50):
            given = [np.array(a) for a in inputs]
            results = [np.ones(v.shape, v.dtype) for v in graph.outputs]
            executable(given, results)
            same_bits(results, wanted)
            outcomes.append(True)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert outcomes == [True] * 150


@pytest.mark.parametrize(("long", "trials"), [(1 << 62, 128), (0, 8)])
def test_trial_calls_choose_all_helpers_or_none_and_change_no_bit(case, long, trials, monkeypatch):
    graph, inputs, wanted = case
    monkeypatch.setattr(executable_module, "available", lambda: 3)
    monkeypatch.setattr(tuning, "LONG", (long,) * 4)
    monkeypatch.setenv("WENGERT_CACHE", "0")  # whose key knows nothing of that
    executable = compile_graph(graph, {}, None)
    assert executable.threads == 3
    left, halvings = (executable._control[at // 8 :] for at in (layout.LEFT, layout.HALVINGS))
    seen, number = set(), 0
    while left[0] < 0:
        assert left[0] == number - (tuning.TRIALS >> halvings[0])
        block = max(tuning.BLOCK >> int(halvings[0]), tuning.LEAST)
        same_bits(run(executable, graph, inputs), wanted)
        seen.add((number // block % 2, int(executable._wanted[0])))
        number += 1
    if left[0] == tuning.NEVER:  # a machine on which this takes no time
        return
    assert number == trials
    assert seen - {(1, 0)} == {(0, 0), (1, 2)}  # the last call leaves what was chosen
    assert executable._wanted[0] in {0, 2}
    assert halvings[0] == 0


def test_trials_come_again(case):
    graph, inputs, _ = case
    executable = compile_graph(graph, {}, None)
    executable._control[layout.MOST // 8] = 1
    executable._control[layout.LEFT // 8] = 1
    run(executable, graph, inputs)
    run(executable, graph, inputs)
    assert executable._control[layout.LEFT // 8] == -tuning.TRIALS


@pytest.fixture
def decide(case, monkeypatch):
    """Return what ends trials that took some time on one thread and on three; and the control."""
    graph, inputs, _ = case
    monkeypatch.setattr(executable_module, "available", lambda: 3)
    executable = compile_graph(graph, {}, None)
    control = executable._control

    def end(*spent):
        control[layout.LEFT // 8] = -1
        control[layout.QUICKEST // 8] = 0  # the call itself then counts for nothing
        control[layout.SPENT // 8 : layout.SPENT // 8 + 2] = spent
        run(executable, graph, inputs)
        return int(executable._wanted[0])

    return end, control


@pytest.mark.parametrize(("spent", "chosen"), [((1000, 900), 2), ((1000, 990), 0), ((1, 2), 0)])
def test_helpers_must_be_worth_it(decide, spent, chosen):
    end, _ = decide
    assert end(*spent) == chosen


def test_a_choice_is_changed_only_if_two_trials_say_so(decide):
    end, control = decide
    quick, slow = (1000, 500), (500, 1000)
    found = [quick, slow, quick, slow, slow, quick, slow, quick, quick]
    assert [end(*spent) for spent in found] == [2, 2, 2, 2, 0, 0, 0, 0, 2]
    control[layout.MOST // 8] = 0
    assert [end(*quick), end(*quick)] == [0, 0]


def test_the_first_trials_decide_whatever_they_say(decide):
    end, _ = decide
    assert [end(*spent) for spent in [(500, 1000), (1000, 500), (1000, 500)]] == [0, 0, 2]


def test_trials_come_soon_after_a_doubt_and_later_while_they_agree(decide):
    end, control = decide
    pauses, calls = [], []
    for spent in [(1000, 500)] * 6 + [(500, 1000)]:
        end(*spent)
        pauses.append(int(control[layout.PAUSE // 8]))
        calls.append(int(control[layout.LEFT // 8]))
    longer = [tuning.SOON * 4**n for n in range(1, 4)]
    assert pauses == [*longer, *[tuning.AGAIN] * 3, tuning.SOON]
    timed = tuning.TRIALS // 4
    assert calls == [pause * timed // 501 for pause in pauses]
    end(1 << 50, 1 << 50)
    assert control[layout.LEFT // 8] == tuning.RARE * tuning.TRIALS


def test_a_fixed_number_of_threads_is_never_tried_out(case):
    graph, _, _ = case
    executable = compile_graph(graph, {}, 2)
    assert executable._wanted[0] == 1
    assert executable._control[layout.LEFT // 8] == tuning.NEVER


def test_the_environment_says_how_many_threads(monkeypatch):
    for text, wanted in (("3", 3), ("1", 1), ("auto", None)):
        monkeypatch.setenv("WENGERT_THREADS", text)
        assert wg.compile(lambda x: x).threads == wanted
    monkeypatch.delenv("WENGERT_THREADS")
    assert wg.compile(lambda x: x).threads is None
    monkeypatch.setenv("WENGERT_THREADS", "many")
    with pytest.raises(ValueError, match="WENGERT_THREADS must be auto or a positive integer"):
        wg.compile(lambda x: x)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        wg.compile(lambda x: x, threads=0)
    for wrong in ("2", 1.5):
        with pytest.raises(TypeError, match=f"threads must be an integer or None, got {wrong!r}"):
            wg.compile(lambda x: x, threads=wrong)


@pytest.mark.parametrize("threads", [5, None])
def test_a_system_without_threads_left_is_no_obstacle(case, threads, monkeypatch):
    graph, inputs, wanted = case
    monkeypatch.setattr(pool, "_helpers", [])
    tried = []

    def refuse(thread):
        tried.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    executable = compile_graph(graph, {}, threads)
    for _ in range(400):
        same_bits(run(executable, graph, inputs), wanted)
    assert len(tried) <= 1


@pytest.mark.skipif(sys.platform != "linux", reason="processors are chosen on Linux")
def test_helpers_keep_away_from_the_processor_of_the_caller(case, monkeypatch):
    graph, inputs, _ = case
    allowed = os.sched_getaffinity(0)
    here = min(allowed)
    monkeypatch.setattr(pool, "_processor", lambda: here)
    assert pool._others() == allowed - {here}
    executable = compile_graph(graph, {}, 2)
    run(executable, graph, inputs)
    assert os.sched_getaffinity(0) == allowed


NETS_RNG = np.random.default_rng(8)


@pytest.mark.parametrize("loss", ["mse_loss", "cross_entropy"])
@pytest.mark.parametrize("widths", [(784, 256, 128, 10), (32, 256, 256, 10), (64,) * 9 + (10,)])
def test_steps_of_networks_have_the_same_bits_on_any_number_of_threads(widths, loss):
    x = NETS_RNG.standard_normal((96, widths[0])).astype(np.float32)
    y = NETS_RNG.standard_normal((96, widths[-1])).astype(np.float32)
    y = NETS_RNG.integers(0, widths[-1], 96) if loss == "cross_entropy" else y
    found = []
    for threads in (1, 2, 3, 4):
        wg.manual_seed(0)
        layers = [part for n, m in pairwise(widths) for part in (wg.nn.Linear(n, m), wg.nn.Tanh())]
        model = wg.nn.Sequential(*layers[:-1])
        step = wg.compile(stepping(model, getattr(wg, loss)), threads=threads)
        losses = [step(wg.tensor(x), wg.tensor(y)).item() for _ in range(4)]
        found.append([np.array(losses), *(p.detach().numpy().copy() for p in model.parameters())])
    for other in found[1:]:
        same_bits(other, found[0])


def stepping(model, loss):
    """Return a training step."""
    optimizer = wg.optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        value = loss(model(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value

    return step


def test_a_helper_is_wanted_while_one_is_made(monkeypatch):
    numbers = []

    class Made:
        """Stands for a helper, while which is made something is freed that calls a function."""

        idle = False

        def __init__(self, number):
            numbers.append(number)
            pool.summon(None, 2)

    monkeypatch.setattr(pool, "_helpers", [])
    monkeypatch.setattr(pool, "_Helper", Made)
    pool.summon(None, 2)
    assert numbers == [1, 2]

"""Calls of compiled functions that run no Python: errors, threads, memory."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import weakref
from pathlib import Path

import pytest

import wengert as wg
from tests.compile.call.quick import (
    SCALE,
    Training,
    X,
    Y,
    in_threads,
    is_fast,
    needs_fast_calls,
    warm,
)
from wengert.compile.call.table import _LONG
from wengert.compile.function import CompiledFunction

pytestmark = needs_fast_calls


def test_an_index_out_of_range_is_reported():
    compiled = warm(wg.compile(wg.take), wg.ones(3), wg.tensor([0, 2]))
    for _ in range(3):
        with pytest.raises(IndexError, match="out of"):
            compiled(wg.ones(3), wg.tensor([0, 5]))
    assert compiled(wg.ones(3), wg.tensor([0, 1])).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("width", [3, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_label_out_of_range_leaves_the_parameters_as_they_were(width, threads):
    wg.manual_seed(0)
    net = wg.nn.Sequential(wg.nn.Linear(4, width), wg.nn.Tanh(), wg.nn.Linear(width, 5))
    optimizer = wg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x, labels):
        optimizer.zero_grad()
        wg.nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()

    compiled, x = wg.compile(step, threads=threads), wg.rand(128, 4)
    good, wrong = wg.zeros(128, dtype="int64"), wg.full(128, 7, dtype="int64")
    for _ in range(4):
        compiled(x, good)
        before = [p.tolist() for p in (*net.parameters(), *state_of(optimizer))]
        with pytest.raises(IndexError, match="out of"):
            compiled(x, wrong)
        assert [p.tolist() for p in (*net.parameters(), *state_of(optimizer))] == before


def state_of(optimizer):
    return [cell for state in optimizer.state.values() for cell in state.values()]


def test_long_calls_let_other_threads_run():
    a = wg.ones((700, 700))
    compiled = wg.compile(lambda a: wg.sum(a @ a @ a))
    warm(compiled, a)
    entry = next(iter(compiled._entries.values()))[0]
    assert entry.run.nanoseconds > _LONG
    turns, over = [0], threading.Event()

    def count():
        while not over.is_set():
            turns[0] += 1
            time.sleep(0)  # gives the interpreter away, if somebody wants it

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # nobody else gives the interpreter away
    try:
        thread.start()
        before = turns[0]
        for _ in range(5):
            compiled(a)
        during = turns[0] - before
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
    assert during > 0


def test_two_threads_share_one_function():
    compiled = wg.compile(lambda x: x * 2)
    failures = []

    def work(value):
        x = wg.full(4, value)
        for _ in range(2000):
            found = compiled(x).tolist()
            if found != [2 * value] * 4:
                failures.append(found)

    in_threads(work, 0.0, 1.0)
    assert not failures


@pytest.mark.parametrize("stores", [False, True])
def test_calls_that_change_a_tensor_take_turns(stores):
    total, state = wg.zeros((400, 400)), {}

    def add():
        total.add_(1)
        for _ in range(4):
            total.mul_(wg.exp(0 * wg.sin(total)))
        if stores:
            state["kept"] = total[0] * 1

    compiled = wg.compile(add, threads=1)
    for _ in range(3):
        compiled()
    before = total.max().item()

    def work():
        for _ in range(40):
            compiled()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(total.reshape(-1).tolist()) == {before + 3 * 40}


def test_a_call_by_what_goes_during_a_call():
    compiled, found, kept = wg.compile(lambda x: kept.update(y=x * 2)), [], {}
    compiled(wg.ones(2))
    for i in range(4):
        waiting = weakref.finalize(kept["y"], lambda: found.append(compiled(wg.full(2, 9.0))))
        waiting.atexit = False
        compiled(wg.full(2, float(i)))
    assert set(found) == {None}
    assert compiled._turns.callers == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_process_does_not_wait_for_threads_that_it_has_not():
    compiled, x = wg.compile(lambda x: x * 2), wg.ones(2)
    warm(compiled, x)
    compiled._turns.callers += [1, -1]
    child = os.fork()
    if not child:
        os._exit(compiled(x).tolist() != [2.0, 2.0])
    assert os.waitpid(child, 0)[1] == 0


def test_helping_threads():
    x = wg.ones((512, 512))
    compiled = warm(wg.compile(lambda x: wg.exp(x) + 1, threads=2), x)
    expected = compiled(x).tolist()
    assert all(compiled(x).tolist() == expected for _ in range(20))


def test_ten_thousand_calls_leave_nothing():
    training = Training(True, "zero_grad first")
    pair = wg.compile(lambda x, c: [x * c, x + 1])
    watched = [X, Y, X._variable, SCALE, None, training.optimizer.param_groups[0], training.step]
    warm(training.step, X, Y), warm(pair, X, 2.0)

    def call(times):
        for i in range(times):
            training.step(X, Y)
            pair(X, float(i))

    call(100)
    gc.collect()
    counts, known = [sys.getrefcount(w) for w in watched], len(gc.get_objects())
    tracemalloc.start()
    try:
        call(100)
        before = tracemalloc.get_traced_memory()[0]
        call(10_000)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    gc.collect()
    assert after - before < 4_000  # a leak of one object per call would be 100 times as much
    assert len(gc.get_objects()) - known < 100
    differences = [sys.getrefcount(w) - c for w, c in zip(watched, counts, strict=True)]
    assert max(map(abs, differences)) < 100


def test_a_compiled_function_and_what_it_holds_are_freed():
    kept = {"weight": wg.ones(3)}
    compiled = warm(wg.compile(lambda x: x * kept["weight"]), wg.ones(3))
    result = compiled(wg.ones(3))
    references = [weakref.ref(compiled), weakref.ref(kept["weight"])]
    kept.clear()
    del compiled
    gc.collect()
    assert [r() for r in references] == [None, None]
    assert result.tolist() == [1.0] * 3


@pytest.mark.filterwarnings("ignore::wengert.RecompilationWarning")
def test_old_versions_are_forgotten():
    table = {"a": wg.tensor(0.0)}
    compiled = wg.compile(lambda x: x + table["a"])
    for i in range(12):
        table["a"] = wg.tensor(float(i))
        warm(compiled, wg.tensor(1.0))
        assert compiled(wg.tensor(1.0)).item() == 1.0 + i
    assert len(compiled._offered.programs) <= 8


def test_shapes_that_take_turns_are_all_fast():
    compiled = wg.compile(wg.sum)
    shapes = [wg.ones(n) for n in (1, 2, 3)]
    for x in shapes:
        warm(compiled, x)
    for _ in range(3):
        for n, x in enumerate(shapes, 1):
            assert is_fast(compiled, x)
            assert compiled(x).item() == n


def test_subclasses_and_instances_of_the_plain_class_go_through_python():
    class Mine(CompiledFunction):
        pass

    for kind in (CompiledFunction, Mine):
        compiled = kind(lambda x: x + 1, 1)
        assert [compiled(wg.ones(1)).item() for _ in range(4)] == [2.0] * 4


def test_methods_and_attributes_are_as_before():
    class Model:
        @wg.compile
        def double(self, x):
            """Double it."""
            return x * 2

    assert isinstance(Model.double, CompiledFunction)
    assert Model.double.__doc__ == "Double it."
    model = Model()
    assert [model.double(wg.ones(1)).item() for _ in range(4)] == [2.0] * 4
    assert Model.double.compilations == ["first call"]


def test_fast_calls_write_large_parameters_unless_somebody_has_a_view_of_them():
    layer = wg.nn.Linear(64, 64)
    optimizer = wg.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)

    @wg.compile
    def step(x):
        optimizer.zero_grad()
        loss = (layer(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x = wg.ones((8, 64))
    warm(step, x)
    view = layer.weight.detach()[:2]
    before = view.clone()
    step(x)
    assert (view == before).all()
    del view
    warm(step, x)


@wg.compile
def named(x):
    return x * 2


def test_it_is_copied_and_pickled_like_a_function():
    net = wg.nn.Sequential(wg.nn.Linear(2, 1))
    net.step = named
    assert copy.copy(named) is copy.deepcopy(net).step is pickle.loads(pickle.dumps(named)) is named
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(wg.compile(lambda x: x))


OVERWRITTEN = """
    from tests.compile.call.quick import Training, X, Y, warm

    training = Training(True, "zero_grad first")
    warm(training.step, X, Y)
    losses = [training.step(X, Y).item() for _ in range(200)]
    assert losses[-1] < losses[0] / 2
    print("right")
"""


def test_no_freed_memory_is_read():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(OVERWRITTEN)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONMALLOC": "debug"},  # which overwrites what is freed
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "right\n"

"""Compiled functions leave no garbage, and the garbage collector as it was."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

import wengert as wg
from tests.tensor.job import Job

pytest.importorskip("llvmlite")


def test_memory_does_not_grow():
    job = Job()
    step = wg.compile(job.step)
    for _ in range(3):
        step(job.x, job.y)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        step(job.x, job.y)
    gc.collect()
    assert len(gc.get_objects()) - before < 20


def test_compiled_function_and_its_state_can_be_freed():
    job = Job()
    step = wg.compile(job.step)
    step(job.x, job.y)
    reference = weakref.ref(job.w)
    del job, step
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("collects", [True, False])
def test_nobody_looks_for_garbage_while_a_function_is_compiled(collects):
    seen = []

    def f(x):
        seen.append(gc.isenabled())
        if x.shape == (2,):
            raise KeyError(x.shape)
        return x * 2

    (gc.enable if collects else gc.disable)()
    try:
        compiled = wg.compile(f)
        compiled(wg.ones(3))
        with pytest.raises(KeyError):
            compiled(wg.ones(2))
        assert seen == [False, False]
        assert gc.isenabled() == collects
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_garbage_is_collected_in_a_child_process_made_while_another_thread_compiles():
    inside, over = threading.Event(), threading.Event()

    def f(x):
        inside.set()
        over.wait(10)
        return x * 2

    thread = threading.Thread(target=wg.compile(f), args=(wg.ones(3),))
    thread.start()
    inside.wait(10)
    assert not gc.isenabled()
    child = os.fork()
    if not child:
        os._exit(not gc.isenabled())
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert gc.isenabled()


def test_an_interrupt_leaves_the_garbage_collector_on(monkeypatch):
    disable = gc.disable

    def interrupted():
        disable()
        raise KeyboardInterrupt

    monkeypatch.setattr(gc, "disable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wg.compile(lambda x: x * 2)(wg.ones(3))
    assert gc.isenabled()

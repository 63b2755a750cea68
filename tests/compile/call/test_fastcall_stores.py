"""Calls of compiled functions that store tensors: Python runs for nothing else."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import wengert as wg
from tests.compile.call.quick import RTOL, double, in_threads, is_fast, needs_fast_calls, warm

pytestmark = needs_fast_calls


class Box:
    """Holds attributes."""


def moving_average():
    table = {"mean": double([0.0, 0.0]), "count": 0}

    def step(x):
        table["mean"] = 0.5 * table["mean"] + x
        table["last"] = {"pair": (table["mean"] * 2, "text")}
        return table["mean"] - 1

    def change():
        table["mean"] = double([100.0, 1.0])

    def change_kind():
        table["mean"] = double([100.0, 1.0]).requires_grad_()

    return step, lambda: table, change, change_kind


def variable():
    late = None

    def step(x):
        nonlocal late
        late = x * (2 if late is None else 3)
        return [late, {"a": late + 1}, np.zeros(1), None]

    def change():
        nonlocal late
        late = None

    def change_kind():
        nonlocal late
        late = double([1.0])

    return step, lambda: late, change, change_kind


def attribute():
    box = Box()
    box.state = double([1.0, 2.0])

    def step(x):
        before = box.state
        box.state = before * x
        return wg.sum(before), 2

    def change():
        box.state = double([5.0, 6.0])

    def change_kind():
        box.state = wg.ones(2)

    return step, lambda: vars(box), change, change_kind


def values(leaf):
    if isinstance(leaf, dict):
        return {key: values(part) for key, part in leaf.items()}
    if isinstance(leaf, list | tuple):
        return [values(part) for part in leaf]
    return leaf.tolist() if isinstance(leaf, wg.Tensor | np.ndarray) else leaf


@pytest.mark.parametrize("make", [moving_average, variable, attribute])
@pytest.mark.parametrize("change", [2, 3])
def test_what_is_stored_is_that_of_each_call(make, change):
    found = []
    for compiles in (False, True):
        step, look, *changes = make()
        call, seen = (wg.compile(step) if compiles else step), []
        with wg.no_grad():
            for i in range(16):
                x = double([float(i), 2.0])
                if i in {7, 15}:
                    result = is_fast(call, x) if compiles else call(x) is not None
                else:
                    result = call(x)
                seen.append((values(result), values(look())))
                if i == 9:
                    changes[change - 2]()
        found.append(seen)
    assert found[0] == found[1]


def test_what_was_stored_and_is_held_is_left_alone():
    table = {"mean": double([0.0])}

    def step(x):
        table["mean"] = table["mean"] + x
        return table["mean"] * 2

    compiled, x = wg.compile(step), double([1.0])
    warm(compiled, x)
    held = [(table["mean"], table["mean"].item(), compiled(x)) for _ in range(6)]
    assert [tensor.item() for tensor, _, _ in held] == [number for _, number, _ in held]
    assert [result.item() for _, _, result in held] == [2 * (n + 1) for _, n, _ in held]


def test_storing_leaves_nothing_behind():
    table = {"mean": double([0.0])}

    def step(x):
        table["mean"] = table["mean"] + x
        table["kept"] = x * 2

    compiled, x = wg.compile(step), double([1.0])
    warm(compiled, x)
    watched = [x, table, x._variable.value]
    gc.collect()
    counts, known = [sys.getrefcount(w) for w in watched], len(gc.get_objects())
    for _ in range(2000):
        compiled(x)
    gc.collect()
    assert [sys.getrefcount(w) for w in watched] == counts
    assert len(gc.get_objects()) - known < 20
    assert table["mean"].item() == 2004.0
    alive = weakref.ref(compiled)
    del compiled
    gc.collect()
    assert alive() is None


def test_an_error_of_what_stores_is_raised():
    class Strict(dict):
        refuses = False

        def __setitem__(self, key, value):
            if self.refuses:
                raise ValueError(key)
            super().__setitem__(key, value)

    table = Strict(a=1)
    compiled = warm(wg.compile(lambda x: table.__setitem__("h", x * 2)), wg.ones(2))
    before, table.refuses = table["h"], True
    for _ in range(3):
        with pytest.raises(ValueError, match="h"):
            compiled(wg.ones(2))
    assert table["h"] is before
    table.refuses = False
    compiled(wg.full(2, 3.0))
    assert table["h"].tolist() == [6.0, 6.0]


class Busy(dict):
    """Does something while something is stored."""

    meanwhile = staticmethod(lambda: None)

    def __setitem__(self, key, value):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        super().__setitem__(key, value)


def test_a_call_is_over_when_what_it_stores_is_stored():
    table = Busy(sum=double([0.0]))

    def step(x):
        table["sum"] = table["sum"] + x

    compiled, x = wg.compile(step), double([1.0])
    warm(compiled, x)
    before = table["sum"].item()
    other = threading.Thread(target=compiled, args=(x,))

    def meanwhile():
        other.start()
        other.join(0.05)
        assert other.is_alive()

    table.meanwhile = meanwhile
    compiled(x)
    other.join()
    assert table["sum"].item() == before + 2


def test_what_stores_may_call():
    table = Busy(last=double([0.0]))
    compiled = wg.compile(lambda x: table.__setitem__("last", x * 2))
    warm(compiled, double([1.0]))
    seen = []
    table.meanwhile = lambda: seen.append(compiled(double([5.0])) or table["last"].tolist())
    compiled(double([2.0]))
    assert (seen, table["last"].tolist()) == ([[10.0]], [4.0])


def test_a_call_from_what_stores_leaves_the_turn_to_the_one_that_stores():
    """While another thread waits: it must not begin before the outer call is over."""
    table, seen, threads = Busy(last=double([0.0])), [], []
    compiled = wg.compile(lambda x: table.__setitem__("last", x * 2))
    warm(compiled, double([1.0]))
    callers = compiled._turns.callers

    def meanwhile():
        thread = threading.Thread(target=compiled, args=(double([7.0]),))
        threads.append(thread)
        thread.start()
        while len(callers) < 2:
            time.sleep(1e-3)
        compiled(double([5.0]))
        seen.append(list(callers))

    table.meanwhile = meanwhile
    compiled(double([2.0]))
    threads[0].join(10)
    assert seen == [[threading.get_ident(), threads[0].ident]]
    assert callers == []
    assert table["last"].tolist() == [14.0]


def test_threads_that_store_take_turns():
    table = {"sum": double([0.0])}

    def step(x):
        table["sum"] = table["sum"] + x

    compiled, x = wg.compile(step), double([1.0])
    warm(compiled, x)
    before = table["sum"].item()

    def work(_):
        for _ in range(300):
            compiled(x)

    in_threads(work, *range(3))
    np.testing.assert_allclose(table["sum"].item(), before + 900, rtol=RTOL)

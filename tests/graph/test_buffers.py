"""Dead arrays are used again, and no array that anybody can still see."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

import wengert as wg
from wengert.graph import buffers
from wengert.graph.buffers import recycle, reuse
from wengert.graph.dtypes import FLOAT32, FLOAT64
from wengert.graph.variable import Variable

ROWS, WIDTH = 256, 128  # large enough to be kept


@pytest.fixture(autouse=True)
def _nothing_kept():
    buffers._kept.store.__init__()
    yield
    buffers._kept.store.__init__()


def asked(shape, dtype):
    return reuse(shape, dtype, math.prod(shape) * dtype.itemsize)


def large(value: float = 0.0) -> Variable:
    return Variable(np.full((ROWS, WIDTH), value, np.float32))


def test_a_dead_array_is_kept_and_handed_out_once():
    assert asked((ROWS, WIDTH), FLOAT32) is None
    holder = [large()]
    address = holder[0].value.ctypes.data
    recycle(holder)
    assert holder == []
    assert asked((ROWS, WIDTH), FLOAT64) is None
    again = asked((ROWS, WIDTH), FLOAT32)
    assert again.ctypes.data == address
    assert asked((ROWS, WIDTH), FLOAT32) is None


def _view_of(variable):
    return variable.value[1:]


def _exported(variable):
    tensor = wg.asarray(variable.value)
    return tensor.numpy()


@pytest.mark.parametrize(
    "hold", [lambda v: v, lambda v: v.value, _view_of, _exported, lambda v: memoryview(v.value)]
)
def test_an_array_that_somebody_refers_to_is_left_alone(hold):
    assert asked((ROWS, WIDTH), FLOAT32) is None
    holder = [large()]
    held = hold(holder[0])
    recycle(holder)
    assert asked((ROWS, WIDTH), FLOAT32) is None
    del held


@pytest.mark.parametrize(
    "value",
    [
        None,
        np.zeros((4, 4), np.float32),
        np.zeros((2 * ROWS, WIDTH), np.float32)[::2],
        np.broadcast_to(np.zeros(WIDTH, np.float32), (ROWS, WIDTH)),
        np.zeros((WIDTH, ROWS), np.float32).T,
    ],
    ids=["none", "small", "strided", "broadcast", "transposed"],
)
def test_only_large_arrays_with_memory_of_their_own_are_kept(value):
    if value is not None:
        assert asked(value.shape, value.dtype) is None
    recycle([Variable(value)])
    assert buffers._kept.store.nbytes == 0
    assert not any(buffers._kept.store.shelves.values())


def test_what_is_kept_has_a_limit_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(buffers, "_MOST", 3 << 20)
    for n in (1, 2, 3):
        assert asked((n, 1 << 18), FLOAT32) is None
        recycle([Variable(np.zeros((n, 1 << 18), np.float32))])
    assert buffers._kept.store.nbytes == 3 << 20
    assert asked((1, 1 << 18), FLOAT32) is None
    assert asked((3, 1 << 18), FLOAT32) is not None
    assert buffers._kept.store.nbytes == 0


def test_a_full_store_gives_up_no_more_than_it_must(monkeypatch):
    monkeypatch.setattr(buffers, "_MOST", 3 << 20)
    for _ in range(5):
        assert asked((1, 1 << 18), FLOAT32) is None
    for _ in range(5):
        recycle([Variable(np.zeros((1, 1 << 18), np.float32))])
    assert buffers._kept.store.nbytes == 3 << 20
    assert [len(shelf) for shelf in buffers._kept.store.shelves.values()] == [3]


def test_no_more_is_kept_than_was_asked_for():
    for _ in range(2):
        assert asked((ROWS, WIDTH), FLOAT32) is None
    for _ in range(5):
        recycle([large()])
        recycle([Variable(np.zeros((ROWS, WIDTH), np.float64))])
    assert buffers._kept.store.nbytes == 2 * large().value.nbytes


def test_the_memory_of_what_was_asked_for_is_bounded():
    for n in range(3 * buffers._ASKED):
        assert asked((n, WIDTH), FLOAT32) is None
        assert asked((ROWS, WIDTH), FLOAT32) is None
    shelves = buffers._kept.store.shelves
    assert len(shelves) <= buffers._ASKED
    assert max(shelf.asked for shelf in shelves.values()) <= buffers._ASKED


def test_a_loop_keeps_no_more_from_step_to_step():
    model, optimizer, x = _network()
    sizes = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = wg.cross_entropy(model(x), wg.zeros(ROWS, dtype=wg.int64))
        loss.backward()
        optimizer.step()
        sizes.append(buffers._kept.store.nbytes)
    assert sizes[2] > 0
    assert len(set(sizes[2:])) == 1


def test_threads_keep_their_arrays_apart():
    assert asked((ROWS, WIDTH), FLOAT32) is None
    recycle([large()])
    found = []
    thread = threading.Thread(target=lambda: found.append(asked((ROWS, WIDTH), FLOAT32)))
    thread.start()
    thread.join()
    assert found == [None]


def _network():
    wg.manual_seed(0)
    layers = [wg.nn.Linear(WIDTH, WIDTH), wg.nn.ReLU(), wg.nn.Linear(WIDTH, WIDTH), wg.nn.ReLU()]
    model = wg.nn.Sequential(*layers, wg.nn.Linear(WIDTH, 4))
    return model, wg.optim.SGD(model.parameters(), lr=0.1), wg.randn(ROWS, WIDTH)


def test_later_training_steps_take_no_new_large_arrays(monkeypatch):
    model, optimizer, x = _network()
    made = []

    def counting(shape, dtype, nbytes):
        array = reuse(shape, dtype, nbytes)
        made.append(array is None)
        return array

    for module in ("graph.buffers", "ops.contraction", "ops.arithmetic"):
        monkeypatch.setattr(f"wengert.{module}.reuse", counting)
    for _ in range(3):
        made.clear()
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
    assert made
    assert not any(made)


def _copied(held):
    return [np.array(v if isinstance(v, np.ndarray) else v.detach().numpy()) for v in held]


def test_nothing_that_a_user_holds_changes_while_training_goes_on():
    """Hold results, gradients, views and exports of every kind through later steps."""
    model, optimizer, x = _network()
    held = []
    for _ in range(4):
        optimizer.zero_grad()
        hidden = model[1](model[0](x))
        hidden.retain_grad()
        hidden.register_hook(held.append)
        out = model[3](model[2](hidden))
        held += [hidden, out.detach(), out.detach().numpy()[1:]]
        model[4](out).sum().backward()
        held += [hidden.grad, model[2].weight.grad, model[0].weight.grad[3:]]
        before = _copied(held)
        optimizer.step()
        for _ in range(2):
            optimizer.zero_grad()
            model(x).sum().backward()
        for now, then in zip(_copied(held), before, strict=True):
            np.testing.assert_array_equal(now, then)


def test_gradients_agree_with_those_of_fresh_memory(monkeypatch):
    def losses():
        model, optimizer, x = _network()
        for _ in range(4):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            yield loss.item(), *(p.grad.numpy().tobytes() for p in model.parameters())

    recycled = list(losses())
    for module in ("graph.buffers", "ops.contraction", "ops.arithmetic"):
        monkeypatch.setattr(f"wengert.{module}.reuse", lambda shape, dtype, nbytes: None)
    assert recycled == list(losses())

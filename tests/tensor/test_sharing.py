"""Memory shared with NumPy: who sees which change, and for how long anything is paid for it."""

from __future__ import annotations

import copy
import gc
import pickle
import threading

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf
from wengert import MutationError
from wengert.graph import sharing


def values(*numbers):
    return wg.tensor(np.array(numbers))


@pytest.fixture
def fingerprints(monkeypatch):
    """Count the fingerprints that are taken."""
    taken = []
    original = sharing.fingerprint
    monkeypatch.setattr(sharing, "fingerprint", lambda value: taken.append(1) or original(value))
    return taken


# --- What an exported array is --------------------------------------------------------------------

TENSORS = {
    "float64": np.arange(6.0).reshape(2, 3),
    "float32": np.arange(3, dtype=np.float32),
    "0-d": np.array(3.0),
    "empty": np.zeros((2, 0, 3)),
    "bool": np.array([True, False]),
    "int32": np.arange(3, dtype=np.int32),
    "uint8": np.arange(3, dtype=np.uint8),
}


@pytest.mark.parametrize("array", TENSORS.values(), ids=TENSORS)
def test_exported_array(array):
    t = wg.tensor(array)
    seen = t.numpy()
    assert type(seen) is np.ndarray
    assert (seen.shape, seen.dtype) == (array.shape, array.dtype)
    assert seen.flags.writeable
    assert seen.flags.c_contiguous
    np.testing.assert_array_equal(seen, array)
    assert t.numpy() is seen
    assert np.asarray(t) is seen
    if array.size:
        seen[...] = 1
        assert np.all(np.array(t.tolist()) == 1)
        assert t.numpy() is seen


def test_views_keep_the_memory_shared():
    t = values(1.0, 2.0, 3.0)
    view = t.numpy()[1:]
    t.mul_(2.0)
    assert view.tolist() == [4.0, 6.0]
    view[0] = 7.0
    assert t.tolist() == [2.0, 7.0, 6.0]
    inner = memoryview(t.numpy())
    del view
    t.mul_(2.0)
    assert inner.tolist() == [4.0, 14.0, 12.0]


def test_a_relabelled_array_leaves_the_tensor_alone():
    t = values(1.0, 2.0, 3.0, 4.0)
    seen = t.numpy()
    seen.shape = (2, 2)
    assert t.shape == (4,)
    assert t.numpy().shape == (4,)
    t.numpy()[0] = 5.0
    assert seen.tolist() == [[5.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match="resize"):
        seen.resize((8,))


def test_an_array_outlives_its_tensor():
    seen = values(1.0, 2.0).numpy()
    gc.collect()
    assert seen.tolist() == [1.0, 2.0]
    seen += 1
    assert seen.tolist() == [2.0, 3.0]


def test_copies_and_pickles_share_nothing():
    t = values(1.0, 2.0)
    seen = t.numpy()
    others = [
        copy.copy(seen),
        copy.deepcopy(seen),
        pickle.loads(pickle.dumps(seen)),
        np.array(t),
        copy.deepcopy(t).numpy(),
        t.clone().numpy(),
    ]
    seen[0] = 9.0
    assert [other.tolist() for other in others] == [[1.0, 2.0]] * len(others)


def test_a_copy_for_numpy_is_no_export():
    t = values(1.0, 2.0)
    kept = [np.array(t), np.asarray(t, np.float32), np.array(t, np.int64)]
    assert not sharing.noted
    assert [array.dtype for array in kept] == [np.float64, np.float32, np.int64]
    with pytest.raises(ValueError, match="cannot become float32 without a copy"):
        t.__array__(np.float32, copy=False)


def test_pytorch_on_top_of_an_exported_array():
    torch = pytest.importorskip("torch")
    t, w = values(1.0, 2.0), leaf(3.0, 4.0)
    tensor = torch.from_numpy(t.numpy())
    loss = (t * w).sum()
    tensor[0] = 9.0
    assert t.tolist() == [9.0, 2.0]
    with pytest.raises(MutationError, match="operand 0 of mul"):
        loss.backward()
    del tensor
    gc.collect()
    assert not sharing.noted


# --- For how long ---------------------------------------------------------------------------------


def test_an_export_is_paid_for_while_it_lives(fingerprints):
    w = leaf(1.0, 2.0)
    view = w.detach().numpy()[:1]
    assert sharing.noted
    (w * w).sum().backward()
    paid = len(fingerprints)
    assert paid
    del view
    assert not sharing.noted
    (w * w).sum().backward()
    assert len(fingerprints) == paid


def test_buffers_are_reused_after_an_export():
    w = leaf(1.0, 2.0)
    address = w._variable.value.ctypes.data
    w.detach().numpy()
    with wg.no_grad():
        w.sub_(values(1.0, 1.0))
        w[0] = 3.0
    assert w._variable.value.ctypes.data == address


def test_a_write_is_noticed_after_the_export_has_ended():
    c, w = values(1.0, 1.0), leaf(1.0, 2.0)
    seen = c.numpy()
    loss = (c * w).sum()
    seen[0] = 5.0
    del seen
    assert not sharing.noted
    with pytest.raises(MutationError, match=r"operand 0 of mul at test_sharing\.py:\d+"):
        loss.backward()
    (c * w).sum().backward()
    assert w.grad.tolist() == [5.0, 1.0]


def test_two_exports_after_each_other():
    c, w = values(1.0, 1.0), leaf(1.0, 2.0)
    first = c.numpy()
    early = (c * w).sum()
    del first
    late = (c * w).sum()
    c.numpy()[1] = 5.0
    early.backward()
    late.backward()
    assert w.grad.tolist() == [2.0, 2.0]
    assert c.tolist() == [1.0, 5.0]


def test_an_export_that_outlives_a_change_keeps_what_was_recorded():
    c, w = values(1.0, 1.0), leaf(1.0, 2.0)
    seen = c.numpy()
    early = (c * w).sum()
    c.mul_(3.0)
    late = (c * w).sum()
    seen[0] = 5.0
    early.backward()
    assert w.grad.tolist() == [1.0, 1.0]
    with pytest.raises(MutationError, match="operand 0 of mul"):
        late.backward()


def test_an_array_that_nobody_else_holds_any_more(fingerprints):
    a, w = np.ones(3), leaf(1.0, 2.0, 3.0)
    x = wg.asarray(a)
    (x * w).sum().backward()
    paid = len(fingerprints)
    assert paid
    view = a[:1]
    del a
    (x * w).sum().backward()
    assert len(fingerprints) > paid
    del view
    paid = len(fingerprints)
    (x * w).sum().backward()
    assert len(fingerprints) == paid
    assert not sharing.noted


def test_memory_of_somebody_else_than_numpy_stays_shared():
    memory, w = bytearray(16), leaf(1.0, 2.0)
    x = wg.asarray(np.frombuffer(memory))
    loss = (x * w).sum()
    memory[0:8] = np.float64(5.0).tobytes()
    with pytest.raises(MutationError, match="operand 0 of mul"):
        loss.backward()


def test_an_array_made_from_a_view():
    a = np.arange(4.0)
    x = wg.asarray(a[1:3])
    assert x.numpy().base is a
    x.mul_(10.0)
    assert a.tolist() == [0.0, 10.0, 20.0, 3.0]
    assert wg.asarray(a).numpy() is a


def test_a_read_only_array_is_never_written():
    a = np.ones(2)
    a.flags.writeable = False
    x = wg.asarray(a)
    assert not x.numpy().flags.writeable
    x.add_(1.0)
    x[0] = 5.0
    assert x.tolist() == [5.0, 2.0]
    assert a.tolist() == [1.0, 1.0]


def test_exports_in_threads():
    t, failures = values(*range(100)), []

    def work():
        for _ in range(300):
            seen = t.numpy()
            if not sharing.is_shared(t._variable.value) or seen.base is None:
                failures.append(seen)
            del seen

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not sharing.noted


# --- Who sees which change ------------------------------------------------------------------------

OTHERS = {
    "detached": lambda x: x.detach(),
    "row": lambda x: x[:],
    "part": lambda x: x[:2],
    "reversed": lambda x: x[::-1],
    "reshaped": lambda x: x.reshape(2, 1),
    "same shape": lambda x: x.reshape(2),
    "itself": lambda x: +x,
    "detached twice": lambda x: x.detach().detach(),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("exported", ["never", "before", "after"])
def test_tensors_stay_apart(other, exported):
    x = values(1.0, 2.0)
    seen = x.numpy() if exported == "before" else None
    y = other(x)
    if exported == "after":
        seen = x.numpy()
    start = y.tolist()
    x.add_(10.0)
    assert y.tolist() == start
    y.add_(100.0)
    y[0] = 0.0
    assert x.tolist() == [11.0, 12.0]
    if seen is not None:
        assert seen.tolist() == [11.0, 12.0]


def test_a_detached_tensor_that_is_exported():
    x = values(1.0, 2.0)
    d = x.detach()
    seen = d.numpy()
    d.add_(1.0)
    assert (x.tolist(), d.tolist(), seen.tolist()) == ([1.0, 2.0], [2.0, 3.0], [2.0, 3.0])
    x.add_(5.0)
    assert (x.tolist(), d.tolist(), seen.tolist()) == ([6.0, 7.0], [2.0, 3.0], [2.0, 3.0])


def test_a_write_to_the_array_reaches_what_was_detached_for_it():
    w = leaf(1.0, 2.0)
    w.detach().detach().numpy()[:] = 5.0
    assert w.tolist() == [5.0, 5.0]
    w[:1].detach().numpy()[:] = 7.0  # a part is a value of its own
    assert w.tolist() == [5.0, 5.0]


def test_conversion_of_an_exported_module():
    net = wg.nn.Linear(2, 2)
    seen = net.weight.detach().numpy()
    net.double()
    assert net.weight.dtype == wg.float64
    assert seen.dtype == np.float32

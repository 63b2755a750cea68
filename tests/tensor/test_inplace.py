"""Changes in place: they never corrupt what was recorded, and NumPy's are noticed."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, close, leaf
from wengert import MutationError, ShapeError

# --- What was recorded keeps the values that it saw -----------------------------------------------

CHANGES = {
    "add_": lambda t: t.add_(5.0),
    "+=": lambda t: t.__iadd__(wg.ones(2, dtype=wg.float64)),
    "-= array": lambda t: t.__isub__(np.ones(2)),
    "mul_": lambda t: t.mul_(7.0),
    "div_": lambda t: t.div_(7.0),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(9.0),
    "copy_": lambda t: t.copy_([8.0, 8.0]),
    "itself": lambda t: t.add_(t),
    "slice": lambda t: t.__setitem__(slice(None), 3.0),
    "element": lambda t: t.__setitem__(0, 3.0),
    "mask": lambda t: t.__setitem__(np.array([True, False]), 3.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_of_an_operand(change):
    c, x = wg.tensor([2.0, 3.0], dtype=wg.float64), leaf(1.0, 2.0)
    y = (c * x).sum()
    change(c)
    y.backward()
    assert x.grad.tolist() == [2.0, 3.0]
    assert c.tolist() != [2.0, 3.0]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_of_a_result(change):
    x = leaf(1.0, 2.0)
    h = wg.exp(x)
    y = (h * h).sum()
    change(h)
    y.backward()
    close(x.grad, 2 * np.exp([2.0, 4.0]))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_of_a_leaf(change):
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    with wg.no_grad():
        change(x)
    assert x.is_leaf
    assert x.requires_grad
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == (2 * array(x)).tolist()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_leaf_cannot_be_changed_while_operations_are_recorded(change):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"leaf tensor that requires gradients.*wg\.no_grad\(\)"):
        change(x)
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_of_what_others_see(change):
    a = wg.tensor([[2.0, 3.0], [4.0, 5.0]], dtype=wg.float64)
    row, detached, clone, reshaped = a[0], a.detach(), a.clone(), a.reshape(4)
    held = a[0].detach()
    change(row)
    assert a.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert held.tolist() == [2.0, 3.0]
    a.mul_(10.0)
    assert detached.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert clone.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert reshaped.tolist() == [2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_of_an_exported_tensor_is_seen_by_numpy(change):
    t = wg.tensor([2.0, 3.0], dtype=wg.float64)
    seen = t.numpy()
    change(t)
    assert seen.tolist() == t.tolist()
    assert t.numpy() is seen


# --- Changes are differentiated -------------------------------------------------------------------


def test_adding_to_a_result():
    x = leaf(1.0, 2.0)
    h = x * 2
    same = h
    h += x
    h *= x
    h -= 1.0
    h /= 2.0
    assert same is h
    h.sum().backward()
    assert x.grad.tolist() == [3.0, 6.0]


def test_alpha():
    x = leaf(1.0, 2.0)
    h = x * 2
    h.add_(x, alpha=3.0).sub_(x * x, alpha=wg.tensor(0.5, dtype=wg.float64))
    h.sum().backward()
    assert x.grad.tolist() == [4.0, 3.0]
    plain = wg.ones(2).add_(wg.ones(2), alpha=2).sub_(1.0, alpha=0.5)
    assert plain.tolist() == [2.5, 2.5]


def test_adding_a_leaf_to_a_plain_tensor():
    x, total = leaf(1.0, 2.0), wg.zeros(2, dtype=wg.float64)
    for i in range(3):
        total += x * i
    assert total.requires_grad
    (total * total).sum().backward()
    assert x.grad.tolist() == [18.0, 36.0]


def test_copying_a_leaf_into_a_plain_tensor():
    x, buffer = leaf(1.0, 2.0), wg.zeros((3, 2))
    buffer.copy_(x)
    buffer.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert buffer.dtype == wg.float32


def test_zeroing_cuts_the_gradient():
    x = leaf(1.0, 2.0)
    h = x * x
    h.zero_()
    (h + x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


KEYS = {
    "element": (1, 2),
    "row": 1,
    "negative": -1,
    "slice": slice(0, 1),
    "steps": (slice(None), slice(None, None, 2)),
    "reversed": (slice(None, None, -1), slice(2, 0, -1)),
    "ellipsis": (..., 0),
    "new axis": (None, 1),
    "everything": ...,
    "mask": np.array([[True, False, True], [False, False, True]]),
    "mask of rows": np.array([False, True]),
    "integers": [1, 0, 1],
    "pairs": ([0, 1], [2, 0]),
    "rows of one column": (slice(None), [2, 0]),
    "empty": slice(0, 0),
    "nothing true": np.zeros((2, 3), bool),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("kind", ["number", "tensor"])
def test_assignment_to_a_part(key, kind):
    start = np.arange(6.0).reshape(2, 3)
    expected = start.copy()
    part = np.arange(10.0, 10.0 + expected[key].size).reshape(expected[key].shape)
    if key is KEYS["integers"]:
        part[2] = part[0]  # which of two assignments to one place wins is not defined
    value = 7.0 if kind == "number" else part
    expected[key] = value
    tensor_key = key if not isinstance(key, np.ndarray) else wg.tensor(key)
    for k in (key, tensor_key):
        t = wg.tensor(start)
        t[k] = value if kind == "number" else wg.tensor(part)
        np.testing.assert_array_equal(array(t), expected)
        exported = wg.tensor(start)
        seen = exported.numpy()
        exported[k] = value
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_gradient_of_an_assignment(key):
    weights = np.arange(1.0, 7.0).reshape(2, 3)
    written = np.zeros((2, 3), bool)
    written[key] = True
    size = weights[key].size
    x = wg.tensor(np.ones((2, 3)), requires_grad=True)
    values = wg.tensor(np.arange(float(size)).reshape(weights[key].shape), requires_grad=True)
    h = x * 2
    h[key] = values
    (h * weights).sum().backward()
    np.testing.assert_array_equal(array(x.grad), np.where(written, 0, 2 * weights))
    if key is not KEYS["integers"]:
        np.testing.assert_array_equal(array(values.grad), weights[key])


def test_assignment_broadcasts():
    t = wg.zeros((2, 3))
    t[:] = wg.tensor([1.0, 2.0, 3.0])
    t[:, :2] = wg.tensor([[5.0], [6.0]])
    assert t.tolist() == [[5.0, 5.0, 3.0], [6.0, 6.0, 3.0]]
    x = leaf(1.0)
    h = wg.zeros((2, 3), dtype=wg.float64)
    h[1] = x
    h.sum().backward()
    assert x.grad.tolist() == [3.0]


def test_assignment_of_an_overlapping_part():
    t = wg.tensor([1.0, 2.0, 3.0])
    t[1:] = t[:-1]
    assert t.tolist() == [1.0, 1.0, 2.0]
    t = wg.tensor([1.0, 2.0, 3.0])
    seen = t.numpy()
    t[1:] = t[:-1]
    assert seen.tolist() == [1.0, 1.0, 2.0]
    t.add_(t[::-1])
    assert seen.tolist() == [3.0, 2.0, 3.0]


def test_assignment_element_by_element():
    x = leaf(2.0, 3.0)
    table = wg.zeros(5, dtype=wg.float64)
    table[0] = x[0]
    for i in range(1, 5):
        table[i] = table[i - 1] * x[1]
    table[4].backward()
    assert x.grad.tolist() == [81.0, 2 * 4 * 27.0]


def test_part_of_a_row_is_a_value_not_a_view():
    t = wg.zeros((2, 2))
    t[0][0] = 5.0  # writes to a temporary, unlike NumPy and PyTorch
    row = t[1]
    t[1] = 3.0
    assert row.tolist() == [0.0, 0.0]


# --- What is refused ------------------------------------------------------------------------------


def test_shape_cannot_change():
    t = wg.zeros(2)
    for change in (
        lambda: t.add_(wg.ones((3, 2))),
        lambda: t.copy_(wg.ones((3, 2))),
        lambda: t.__imul__(np.ones((2, 2), np.float32)),
    ):
        with pytest.raises(ShapeError, match=r"cannot change the shape \(2,\) to \((3|2), 2\)"):
            change()
    assert t.tolist() == [0.0, 0.0]


def test_part_must_fit():
    t = wg.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        t[0] = wg.ones(2)
    with pytest.raises((IndexError, ShapeError), match="5"):
        t[5] = 1.0
    with pytest.raises((IndexError, ShapeError), match="indices"):
        t[0, 0, 0] = 1.0
    assert t.tolist() == [[0.0] * 3] * 2


def test_dtype_cannot_change():
    whole, single = wg.zeros(2, dtype=wg.int64), wg.zeros(2)
    for change in (
        lambda: whole.add_(1.5),
        lambda: whole.mul_(0.5),
        lambda: whole.add_(wg.ones(2)),
        lambda: whole.div_(2),
        lambda: single.add_(wg.ones(2, dtype=wg.float64)),
        lambda: single.add_(np.float64(1)),
    ):
        with pytest.raises(TypeError, match=r"cannot change (int64|float32) to float(32|64)"):
            change()
    whole.add_(2)
    whole.mul_(np.int64(3))
    whole -= True
    single += 1
    single *= np.ones(2, np.float32)
    assert whole.tolist() == [5, 5]
    assert single.tolist() == [1.0, 1.0]


def test_masks_can_be_changed():
    t = wg.tensor([True, False])
    t[1] = True
    t.zero_()
    assert t.tolist() == [False, False]
    assert t.dtype == np.bool_


def test_failed_change_leaves_the_tensor_alone():
    t = wg.tensor([1.0, 2.0])
    seen = t.numpy()
    for bad in (lambda: t.add_(wg.ones(3)), lambda: t.__setitem__(0, wg.ones(2))):
        with pytest.raises(ShapeError):
            bad()
    assert seen.tolist() == [1.0, 2.0]
    assert t.numpy() is seen


# --- Changes through NumPy ------------------------------------------------------------------------

SHARED = r"operand \d of mul at test_inplace.py:\d+ .* was changed in place.*shared with NumPy"


def test_array_changed_between_use_and_backward():
    a, w = np.ones(2), leaf(1.0, 2.0)
    x = wg.asarray(a)
    y = (x * w).sum()
    a[0] = 5.0
    with pytest.raises(MutationError, match=SHARED):
        y.backward()
    assert w.grad is None


def test_array_changed_before_use_or_after_backward():
    a, w = np.ones(2), leaf(1.0, 2.0)
    x = wg.asarray(a)
    a[0] = 5.0
    (x * w).sum().backward()
    assert w.grad.tolist() == [5.0, 1.0]
    a[1] = 7.0
    assert x.tolist() == [5.0, 7.0]


def test_array_whose_change_does_not_matter():
    a, w = np.ones(2), leaf(1.0, 2.0)
    y = (wg.asarray(a) + w).sum()  # no derivative of a sum needs its operands
    a[0] = 5.0
    try:
        y.backward()
    except MutationError:
        pass  # also allowed: the check need not know what a rule reads
    else:
        assert w.grad.tolist() == [1.0, 1.0]


def test_export_made_before_the_use():
    w = leaf(1.0, 2.0)
    seen = w.detach().numpy()
    y = (w * w).sum()
    seen[0] = 100.0
    with pytest.raises(MutationError, match=SHARED):
        y.backward()


def test_export_made_after_the_use():
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    w.detach().numpy()[0] = 100.0
    y.backward()
    assert w.grad.tolist() == [2.0, 4.0]
    assert w.tolist() == [100.0, 2.0]
    c, w = wg.ones(2, dtype=wg.float64), leaf(1.0, 2.0)
    y = (c * w).sum()
    c.numpy()[0] = 5.0
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0]
    assert c.tolist() == [5.0, 1.0]


def test_exported_result_that_the_derivative_needs():
    w = leaf(1.0, 2.0)
    h = wg.exp(w)
    y = h.sum()
    h.detach().numpy()[0] = 100.0
    y.backward()
    close(w.grad, np.exp([1.0, 2.0]))
    close(h, np.exp([1.0, 2.0]))


@pytest.mark.parametrize("view", [lambda x: x[0], lambda x: x.T[:, 0], lambda x: x.reshape(4)[:2]])
@pytest.mark.parametrize("start", ["asarray", "numpy"])
def test_view_of_shared_memory(view, start):
    a = np.ones((2, 2))
    x = wg.asarray(a) if start == "asarray" else wg.tensor(a)
    a = a if start == "asarray" else x.numpy()
    w, row = leaf(1.0, 2.0), view(x)
    y = (row * w).sum()
    a[0, :] = 5.0
    try:
        y.backward()
    except MutationError:
        pass  # noticed, or the view is a copy: never a wrong number
    else:
        assert w.grad.tolist() == [1.0, 1.0]


def test_asarray_of_a_view():
    a, w = np.ones((2, 2)), leaf(1.0, 2.0)
    y = (wg.asarray(a[0]) * w).sum()
    a[0, 0] = 5.0
    with pytest.raises(MutationError, match=SHARED):
        y.backward()


def test_array_used_directly_is_copied():
    a, w = np.ones(2), leaf(1.0, 2.0)
    y = (w * a + a * w).sum()
    a[0] = 5.0
    y.backward()
    assert w.grad.tolist() == [2.0, 2.0]


def test_wengerts_own_change_of_an_exported_operand_spares_the_graph():
    c, w = wg.ones(2, dtype=wg.float64), leaf(1.0, 2.0)
    seen = c.numpy()
    y = (c * w).sum()
    c.add_(4.0)
    assert seen.tolist() == [5.0, 5.0]
    assert c.numpy() is seen
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_mutation_is_noticed_through_functional_transforms():
    a = np.ones(2)
    value, pullback = wg.vjp(lambda w: (wg.asarray(a) * w).sum(), leaf(1.0, 2.0).detach())
    a[0] = 5.0
    with pytest.raises(MutationError, match=SHARED):
        pullback(wg.tensor(1.0, dtype=wg.float64))
    del value


def test_update_of_an_exported_parameter_is_seen_by_its_user():
    p = leaf(1.0, 2.0)
    seen = p.detach().numpy()
    for _ in range(3):
        p.grad = None
        (p * p).sum().backward()
        with wg.no_grad():
            p.sub_(p.grad, alpha=0.25)
    assert seen.tolist() == [0.125, 0.25]
    assert p.detach().numpy() is seen
    seen[0] = 8.0
    p.grad = None
    (p * p).sum().backward()
    assert p.grad.tolist() == [16.0, 0.5]


def test_snapshot_is_not_changed_by_updates():
    p = leaf(1.0, 2.0)
    snapshot = p.detach()
    with wg.no_grad():
        for _ in range(3):
            p.mul_(0.5)
    assert snapshot.tolist() == [1.0, 2.0]
    copy = p.detach().clone().numpy()
    with wg.no_grad():
        p.zero_()
    assert copy.tolist() == [0.125, 0.25]


def test_updates_reuse_the_buffer():
    p = leaf(*range(100))
    with wg.no_grad():
        address = p._variable.value.ctypes.data
        for _ in range(3):
            p.sub_(wg.ones(100, dtype=wg.float64), alpha=0.5)
            p.mul_(0.5)
            p += 1.0
    assert p._variable.value.ctypes.data == address


@pytest.mark.parametrize("compiled", [False, True])
def test_copy_of_a_parameter_is_no_parameter(compiled):
    target, frozen, w = leaf(0.0, 0.0), wg.zeros(2, dtype=wg.float64), leaf(1.0, 2.0)

    def synchronise():
        with wg.no_grad():
            target.copy_(w)
            frozen.copy_(w * 2)
            frozen[:1] = w[1:]

    (wg.compile(synchronise) if compiled else synchronise)()
    assert (target.is_leaf, target.requires_grad, frozen.requires_grad) == (True, True, False)
    wg.sum(target * frozen).backward()
    assert (target.grad.tolist(), w.grad) == ([2.0, 4.0], None)


def test_copy_of_a_parameter_that_is_recorded_leads_back_to_it():
    copied, w = wg.zeros(2, dtype=wg.float64), leaf(1.0, 2.0)
    copied.copy_(w)
    assert not copied.is_leaf
    wg.sum(copied * 3).backward()
    assert (copied.grad, w.grad.tolist()) == (None, [3.0, 3.0])


@pytest.mark.parametrize("function", [wg.tanh, wg.relu, wg.exp, wg.square])
@pytest.mark.parametrize("change", [lambda t: t.mul_(-2.0), lambda t: t.__setitem__(0, -7.0)])
def test_an_unrecorded_change_of_a_result_leaves_its_derivative_alone(function, change):
    x, y = (wg.tensor([0.5, 1.0], requires_grad=True) for _ in range(2))
    result, other = function(x), function(y)
    with wg.no_grad():
        change(result)
        change(result)
    result.sum().backward()
    other.sum().backward()
    assert x.grad.tolist() == y.grad.tolist()
    assert result.tolist() != other.tolist()

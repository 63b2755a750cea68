"""detach, no_grad and enable_grad, requires_grad and grad as attributes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf
from wengert import DTypeError, ShapeError

# --- Cutting the gradient -------------------------------------------------------------------------


def test_detach_cuts():
    x = leaf(2.0)
    y = x * x.detach()
    y.sum().backward()
    assert x.grad.item() == 2.0
    assert not x.detach().requires_grad
    assert x.detach().is_leaf
    assert (x * 2).detach().is_leaf


def test_no_grad_and_enable_grad():
    x = leaf(2.0)
    with wg.no_grad():
        y = x * 2
        assert not wg.is_grad_enabled()
        with wg.enable_grad():
            z = x * 3
            assert wg.is_grad_enabled()
        assert not (x * 2).requires_grad
    assert wg.is_grad_enabled()
    assert not y.requires_grad
    assert y.is_leaf
    (y * z).sum().backward()
    assert x.grad.item() == 12.0


def test_modes_as_decorators():
    @wg.no_grad()
    def plain(x):
        """Say."""
        return x * 2

    @wg.enable_grad()
    def recorded(x):
        return plain(x) + x

    x = leaf(2.0)
    assert not plain(x).requires_grad
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Say."
    with wg.no_grad():
        assert recorded(x).requires_grad
    assert wg.is_grad_enabled()


def test_decorated_function_may_recurse():
    @wg.no_grad()
    def f(x, depth):
        return x if depth == 0 else f(x * 2, depth - 1)

    assert f(leaf(1.0), 5).item() == 32.0
    assert wg.is_grad_enabled()


def test_one_mode_object_may_be_entered_again():
    mode = wg.no_grad()
    with mode:
        with mode:
            pass
        assert not wg.is_grad_enabled()
    assert wg.is_grad_enabled()


def test_modes_are_restored_after_an_exception():
    with pytest.raises(ZeroDivisionError), wg.no_grad():
        raise ZeroDivisionError
    assert wg.is_grad_enabled()

    x = leaf(1.0)
    h = x * x
    h.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        h.sum().backward()
    assert wg.is_grad_enabled()
    assert (leaf(1.0) * 2).requires_grad


def test_modes_belong_to_a_thread():
    found = []

    def work():
        found.append(wg.is_grad_enabled())
        found.append((leaf(1.0) * 2).requires_grad)

    with wg.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [True, True]


def test_backward_in_a_mode_that_does_not_record():
    x = leaf(3.0)
    y = (x * x).sum()
    with wg.no_grad():
        y.backward()
    assert x.grad.item() == 6.0
    assert not x.grad.requires_grad


# --- requires_grad and grad as attributes ---------------------------------------------------------


def test_requires_grad_is_for_floats():
    for make in (
        lambda: wg.tensor([1], requires_grad=True),
        lambda: wg.tensor([True]).requires_grad_(),
        lambda: setattr(wg.arange(3), "requires_grad", True),
    ):
        with pytest.raises(DTypeError, match=r"only floating-point .* got (int64|bool).*astype"):
            make()


def test_requires_grad_can_be_switched():
    x = wg.ones(2)
    assert x.requires_grad_() is x
    y = (2 * x).sum()
    assert x.is_leaf
    x.requires_grad = False
    assert not (2 * x).requires_grad
    x.requires_grad_(True)
    (3 * x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    del y


def test_requires_grad_cannot_be_switched_off_for_results():
    h = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match=r"for leaves only; use \.detach\(\)"):
        h.requires_grad_(False)
    assert h.requires_grad_() is h


def test_integer_results_do_not_require_grad():
    x = leaf(1.0, 2.0)
    assert not wg.argmax(x).requires_grad
    assert not (x > 1).requires_grad
    assert not x.astype(wg.int64).requires_grad
    values, index = wg.max_with_index(x)
    assert values.requires_grad
    assert not index.requires_grad


def test_grad_can_be_assigned_and_is_checked():
    x = leaf(1.0, 2.0)
    x.grad = wg.tensor([5.0, 5.0], dtype=wg.float64)
    x.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    with pytest.raises(ShapeError, match=r"\.grad of a tensor f64\[2\].*got f64\[3\]"):
        x.grad = wg.ones(3, dtype=wg.float64)
    with pytest.raises(TypeError, match=r"\.grad of a tensor f64\[2\].*got f32\[2\]"):
        x.grad = wg.ones(2)
    assert x.grad.tolist() == [6.0, 6.0]
    x.grad = None
    assert x.grad is None


def test_grad_is_a_tensor():
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="must be a tensor or None, got ndarray"):
        x.grad = np.ones(2)


def test_grad_assigned_is_not_changed_behind_its_owner():
    x, mine = leaf(1.0, 2.0), wg.ones(2, dtype=wg.float64)
    held = mine.detach()
    x.grad = mine
    x.sum().backward()
    assert held.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_cast_sends_gradients_back_in_the_dtype_of_the_leaf():
    x = wg.tensor([1.0, 2.0], requires_grad=True)
    (x.astype(wg.float64) * np.array([2.0, 3.0])).sum().backward()
    assert x.grad.dtype == wg.float32
    assert x.grad.tolist() == [2.0, 3.0]


def test_backward_of_a_float32_loss_by_a_float64_leaf():
    x = leaf(1.0, 2.0)
    (x.astype(wg.float32) * 3).sum().backward()
    assert x.grad.dtype == wg.float64

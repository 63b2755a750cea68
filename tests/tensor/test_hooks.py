"""Hooks, retain_grad."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import leaf
from wengert import ShapeError
from wengert.graph.mode import THREAD


def test_hook_sees_and_replaces_the_gradient_of_a_leaf():
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: 2 * g)
    x.register_hook(lambda g: seen.append(g.tolist()))
    (3 * x).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    assert seen == [[3.0, 3.0], [6.0, 6.0]]


def test_hook_sees_the_complete_gradient_once():
    x = leaf(2.0)
    h = x * x
    seen = {"x": [], "h": []}
    x.register_hook(lambda g: seen["x"].append(g.item()))
    h.register_hook(lambda g: seen["h"].append(g.item()))
    (h * 3 + wg.sin(h) * 0 + h * x).sum().backward()
    assert seen == {"x": [24.0], "h": [5.0]}
    assert x.grad.item() == 24.0


def test_hook_replaces_what_flows_on():
    x = leaf(1.0, 2.0)
    h = x * x
    h.register_hook(lambda g: wg.clip(g, -1.0, 1.0))
    (10 * h).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_hook_on_the_result_itself():
    x = leaf(1.0)
    y = (2 * x).sum()
    y.register_hook(lambda g: 5 * g)
    y.backward()
    assert x.grad.tolist() == [10.0]


def test_hook_does_not_add_up_with_what_was_there():
    x = leaf(1.0)
    x.grad = wg.tensor([100.0], dtype=wg.float64)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (2 * x).sum().backward()
    assert (seen, x.grad.item()) == ([2.0], 102.0)


def test_hook_can_be_removed():
    x = leaf(1.0)
    h = 2 * x
    handles = [t.register_hook(lambda g: 10 * g) for t in (x, h, h)]
    handles[1].remove()
    handles[1].remove()
    h.sum().backward(retain_graph=True)
    assert x.grad.item() == 200.0
    handles[0].remove()
    handles[2].remove()
    x.grad = None
    h.sum().backward()
    assert x.grad.item() == 2.0


def test_two_equal_hooks_are_removed_one_at_a_time():
    x = leaf(1.0)
    hook = lambda g: 2 * g  # noqa: E731
    first, _ = x.register_hook(hook), x.register_hook(hook)
    first.remove()
    x.sum().backward()
    assert x.grad.item() == 2.0


def test_hook_of_a_leaf_survives_an_update():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: 2 * g)
    for _ in range(3):
        loss = (3 * x).sum()
        x.grad = None
        loss.backward()
        assert x.grad.tolist() == [6.0, 6.0]
        held = x.detach()
        with wg.no_grad():
            x.sub_(0.1 * x.grad)
            x.copy_(x * 1.0)
        del held


def test_hook_may_be_differentiated():
    x = leaf(3.0)
    x.register_hook(lambda g: g * g)
    (x * x).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.item() == 36.0
    # d (2x)² = 8x, squared by the hook again
    first.sum().backward()
    assert x.grad.item() == 24.0**2


def test_hook_that_returns_a_wrong_shape_is_refused():
    x = leaf(1.0, 2.0)
    h = x * 2
    h.register_hook(lambda g: g.sum())
    with pytest.raises((ShapeError, RuntimeError), match=r"hook.*f64\[2\].*f64\[\]"):
        h.sum().backward()


def test_hook_needs_a_tensor_that_requires_grad():
    with pytest.raises(RuntimeError, match=r"register_hook: .*does not require gradients"):
        wg.ones(1).register_hook(lambda g: None)


def test_hook_is_used_with_inputs_and_by_functional_gradients_inside():
    x = leaf(1.0)
    h = 2 * x
    calls = []
    h.register_hook(lambda g: calls.append(1) or 10 * g)
    h.sum().backward(inputs=[x], retain_graph=True)
    assert (x.grad.item(), len(calls)) == (20.0, 1)
    calls.clear()
    h.sum().backward(inputs=[h])
    assert (h.grad.item(), len(calls)) == (10.0, 1)

    def f(x):
        y = x * x
        y.register_hook(lambda g: calls.append(1) or 10 * g)
        return y

    calls.clear()
    assert wg.grad(f)(wg.tensor(3.0)).item() == 60.0
    assert len(calls) == 1


def test_retain_grad():
    x = leaf(1.0, 2.0)
    h = x * x
    h.retain_grad()
    h.retain_grad()
    x.retain_grad()
    (3 * h).sum().backward(retain_graph=True)
    assert h.grad.tolist() == [3.0, 3.0]
    (3 * h).sum().backward()
    assert h.grad.tolist() == [6.0, 6.0]
    assert x.grad.tolist() == [12.0, 24.0]


def test_retain_grad_sees_what_hooks_before_it_returned():
    x = leaf(1.0)
    h = x * x
    h.register_hook(lambda g: 5 * g)
    h.retain_grad()
    h.sum().backward()
    assert h.grad.item() == 5.0


def test_a_retained_gradient_that_is_asked_for_too_is_added_once():
    x = wg.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2.0
    h.retain_grad()
    (h * h).sum().backward(inputs=[h])
    np.testing.assert_array_equal(h.grad.numpy(), [4.0, 8.0])
    assert x.grad is None


def test_cotangents_add_up_while_another_evaluation_is_under_way():
    def gradient():
        x = wg.tensor([1.0, 2.0], requires_grad=True)
        h = x * 2.0
        (h * h + h * 3.0 + wg.sin(h)).sum().backward()
        return x.grad.numpy()

    np.testing.assert_array_equal(THREAD.now.run(gradient), gradient())

"""Calls of compiled functions that run no Python: the tensors whose memory they use."""

from __future__ import annotations

import numpy as np

import wengert as wg
from tests.compile.call.quick import Training, X, Y, double, is_fast, needs_fast_calls, warm

pytestmark = needs_fast_calls


def test_a_captured_tensor_changes_its_dtype():
    layer = wg.nn.Linear(2, 2)
    compiled = wg.compile(lambda: layer.weight * 2)
    with wg.no_grad():
        warm(compiled)
        layer.double()
        found = compiled()
    assert found.dtype == np.float64
    assert found.tolist() == (layer.weight * 2).tolist()


def test_a_captured_tensor_stops_requiring_gradients():
    weight = double([1.0, 2.0]).requires_grad_()
    compiled = wg.compile(lambda: weight * 2)
    with wg.no_grad():
        warm(compiled)
        weight.requires_grad_(False)
        compiled()
    assert compiled.compilations[1:] == ["changed: requires_grad of a captured tensor"]


def test_a_captured_tensor_becomes_part_of_a_graph():
    root = double(3.0).requires_grad_()
    weight = double(1.0).requires_grad_()

    def pull(x):
        (weight * weight * x).backward()
        weight.grad = None

    compiled = warm(wg.compile(pull), double(1.0))
    weight.requires_grad_(False)
    weight.mul_(root)
    compiled(double(1.0))
    assert root.grad.item() == 2 * 3.0
    assert weight.grad is None


def test_a_value_that_a_derivative_needs_is_not_overwritten():
    root = double([0.5, 1.0]).requires_grad_()
    grown = wg.exp(root)

    def double_it():
        grown.mul_(2.0)

    compiled = wg.compile(double_it)
    with wg.no_grad():
        for _ in range(5):
            compiled()
    grown._bind(wg.exp(root)._read())
    with wg.no_grad():
        compiled()
    grown.sum().backward()
    np.testing.assert_allclose(root.grad.tolist(), np.exp([0.5, 1.0]), rtol=1e-14)


def test_an_argument_that_is_also_captured():
    weight = double([1.0, 2.0])

    def before_and_after(x):
        before = x * 1
        weight.add_(1.0)
        return before, x * 1

    compiled = warm(wg.compile(before_and_after), double([5.0, 5.0]))
    known = weight.tolist()
    before, after = compiled(weight)
    assert before.tolist() == known
    assert after.tolist() == weight.tolist() == [k + 1 for k in known]


def test_whether_an_argument_has_a_gradient():
    compiled = wg.compile(lambda x: x * 1 if x.grad is None else x * 2)
    x = double([1.0])
    warm(compiled, x)
    x.grad = double([7.0])
    assert compiled(x).item() == 2.0
    warm(compiled, x)
    x.grad = None
    assert compiled(x).item() == 1.0


def pull_back(x):
    (x * x).sum().backward()


def test_the_gradient_of_an_argument_is_left_and_its_hooks_are_called():
    compiled = wg.compile(pull_back)
    x, hooked = (double([3.0]).requires_grad_() for _ in range(2))
    for tensor in (x, hooked):
        warm(compiled, tensor)
    hooked.register_hook(lambda g: g * 10)
    for tensor, slope in ((x, 6.0), (hooked, 60.0)) * 3:
        before = tensor.grad.item()
        compiled(tensor)
        assert tensor.grad.item() == before + slope


def test_an_argument_that_was_made_by_an_operation():
    def pull_through(x):
        pull_back(x)
        x.grad = None

    leaf = double([3.0]).requires_grad_()
    compiled = warm(wg.compile(pull_through), leaf)
    compiled(leaf * 1)
    assert leaf.grad.item() == 6.0


def test_a_loss_with_a_hook_does_not_come_back():
    training = Training(True)
    warm(training.step, X, Y)
    for _ in range(6):
        loss = training.step(X, Y)
        assert not hasattr(loss._variable, "hooks")
        loss.register_hook(lambda g: g)
        training.step(X, Y)  # through Python, since a hook was announced


def test_a_loss_that_was_looked_at_does_not_come_back():
    training = Training(True)
    warm(training.step, X, Y)
    serials = []
    for _ in range(6):
        loss = training.step(X, Y)
        serials.append(loss._variable.op.serial)
    assert serials == sorted(set(serials))
    training.step(X, Y)
    assert is_fast(training.step, X, Y)

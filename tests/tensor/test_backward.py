"""Tensor.backward as users of PyTorch know it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import FUNCTIONS, X, array, close, leaf
from wengert import DTypeError, GraphFreedError, ShapeError

# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", FUNCTIONS)
def test_agrees_with_the_functional_gradient(f):
    x = wg.tensor(X, requires_grad=True)
    wg.sum(wg.sin(f(x))).backward()
    np.testing.assert_array_equal(array(x.grad), array(wg.grad(lambda x: wg.sum(wg.sin(f(x))))(X)))


@pytest.mark.parametrize("f", FUNCTIONS)
def test_create_graph_agrees_with_the_functional_hessian(f):
    x = wg.tensor(X, requires_grad=True)
    wg.sum(wg.sin(f(x))).backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.requires_grad
    wg.sum(first * np.arange(4.0)).backward(create_graph=True)
    hessian = array(wg.hessian(lambda x: wg.sum(wg.sin(f(x))))(X))
    close(x.grad, np.arange(4.0) @ hessian, 1e-12, atol=1e-14)
    second, x.grad = x.grad, None
    second[0].backward()
    third = wg.grad(lambda x: wg.hessian(lambda x: wg.sum(wg.sin(f(x))))(x)[0] @ np.arange(4.0))
    close(x.grad, third(X), 1e-11, atol=1e-13)


def test_gradients_accumulate():
    x = leaf(1.0, 2.0)
    (3 * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    assert x.grad is first  # PyTorch adds in place
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_gradient_does_not_require_grad_and_is_contiguous():
    x = wg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    (x.T * np.arange(6.0).reshape(3, 2)).sum().backward()
    assert not x.grad.requires_grad
    assert x.grad.is_leaf
    assert x.grad.numpy().flags.c_contiguous
    assert x.grad.tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]


def test_every_leaf_gets_memory_of_its_own():
    x, y, seed = leaf(1.0, 2.0), leaf(1.0, 2.0), wg.ones(2, dtype=wg.float64)
    (x + y).backward(seed)
    x.grad.add_(1.0)
    assert (x.grad.tolist(), y.grad.tolist(), seed.tolist()) == ([2.0, 2.0], [1.0, 1.0], [1.0, 1.0])
    (x + y).backward(seed)
    assert (x.grad.tolist(), y.grad.tolist(), seed.tolist()) == ([3.0, 3.0], [2.0, 2.0], [1.0, 1.0])


def test_gradient_given_as_an_array_is_not_written_to():
    x, seed = leaf(1.0, 2.0), np.ones(2)
    x.backward(seed)
    x.backward(seed)
    x.grad.mul_(7.0)
    assert seed.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [14.0, 14.0]


def test_gradient_that_was_broadcast_is_no_view():
    x = leaf(1.0, 2.0)
    x.sum().backward()
    x.grad[0] = 5.0
    assert x.grad.tolist() == [5.0, 1.0]
    (x.grad.numpy())[1] = 7.0
    assert x.grad.tolist() == [5.0, 7.0]


def test_leaf_itself():
    x = leaf(2.0)
    x.sum().backward()
    x.backward()
    assert x.grad.tolist() == [2.0]
    scalar = wg.tensor(2.0, requires_grad=True)
    scalar.backward()
    scalar.backward()
    assert scalar.grad.item() == 2.0


def test_diamonds_and_repeated_operands():
    x = leaf(3.0)
    h = x * x
    (h * h + h * x + x + x).sum().backward()
    assert x.grad.tolist() == [4 * 27.0 + 3 * 9.0 + 2.0]


def test_only_leaves_are_filled():
    x = leaf(1.0, 2.0)
    h = 2 * x
    plain = wg.ones(2)
    (h * plain).sum().backward()
    assert h.grad is None
    assert plain.grad is None
    assert x.grad.tolist() == [2.0, 2.0]


def test_leaf_that_is_not_used_keeps_none():
    x, y = leaf(1.0), leaf(1.0)
    (2 * x).sum().backward()
    assert y.grad is None


def test_deep_chain_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 0.5
    depth = sys.getrecursionlimit()
    y.sum().backward()
    assert x.grad.tolist() == [1.0]
    assert sys.getrecursionlimit() == depth


def test_deep_chain_is_freed_without_recursion(without_collector):
    y = leaf(1.0)
    for _ in range(100_000):
        y = y * 1.0
    del y  # a recursive destructor would overflow the C stack


# --- The incoming gradient ------------------------------------------------------------------------


def test_more_than_one_number_needs_an_incoming_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs an incoming gradient"):
        (x * x).backward()
    (x * x).backward(wg.tensor([1.0, 10.0], dtype=wg.float64))
    assert x.grad.tolist() == [2.0, 40.0]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_of_any_rank_needs_none(shape):
    x = wg.full(shape, 3.0)
    x.requires_grad = True
    (x * x).backward()
    assert x.grad.shape == shape
    assert x.grad.item() == 6.0


def test_incoming_gradient_is_checked():
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match=r"must be f64\[2\] like the tensor, got f64\[3\]"):
        (x * x).backward(np.ones(3))
    with pytest.raises((ShapeError, DTypeError), match=r"must be f64\[2\].*got f32\[2\]"):
        (x * x).backward(wg.ones(2))
    y = x * x
    y.backward([1.0, 2.0])
    assert x.grad.tolist() == [2.0, 8.0]


def test_incoming_gradient_may_be_differentiated():
    x, seed = leaf(3.0), leaf(1.0)
    (x * x).backward(seed, create_graph=True)
    x.grad.sum().backward()
    assert seed.grad.tolist() == [6.0]


def test_nothing_to_compute():
    with pytest.raises(RuntimeError, match="does not depend on any tensor that requires gradients"):
        wg.ones(1).sum().backward()
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        leaf(1.0).detach().backward()
    with pytest.raises(RuntimeError, match="no_grad"), wg.no_grad():
        (leaf(1.0) * 2).backward()


# --- retain_graph ---------------------------------------------------------------------------------


def test_second_backward_names_the_operation_and_its_line():
    x = leaf(1.0, 2.0)
    y = wg.exp(x).sum()
    y.backward()
    with pytest.raises(GraphFreedError, match=r"graph of sum at test_backward.py:\d+ was freed"):
        y.backward()
    assert x.grad.tolist() == np.exp([1.0, 2.0]).tolist()  # nothing was added


def test_second_backward_through_a_shared_part():
    x = leaf(1.0, 2.0)
    h = wg.exp(x)
    (h * h).sum().backward()
    second = (h * 2).sum()
    with pytest.raises(GraphFreedError, match=r"exp at test_backward.py:\d+.*retain_graph=True"):
        second.backward()


def test_second_backward_names_a_primitive_of_several_outputs():
    x = leaf(2.0, 1.0)
    y = wg.sort(x)
    (y * y).sum().backward()
    with pytest.raises(GraphFreedError, match=r"sort at test_backward.py:\d+"):
        y.sum().backward()


def test_retain_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    for _ in range(3):
        y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0, 16.0]
    with pytest.raises(GraphFreedError):
        y.backward()


def test_create_graph_retains():
    x = leaf(2.0)
    y = (x**3).sum()
    y.backward(create_graph=True)
    x.grad = None
    y.backward()
    assert x.grad.tolist() == [12.0]
    y = (x**3).sum()
    y.backward(create_graph=True, retain_graph=False)
    with pytest.raises(GraphFreedError):
        y.backward()


def test_create_graph_accumulates_into_a_gradient_that_is_a_graph():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    held = x.grad
    x.grad.sum().backward()
    assert x.grad.tolist() == [12.0 + 12.0]
    assert held.tolist() == [12.0]  # the recorded value is not written to


def test_freed_graph_of_a_loss_that_is_used_again():
    x = leaf(2.0)
    h = x * x
    losses = [h * i for i in range(3)]
    losses[0].sum().backward(retain_graph=True)
    losses[1].sum().backward(retain_graph=True)
    losses[2].sum().backward()
    assert x.grad.tolist() == [12.0]


# --- inputs= --------------------------------------------------------------------------------------


def test_inputs_choose_the_leaves():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [3.0, 4.0]
    assert y.grad is None
    (x * y).sum().backward(inputs=(y, x))
    assert x.grad.tolist() == [6.0, 8.0]
    assert y.grad.tolist() == [1.0, 2.0]


def test_inputs_may_be_one_tensor():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * y).sum().backward(inputs=x)
    assert x.grad.tolist() == [3.0, 4.0]
    assert y.grad is None


def test_inputs_may_be_intermediate():
    x = leaf(1.0, 2.0)
    h = 2 * x
    (h * h).sum().backward(inputs=[h])
    assert h.grad.tolist() == [4.0, 8.0]
    assert x.grad is None


def test_inputs_may_be_intermediate_and_leaf_together():
    x = leaf(1.0, 2.0)
    h = 2 * x
    y = h * h
    y.sum().backward(inputs=[h, x, y])
    assert h.grad.tolist() == [4.0, 8.0]
    assert x.grad.tolist() == [8.0, 16.0]
    assert y.grad.tolist() == [1.0, 1.0]


def test_inputs_compute_only_what_leads_to_them(spy):
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (wg.tanh(x) * wg.sin(y)).sum()
    cosines = spy("cos")
    loss.backward(inputs=[x])
    assert len(cosines) == 0
    assert y.grad is None


def test_inputs_are_checked():
    x, plain = leaf(1.0), wg.ones(1)
    with pytest.raises(RuntimeError, match=r"inputs.*require"):
        (x * 2).sum().backward(inputs=[plain])
    with pytest.raises((RuntimeError, ValueError), match="inputs"):
        (x * 2).sum().backward(inputs=[])

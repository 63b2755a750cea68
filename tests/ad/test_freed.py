"""A freed graph, a value changed through NumPy: errors that name the operation and the line."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from tests.graph.shared import here, leaf
from wengert.ad.reverse import pull, vjp
from wengert.ad.tape import record_tape
from wengert.graph.errors import GraphFreedError, MutationError
from wengert.graph.sharing import borrow, is_shared, lend, noted
from wengert.graph.variable import Variable
from wengert.ops.exponential import exp, sin
from wengert.ops.shape import reshape

X = [1.0, 2.0, 3.0]
ONES = Variable(np.ones(3))


def backward(y: Variable, *, free: bool = True):
    return pull(record_tape([y], None), [y], [ONES], record=False, free=free)


# --- freed ----------------------------------------------------------------------------------------


def test_second_backward_over_a_freed_graph():
    x = leaf(X)
    y = sin(x) * x
    line = here(-1)
    table = backward(y)
    np.testing.assert_allclose(table.get(x).value, np.cos(X) * X + np.sin(X), rtol=1e-15)
    with pytest.raises(
        GraphFreedError, match=rf"the graph of mul at test_freed\.py:{line} was freed by an earlier"
    ):
        backward(y)


def test_a_graph_that_is_kept_can_be_walked_again():
    x = leaf(X)
    y = sin(x) * x
    first = backward(y, free=False).get(x).value
    np.testing.assert_array_equal(backward(y).get(x).value, first)


def test_a_part_shared_by_two_losses():
    x = leaf(X)
    shared = sin(x)
    line = here(-1)
    first, second = shared * 2.0, shared * 3.0
    backward(first)
    with pytest.raises(GraphFreedError, match=rf"sin at test_freed\.py:{line} was freed"):
        backward(second)


def test_what_is_built_on_a_freed_part():
    x = leaf(X)
    y = sin(x)
    backward(y)
    with pytest.raises(GraphFreedError, match="the graph of sin"):
        vjp([exp(y)], [ONES], [x])


def test_freeing_drops_the_values_that_were_kept():
    gc.collect()
    x = leaf(X)
    middle = exp(sin(x))
    y = middle * middle
    kept = weakref.ref(middle.value)
    del middle
    gc.disable()
    try:
        assert kept() is not None
        backward(y)
        assert kept() is None
    finally:
        gc.enable()


def test_value_of_a_freed_result_stays():
    y = sin(leaf(X))
    backward(y)
    np.testing.assert_array_equal(y.value, np.sin(X))
    assert y.op.freed


# --- changed --------------------------------------------------------------------------------------


def shared_leaf() -> tuple[Variable, np.ndarray]:
    array = np.array(X)
    return Variable(borrow(array), requires_grad=True), array


def test_operand_changed_after_it_was_used():
    x, array = shared_leaf()
    y = x * x
    line = here(-1)
    array[0] = 7.0
    with pytest.raises(
        MutationError,
        match=rf"operand 0 of mul at test_freed\.py:{line} \(f64\[3\]\) was changed in place",
    ):
        vjp([y], [ONES], [x])


def test_lent_result_that_is_used_again():
    x = leaf(X)
    y = exp(x)
    given = lend(y.value)
    z = y * y
    vjp([z], [ONES], [x])
    given[1] = 0.0
    with pytest.raises(MutationError, match=r"operand 0 of mul at test_freed\.py:\d+"):
        vjp([z], [ONES], [x])


def test_change_before_the_use_is_none():
    x, array = shared_leaf()
    array[0] = 7.0
    y = x * x
    (x_bar,), _ = vjp([y], [ONES], [x])
    np.testing.assert_array_equal(x_bar.value, [14, 4, 6])


def test_change_that_is_taken_back_is_none():
    x, array = shared_leaf()
    y = x * x
    array[0] = 7.0
    array[0] = 1.0
    vjp([y], [ONES], [x])


def test_change_of_a_value_that_no_derivative_needs():
    x, array = shared_leaf()
    y = x + x
    array[0] = 7.0
    (x_bar,), _ = vjp([y], [ONES], [x])
    np.testing.assert_array_equal(x_bar.value, [2, 2, 2])


@pytest.mark.parametrize("derived", [lambda x: reshape(x, (3, 1)), lambda x: x])
def test_change_seen_through_a_view(derived):
    x, array = shared_leaf()
    z = derived(x)
    y = z * z
    array[2] = -1.0
    with pytest.raises(MutationError, match="operand 0 of mul"):
        vjp([y], [Variable(np.ones(y.shape))], [x])


def test_change_by_a_view_of_the_array():
    x, array = shared_leaf()
    y = x * x
    array[1:][...] = 0.0
    with pytest.raises(MutationError, match="was changed in place after it was used"):
        vjp([y], [ONES], [x])


def test_change_makes_an_infinity_or_a_nan():
    x, array = shared_leaf()
    y = x * x
    array[0] = np.nan
    with pytest.raises(MutationError):
        vjp([y], [ONES], [x])


def test_nothing_is_noted_once_the_array_is_gone():
    value = np.array(X)
    given = lend(value)
    assert lend(value) is given
    assert is_shared(value)
    assert is_shared(value[1:])
    view = given[:0]
    del given
    assert is_shared(value)
    del view
    assert not is_shared(value)
    assert id(value) not in noted


def test_nothing_is_noted_once_only_we_hold_the_array():
    array = np.array(X)
    value = borrow(array[1:])
    view = array[:1]
    del array
    assert is_shared(value)
    del view
    assert not is_shared(value)
    assert id(value) not in noted


def test_arrays_of_no_elements_and_no_axes_can_be_shared():
    for array in (np.zeros((0, 3)), np.array(2.0)):
        given = lend(array)
        assert given.shape == array.shape
        x = Variable(array, requires_grad=True)
        y = x * x
        (x_bar,), _ = vjp([y], [Variable(np.ones_like(array))], [x])
        np.testing.assert_array_equal(x_bar.value, 2 * array)

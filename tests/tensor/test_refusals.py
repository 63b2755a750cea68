"""What is no number, no function or no state is refused in a sentence that says what to do."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import DTypeError, ShapeError

X = wg.ones((3, 4))


def assigned(value):
    x = wg.zeros(3)
    x[0] = value
    return x


NOT_NUMBERS = {
    "None": (lambda: wg.tensor(None), r"None is no number; leave it out, or write nan"),
    "None, with a dtype": (lambda: wg.tensor([1, None], dtype=wg.float32), r"None is no number"),
    "None in an object array": (
        lambda: wg.asarray(np.array([1, None]), dtype=wg.float32),
        r"None is no number",
    ),
    "None assigned": (lambda: assigned(None), r"None is no number"),
    "None that fills": (lambda: wg.zeros(2).fill_(None), r"None is no number"),
    "None as an operand": (lambda: X + None, r"None is no number"),
    "text, with a dtype": (
        lambda: wg.tensor("1.5", dtype=wg.float32),
        r"the text '1\.5' is no number; convert it first, as with float\(\)",
    ),
    "text assigned": (lambda: assigned("1.5"), r"the text '1\.5' is no number"),
    "a generator": (
        lambda: wg.tensor(i for i in range(3)),
        r"generator is no number; give a number, nested lists of numbers or an array",
    ),
    "a dict": (lambda: wg.tensor({"a": 1}), r"dict is no number"),
}


@pytest.mark.parametrize("name", NOT_NUMBERS)
def test_what_is_no_number(name):
    function, message = NOT_NUMBERS[name]
    with pytest.raises(DTypeError, match=message):
        function()


def test_an_array_of_objects_that_are_numbers_is_one_with_a_dtype():
    numbers = np.array([1, 2.5, np.float32(3)], dtype=object)
    assert wg.tensor(numbers, dtype=wg.float32).tolist() == [1, 2.5, 3]


TYPES = {
    "full": (lambda: wg.full((2,), None), r"full: a number must fill the array, got NoneType"),
    "dtype": (lambda: X.astype("flot32"), r"'flot32' is no dtype; use bool, an integer of"),
    "axis": (lambda: wg.sum(X, axis=1.0), r"sum: an axis must be an integer, got 1\.0"),
    "einsum": (
        lambda: wg.einsum(X, "ij->i"),
        r"einsum: the first argument must be a text such as 'ij,jk->ik', got",
    ),
    "grad of a tensor": (
        lambda: wg.grad(wg.sum(X), X),
        r"grad: needs a function, got Tensor\. For a tensor that was .* there is backward\(\)",
    ),
    "one beta": (
        lambda: wg.optim.Adam([X.clone().requires_grad_()], betas=(0.9,)),
        r"Adam: betas must be two numbers, got \(0\.9,\)",
    ),
    "weights": (
        lambda: wg.nn.Linear(2, 2).load_state_dict("model.safetensors"),
        r"load_state_dict: needs weights by key, got str; pass what state_dict\(\)",
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_what_is_of_another_type(name):
    function, message = TYPES[name]
    with pytest.raises(TypeError, match=message):
        function()


@pytest.mark.parametrize("state", [{}, None, {"state": {}}])
def test_what_is_no_state_of_an_optimizer(state):
    optimizer = wg.optim.SGD([wg.ones(2).requires_grad_()], lr=0.1)
    with pytest.raises(ValueError, match=r"needs what state_dict\(\) of an optimizer returned"):
        optimizer.load_state_dict(state)


def test_leading_axes_that_do_not_broadcast():
    with pytest.raises(
        ShapeError, match=r"\(2, 3, 4\) and \(5, 4, 6\) .*: axis -3 has 2 against 5"
    ):
        wg.ones((2, 3, 4)) @ wg.ones((5, 4, 6))
    with pytest.raises(ShapeError, match=r"axis -4 has 3 against 2"):
        wg.ones((3, 1, 3, 4)) @ wg.ones((2, 5, 4, 6))


def test_stack_says_what_to_do():
    with pytest.raises(ShapeError, match=r"operand 1 \(2, 2\); all must have one shape\. Use con"):
        wg.stack([X, wg.ones((2, 2))])


def test_a_graph_checks_its_arrays():
    graph = wg.trace(lambda x: x * 2)(X)
    for arrays in ((), (np.ones(4, np.float32),)):
        with pytest.raises(ShapeError, match=r"graph lambda: needs arrays of shapes \[\(3, 4\)\]"):
            graph(*arrays)


def test_an_assignment_is_called_so():
    x = wg.zeros(3)
    with pytest.raises(ShapeError, match=r"assignment: shapes \(2,\) and \(3,\) do not broadcast"):
        x[:2] = wg.ones(3)
    with pytest.raises(ShapeError, match=r"assignment: an array of shape \(4, 2\) does not fit a"):
        x[:2] = wg.ones((4, 2))

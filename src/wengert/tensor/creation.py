"""Making tensors from data."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.ad.tape import close_off
from wengert.graph import memory, sharing
from wengert.graph.bind import bind
from wengert.graph.dtypes import check_dtype
from wengert.graph.errors import DTypeError
from wengert.graph.variable import Leaf, Variable
from wengert.ops.convert import array_of, as_variable, weak_value
from wengert.ops.shape import alias_p
from wengert.tensor.cell import Cell
from wengert.tensor.tensor import Tensor, operand


def leaf(cell: Cell, variable: Variable) -> Leaf:
    """Return a leaf of the value of `variable`, whose gradient `cell` collects."""
    if variable.dtype.kind != "f":
        raise DTypeError(
            f"only floating-point tensors can require gradients, got {variable.dtype}; "
            "convert it with .astype(wg.float32) first."
        )
    if variable.value is None:
        # A variable of its own: an operation has one for each output.
        alias: Variable = bind(alias_p, (close_off(variable),))
        assert alias.trace is not None
        made = Leaf.abstract(alias.aval, alias.trace, alias.op, True)
    else:
        made = Leaf(variable.value, None, True)
    made.cell = weakref.ref(cell)
    registered = getattr(cell._read(), "hooks", None)
    if registered is not None:  # they belong to the cell, which is given a new leaf
        made.hooks = registered
    if variable.name:
        made.name = variable.name
    return made


def tensor(data: Any, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Return a new tensor with a copy of `data`.

    Parameters
    ----------
    data : number, nested lists, ndarray or Tensor
        The values. Python floats get the default dtype (float32), NumPy arrays keep theirs.
    dtype : dtype, optional
        Another dtype.
    requires_grad : bool
        Whether gradients of it are wanted.

    Raises
    ------
    DTypeError
        If the data is no array of numbers, or cannot require gradients.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.tensor([[1, 2], [3, 4]], dtype=wg.float32)
    tensor([[1., 2.],
            [3., 4.]])
    """
    if isinstance(data, Tensor):
        data = data.detach() if dtype is None else data.detach().astype(dtype)
        variable = as_variable(data._read())
        if variable.value is not None:
            variable = Variable(memory.copied(variable.value))
    else:
        if isinstance(data, list | tuple):
            data = _plain(data)
        chosen = None if dtype is None else check_dtype(dtype)
        variable = Variable(memory.copied(array_of(data, chosen)))
    made = Tensor(variable)
    if requires_grad:
        made._variable = leaf(made, variable)
    return made


def _plain(data: Any) -> Any:
    """Return nested lists with the tensors in them replaced by arrays or numbers."""
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    if isinstance(data, Tensor):
        return data.detach()._value("wg.tensor")
    return data


def asarray(data: Any, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Tensor:
    """Return `data` as a tensor, sharing memory with NumPy where possible.

    Writing to the array afterwards changes the tensor, and the other way round; a backward pass
    that needs the value as it was raises MutationError.

    Parameters
    ----------
    data : array_like or Tensor
        The values.
    dtype : dtype, optional
        Another dtype.
    copy : bool, optional
        True: copy always, as `tensor` does.

    Examples
    --------
    >>> import numpy as np
    >>> import wengert as wg
    >>> a = np.zeros(2)
    >>> x = wg.asarray(a)
    >>> a[0] = 1
    >>> x
    tensor([1., 0.], dtype=float64)
    """
    if isinstance(data, Tensor) and not copy:
        if weak_value(data._variable) is not None:
            return tensor(data, dtype)
        return data if dtype is None else data.astype(dtype)
    if copy or not hasattr(data, "__array__"):
        return tensor(data, dtype)
    value = array_of(data, None if dtype is None else check_dtype(dtype))
    shares = np.may_share_memory(value, np.asarray(data))
    made = Tensor(Variable(sharing.borrow(value) if shares else value))
    if shares:
        sharing.admit(made)
    return made


def zeros_like(x: Any, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return zeros of the shape and dtype of `x`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.zeros_like(wg.tensor([1.0, 2.0]))
    tensor([0., 0.])
    """
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return ones of the shape and dtype of `x`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.ones_like(wg.tensor([1.0, 2.0]))
    tensor([1., 1.])
    """
    return full_like(x, 1, dtype)


def full_like(x: Any, fill_value: float, dtype: npt.DTypeLike | None = None) -> Tensor:
    """Return an array of the shape and dtype of `x` filled with one number.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.full_like(wg.tensor([1.0, 2.0]), 7)
    tensor([7., 7.])
    """
    from wengert.ops.creation import full

    variable = as_variable(operand(x))
    return Tensor(full(variable.shape, fill_value, variable.dtype if dtype is None else dtype))

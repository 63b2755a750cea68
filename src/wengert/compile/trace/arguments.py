"""The arguments of a compiled function: which become inputs, and what tells its versions apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.graph.dtypes import FLOAT64, Array, check_dtype
from wengert.graph.mode import THREAD
from wengert.graph.variable import Aval, Leaf, Variable
from wengert.tensor.tensor import Tensor
from wengert.tensor.traced import is_array

Key = tuple[Any, ...]


def argument_aval(leaf: Any) -> Aval | None:
    """Return the shape and dtype of an argument that becomes an input; None if it is static."""
    if type(leaf) is float:
        return Aval((), FLOAT64, weak=True)
    if not is_array(leaf):
        return None
    return Aval(tuple(leaf.shape), check_dtype(leaf.dtype))


def argument_array(leaf: Any) -> Array:
    """Return the array of an argument that is an input but no tensor."""
    array = np.asarray(leaf, np.float64 if type(leaf) is float else None)
    return array if is_plain(array) else np.array(array, order="C")


def is_plain(array: Array) -> bool:
    """Tell whether machine code can read an array as it stands."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned


def contiguous(variable: Variable) -> Array:
    """Return the value of `variable` in C order, aligned as its elements are."""
    value = variable.concrete("a compiled function")
    return value if is_plain(value) else np.array(value, order="C")


def must_run_itself(leaf: Any) -> bool:
    """Tell whether an eager backward pass will visit an argument, or it has no value."""
    if not isinstance(leaf, Tensor):
        return False
    variable = leaf._variable
    recorded = variable.requires_grad and not isinstance(variable, Leaf)
    return variable.value is None or (recorded and THREAD.now.recording)


def hooks_of(variable: Variable) -> tuple[Any, ...]:
    """Return the hooks of a variable, which are part of the backward pass."""
    return tuple(getattr(variable, "hooks", ()))


def arguments_key(leaves: Sequence[Any]) -> tuple[Key, ...]:
    """Return what two calls must share to run the same code, for each argument.

    An argument that is the same tensor as an earlier one is known by the place of that one.
    """
    first: dict[int, int] = {}
    keys: list[Key] = []
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            same = first.setdefault(id(leaf), place)
            keys.append(_tensor_key(leaf) if same == place else ("same", same))
        else:
            keys.append(_other_key(leaf))
    return tuple(keys)


def _tensor_key(leaf: Tensor) -> Key:
    variable = leaf._variable
    key = (variable.shape, variable.dtype, isinstance(variable, Leaf))
    return (*key, variable.requires_grad, hooks_of(variable)) if variable.requires_grad else key


def _other_key(leaf: Any) -> Key:
    if type(leaf) is float:
        return (float,)
    if is_array(leaf):
        return tuple(leaf.shape), check_dtype(leaf.dtype)
    try:
        hash(leaf)
    except TypeError:
        raise TypeError(
            f"compile: an argument of type {type(leaf).__name__} is neither an array nor hashable; "
            "pass tensors, numbers, strings, or containers of them."
        ) from None
    return type(leaf), leaf

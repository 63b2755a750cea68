"""What an argument of a compiled function is: an array that its code reads, or a constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.graph.dtypes import FLOAT64, Array, check_dtype
from wengert.graph.variable import Aval, Leaf, Variable
from wengert.tensor.tensor import Tensor
from wengert.tensor.traced import is_array


def contiguous(variable: Variable) -> Array:
    """Return the value of `variable` in C order."""
    value = variable.concrete("a compiled function")
    return value if value.flags.c_contiguous else np.array(value, order="C")


def argument_array(leaf: Any) -> Array:
    """Return the array of an argument that is an input."""
    if isinstance(leaf, Tensor):
        return contiguous(leaf._variable)
    dtype = np.float64 if type(leaf) is float else None
    return np.require(leaf, dtype, "C")


def argument_aval(leaf: Any) -> Aval | None:
    """Return the shape and dtype of an argument that becomes an input; None if it is static."""
    if type(leaf) is float:
        return Aval((), FLOAT64, weak=True)
    if not is_array(leaf):
        return None
    return Aval(tuple(leaf.shape), check_dtype(leaf.dtype))


def is_leaf_cell(leaf: Any) -> bool:
    """Tell whether an argument is a tensor that collects its gradient."""
    return isinstance(leaf, Tensor) and isinstance(leaf._variable, Leaf)

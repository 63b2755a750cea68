"""Which elements are NaN or infinite."""

from __future__ import annotations

import math

from wengert.graph.dtypes import BOOL
from wengert.graph.variable import Variable
from wengert.ops import compare
from wengert.ops.arithmetic import absolute
from wengert.ops.convert import VariableLike, as_variable
from wengert.ops.creation import full


def isnan(x: VariableLike) -> Variable:
    """Return whether each element is NaN.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.isnan(wg.tensor([1.0, float("inf"), float("nan")]))
    tensor([False, False,  True])
    """
    x = as_variable(x)
    return compare.not_equal(x, x)


def isinf(x: VariableLike) -> Variable:
    """Return whether each element is infinite, of either sign.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.isinf(wg.tensor([1.0, float("inf"), float("nan")]))
    tensor([False,  True, False])
    """
    x = as_variable(x)
    if x.dtype.kind != "f":
        return full(x.shape, False, BOOL)
    return compare.equal(absolute(x), math.inf)


def isfinite(x: VariableLike) -> Variable:
    """Return whether each element is neither infinite nor NaN.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.isfinite(wg.tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False])
    """
    x = as_variable(x)
    if x.dtype.kind != "f":
        return full(x.shape, True, BOOL)
    return compare.less(absolute(x), math.inf)

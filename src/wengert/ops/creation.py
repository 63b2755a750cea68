"""Arrays made from nothing. In a trace they are operations too, so that no constant is stored."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.graph.bind import bind
from wengert.graph.dtypes import (
    FLOAT64,
    INT64,
    Array,
    DType,
    Scalar,
    check_dtype,
    default_float,
    scalar_dtype,
)
from wengert.graph.errors import DTypeError, ShapeError
from wengert.graph.primitive import Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops.convert import as_variable, cast
from wengert.ops.derivatives import Linear, broadcast
from wengert.ops.lowering import Kernels, View
from wengert.ops.shapes import Shape, lengths_of


def _unbatched(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    del batched, size
    return bind(primitive, xs, params), False


def _evaluate_full(shape: Shape, dtype: DType, value: Scalar) -> Array:
    return np.full(shape, value, dtype)


def _full_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    del rng
    for shape in ((), (2, 3), (0, 2)):
        yield Sample((), {"shape": shape, "dtype": dtype, "value": 2}, ())


full_p = register(
    Primitive(
        name="full",
        notation=r"\operatorname{{full}}",
        infer=lambda shape, dtype, value: Aval(shape, dtype),
        evaluate=_evaluate_full,
        derivative=Linear(lambda y_bar, xs, needed, **params: [], arity=0),
        batch=_unbatched,
        samples=_full_samples,
        lower=lambda kernels, shape, dtype, value: kernels.constant(value, shape, dtype),
    )
)


def _infer_iota(length: int, dtype: DType) -> Aval:
    if dtype.kind == "b":
        raise DTypeError("arange: is not defined for bool; compare or cast the numbers")
    return Aval((length,), dtype)


def _evaluate_iota(length: int, dtype: DType) -> Array:
    return np.arange(length, dtype=dtype)


def _iota_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    del rng
    for length in (0, 1, 5):
        yield Sample((), {"length": length, "dtype": dtype}, ())


def _lower_iota(kernels: Kernels, length: int, dtype: DType) -> View:
    return kernels.map(
        lambda e, place: e.cast(place, dtype), kernels.counter((length,), 0), dtype=dtype
    )


iota_p = register(
    Primitive(
        name="iota",
        notation=r"\operatorname{{iota}}",
        infer=_infer_iota,
        evaluate=_evaluate_iota,
        derivative=Linear(lambda y_bar, xs, needed, **params: [], arity=0),
        batch=_unbatched,
        samples=_iota_samples,
        lower=_lower_iota,
    )
)


def as_shape(shape: int | Sequence[int]) -> Shape:
    """Return a shape given as one length or as a sequence of lengths."""
    result = lengths_of("a new array", shape)
    if any(n < 0 for n in result):
        raise ShapeError(f"a shape has no negative lengths, got {result}")
    return result


def full(
    shape: int | Sequence[int], fill_value: Scalar | Variable, dtype: npt.DTypeLike | None = None
) -> Variable:
    """Return an array of `shape` filled with one number, which may be a 0-d tensor.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.full(2, 3.0)
    tensor([3., 3.])
    """
    if isinstance(fill_value, Variable):
        wanted = None if dtype is None else check_dtype(dtype)
        filling = as_variable(fill_value, wanted)
        return broadcast(cast(filling, wanted or filling.dtype), as_shape(shape))
    if not isinstance(fill_value, numbers.Real | np.bool_):
        kind = type(fill_value).__name__
        raise TypeError(f"full: a number must fill the array, got {kind}: {fill_value!r:.40}.")
    chosen = scalar_dtype(fill_value) if dtype is None else check_dtype(dtype)
    params = {"shape": as_shape(shape), "dtype": chosen, "value": fill_value}
    return bind(full_p, (), params)


def zeros(shape: int | Sequence[int], dtype: npt.DTypeLike | None = None) -> Variable:
    """Return zeros of `shape`, of the default float dtype unless another is named.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.zeros(2)
    tensor([0., 0.])
    """
    return full(shape, 0, default_float() if dtype is None else dtype)


def ones(shape: int | Sequence[int], dtype: npt.DTypeLike | None = None) -> Variable:
    """Return ones of `shape`, of the default float dtype unless another is named.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.ones(2)
    tensor([1., 1.])
    """
    return full(shape, 1, default_float() if dtype is None else dtype)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: npt.DTypeLike | None = None
) -> Variable:
    """Return the numbers from `start` (0 if only one is given) up to but not including `stop`.

    They are integers if all three are, unless `dtype` says otherwise; fractions are cut off then.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.arange(2, 8, 2)
    tensor([2, 4, 6])
    """
    if stop is None:
        start, stop = 0, start
    whole = all(isinstance(n, int | np.integer) for n in (start, stop, step))
    chosen = scalar_dtype(0 if whole else 0.0) if dtype is None else check_dtype(dtype)
    if step == 0:
        raise ValueError("arange: step must not be 0.")
    length = max(0, math.ceil((stop - start) / step))
    counting = chosen if whole or chosen.kind == "f" else FLOAT64
    if whole and chosen.kind == "u" and step < 0 <= start + (length - 1) * step:
        counting = INT64  # the step does not fit, the numbers do
    counted: Variable = bind(iota_p, (), {"length": length, "dtype": counting})
    if step != 1:
        counted = counted * _plain(step)
    return cast(counted + _plain(start) if start != 0 else counted, chosen)


def _plain(number: float) -> int | float:
    """Return a Python number, which takes the dtype of what it meets."""
    return int(number) if isinstance(number, int | np.integer) else float(number)


def linspace(start: float, stop: float, num: int, dtype: npt.DTypeLike | None = None) -> Variable:
    """Return `num` evenly spaced numbers from `start` to `stop`, both included.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    chosen = default_float() if dtype is None else check_dtype(dtype)
    return Variable(np.linspace(start, stop, num, dtype=chosen))


def eye(n: int, m: int | None = None, dtype: npt.DTypeLike | None = None) -> Variable:
    """Return the identity matrix of `n` rows and `m` (default `n`) columns.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    chosen = default_float() if dtype is None else check_dtype(dtype)
    return Variable(np.eye(n, m, dtype=chosen))

"""Joining, padding and reversing arrays: linear operations that state their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array, promote
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import MOVES, Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_views
from wengert.ops.batching import batch_by_axes, with_batch
from wengert.ops.convert import VariableLike, as_variable, cast
from wengert.ops.define import normal
from wengert.ops.derivatives import Linear, emit
from wengert.ops.shape import expand_dims, reshape, samples_of
from wengert.ops.shapes import normalize_axes, normalize_axis, same_dtype


def _infer_concat(*xs: Aval, axis: int) -> Aval:
    first = xs[0]
    same_dtype("concat", *xs)
    for position, x in enumerate(xs):
        if len(x.shape) != len(first.shape) or any(
            n != m for i, (n, m) in enumerate(zip(x.shape, first.shape, strict=True)) if i != axis
        ):
            raise ShapeError(
                f"concat: operand 0 has shape {first.shape}, operand {position} has {x.shape}; "
                f"they must agree except along axis {axis}"
            )
    total = sum(x.shape[axis] for x in xs)
    return Aval((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)


def _transpose_concat(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], axis: int
) -> list[Variable | None]:
    parts: list[Variable | None] = []
    start = 0
    for x, need in zip(xs, needed, strict=True):
        stop = start + x.shape[axis]
        key = (slice(None),) * axis + (slice(start, stop),)
        parts.append(emit("slice", y_bar, key=key) if need else None)
        start = stop
    return parts


def _batch_concat(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    full = tuple(with_batch(x, b, size) for x, b in zip(xs, batched, strict=True))
    return bind(primitive, full, {"axis": params["axis"] + 1}), True


def _concat_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for shapes, axis in ((((2,), (3,)), 0), (((2, 3), (2, 0), (2, 1)), 1)):
        arrays = tuple(normal(rng, shape).astype(dtype) for shape in shapes)
        yield Sample(arrays, {"axis": axis}, tuple(range(len(arrays))))


concat_p = register(
    Primitive(
        name="concat",
        notation=r"\operatorname{{concat}}({0}, {1})",
        infer=_infer_concat,
        evaluate=lambda *xs, axis: np.concatenate(xs, axis=axis),
        derivative=Linear(_transpose_concat, arity=None),
        batch=_batch_concat,
        samples=_concat_samples,
        lower=lower_views.concat,
    )
)


def _infer_pad(x: Aval, widths: tuple[tuple[int, int], ...]) -> Aval:
    if len(widths) != len(x.shape) or any(low < 0 or high < 0 for low, high in widths):
        raise ShapeError(f"pad: needs two widths >= 0 for each axis of {x.shape}, got {widths}")
    shape = tuple(n + low + high for n, (low, high) in zip(x.shape, widths, strict=True))
    return Aval(shape, x.dtype)


def _evaluate_pad(x: Array, widths: tuple[tuple[int, int], ...]) -> Array:
    shape = tuple(n + low + high for n, (low, high) in zip(x.shape, widths, strict=True))
    y = np.zeros(shape, x.dtype)
    y[tuple(slice(low, low + n) for n, (low, _) in zip(x.shape, widths, strict=True))] = x
    return y


def _transpose_pad(
    y_bar: Variable,
    xs: tuple[Variable, ...],
    needed: Sequence[bool],
    widths: tuple[tuple[int, int], ...],
) -> list[Variable]:
    del needed
    key = tuple(slice(low, low + n) for n, (low, _) in zip(xs[0].shape, widths, strict=True))
    return [emit("slice", y_bar, key=key)]


def _batch_pad(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    return bind(primitive, xs, {"widths": ((0, 0), *params["widths"])}), True


pad_p = register(
    Primitive(
        name="pad",
        notation=r"\operatorname{{pad}}({0})",
        infer=_infer_pad,
        evaluate=_evaluate_pad,
        derivative=Linear(_transpose_pad),
        batch=_batch_pad,
        samples=samples_of(
            ((3,), {"widths": ((1, 2),)}),
            ((2, 0), {"widths": ((0, 1), (2, 0))}),
            ((2, 3), {"widths": ((0, 0), (1, 1))}),
        ),
        lower=lower_views.pad,
    )
)


def _evaluate_flip(x: Array, axes: tuple[int, ...]) -> Array:
    return np.flip(x, axes)


flip_p = register(
    Primitive(
        name="flip",
        notation=r"\operatorname{{flip}}({0})",
        infer=lambda x, axes: Aval(x.shape, x.dtype),
        evaluate=_evaluate_flip,
        derivative=Linear(lambda y_bar, xs, needed, axes: [emit("flip", y_bar, axes=axes)]),
        batch=batch_by_axes,
        samples=samples_of(
            ((3,), {"axes": (0,)}), ((2, 3, 2), {"axes": (0, 2)}), ((2, 0, 3), {"axes": (0, 2)})
        ),
        lower=lower_views.flip,
        laws=MOVES._replace(self_inverse=True),
    )
)


def _common_dtype(xs: Sequence[VariableLike]) -> tuple[Variable, ...]:
    variables = [as_variable(x) for x in xs]
    dtype = variables[0].dtype
    for v in variables[1:]:
        dtype = promote(dtype, v.dtype)
    return tuple(cast(v, dtype) for v in variables)


def _need_several(name: str, xs: Sequence[VariableLike]) -> None:
    if isinstance(xs, Variable):
        raise TypeError(
            f"{name}: needs a sequence of arrays, got one of shape {xs.shape}; put it in a list."
        )
    if not xs:
        raise ValueError(f"{name}: needs at least one array.")


def concat(xs: Sequence[VariableLike], axis: int | None = 0) -> Variable:
    """Join arrays along an axis that they have (None: flatten them first).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.concat([wg.tensor([1, 2]), wg.tensor([3])])
    tensor([1, 2, 3])
    """
    _need_several("concat", xs)
    variables = _common_dtype(xs)
    if axis is None:
        variables, axis = tuple(reshape(v, -1) for v in variables), 0
    axis = normalize_axis("concat", axis, variables[0].ndim)
    return bind(concat_p, variables, {"axis": axis})  # type: ignore[no-any-return]


def stack(xs: Sequence[VariableLike], axis: int = 0) -> Variable:
    """Join arrays of one shape along a new axis.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.stack([wg.tensor([1, 2]), wg.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    _need_several("stack", xs)
    variables = [as_variable(x) for x in xs]
    for position, v in enumerate(variables):
        if v.shape != variables[0].shape:
            raise ShapeError(
                f"stack: operand 0 has shape {variables[0].shape}, operand {position} {v.shape}; "
                "all must have one shape. Use concat to join along an axis that is there"
            )
    return concat([expand_dims(v, axis) for v in variables], axis)


def pad(x: VariableLike, widths: int | Sequence[Any], value: float = 0.0) -> Variable:
    """Return `x` with `value` added around it.

    Parameters
    ----------
    x : Tensor or array_like
        What to pad.
    widths : int, (before, after), or a sequence of (before, after) for each axis
        As in `numpy.pad`.
    value : float
        What to pad with.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.pad(wg.tensor([1, 2]), (1, 2))
    tensor([0, 1, 2, 0, 0])
    """
    x = as_variable(x)
    pairs: Array = np.broadcast_to(np.asarray(widths, dtype=np.int64), (x.ndim, 2))
    params = {"widths": tuple((int(low), int(high)) for low, high in pairs)}
    padded: Variable = bind(pad_p, (x,), params)
    if value == 0:
        return padded
    inside: Variable = bind(pad_p, (Variable(np.ones(x.shape, np.bool_)),), params)
    constant = as_variable(value, x.dtype)
    return emit("where", inside, padded, constant)  # type: ignore[no-any-return]


def flip(x: VariableLike, axis: int | Sequence[int] | None = None) -> Variable:
    """Return `x` with the order of its elements reversed along `axis` (None: all axes).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.flip(wg.tensor([1, 2, 3]))
    tensor([3, 2, 1])
    """
    x = as_variable(x)
    return emit("flip", x, axes=normalize_axes("flip", axis, x.ndim))  # type: ignore[no-any-return]

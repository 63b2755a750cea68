"""Linear operations that move elements about: each states its transpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import MOVES, Laws, Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_views
from wengert.ops.batching import batch_elementwise, shift
from wengert.ops.convert import VariableLike, as_variable
from wengert.ops.define import UNARY_SHAPES, normal, strided
from wengert.ops.derivatives import Linear, emit, unbroadcast
from wengert.ops.shapes import (
    Shape,
    broadcast_shapes,
    lengths_of,
    normalize_axes,
    normalize_axis,
)


def samples_of(*cases: tuple[Shape, dict[str, Any]]) -> Any:
    """Return samples of one operand from shapes and parameters, contiguous and not."""

    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
        for shape, params in cases:
            x = normal(rng, shape).astype(dtype)
            yield Sample((x,), params)
            yield Sample((strided(x),), params)

    return samples


def _identity_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for shape in UNARY_SHAPES:
        yield Sample((normal(rng, shape).astype(dtype),))


_IDENTITY = Laws(elementwise=True, moves=True, identity=True)

alias_p = register(
    Primitive(
        name="alias",
        notation="{0}",
        infer=lambda x: Aval(x.shape, x.dtype),
        evaluate=lambda x: x,
        derivative=Linear(lambda y_bar, xs, needed: [y_bar]),
        batch=batch_elementwise,
        samples=_identity_samples,
        lower=lambda kernels, x: x,
        laws=_IDENTITY,
    )
)


stop_gradient_p = register(
    Primitive(
        name="stop_gradient",
        notation=r"\operatorname{{stop}}({0})",
        infer=lambda x: Aval(x.shape, x.dtype),
        evaluate=lambda x: x,
        derivative=None,
        batch=batch_elementwise,
        samples=lambda rng, dtype: (
            sample._replace(differentiable=()) for sample in _identity_samples(rng, dtype)
        ),
        lower=lambda kernels, x: x,
        laws=_IDENTITY,
    )
)


def stop_gradient(x: Variable) -> Variable:
    """Return a variable of the value of `x` through which no derivative flows, in either mode."""
    if x.value is not None:  # what has a value and no operation is a constant
        return Variable(x.value)
    return bind(stop_gradient_p, (x,))  # type: ignore[no-any-return]


def _infer_reshape(x: Aval, shape: Shape) -> Aval:
    if math.prod(shape) != math.prod(x.shape):
        raise ShapeError(
            f"reshape: {math.prod(x.shape)} elements of shape {x.shape} do not fit {shape}"
        )
    return Aval(shape, x.dtype)


def _batch_reshape(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    return bind(primitive, xs, {"shape": (size, *params["shape"])}), True


reshape_p = register(
    Primitive(
        name="reshape",
        notation=r"\operatorname{{reshape}}({0})",
        infer=_infer_reshape,
        evaluate=lambda x, shape: x.reshape(shape),
        derivative=Linear(
            lambda y_bar, xs, needed, shape: [emit("reshape", y_bar, shape=xs[0].shape)]
        ),
        batch=_batch_reshape,
        samples=samples_of(
            ((2, 6), {"shape": (3, 4)}), ((), {"shape": (1, 1)}), ((0, 3), {"shape": (3, 0)})
        ),
        lower=lambda kernels, x, shape: kernels.reshape(x, shape),
        laws=MOVES,
    )
)


def _infer_permute(x: Aval, axes: tuple[int, ...]) -> Aval:
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(f"permute_dims: {axes} is no permutation of {len(x.shape)} axes")
    return Aval(tuple(x.shape[axis] for axis in axes), x.dtype)


def _transpose_permute(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], axes: tuple[int, ...]
) -> list[Variable]:
    del xs, needed
    inverse = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    return [emit("permute", y_bar, axes=inverse)]


def _batch_permute(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    return bind(primitive, xs, {"axes": (0, *shift(params["axes"]))}), True


permute_p = register(
    Primitive(
        name="permute",
        notation=r"{0}^{{\mathsf T}}",
        infer=_infer_permute,
        evaluate=lambda x, axes: x.transpose(axes),
        derivative=Linear(_transpose_permute),
        batch=_batch_permute,
        samples=samples_of(
            ((2, 3), {"axes": (1, 0)}),
            ((2, 3, 4), {"axes": (2, 0, 1)}),
            ((2, 0, 3), {"axes": (2, 0, 1)}),
            ((), {"axes": ()}),
        ),
        lower=lower_views.permute,
        laws=MOVES,
    )
)


def _infer_broadcast(x: Aval, shape: Shape) -> Aval:
    if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(f"broadcast_to: shape {x.shape} cannot be repeated to {shape}")
    return Aval(shape, x.dtype)


def _evaluate_broadcast(x: Array, shape: Shape) -> Array:
    """Return a read-only view, made directly: `numpy.broadcast_to` takes ten times as long."""
    if not x.flags.c_contiguous:
        return np.broadcast_to(x, shape)
    strides = [0] * (len(shape) - x.ndim)
    for n, wanted, step in zip(x.shape, shape[len(strides) :], x.strides, strict=True):
        if n not in (1, wanted):
            raise ValueError("the shape does not fit")  # the shape rule says it better
        strides.append(0 if n == 1 else step)
    view: Array = np.ndarray(shape, x.dtype, x, 0, strides)
    view.flags.writeable = False
    return view


def _batch_broadcast(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    from wengert.ops.batching import with_rank

    shape = params["shape"]
    x = with_rank(xs[0], len(shape) + 1)
    return bind(primitive, (x,), {"shape": (size, *shape)}), True


broadcast_p = register(
    Primitive(
        name="broadcast",
        notation=r"\operatorname{{broadcast}}({0})",
        infer=_infer_broadcast,
        evaluate=_evaluate_broadcast,
        derivative=Linear(lambda y_bar, xs, needed, shape: [unbroadcast(y_bar, xs[0].shape)]),
        batch=_batch_broadcast,
        samples=samples_of(
            ((3,), {"shape": (2, 3)}),
            ((2, 1), {"shape": (4, 2, 3)}),
            ((), {"shape": (2, 2)}),
            ((1, 3), {"shape": (0, 3)}),
        ),
        lower=lower_views.repeat,
        laws=MOVES,
    )
)


def reshape(x: VariableLike, shape: int | Sequence[int]) -> Variable:
    """Return the elements of `x`, in order, in another shape.

    Parameters
    ----------
    x : Tensor or array_like
        The elements.
    shape : int or sequence of int
        The new shape; one length may be -1 and is then computed.

    Raises
    ------
    ShapeError
        If the numbers of elements differ.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.reshape(wg.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    x = as_variable(x)
    wanted = lengths_of("reshape", shape)
    if -1 in wanted:
        known = -math.prod(wanted)
        if wanted.count(-1) > 1 or known <= 0 or math.prod(x.shape) % known:
            raise ShapeError(f"reshape: shape {x.shape} does not fit {wanted}")
        missing = math.prod(x.shape) // known
        wanted = tuple(missing if n == -1 else n for n in wanted)
    return x if wanted == x.shape else emit("reshape", x, shape=wanted)


def permute_dims(x: VariableLike, axes: Sequence[int]) -> Variable:
    """Return `x` with its axes in another order.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.permute_dims(wg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_variable(x)
    order = tuple(normalize_axis("permute_dims", axis, x.ndim) for axis in axes)
    return emit("permute", x, axes=order)  # type: ignore[no-any-return]


def matrix_transpose(x: VariableLike) -> Variable:
    """Return `x` with its last two axes exchanged.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.matrix_transpose(wg.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    x = as_variable(x)
    if x.ndim < 2:  # noqa: PLR2004
        raise ShapeError(f"matrix_transpose: needs at least two axes, got shape {x.shape}")
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def moveaxis(x: VariableLike, source: int, destination: int) -> Variable:
    """Return `x` with one axis moved to another place.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.moveaxis(wg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_variable(x)
    start = normalize_axis("moveaxis", source, x.ndim)
    end = normalize_axis("moveaxis", destination, x.ndim)
    if start == end:
        return x
    order = [axis for axis in range(x.ndim) if axis != start]
    order.insert(end, start)
    return permute_dims(x, order)


def swapaxes(x: VariableLike, axis1: int, axis2: int) -> Variable:
    """Return `x` with two axes exchanged.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.swapaxes(wg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = as_variable(x)
    first = normalize_axis("swapaxes", axis1, x.ndim)
    second = normalize_axis("swapaxes", axis2, x.ndim)
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return permute_dims(x, order)


def flatten(x: VariableLike, start_dim: int = 0, end_dim: int = -1) -> Variable:
    """Return `x` with the axes from `start_dim` to `end_dim`, both included, made one.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.flatten(wg.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    x = as_variable(x)
    if not x.ndim:
        return reshape(x, (1,))
    start = normalize_axis("flatten", start_dim, x.ndim)
    end = normalize_axis("flatten", end_dim, x.ndim)
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged = math.prod(x.shape[start : end + 1])
    return reshape(x, (*x.shape[:start], merged, *x.shape[end + 1 :]))


def expand_dims(x: VariableLike, axis: int | Sequence[int]) -> Variable:
    """Return `x` with axes of length 1 inserted at the places `axis` of the result.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.expand_dims(wg.zeros(3), 0).shape
    (1, 3)
    """
    x = as_variable(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = normalize_axes("expand_dims", axis, x.ndim + count)
    lengths = iter(x.shape)
    rank = range(x.ndim + count)
    return reshape(x, tuple(1 if i in axes else next(lengths) for i in rank))


def squeeze(x: VariableLike, axis: int | Sequence[int] | None = None) -> Variable:
    """Return `x` without axes of length 1: those named, or all.

    Raises
    ------
    ShapeError
        If a named axis has another length.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.squeeze(wg.zeros((1, 3, 1)), 0).shape
    (3, 1)
    """
    x = as_variable(x)
    if axis is None:
        axes = tuple(i for i, n in enumerate(x.shape) if n == 1)
    else:
        axes = normalize_axes("squeeze", axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ShapeError(f"squeeze: axis {i} of shape {x.shape} has length {x.shape[i]}, not 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def broadcast_to(x: VariableLike, shape: Sequence[int]) -> Variable:
    """Return `x` repeated to `shape` under the rules of broadcasting.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.broadcast_to(wg.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    x = as_variable(x)
    wanted = lengths_of("broadcast_to", shape)
    return x if x.shape == wanted else emit("broadcast", x, shape=wanted)

"""Convolution and pooling, by one primitive, windows that slide over axes, and its transpose.

`windows` is a view: no element is copied. `overlap_add`, its transpose, adds the windows back
onto the places that they were seen at.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_windows
from wengert.ops.assembly import pad
from wengert.ops.batching import batch_by_axes, shift
from wengert.ops.contraction import contract
from wengert.ops.convert import VariableLike, floating, promoted
from wengert.ops.define import normal, strided
from wengert.ops.derivatives import Linear, emit
from wengert.ops.reduce import max_with_index_p
from wengert.ops.shape import reshape
from wengert.ops.shapes import Shape
from wengert.ops.statistics import mean

Lengths = tuple[int, ...]
Pair = int | Sequence[int]

_SPATIAL = 2


@lru_cache(maxsize=4096)
def windowed_shape(
    shape: Shape, axes: Lengths, sizes: Lengths, strides: Lengths, dilations: Lengths
) -> Shape:
    """Return the shape of the windows over an array of `shape`.

    Raises
    ------
    ShapeError
        If a window does not fit, naming the axis.
    """
    lengths = list(shape)
    for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        span = dilation * (size - 1) + 1
        if span > shape[axis]:
            spread = f" (spread over {span} by dilation {dilation})" if dilation > 1 else ""
            raise ShapeError(
                f"windows: a window of {size}{spread} does not fit axis {axis}, of length "
                f"{shape[axis]}, of shape {shape}. Pad the axis or take a smaller window"
            )
        lengths[axis] = (shape[axis] - span) // stride + 1
    return (*lengths, *sizes)


def _infer_windows(
    x: Aval, axes: Lengths, sizes: Lengths, strides: Lengths, dilations: Lengths
) -> Aval:
    return Aval(windowed_shape(x.shape, axes, sizes, strides, dilations), x.dtype)


def _evaluate_windows(
    x: Array, axes: Lengths, sizes: Lengths, strides: Lengths, dilations: Lengths
) -> Any:
    shape = windowed_shape(x.shape, axes, sizes, strides, dilations)
    steps = list(x.strides)
    for axis, stride in zip(axes, strides, strict=True):
        steps[axis] *= stride
    inside = [x.strides[axis] * d for axis, d in zip(axes, dilations, strict=True)]
    return np.lib.stride_tricks.as_strided(x, shape, (*steps, *inside), writeable=False)


def _transpose_windows(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], **params: Any
) -> list[Variable]:
    del needed
    return [emit("overlap_add", y_bar, shape=xs[0].shape, **params)]


_CASES: tuple[tuple[Shape, Lengths, Lengths, Lengths, Lengths], ...] = (
    ((6,), (0,), (3,), (1,), (1,)),
    ((2, 7), (1,), (2,), (3,), (2,)),
    ((5, 6), (0, 1), (2, 3), (1, 1), (1, 1)),
    ((2, 6, 5), (1, 2), (3, 2), (2, 1), (1, 2)),
    ((0, 4), (1,), (2,), (2,), (1,)),
    ((3, 1), (1,), (1,), (1,), (1,)),
)


def _names(axes: Lengths, sizes: Lengths, strides: Lengths, dilations: Lengths) -> dict[str, Any]:
    return {"axes": axes, "sizes": sizes, "strides": strides, "dilations": dilations}


def _windows_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, *rest in _CASES:
        x = normal(rng, shape).astype(dtype)
        yield Sample((x,), _names(*rest))
        yield Sample((strided(x),), _names(*rest))


windows_p = register(
    Primitive(
        name="windows",
        notation=r"\operatorname{{windows}}({0})",
        infer=_infer_windows,
        evaluate=_evaluate_windows,
        derivative=Linear(_transpose_windows),
        batch=batch_by_axes,
        samples=_windows_samples,
        lower=lower_windows.windows,
    )
)


def _infer_overlap(
    y: Aval,
    axes: Lengths,
    sizes: Lengths,
    strides: Lengths,
    dilations: Lengths,
    shape: Shape,
) -> Aval:
    wanted = windowed_shape(shape, axes, sizes, strides, dilations)
    if y.shape != wanted:
        raise ShapeError(f"overlap_add: windows over {shape} have shape {wanted}, got {y.shape}")
    return Aval(shape, y.dtype)


def _evaluate_overlap(
    y: Array,
    axes: Lengths,
    sizes: Lengths,
    strides: Lengths,
    dilations: Lengths,
    shape: Shape,
) -> Array:
    x = np.zeros(shape, y.dtype)
    for offsets in itertools.product(*map(range, sizes)):
        key: list[Any] = [slice(None)] * len(shape)
        for axis, offset, stride, dilation in zip(axes, offsets, strides, dilations, strict=True):
            start = offset * dilation
            key[axis] = slice(start, start + stride * (y.shape[axis] - 1) + 1, stride)
        seen: tuple[Any, ...] = (..., *offsets)
        x[tuple(key)] += y[seen]
    return x


def _transpose_overlap(
    y_bar: Variable,
    xs: tuple[Variable, ...],
    needed: Sequence[bool],
    shape: Shape,
    **params: Any,
) -> list[Variable]:
    del xs, needed, shape
    return [emit("windows", y_bar, **params)]


def _batch_overlap(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    del batched
    wider = {"axes": shift(params["axes"]), "shape": (size, *params["shape"])}
    return bind(primitive, xs, {**params, **wider}), True


def _overlap_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Iterable[Sample]:
    for shape, *rest in _CASES:
        y = normal(rng, windowed_shape(shape, *rest)).astype(dtype)
        yield Sample((y,), {**_names(*rest), "shape": shape})
        yield Sample((strided(y),), {**_names(*rest), "shape": shape})


overlap_add_p = register(
    Primitive(
        name="overlap_add",
        notation=r"\operatorname{{windows}}^{{\mathsf T}}({0})",
        infer=_infer_overlap,
        evaluate=_evaluate_overlap,
        derivative=Linear(_transpose_overlap),
        batch=_batch_overlap,
        samples=_overlap_samples,
        lower=lower_windows.overlap_add,
    )
)


def _pair(name: str, what: str, value: Pair, least: int) -> tuple[int, int]:
    """Return a number for height and one for width."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    whole = len(pair) == _SPATIAL and all(hasattr(n, "__index__") for n in pair)
    if not whole or min(pair) < least:
        raise ValueError(
            f"{name}: {what} must be one integer >= {least} or two (height, width), got {value!r}."
        )
    return operator.index(pair[0]), operator.index(pair[1])


class _Geometry(NamedTuple):
    """How windows lie on an image; each pair is for height and width."""

    sizes: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]
    dilations: tuple[int, int]

    @classmethod
    def of(cls, name: str, sizes: Pair, stride: Pair, padding: Pair, dilation: Pair) -> _Geometry:
        """Check the numbers that a user gave to the function `name`."""
        return cls(
            _pair(name, "kernel_size", sizes, 1),
            _pair(name, "stride", stride, 1),
            _pair(name, "padding", padding, 0),
            _pair(name, "dilation", dilation, 1),
        )

    def slide(self, name: str, x: Variable, fill: float = 0.0) -> Variable:
        """Return the windows over the last two axes of `x`, padded with `fill`."""
        self._check_fits(name, x.shape)
        if self.padding != (0, 0):
            x = pad(x, [(0, 0)] * (x.ndim - 2) + [(n, n) for n in self.padding], fill)
        axes = (x.ndim - 2, x.ndim - 1)
        return bind(windows_p, (x,), _names(axes, self.sizes, self.strides, self.dilations))  # type: ignore[no-any-return]

    def _check_fits(self, name: str, shape: Shape) -> None:
        sides = ("height", "width"), shape[-2:], self.sizes, self.padding, self.dilations
        for side, n, size, extra, dilation in zip(*sides, strict=True):
            span = dilation * (size - 1) + 1
            if span > n + 2 * extra:
                padded = f" with padding {extra} on each side" if extra else ""
                raise ShapeError(
                    f"{name}: a window of {self.sizes} spans {span} in {side}, but the input of "
                    f"shape {shape} has {n + 2 * extra}{padded}. Add padding or take a smaller "
                    "window"
                )


def _check_image(name: str, shape: Shape) -> None:
    if len(shape) not in (3, 4):
        raise ShapeError(f"{name}: x must be (N, C, H, W) or (C, H, W), got shape {shape}")


def _check_conv2d(x: Shape, weight: Shape, bias: Shape | None, groups: int) -> None:
    _check_image("conv2d", x)
    if len(weight) != 4:  # noqa: PLR2004
        raise ShapeError(
            f"conv2d: weight must be (out channels, channels / groups, height, width), got {weight}"
        )
    channels = x[-3]
    if groups < 1 or channels % groups or weight[0] % groups:
        raise ShapeError(
            f"conv2d: {groups} groups do not divide the {channels} channels of x {x} and the "
            f"{weight[0]} of weight {weight}"
        )
    if weight[1] * groups != channels:
        raise ShapeError(
            f"conv2d: x of shape {x} has {channels} channels (axis {len(x) - 3}), weight of shape "
            f"{weight} wants {weight[1] * groups}. Give a weight of {channels // groups} "
            f"channels for {groups} group{'s' if groups > 1 else ''}"
        )
    if bias is not None and bias != (weight[0],):
        raise ShapeError(
            f"conv2d: bias has shape {bias}; weight of shape {weight} wants {(weight[0],)}"
        )


def conv2d(  # noqa: PLR0913, PLR0917  (PyTorch's arguments)
    x: VariableLike,
    weight: VariableLike,
    bias: VariableLike | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Variable:
    """Return the 2-D convolution (cross-correlation, as in PyTorch) of `x` with `weight`.

    Parameters
    ----------
    x : Tensor or array_like
        Shape ``(N, C, H, W)`` or ``(C, H, W)``.
    weight : Tensor or array_like
        Shape ``(O, C / groups, kh, kw)``.
    bias : Tensor or array_like, optional
        Shape ``(O,)``: added to each output channel.
    stride, padding, dilation : int or (int, int)
        Step between windows, zeros added on each side, and step inside a window, for height and
        width.
    groups : int
        Into how many groups channels are divided; each output sees its own group only.

    Returns
    -------
    Tensor
        Shape ``(N, O, H', W')`` or ``(O, H', W')``, with
        ``H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1``.

    Raises
    ------
    ShapeError
        If shapes, groups and window do not fit.
    ValueError
        If `stride`, `padding` or `dilation` is out of range.

    Notes
    -----
    A contraction of the weight with the windows of `x`; pullbacks are contractions, and the
    windows' transpose adds them back onto `x`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.conv2d(wg.ones((1, 1, 3, 3)), wg.ones((1, 1, 2, 2)))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    x, w = promoted(x, weight)
    x, w = floating(x), floating(w)
    b = None if bias is None else promoted(bias, w)[0]
    _check_conv2d(x.shape, w.shape, None if b is None else b.shape, groups)
    view = _Geometry.of("conv2d", w.shape[2:], stride, padding, dilation).slide("conv2d", x)
    y = _convolve(view, w, groups)
    return y if b is None else y + reshape(b, (w.shape[0], 1, 1))


def _convolve(view: Variable, w: Variable, groups: int) -> Variable:
    """Contract the weight with windows ``(N, C, H', W', kh, kw)``, with or without ``N``.

    The weight comes first, so that the product runs over whole rows of the image: the windows
    are laid out with the positions innermost.
    """
    n = "n" if view.ndim == 6 else ""  # noqa: PLR2004
    if groups == 1:
        return contract(f"ockl,{n}chwkl->{n}ohw", w, view)
    outer, (channels, *inner) = view.shape[: len(n)], view.shape[len(n) :]
    view = reshape(view, (*outer, groups, channels // groups, *inner))
    out_channels = w.shape[0]
    w = reshape(w, (groups, out_channels // groups, *w.shape[1:]))
    y = contract(f"gockl,{n}gchwkl->{n}gohw", w, view)
    return reshape(y, (*outer, out_channels, *y.shape[-2:]))


def _pooled_windows(  # noqa: PLR0913, PLR0917  (PyTorch's arguments)
    name: str,
    x: VariableLike,
    kernel_size: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    fill: float,
) -> Variable:
    """Return the windows of a pooling, one step apart each unless `stride` says otherwise."""
    x = floating(x)
    _check_image(name, x.shape)
    step = kernel_size if stride is None else stride
    geometry = _Geometry.of(name, kernel_size, step, padding, dilation)
    if any(2 * n > size for n, size in zip(geometry.padding, geometry.sizes, strict=True)):
        raise ValueError(
            f"{name}: padding {geometry.padding} must be at most half of kernel_size "
            f"{geometry.sizes}, so that each window meets the input."
        )
    return geometry.slide(name, x, fill)


def max_pool2d(
    x: VariableLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Variable:
    """Return the largest element of each window over the last two axes.

    The gradient goes to the first largest element of each window, row by row.

    Parameters
    ----------
    x : Tensor or array_like
        Shape ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; `kernel_size` unless given.
    padding : int or (int, int)
        How much is added on each side, at most half of `kernel_size`; it never wins.
    dilation : int or (int, int)
        Step inside a window.

    Raises
    ------
    ShapeError
        If `x` has another rank or a window does not fit.
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.max_pool2d(wg.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2)
    tensor([[[4.]]])
    """
    view = _pooled_windows("max_pool2d", x, kernel_size, stride, padding, dilation, -math.inf)
    shape = view.shape[:-2]
    flat = reshape(view, (*shape, math.prod(view.shape[-2:])))
    return bind(max_with_index_p, (flat,), {"axis": len(shape)})[0]  # type: ignore[no-any-return]


def avg_pool2d(
    x: VariableLike, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Variable:
    """Return the mean of each window over the last two axes; zeros of the padding count.

    Parameters
    ----------
    x : Tensor or array_like
        Shape ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        Step between windows; `kernel_size` unless given.
    padding : int or (int, int)
        Zeros added on each side, at most half of `kernel_size`.

    Raises
    ------
    ShapeError
        If `x` has another rank or a window does not fit.
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.avg_pool2d(wg.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2)
    tensor([[[2.5]]])
    """
    return mean(_pooled_windows("avg_pool2d", x, kernel_size, stride, padding, 1, 0.0), (-2, -1))

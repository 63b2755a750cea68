"""One row for each primitive of contraction, shape, indexing, windows, and creation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.ops.peer_cases import (
    ROWS,
    Array,
    Case,
    Draw,
    array,
    broadcastable,
    emit,
    full_shapes,
    integers,
    listed,
    lists,
    one_axis,
    ops,
    row,
    shapes,
    sides,
    some_axes,
    torch,
)
from tests.ops.running import trace

# ---- contractions --------------------------------------------------------------------------


@row("contract")
def _(draw: Draw) -> Case:
    if draw(st.booleans()):
        return _matmul(draw)
    spec = draw(
        st.sampled_from(["ij,jk->ik", "ij,ij->", "i,j->ji", "bij,bjk->bki", "ij,kj->ik", ",ij->ji"])
    )
    lengths = {label: draw(sides) for label in "bijk"}
    x, y = (
        array(draw, tuple(lengths[label] for label in labels))
        for labels in spec.partition("->")[0].split(",")
    )
    return Case(
        (x, y),
        lambda x, y: ops.einsum(spec, x, y),
        lambda x, y: torch.einsum(spec, x, y),
        (0, 1),
    )


@row("linear")
def _(draw: Draw) -> Case:
    lead, m, k = draw(shapes), draw(sides), draw(sides)
    inputs = (array(draw, (*lead, k)), array(draw, (m, k)), array(draw, (m,)))
    return Case(inputs, emit("linear"), torch.nn.functional.linear, (0, 1, 2))


def _matmul(draw: Draw) -> Case:
    lead_x, lead_y = broadcastable(draw, 2)
    m, k, n = (draw(sides) for _ in range(3))
    of_x = (k,) if draw(st.booleans()) else (*lead_x, m, k)
    of_y = (k,) if draw(st.booleans()) else (*lead_y, k, n)
    inputs = (array(draw, of_x), array(draw, of_y))
    return Case(inputs, ops.matmul, torch.matmul, (0, 1))


# ---- shapes --------------------------------------------------------------------------------


@row("reshape")
def _(draw: Draw) -> Case:
    x = array(draw, draw(full_shapes))
    of = draw(st.sampled_from([(-1,), (x.size, 1), (1, -1), tuple(reversed(x.shape)), (2, -1)]))
    if x.size % 2 and of == (2, -1):
        of = (-1, 1)
    # the bound primitive itself: where the shape is the same, nothing is bound
    wanted = tuple(x.size // -math.prod(of) if n == -1 else n for n in of)
    ours = emit("reshape", shape=wanted) if wanted == x.shape else lambda x: ops.reshape(x, of)
    return Case((x,), ours, lambda x: torch.reshape(x, of), (0,))


@row("permute")
def _(draw: Draw) -> Case:
    x = array(draw, draw(shapes))
    order = draw(st.permutations(range(x.ndim)))
    axes = tuple(a - x.ndim * draw(st.booleans()) for a in order)
    return Case((x,), lambda x: ops.permute_dims(x, axes), lambda x: torch.permute(x, axes), (0,))


@row("broadcast")
def _(draw: Draw) -> Case:
    narrow, wide = broadcastable(draw, 2)
    of = np.broadcast_shapes(narrow, wide)
    ours = emit("broadcast", shape=of)
    return Case((array(draw, narrow),), ours, lambda x: torch.broadcast_to(x, of), (0,))


@row("concat")
def _(draw: Draw) -> Case:
    of = draw(lists)
    axis = one_axis(draw, len(of))
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        one = list(of)
        one[axis] = draw(sides)
        inputs.append(array(draw, tuple(one)))
    return Case(
        tuple(inputs),
        lambda *xs: ops.concat(xs, axis),
        lambda *xs: torch.cat(xs, axis),
        tuple(range(len(inputs))),
    )


@row("pad")
def _(draw: Draw) -> Case:
    x = array(draw, draw(shapes))
    widths: Any = [(draw(sides), draw(sides)) for _ in x.shape] or 0
    value = draw(st.sampled_from([0.0, 1.5]))
    flat = [n for pair in reversed(widths or ()) for n in pair]
    return Case(
        (x,),
        lambda x: ops.pad(x, widths, value),
        lambda x: torch.nn.functional.pad(x, flat, value=value),
        (0,),
    )


@row("flip")
def _(draw: Draw) -> Case:
    x = array(draw, draw(shapes))
    axis = some_axes(draw, x.ndim)
    return Case(
        (x,),
        lambda x: ops.flip(x, axis),
        lambda x: torch.flip(x, listed(axis, x.ndim)),
        (0,),
    )


# ---- indexing ------------------------------------------------------------------------------


def keys(draw: Draw, of: tuple[int, ...]) -> tuple[Any, ...]:
    """Draw integers and slices, of any step, for some of the axes."""
    parts: list[Any] = []
    for n in of[: draw(st.integers(0, len(of)))]:
        if n and draw(st.booleans()):
            parts.append(draw(st.integers(-n, n - 1)))
        else:
            ends = st.none() | st.integers(-4, 4)
            parts.append(slice(draw(ends), draw(ends), draw(st.sampled_from([1, None, 2, -1, -2]))))
    return tuple(parts)


def places(of: tuple[int, ...], key: tuple[Any, ...]) -> tuple[Any, tuple[int, ...]]:
    """Return where the elements of ``x[key]`` stand in the flat array, and the shape of it."""
    found = np.arange(math.prod(of)).reshape(of)[key]
    return torch.tensor(np.ascontiguousarray(found).ravel()), found.shape


@row("slice")
def _(draw: Draw) -> Case:
    x = array(draw, draw(shapes))
    key = keys(draw, x.shape)

    def theirs(x: Any) -> Any:
        where, of = places(tuple(x.shape), key)
        return x.reshape(-1)[where].reshape(of)

    return Case((x,), emit("slice", key=key), theirs, (0,))


def updating(name: str, method: str) -> None:
    def draw_case(draw: Draw) -> Case:
        buffer = array(draw, draw(shapes))
        key = keys(draw, buffer.shape)
        update = array(draw, buffer[key].shape)

        def theirs(buffer: Any, update: Any) -> Any:
            where, _ = places(tuple(buffer.shape), key)
            changed = getattr(buffer.reshape(-1), method)(0, where, update.reshape(-1))
            return changed.reshape(buffer.shape)

        return Case((buffer, update), emit(name, key=key), theirs, (0, 1))

    ROWS[name] = draw_case


updating("slice_add", "index_add")
updating("slice_set", "index_copy")


@row("gather")
def _(draw: Draw) -> Case:
    x = array(draw, draw(full_shapes))
    axis = one_axis(draw, x.ndim)
    n, before = x.shape[axis], (slice(None),) * (axis % x.ndim)
    way = draw(st.sampled_from(["take", "take_along_axis", "getitem"]))
    if way == "take_along_axis":
        of = list(x.shape)
        of[axis] = draw(sides)
        index = integers(draw, tuple(of), 0, n)
        ours = lambda x, i: ops.take_along_axis(x, i, axis)  # noqa: E731
        return Case((x, index), ours, lambda x, i: torch.gather(x, axis, i), (0,))
    index = integers(draw, draw(shapes), -n, n)
    if way == "take":
        ours = lambda x, i: ops.take(x, i, axis)  # noqa: E731
        return Case((x, index), ours, lambda x, i: x[(*before, i)], (0,))
    second = integers(draw, (), -x.shape[-1], x.shape[-1])
    if x.ndim == 1 or axis % x.ndim == x.ndim - 1:
        return Case((x, index), lambda x, i: ops.getitem(x, (..., i)), _last, (0,))
    key = lambda i, j: (*before, i, *(slice(None),) * (x.ndim - len(before) - 2), j)  # noqa: E731
    return Case(
        (x, index, second),
        lambda x, i, j: ops.getitem(x, key(i, j)),
        lambda x, i, j: x[key(i, j)],
        (0,),
    )


def _last(x: Any, i: Any) -> Any:
    return x[..., i]


@row("scatter_add")
def _(draw: Draw) -> Case:
    buffer = array(draw, draw(full_shapes))
    if draw(st.booleans()):  # into the leading axes
        count = draw(st.integers(1, buffer.ndim))
        of = draw(shapes)
        index = [integers(draw, of, -n, n) for n in buffer.shape[:count]]
        update = array(draw, of + buffer.shape[count:])
        return Case(
            (buffer, update, *index),
            emit("scatter_add", axes=tuple(range(count)), batch_axes=()),
            lambda b, u, *i: torch.index_put(b, i, u, accumulate=True),
            (0, 1),
        )
    rows, n = buffer.shape[:-1], buffer.shape[-1]
    index = integers(draw, (*rows, draw(sides)), 0, n)
    axes = {"axes": (buffer.ndim - 1,), "batch_axes": tuple(range(buffer.ndim - 1))}
    return Case(
        (buffer, array(draw, index.shape), index),
        emit("scatter_add", **axes),
        lambda b, u, i: torch.scatter_add(b, -1, i, u),
        (0, 1),
    )


# ---- windows -------------------------------------------------------------------------------


def sliding(draw: Draw) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw a shape and windows that fit it."""
    of = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple))
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(of) - 1), min_size=1, max_size=2))))
    sizes, strides, dilations = [], [], []
    for axis in axes:
        sizes.append(draw(st.integers(1, min(3, of[axis]))))
        widest = (of[axis] - 1) // max(sizes[-1] - 1, 1)
        dilations.append(draw(st.integers(1, max(1, min(2, widest)))))
        strides.append(draw(st.integers(1, 3)))
    names = {"axes": axes, "sizes": sizes, "strides": strides, "dilations": dilations}
    return of, {k: tuple(v) for k, v in names.items()}


def unfolded(x: Any, axes: Any, sizes: Any, strides: Any, dilations: Any) -> Any:
    for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        x = x.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return x


@row("windows")
def _(draw: Draw) -> Case:
    of, params = sliding(draw)
    return Case(
        (array(draw, of),), emit("windows", **params), lambda x: unfolded(x, **params), (0,)
    )


@row("overlap_add")
def _(draw: Draw) -> Case:
    of, params = sliding(draw)
    lengths = ops.windowed_shape(of, *params.values())

    def theirs(y: Any) -> Any:
        where = unfolded(torch.arange(math.prod(of)).reshape(of), **params).reshape(-1)
        total = torch.zeros(math.prod(of)).double()
        return total.index_add(0, where, y.reshape(-1)).reshape(of)

    return Case((array(draw, lengths),), emit("overlap_add", shape=of, **params), theirs, (0,))


# ---- from nothing --------------------------------------------------------------------------


@row("full")
def _(draw: Draw) -> Case:
    of = draw(shapes)
    return Case(
        (),
        lambda: ops.full(of, 2.5, np.float64),
        lambda: torch.full(of, 2.5).double(),
    )


@row("iota")
def _(draw: Draw) -> Case:
    n = draw(st.integers(0, 9))
    return Case((), lambda: ops.arange(n), lambda: torch.arange(n))


def philox(draw: Draw) -> tuple[Array, Any]:
    state = integers(draw, (3,), 0, 2**62).astype(np.uint64)
    return state, _philox


def _philox(s: Array) -> np.random.Philox:
    return np.random.Philox(counter=np.array([s[2], 0, 0, 0], np.uint64), key=s[:2])


@row("random_bits")
def _(draw: Draw) -> Case:
    state, generator = philox(draw)
    of = draw(shapes)

    def theirs(s: Array) -> tuple[Array, Array]:
        blocks = -(-math.prod(of) // 4)
        after = s + np.array([0, 0, blocks], np.uint64)
        return generator(s).random_raw(math.prod(of)).reshape(of), after

    ours = emit("random_bits", shape=of, dtype=np.dtype(np.uint64))
    return Case((state,), ours, theirs, numpy=True)


@row("bits_to_uniform")
def _(draw: Draw) -> Case:
    state, generator = philox(draw)
    n = draw(st.integers(0, 9))
    bits = generator(state).random_raw(n)
    theirs = lambda bits: np.random.Generator(generator(state)).random(n)  # noqa: E731
    return Case((np.asarray(bits),), emit("bits_to_uniform"), theirs, numpy=True)


# ---- whole graphs --------------------------------------------------------------------------


@row("checkpoint")
def _(draw: Draw) -> Case:
    inputs = tuple(array(draw, of) for of in broadcastable(draw, 2))
    graph = trace(lambda xs: (ops.sin(xs[0]) * xs[1],), inputs)
    return Case(inputs, emit("checkpoint", graph=graph), lambda x, y: torch.sin(x) * y, (0, 1))

"""Lowerings of what runs along an axis: cumulative sums and products, recurrences, sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wengert.graph.dtypes import INT64, DType
from wengert.ops.lowering import Expressions, Kernels, Operand, Scalar, State, View


def _along(
    kernels: Kernels,
    axis: int,
    reverse: bool,
    xs: Sequence[View],
    step: Callable[[Expressions, Scalar, Scalar, Sequence[Scalar]], tuple[Scalar, Scalar]],
) -> View:
    """Return what ``step(e, i, state, elements)`` gives along an axis: the output and next state.

    The state begins as 0.
    """
    (out,) = kernels.outputs
    result = kernels.empty(out.shape, out.dtype)
    length = out.shape[axis]
    others = [n for i, n in enumerate(out.shape) if i != axis]

    def body(e: Expressions, *index: Scalar) -> None:
        def turn(i: Scalar, state: State) -> State:
            at = e.sub(length - 1, i) if reverse else i
            place = (*index[:axis], at, *index[axis:])
            elements = [e.load(x, *place) for x in xs]
            value, following = step(e, i, state[0], elements)
            e.store(value, result, *place)
            return (following,)

        e.fold(length, (e.constant(0, out.dtype),), turn)

    kernels.each(others, body, reads=xs, writes=(result,), parallel=bool(others))
    return result


def cumulative_sum(kernels: Kernels, x: View, axis: int, reverse: bool) -> View:
    """Lower the running sums along an axis."""

    def step(
        e: Expressions, i: Scalar, state: Scalar, elements: Sequence[Scalar]
    ) -> tuple[Scalar, Scalar]:
        total = e.where(e.compare("==", i, 0), elements[0], e.add(state, elements[0]))
        return total, total

    return _along(kernels, axis, reverse, (x,), step)


def cumulative_prod(kernels: Kernels, x: View, axis: int, reverse: bool, exclusive: bool) -> View:
    """Lower the running products along an axis, without the element itself if `exclusive`."""

    def step(
        e: Expressions, i: Scalar, state: Scalar, elements: Sequence[Scalar]
    ) -> tuple[Scalar, Scalar]:
        first = e.compare("==", i, 0)
        before = e.where(first, e.constant(1, x.dtype), state)
        product = e.where(first, elements[0], e.mul(state, elements[0]))
        return (before if exclusive else product), product

    return _along(kernels, axis, reverse, (x,), step)


def linear_recurrence(kernels: Kernels, a: View, b: View, axis: int, reverse: bool) -> View:
    """Lower ``y[k] = b[k] + a[k] * y[k - 1]``, from ``y[0] = b[0]``."""

    def step(
        e: Expressions, i: Scalar, state: Scalar, elements: Sequence[Scalar]
    ) -> tuple[Scalar, Scalar]:
        factor, term = elements
        later = e.add(term, e.mul(factor, state))
        value = e.where(e.compare("==", i, 0), term, later)
        return value, value

    return _along(kernels, axis, reverse, (a, b), step)


def _goes_before(e: Expressions, x: Scalar, y: Scalar) -> Scalar:
    """Return whether `x` is less than `y`, where NaN is the greatest."""
    return e.either(e.compare("<", x, y), e.both(e.is_nan(y), e.invert(e.is_nan(x))))


def sort(kernels: Kernels, x: View, axis: int) -> tuple[View, View]:
    """Lower a stable sort along an axis to merges of runs of 1, 2, 4, … elements."""
    order = [i for i in range(len(x.shape)) if i != axis]
    shape = [x.shape[i] for i in (*order, axis)]
    strides = [x.strides[i] for i in (*order, axis)]
    values = kernels.copy(kernels.view(x, shape, strides))
    places = kernels.map(lambda e, i: i, kernels.counter(shape, len(shape) - 1), dtype=INT64)
    run = 1
    while run < shape[-1]:
        values, places = _merged(kernels, values, places, run)
        run *= 2
    lengths = [x.shape[i] for i in range(len(x.shape))]
    moved = [*range(axis), len(shape) - 1, *range(axis, len(shape) - 1)]
    back = tuple(kernels.view(v, lengths, [v.strides[i] for i in moved]) for v in (values, places))
    return back[0], back[1]


def _least(e: Expressions, x: Scalar, y: int) -> Scalar:
    return e.where(e.compare("<", x, y), x, y)


def _merged(kernels: Kernels, values: View, places: View, run: int) -> tuple[View, View]:
    """Merge neighbouring sorted runs along the last axis."""
    shape, length = values.shape, values.shape[-1]
    dtypes: tuple[DType, DType] = (values.dtype, places.dtype)
    targets = tuple(kernels.empty(shape, dtype) for dtype in dtypes)

    def body(e: Expressions, *index: Scalar) -> None:
        *lead, block = index
        start = e.mul(block, 2 * run)
        middle = _least(e, e.add(start, run), length)
        stop = _least(e, e.add(start, 2 * run), length)

        def turn(k: Scalar, state: State) -> State:
            left, right = state
            has_left, has_right = e.compare("<", left, middle), e.compare("<", right, stop)
            at_left: Operand = e.where(has_left, left, 0)
            at_right: Operand = e.where(has_right, right, 0)
            x, y = e.load(values, *lead, at_left), e.load(values, *lead, at_right)
            ahead = e.both(has_right, _goes_before(e, y, x))
            from_left = e.both(has_left, e.invert(ahead))
            chosen = e.where(from_left, at_left, at_right)
            target = e.add(start, k)
            e.store(e.where(from_left, x, y), targets[0], *lead, target)
            e.store(e.load(places, *lead, chosen), targets[1], *lead, target)
            one, none = e.constant(1, INT64), e.constant(0, INT64)
            step = e.where(from_left, one, none)
            return e.add(left, step), e.add(right, e.sub(1, step))

        e.fold(e.sub(stop, start), (start, middle), turn)

    blocks = -(-length // (2 * run))
    kernels.each((*shape[:-1], blocks), body, reads=(values, places), writes=targets)
    return targets[0], targets[1]

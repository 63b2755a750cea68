"""One chunk of a kernel: the same kernel over a part of one of its axes.

The chunks of one length have one code; it is given other addresses for each of them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable
from typing import NamedTuple

from wengert.compile.emit.arrays import Buffer, Counter, Strided
from wengert.compile.kernels.each import Each
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.reduce import Reduce


class Access(NamedTuple):
    """A view that a kernel reads or writes, and its axis that is walked along the cut.

    Attributes
    ----------
    view : Strided
        The view.
    axis : int
        Its axis; -1 if every chunk may touch all of it.
    written : bool
        Whether it is written.
    """

    view: Strided
    axis: int
    written: bool


def accesses(kernel: Kernel, axis: int) -> list[Access]:
    """Return what a kernel touches when it is cut along an axis of its shape; -1: not at all."""
    found = [Access(x, axis, True) for x in kernel.writes]
    found += [Access(x, axis, False) for x in kernel.under.leaves]
    found += [Access(x, -1, False) for x in kernel.under.beside]
    if isinstance(kernel, Product):
        found += [Access(x, axis, False) for x in kernel.heart]
    elif isinstance(kernel, Reduce):
        found += [Access(x, axis, False) for x in kernel.before.leaves]
        found += [Access(x, -1, False) for x in kernel.before.beside]
    else:
        found += [Access(x, -1, False) for x in kernel.heart]
    return [a for a in found if a.view.buffer is not None]


def cuttable(kernel: Kernel) -> list[int]:
    """Return the axes along which a kernel can be cut.

    A reduction whose lanes are results is not cut between them if there is another way: each chunk
    would read a few elements of each row of memory.
    """
    if isinstance(kernel, Each):
        return []
    found = [a for a, n in enumerate(kernel.shape) if n > 1 and steps(kernel, a) is not None]
    if isinstance(kernel, Reduce) and not kernel.by_rows and len(found) > 1:
        found = [axis for axis in found if axis != kernel.columns]
    return found


def steps(kernel: Kernel, axis: int) -> dict[Hashable, int] | None:
    """Return how many bytes apart the places of each view are along an axis, by `place_of`.

    Returns
    -------
    dict or None
        None if a view would have to move and to stand still, or if it shows the index itself.
    """
    found: dict[Hashable, int] = {}
    if any(isinstance(x.base, Counter) and x.strides[axis] for x in kernel.evaluated.leaves):
        return None
    for x, side, _ in accesses(kernel, axis):
        step = x.strides[side] * x.dtype.itemsize if side >= 0 else 0
        if found.setdefault(place_of(x), step) != step:
            return None
    return found


def place_of(x: Strided) -> Hashable:
    """Return what is equal for views that begin at one place and walk alike."""
    return x.buffer, x.dtype, x.offset, x.strides


def narrowed(kernel: Kernel, axis: int, length: int) -> Kernel:
    """Return the first `length` places of a kernel along an axis."""
    made = copy.copy(kernel)
    made.shape = (*kernel.shape[:axis], length, *kernel.shape[axis + 1 :])
    factors = kernel.heart if isinstance(kernel, Product) else ()
    views = (*kernel.evaluated.leaves, *kernel.writes, *factors)
    made.see({x: _part(x, axis, length) for x in views})
    return made


def _part(x: Strided, axis: int, length: int) -> Strided:
    return x.with_axes((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.strides)


def aligned(x: Access, y: Access, span_x: int = 1, span_y: int = 1) -> bool:
    """Tell whether, in the memory of two views, what equal parts along their axes touch is apart.

    Both axes go along one cut, a step for each `span` places of it. Then an element that chunk
    number c touches through one view is touched through the other, if at all, by chunk number c.
    """
    if x.axis < 0 or y.axis < 0 or x.view.dtype.itemsize != y.view.dtype.itemsize:
        return False
    span = math.lcm(span_x, span_y)
    steps_x, steps_y = span // span_x, span // span_y
    step = x.view.strides[x.axis] * steps_x
    if step <= 0 or step != y.view.strides[y.axis] * steps_y:
        return False
    outer = [
        s
        for view, axis, _ in (x, y)
        for i, s in enumerate(view.strides)
        if i != axis and view.shape[i] > 1 and abs(s) >= step
    ]
    places = {_first_place(a, steps, step, outer) for a, steps in ((x, steps_x), (y, steps_y))}
    return len(places) == 1 and None not in places


def _first_place(x: Access, steps: int, step: int, outer: list[int]) -> int | None:
    """Return at which of the places `step` apart a view begins; None if its parts interlock.

    A part is so many `steps` along the axis.
    """
    view, axis, _ = x
    pitch = math.gcd(*outer)
    offset = view.offset % pitch if pitch else view.offset
    place, inside = divmod(offset, step)
    for i, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)):
        if i == axis or n == 1 or abs(s) >= step:
            continue
        if s < 0:
            return None
        inside += (n - 1) * s
    along = view.strides[axis]
    if inside + (steps - 1) * along >= step:
        return None
    if pitch and place * step + inside + (view.shape[axis] - 1) * along >= pitch:
        return None
    return place


def extent(x: Strided) -> tuple[int, int]:
    """Return the bytes between which a view lies in its buffer."""
    if x.size == 0:
        return 0, 0
    reach = [(n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)]
    low = x.offset + sum(r for r in reach if r < 0)
    high = x.offset + sum(r for r in reach if r > 0)
    return low * x.dtype.itemsize, (high + 1) * x.dtype.itemsize


def memory_of(x: Strided) -> Hashable:
    """Return what is equal for views of one memory: an argument's number, or the buffer."""
    assert isinstance(x.base, Buffer)
    home = x.base.home
    return home if home.place == "arena" else home.slot

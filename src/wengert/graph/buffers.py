"""Dead arrays, kept for the next operation that needs one of their shape.

Memory that goes back to the system is fetched again page by page, which costs a training step of
middling size a fifth of its time. Where the backward pass and the optimiser know that an array has
served its turn (an activation whose pullback is done, a gradient that is forgotten), they hand it
to `recycle`; evaluations of large results ask `reuse`. Only an array that nobody else refers to is
taken, so that no view, tensor or NumPy array of the user's can ever see it change; and no more of a
kind than were asked for, so that what nobody asks for does not pile up.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from wengert.graph import sharing
from wengert.graph.dtypes import Array, DType
from wengert.graph.variable import Variable

SMALL = 1 << 14
"""Bytes below which the system's allocator is quicker."""
_MOST = 1 << 26
"""Bytes that a thread keeps at most; the shapes that came first go first."""
_ASKED = 256
"""How many requests for arrays of one kind, and how many kinds, are remembered."""


class _Shelf(list[Array]):
    """The kept arrays of one size in bytes, which is found sooner than a shape and a dtype.

    Attributes
    ----------
    asked : int
        How many more may be kept: each request allows one.
    """

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0


class _Store:
    """What a thread keeps.

    Attributes
    ----------
    shelves : dict
        The arrays by their size in bytes.
    nbytes : int
        The size of all.
    """

    __slots__ = ("nbytes", "shelves")

    def __init__(self) -> None:
        self.shelves: dict[int, _Shelf] = {}
        self.nbytes = 0


class _Kept(threading.local):
    """Gives each thread its store, looked up once where several attributes are read."""

    def __init__(self) -> None:
        self.store = _Store()


_kept = _Kept()


def reuse(shape: tuple[int, ...], dtype: DType, nbytes: int) -> Array | None:
    """Return an array to write into, or None where NumPy should make one: an ``out=`` argument.

    Parameters
    ----------
    shape, dtype
        What it must have.
    nbytes : int
        The size of such an array in bytes.
    """
    store = _kept.store
    shelf = store.shelves.get(nbytes)
    if shelf is None:
        if len(store.shelves) >= _ASKED:
            store.__init__()  # type: ignore[misc]
        shelf = store.shelves[nbytes] = _Shelf()
    if shelf.asked < _ASKED:
        shelf.asked += 1
    for place in range(len(shelf) - 1, -1, -1):
        if shelf[place].shape == shape and shelf[place].dtype == dtype:
            store.nbytes -= nbytes
            return shelf.pop(place)
    return None


def apply_kept(ufunc: np.ufunc, x: Array, *others: Array) -> Any:
    """Return ``ufunc(x, *others)``, whose dtype is that of `x`, in a kept array if one fits."""
    shape, rank = x.shape, x.ndim
    for y in others:
        if y.shape != shape[rank - y.ndim :] and y.shape != shape:
            return ufunc(x, *others)
    return ufunc(x, *others, out=reuse(shape, x.dtype, x.nbytes))


def recycle(holder: list[Variable] | list[Variable | None]) -> None:
    """Take the last variable out of `holder`; keep its array if nobody else refers to either.

    It is handed over in a list, since a name for it in the calling function would be a reference.
    """
    variable = holder.pop()
    value = None if variable is None else variable.value
    if value is None:
        return
    nbytes = value.nbytes
    if not SMALL <= nbytes <= _MOST:
        return
    store = _kept.store
    shelf = store.shelves.get(nbytes)
    if (
        shelf is not None
        and shelf.asked
        and sys.getrefcount(variable) <= _ALONE
        and sys.getrefcount(value) <= _ALONE + 1  # the variable's own
        and value.base is None
        and value.flags.carray
        and not (sharing.noted and sharing.is_shared(value))
    ):
        shelf.asked -= 1
        shelf.append(value)
        store.nbytes += nbytes
        while store.nbytes > _MOST:
            oldest = next(filter(None, store.shelves.values()))
            store.nbytes -= oldest.pop().nbytes


def _measure() -> int:
    """Return the reference count of an object that one local variable of a function refers to.

    It is measured, since how many references a function holds is a matter of the interpreter's
    version.
    """
    alone = np.zeros(1)
    return sys.getrefcount(alone)


_ALONE = _measure()

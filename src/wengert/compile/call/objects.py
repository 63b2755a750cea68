"""Where Python objects and arrays keep what native code reads of them: offsets in bytes.

The heads of objects and the fields of arrays stand where the ABIs of CPython and NumPy fix them.
Where the slots of our own classes stand is found by looking for marks put there. Everything is
tried on objects at hand first: on an interpreter that keeps anything elsewhere there are no
offsets, and compiled functions are called through Python.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import sysconfig
import types
import weakref
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wengert.ad.call import Refused
from wengert.compile.settings import Settings
from wengert.graph.dtypes import DEFAULTS
from wengert.graph.mode import Mode
from wengert.graph.variable import Variable
from wengert.tensor.effects import Structure
from wengert.tensor.tensor import Tensor

_HEAD = object.__basicsize__
_WORD = 8

TYPE = 8
"""Where an object's type stands; the count of references is its first word."""
SIZE = _HEAD
"""Where a list and a dict have their length."""
DATA, RANK, LENGTHS, BASE, DTYPE, FLAGS = (_HEAD + at for at in (0, 8, 16, 32, 40, 48))
"""Fields of an array: address of the elements, number of axes, lengths, what it is a view of,
dtype, flags."""

CONTIGUOUS, OWNED, ALIGNED, WRITEABLE = 0x1, 0x4, 0x100, 0x400
"""Flags of an array."""


class Slots(NamedTuple):
    """The offsets of the slots of Wengert's classes, and of the content of a closure's cell."""

    variable: int
    grad: int
    weak: int
    value: int
    op: int
    requires_grad: int
    hooks: int
    name: int
    trace: int
    weak_variable: int
    serial: int
    recording: int
    mode_trace: int
    version: int
    enabled: int
    default: int
    content: int


@lru_cache(maxsize=1)
def slots() -> Slots | None:
    """Return the offsets; None if this interpreter keeps objects in another way."""
    if not (_is_usual() and _heads_fit() and _arrays_fit()):
        return None
    try:
        return _found()
    except LookupError:
        return None


def word(address: int) -> int:
    """Return the word in memory at `address`."""
    return ctypes.c_uint64.from_address(address).value


def thread_id() -> int:
    """Return the number of this thread's state, which no other thread will ever have."""
    state, number = _thread_functions()
    return int(number(state()))


@lru_cache(maxsize=1)
def _thread_functions() -> tuple[Any, Any]:
    state, number = ctypes.pythonapi.PyThreadState_Get, ctypes.pythonapi.PyThreadState_GetID
    state.restype = ctypes.c_void_p
    number.argtypes, number.restype = [ctypes.c_void_p], ctypes.c_uint64
    return state, number


def _is_usual() -> bool:
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    words = struct.calcsize("P") == _WORD and sys.byteorder == "little"
    return (
        sys.implementation.name == "cpython" and words and not free_threaded and _HEAD == 2 * _WORD
    )


def _heads_fit() -> bool:
    held = [object(), object(), object()]
    count = ctypes.c_uint32.from_address(id(held)).value
    table = dict.fromkeys(held)
    return (
        count == sys.getrefcount(held) - 1
        and word(id(held[0]) + TYPE) == id(object)
        and word(id(held) + SIZE) == word(id(table) + SIZE) == len(held)
    )


def _arrays_fit() -> bool:
    array = np.zeros((3, 5), np.float32)
    view, at = array[1:], id(array)
    fields = word(at + DATA), ctypes.c_int.from_address(at + RANK).value, word(at + DTYPE)
    flags = ctypes.c_int.from_address(at + FLAGS).value
    wanted = CONTIGUOUS | OWNED | ALIGNED | WRITEABLE
    array.flags.writeable = False
    return (
        fields == (array.ctypes.data, array.ndim, id(array.dtype))
        and (word(at + BASE), word(id(view) + BASE)) == (0, at)
        and [word(word(at + LENGTHS) + _WORD * axis) for axis in range(2)] == list(array.shape)
        and flags & wanted == wanted
        and ctypes.c_int.from_address(at + FLAGS).value == flags & ~WRITEABLE
    )


def _found() -> Slots:
    tensor, variable = Tensor.__new__(Tensor), Variable(None)
    mode = Mode.__new__(Mode)
    return Slots(
        variable=_offset(tensor, "_variable"),
        grad=_offset(tensor, "_grad"),
        weak=_weak_offset(tensor),
        value=_offset(variable, "value"),
        op=_offset(variable, "op"),
        requires_grad=_offset(variable, "requires_grad"),
        hooks=_offset(variable, "hooks"),
        name=_offset(variable, "_name"),
        trace=_offset(variable, "trace"),
        weak_variable=_weak_offset(variable),
        serial=_offset(Refused.__new__(Refused), "serial"),
        recording=_offset(mode, "recording"),
        mode_trace=_offset(mode, "trace"),
        version=_offset(Structure(), "version"),
        enabled=_offset(Settings(), "enabled"),
        default=_offset(type(DEFAULTS)(), "float"),
        content=_offset(types.CellType(), "cell_contents"),
    )


def _weak_offset(made: Any) -> int:
    """Return where `made` keeps the first weak reference to it."""
    at = type(made).__weakrefoffset__
    before = word(id(made) + at)
    reference = weakref.ref(made)
    if before or word(id(made) + at) != id(reference):
        raise LookupError("__weakref__")
    return at


def _offset(made: Any, name: str) -> int:
    """Return where `made` keeps its attribute `name`."""
    mark = object()
    setattr(made, name, mark)
    places = range(_HEAD, type(made).__basicsize__, _WORD)
    found = [at for at in places if word(id(made) + at) == id(mark)]
    if len(found) != 1:
        raise LookupError(name)
    return found[0]

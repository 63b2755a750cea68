"""Letting Python call compiled functions without running Python code around them.

A callable of the class that `quick_class` makes is an ordinary object of a Python class, with a few
words of memory more: where CPython finds the machine code for quick calls, and what that reads. As
long as there is no such code, calls go to the method ``__call__`` of the Python class; so do they
wherever this interpreter keeps objects in a way of its own (`wengert.compile.objects`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.compile import cache, objects
from wengert.compile.expecting import API
from wengert.compile.guards import Program
from wengert.compile.identity import text_key
from wengert.compile.program import KNOWN, WORD
from wengert.compile.record import Record
from wengert.graph.dtypes import Array
from wengert.graph.variable import Leaf, next_serial
from wengert.tensor.tensor import Tensor

if TYPE_CHECKING:
    from wengert.compile.llvm import MachineCode

_OURS = 4
"""The words that a callable has more: the code, the programs, the objects that the code knows, and
what keeps the programs alive."""

_MEMBERS = 72  # the slots and flags of types, as the stable ABI numbers them
_WORD_MEMBER, _READ_ONLY = 19, 1
_HAS_VECTORCALL, _IS_BASE = 1 << 11, 1 << 10


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


class _Programs:
    """The programs of one callable, in the order in which they are tried; never changed."""

    __slots__ = ("list", "programs")

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = tuple(programs)
        self.list = np.array([len(programs), *(p.memory.ctypes.data for p in programs)], np.int64)


@lru_cache(maxsize=1)
def quick_class(kind: type) -> type:
    """Return a subclass of `kind` whose instances may have programs; `kind` if that cannot be."""
    if objects.slots() is None:
        return kind
    at = kind.__basicsize__
    members = (_Member * 2)(
        _Member(b"__vectorcalloffset__", _WORD_MEMBER, at, _READ_ONLY, None), _Member()
    )
    slots = (_Slot * 2)(_Slot(_MEMBERS, ctypes.addressof(members)), _Slot())
    name = f"{kind.__module__}.{kind.__qualname__}".encode()
    flags = _HAS_VECTORCALL | _IS_BASE
    spec = _Spec(name, at + _OURS * WORD, 0, flags, slots)
    make = ctypes.pythonapi.PyType_FromSpecWithBases
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.py_object], ctypes.py_object
    made: type = make(ctypes.byref(spec), (kind,))
    made.__doc__ = kind.__doc__
    return made


class _Code:
    """The machine code for the instances of one class."""

    def __init__(self, kind: type) -> None:
        from wengert.compile.callcode import call_code
        from wengert.compile.llvm import add_symbol, machine

        slots = objects.slots()
        assert slots is not None
        for name in API:
            function = getattr(ctypes.pythonapi, name)
            add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value or 0)
        self._code = _loaded(call_code(machine(), slots, kind.__basicsize__ + WORD).text())
        self._objects = {
            "none": None,
            "array": np.ndarray,
            "tensor": Tensor,
            "leaf": Leaf,
            "float": float,
            "int": int,
            "bool": bool,
            "decide": vars(kind)["__call__"],
            "serials": next_serial.__self__,  # type: ignore[attr-defined]
            "exception": Exception,
        }
        self.known: Array = np.array([id(self._objects[name]) for name in KNOWN], np.int64)
        self.address = self._code.address("call")


_code = lru_cache(maxsize=1)(_Code)


def _loaded(assembly: str) -> MachineCode:
    """Return the machine code of `assembly`, which is kept on disk like that of graphs."""
    from wengert.compile.llvm import MachineCode, identity

    folder, key = cache.current(), text_key(assembly, identity())
    kept = folder.load(key) if folder else None
    if kept is not None:
        return MachineCode.from_object(kept.object_code)
    code = MachineCode(assembly)
    if folder:
        folder.save(key, Record(code.object_code, (), (), 0, False))
    return code


def offer(function: Any, kind: type, programs: Sequence[Program]) -> Any:
    """Let calls of `function` try `programs` in turn, if it is of ``quick_class(kind)``.

    Returns
    -------
    What keeps them alive, for `function` to hold until something else is offered.
    """
    quick = quick_class(kind)
    if quick is kind or not isinstance(function, quick):
        return None
    words = (ctypes.c_uint64 * _OURS).from_address(id(function) + kind.__basicsize__)
    if not programs:
        words[0] = 0
        return None
    code, kept = _code(kind), _Programs(programs)
    words[:] = [code.address, kept.list.ctypes.data, code.known.ctypes.data, id(kept)]
    return kept

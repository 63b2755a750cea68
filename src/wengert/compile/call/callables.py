"""The class of callables that CPython may call without running Python code around the call.

They are ordinary objects of a Python class, with a few words of memory more: where CPython finds
the machine code for quick calls, and what that reads (`wengert.compile.call.fastcall` fills them
in). As long as there is no such code, calls go to the method ``__call__`` of the Python class; so
do they wherever this interpreter keeps objects in a way of its own
(`wengert.compile.call.objects`).
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

from wengert.compile.call import objects
from wengert.compile.call.expecting import API
from wengert.compile.call.program import WORD

WORDS = 4
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


@lru_cache(maxsize=1)
def quick_class(kind: type) -> type:
    """Return a subclass of `kind` whose instances may have programs; `kind` if that cannot be."""
    if objects.slots() is None or not all(hasattr(ctypes.pythonapi, name) for name in API):
        return kind
    at = kind.__basicsize__
    members = (_Member * 2)(
        _Member(b"__vectorcalloffset__", _WORD_MEMBER, at, _READ_ONLY, None), _Member()
    )
    slots = (_Slot * 2)(_Slot(_MEMBERS, ctypes.addressof(members)), _Slot())
    name = f"{kind.__module__}.{kind.__qualname__}".encode()
    flags = _HAS_VECTORCALL | _IS_BASE
    spec = _Spec(name, at + WORDS * WORD, 0, flags, slots)
    make = ctypes.pythonapi.PyType_FromSpecWithBases
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.py_object], ctypes.py_object
    made: type = make(ctypes.byref(spec), (kind,))
    made.__doc__ = kind.__doc__
    return made

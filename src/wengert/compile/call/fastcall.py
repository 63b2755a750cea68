"""Letting Python call compiled functions without running Python code around them.

The machine code for all such calls is made, or read from disk, when one is made for the second
time. See `wengert.compile.call.code` for what it does.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compile.call import callables, objects
from wengert.compile.call.expecting import API
from wengert.compile.call.program import KNOWN, WORD
from wengert.compile.call.table import Program
from wengert.compile.disk import cache
from wengert.compile.disk.identity import compiler_digest, compiler_unchanged, text_key
from wengert.compile.disk.record import Record
from wengert.compile.emit.loader import Code, from_objects, identity
from wengert.compile.emit.symbols import add_symbol
from wengert.graph.dtypes import Array
from wengert.graph.memory import Block
from wengert.graph.variable import Leaf, next_serial
from wengert.tensor.tensor import Tensor


class _Programs:
    """The programs of one callable, in the order in which they are tried; never changed."""

    __slots__ = ("list", "programs")

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = tuple(programs)
        self.list = np.array([len(programs), *(p.memory.ctypes.data for p in programs)], np.int64)


class _Code:
    """The machine code for the instances of one class."""

    def __init__(self, kind: type) -> None:
        slots = objects.slots()
        assert slots is not None
        for name in API:
            function = getattr(ctypes.pythonapi, name)
            add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value or 0)
        self._code = _loaded(slots, kind.__basicsize__ + WORD)
        self._objects = {
            "none": None,
            "array": np.ndarray,
            "block": Block,
            "tensor": Tensor,
            "leaf": Leaf,
            "float": float,
            "int": int,
            "bool": bool,
            "tuple": tuple,
            "list": list,
            "dict": dict,
            "decide": vars(kind)["__call__"],
            "serials": next_serial.__self__,  # type: ignore[attr-defined]
            "exception": Exception,
        }
        self.known: Array = np.array([id(self._objects[name]) for name in KNOWN], np.int64)
        self.address = self._code.address("call")


_codes: dict[type, _Code] = {}
"""What is in use, for ever: callables know the addresses."""


def _code(kind: type) -> _Code:
    """Return the code for a class: one, even if several threads ask for it first."""
    return _codes.get(kind) or _codes.setdefault(kind, _Code(kind))


def _loaded(slots: objects.Slots, instance: int) -> Code:
    """Return the machine code of `call_code`, which is kept on disk like that of graphs."""
    folder, source = cache.current(), compiler_digest()
    python = sys.implementation.cache_tag, np.__version__
    key = text_key(repr((source, python, slots, instance)), identity())
    kept = folder.load(key) if folder and source else None
    if kept is not None:
        return from_objects(kept.objects)
    from wengert.compile.call.code import call_code
    from wengert.compile.emit import llvm

    made = llvm.object_code(call_code(llvm.machine(), slots, instance).text())
    if folder and source and compiler_unchanged():
        folder.save(key, Record(made, (), (), 0, 0, 1))
    return from_objects(made)


def offer(function: Any, kind: type, programs: Sequence[Program]) -> Any:
    """Let calls of `function` try `programs` in turn, if it is of ``callables.quick_class(kind)``.

    Returns
    -------
    What keeps them alive, for `function` to hold until something else is offered.
    """
    quick = callables.quick_class(kind)
    if quick is kind or not isinstance(function, quick):
        return None
    words = (ctypes.c_uint64 * callables.WORDS).from_address(id(function) + kind.__basicsize__)
    if not programs:
        words[0] = 0
        return None
    code, kept = _code(kind), _Programs(programs)
    words[:] = [code.address, kept.list.ctypes.data, code.known.ctypes.data, id(kept)]
    return kept

"""Object code in memory, ready to run, without LLVM: that takes ten times as long to be there.

This is for Linux on processors of the kind x86-64, and for what LLVM makes there of our modules: a
few sections, in which addresses are written out in full. All else is left to LLVM.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from wengert.compile.emit.machine import asked_for
from wengert.compile.emit.symbols import address_of

_HEAD = b"\x7fELF\x02\x01\x01"
_WHAT = struct.pack("<HH", 1, 62)  # to be linked, for x86-64
_SECTIONS = struct.Struct("<40xQ10xHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_PROGRAM, _SYMBOLS, _RELOCATIONS = 1, 2, 4
_IN_MEMORY = 2
_ADDRESS = 1
"""The only relocation: the address of a symbol and a number more, in 64 bits."""


class Code(Protocol):
    """A module in memory, ready to run."""

    def address(self, name: str) -> int:
        """Return where a function starts."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry: int


class UnusualError(Exception):
    """Object code has something that only LLVM knows how to load."""


def from_objects(objects: Sequence[bytes]) -> Code:
    """Return code that was generated for a machine with this `identity`.

    Each part may call those before it; what is wanted from outside is in the last one.
    """
    if possible():
        try:
            code = Loaded(objects[0])
            for part in objects[1:]:
                code = Loaded(part, code)
            return code
        except (UnusualError, AttributeError, OSError):
            pass
    from wengert.compile.emit.llvm import MachineCode

    return MachineCode(objects)


def possible() -> bool:
    """Tell whether this is a machine for which code can be loaded without LLVM."""
    return sys.platform == "linux" and os.uname().machine == "x86_64" and sys.maxsize > 1 << 32


class Loaded:
    """Object code in memory, freed with this object.

    Parameters
    ----------
    object_code : bytes
        What LLVM has generated.
    before : Loaded, optional
        Other code that it may call.

    Raises
    ------
    UnusualError
        If the object code is not like what LLVM makes of our modules.
    AttributeError
        If it calls a function that is nowhere.
    OSError
        If the system does not allow it.
    """

    def __init__(self, object_code: bytes, before: Loaded | None = None) -> None:
        if not object_code.startswith(_HEAD) or object_code[16:20] != _WHAT:
            raise UnusualError
        self._object = object_code
        self._before = before
        start, size, count, _ = _SECTIONS.unpack_from(object_code)
        table = object_code[start : start + size * count]
        self._sections = [_Section(*values) for values in _SECTION.iter_unpack(table)]
        self._places, total = self._laid_out()
        self._memory = mmap.mmap(-1, total, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._hold = ctypes.c_char.from_buffer(self._memory)
        self._base = ctypes.addressof(self._hold)
        self._symbols = self._found()
        self._fill()
        _let_run(self._base, total)

    def address(self, name: str) -> int:
        """Return where a function starts."""
        return self._symbols[1][name]

    def _laid_out(self) -> tuple[dict[int, int], int]:
        """Return where each section is to be in memory, by number, and how long all are."""
        places, total = {}, 0
        for number, section in enumerate(self._sections):
            if section.flags & _IN_MEMORY:
                if section.kind != _PROGRAM:
                    raise UnusualError
                places[number] = total = -(-total // section.alignment) * section.alignment
                total += section.size
        return places, max(total, 1)

    def _bytes(self, section: _Section) -> bytes:
        return self._object[section.offset : section.offset + section.size]

    def _found(self) -> tuple[list[int], dict[str, int]]:
        """Return the addresses of the symbols, by number and by name."""
        (table,) = (s for s in self._sections if s.kind == _SYMBOLS)
        names = self._bytes(self._sections[table.link])
        addresses, named = [], {}
        for name, _, _, section, value, _ in _SYMBOL.iter_unpack(self._bytes(table)):
            text = names[name : names.index(b"\0", name)].decode()
            if section in self._places:
                addresses.append(self._base + self._places[section] + value)
                named[text] = addresses[-1]
            else:  # the file itself, or what is outside
                addresses.append(self._outside(text) if text and section == 0 else 0)
        return addresses, named

    def _outside(self, name: str) -> int:
        """Return the address of a function that is not in this object code."""
        known = self._before and self._before._symbols[1].get(name)
        return known or address_of(name)

    def _fill(self) -> None:
        """Write the sections to memory, with addresses where they are wanted."""
        for number, place in self._places.items():
            section = self._sections[number]
            self._memory[place : place + section.size] = self._bytes(section)
        for section in self._sections:
            if section.kind != _RELOCATIONS or section.info not in self._places:
                continue
            place = self._places[section.info]
            for at, what, more in _RELOCATION.iter_unpack(self._bytes(section)):
                symbol, kind = what >> 32, what & 0xFFFFFFFF
                if kind != _ADDRESS or not self._symbols[0][symbol]:
                    raise UnusualError
                struct.pack_into("<q", self._memory, place + at, self._symbols[0][symbol] + more)


def _let_run(address: int, size: int) -> None:
    """Let code in pages of memory be executed, and not be written any more."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "mprotect")


def identity() -> str:
    """Return what code depends on besides its assembly: processor, system, version of LLVM."""
    return f"{_at_hand()} {asked_for()}"


@lru_cache(maxsize=1)
def _at_hand() -> str:
    """Return the identity of the processor at hand."""
    found = _identity() if possible() else None
    if found is not None:
        return found
    from wengert.compile.emit import llvm

    return llvm.identity()


_PROCESSOR = "vendor_id", "cpu family", "model", "stepping", "flags"


def _identity() -> str | None:
    """Return the same without loading LLVM; None if that is not to be had."""
    found: Any = find_spec("llvmlite")
    try:
        (folder,) = found.submodule_search_locations
        library = Path(folder, "binding", "libllvmlite.so").stat()
        with Path("/proc/cpuinfo").open("rb") as file:
            text = file.read(1 << 14).decode()
    except (OSError, ValueError, AttributeError):
        return None
    first = text.partition("\n\n")[0].splitlines()
    values = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in first)}
    if not all(name in values for name in _PROCESSOR):
        return None
    parts = [values[name] for name in _PROCESSOR]
    return " ".join((os.uname().release, f"{library.st_size} {library.st_mtime_ns}", *parts))

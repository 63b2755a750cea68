"""Programs under construction: lists of records, and their place in memory."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.compile.call import objects, program
from wengert.compile.call.objects import Slots
from wengert.compile.call.program import ARGUMENT, HEADER, LEAF, PLACE, RECORD, WORD, WORDS
from wengert.compile.call.renewal import Failure, Renewal
from wengert.compile.native import tuning
from wengert.graph.dtypes import Array
from wengert.graph.mode import THREAD
from wengert.graph.variable import Aval
from wengert.tensor.effects import structure

if TYPE_CHECKING:
    from wengert.compile.entry import Entry

_LISTS = {
    "names": program.NAME,
    "parts": program.PART,
    "words": WORDS,
    "arguments": ARGUMENT,
    "captured": RECORD,
    "tensors": RECORD,
    "grads": RECORD,
    "places": PLACE,
    "results": RECORD,
    "leaves": LEAF,
}
_LONG = 30_000
"""From how many nanoseconds on a call lets other threads use the interpreter; calls that helping
threads may share do so from `tuning.SHORT` on, since helpers need it to wake up."""

_MOST = 2000
"""How many addresses and numbers a call may collect, which it does on the stack."""


class Unsaid(Exception):
    """An entry does something that no program says."""


class Program:
    """A program in memory, and all that its addresses point to.

    Attributes
    ----------
    memory : ndarray of int64
        The program.
    """

    __slots__ = ("_held", "_modules", "_now", "_waits", "_words", "memory")

    def __init__(self, memory: Array, table: Table, words: int, version: int, waits: bool) -> None:
        self.memory = memory
        self._waits = waits
        self._held = table.held
        self._modules = table.modules
        self._words = words
        self.refresh(version)

    def is_current(self) -> bool:
        """Tell whether the modules among the arguments hold the parameters that it takes."""
        return all(
            len(held) == len(now := module.__wengert_flatten__()[0]) and all(map(is_, held, now))
            for module, held in self._modules
        )

    def refresh(self, known: int) -> None:
        """Let the program hold for this thread, if the announcements up to `known` are all."""
        mode, version, thread = THREAD.now, structure.version, get_ident()
        slots = known_slots()
        self._now = mode, version, thread
        self.memory[HEADER.index("thread")] = objects.thread_id()
        self.memory[HEADER.index("caller")] = id(thread) if self._waits else 0
        first = self.memory[self._words : self._words + 3 * len(WORDS)].reshape(3, len(WORDS))
        first[:, 0] = (
            id(mode) + slots.mode_trace,
            id(mode) + slots.recording,
            id(structure) + slots.version,
        )
        first[2, 1] = id(version) if version == known else 0


def known_slots() -> Slots:
    """Return where objects keep things; they are known to do so."""
    slots = objects.slots()
    assert slots is not None
    return slots


class Table:
    """A program that is being written.

    Attributes
    ----------
    header : dict of str to int
        The words at its head.
    lists : dict of str to list of list of int
        Its records.
    renewals : list of Renewal
        What makes its results.
    modules : list of (Module, list of Parameter)
        The modules among the arguments.
    """

    def __init__(self) -> None:
        self.slots = known_slots()
        self.held: list[Any] = []
        self.header = dict.fromkeys(HEADER, 0)
        self.lists: dict[str, list[list[int]]] = {name: [] for name in _LISTS}
        self.renewals: list[Renewal] = []
        self.modules: list[tuple[Any, list[Any]]] = []

    def word(self, owner: Any, at: int, expected: int, same: bool = True) -> None:
        """Expect a word of an object, or another word."""
        self.held.append(owner)
        self.lists["words"].append([id(owner) + at, expected, int(same)])

    def keep(self, value: Any) -> int:
        """Return the address of an object, which the program keeps alive."""
        self.held.append(value)
        return id(value)

    def place(self, kind: int, holder: Any, key: Any, value: Any = None) -> None:
        """Look at a place."""
        where = key if kind == program.ELEMENT else self.keep(key)
        self.lists["places"].append([kind, self.keep(holder), where, self.keep(value), 0, 0])

    def call(self, kind: int, read: Callable[[], Any], value: Any) -> None:
        """Look at a place by calling a Python function."""
        self.header["calls"] = 1
        self.place(kind, read, None, value)

    def array(self, aval: Aval, flags: int) -> dict[str, int]:
        """Return a record of what an array must be."""
        record = dict.fromkeys(RECORD, 0)
        lengths = np.array(aval.shape, np.int64)
        self.held.append(lengths)
        record.update(
            rank=len(aval.shape), lengths=lengths.ctypes.data, dtype=self.keep(aval.dtype)
        )
        record["flags"] = flags
        return record

    def add(self, name: str, record: dict[str, int]) -> None:
        """Add a record of an array to a list."""
        self.lists[name].append([record[word] for word in RECORD])

    # Memory

    def laid_out(self, entry: Entry, callers: list[Any]) -> Program:
        """Return the program, in memory; there must be no `callers` but machine code."""
        run, header = entry.run, self.header
        self.word(callers, objects.SIZE, 0)
        # What runs Python code first: it may change what the others find.
        self.lists["places"].sort(key=lambda record: record[0] < program.CALLED)
        starts, total = {}, len(HEADER)
        for name, table in _LISTS.items():
            starts[name] = total
            total += len(table) * len(self.lists[name])
        memory = np.zeros(total, np.int64)
        base = memory.ctypes.data
        for name, start in starts.items():
            header[name], header[f"{name}_at"] = len(self.lists[name]), base + WORD * start
        long = tuning.SHORT if run.threads > 1 else _LONG
        header.update(
            control=run.control_address,
            run=run.run_address,
            callers=self.keep(callers),
            summon=self.keep(run.summon),
            long=int(run.nanoseconds > long),
            fail=self.keep(Failure(run, memory)),
            pointers=len(entry.graph.inputs) + len(entry.graph.outputs),
        )
        if header["pointers"] + header["numbers"] > _MOST:
            raise Unsaid
        words = [header[name] for name in HEADER]
        for name in _LISTS:
            words += [word for record in self.lists[name] for word in record]
        memory[:] = words
        for number, renewal in enumerate(self.renewals):
            at = starts["results"] + number * len(RECORD) + RECORD.index("first")
            renewal.homes = memory[at : at + 2].data
        # Others may run during a call that takes long, or that ends with Python code which stores.
        waits = bool(header["long"] or entry.finish.stores)
        return Program(memory, self, starts["words"], entry.version, waits)

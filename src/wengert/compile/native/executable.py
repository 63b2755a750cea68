"""A graph as one native function, with the memory it needs."""

from __future__ import annotations

import ctypes
import struct
import sys
import threading
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.compile.disk import cache
from wengert.compile.disk.identity import code_key, compiler_unchanged
from wengert.compile.disk.lines import Lines
from wengert.compile.disk.record import Record
from wengert.compile.emit import layout
from wengert.compile.emit.layout import ALIGNMENT
from wengert.compile.emit.loader import Code, from_objects, identity
from wengert.compile.forks import COMPILING
from wengert.compile.native import threads as pool
from wengert.compile.native.tuning import NEVER, SOON, TRIALS
from wengert.compile.settings import available
from wengert.compile.turns import Turns
from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph
from wengert.graph.variable import Aval

_RUN = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
_ASSIST = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)


def compile_graph(
    graph: Graph,
    aliases: Mapping[int, int],
    threads: int | None = 1,
    lasting: Collection[int] = (),
) -> Executable:
    """Compile `graph` to native code.

    Parameters
    ----------
    graph : Graph
        A graph whose free variables all have values.
    aliases : mapping of int to int
        The outputs that take over the memory of an input, of one shape and dtype with it.
    threads : int, optional
        How many threads a call uses. None: one or all of the processors there are, whichever turns
        out to be quicker. The bits of the results do not depend on it.
    lasting : collection of int
        The outputs that are given memory which is seen also if a call fails. Like that of inputs,
        it is left alone then.

    Returns
    -------
    Executable
        The native function.

    Raises
    ------
    LoweringError
        If an operation has no native code.
    ValueError
        If `aliases` or `threads` make no sense.
    """
    _check_aliases(graph, aliases)
    if threads is not None and threads < 1:
        raise ValueError(f"{graph.name}: threads must be at least 1, got {threads}.")
    with COMPILING:
        lines = Lines(graph)
        record = _record(graph, aliases, lines, lasting)
        return Executable(graph, aliases, _native(graph, lines, record, threads))


def _record(
    graph: Graph, aliases: Mapping[int, int], lines: Lines, lasting: Collection[int]
) -> Record:
    """Return the code of `graph`, from the disk if it is there."""
    folder = cache.current()
    key = code_key(graph, aliases, lines, identity(), lasting) if folder else None
    record = folder.load(key) if folder and key else None
    if record is None:
        from wengert.compile.native.translate import translate

        record = translate(graph, aliases, lines, lasting)
        if folder and key and compiler_unchanged():
            folder.save(key, record)
    return record


def _native(graph: Graph, lines: Lines, record: Record, threads: int | None) -> Native:
    """Return the code, loaded, with the constants and lines of `graph`."""
    return Native(
        from_objects(record.objects),
        tuple((error, lines.filled(message)) for error, message in record.failures),
        tuple(
            np.array(graph.free[x].value, order="C") if isinstance(x, int) else x
            for x in record.constants
        ),
        record.arena_bytes,
        record.scratch_bytes,
        min(threads or available(), record.chunks),
        threads is None,
    )


def _check_aliases(graph: Graph, aliases: Mapping[int, int]) -> None:
    for output, source in aliases.items():
        if not (0 <= output < len(graph.outputs) and 0 <= source < len(graph.inputs)):
            raise ValueError(f"{graph.name}: output {output} cannot take over input {source}.")
        made, given = graph.outputs[output], graph.inputs[source]
        if (made.shape, made.dtype) != (given.shape, given.dtype):
            raise ValueError(
                f"{graph.name}: output {output} ({made.aval}) cannot take over the memory of "
                f"input {source} ({given.aval})."
            )
    if len(set(aliases.values())) != len(aliases):
        raise ValueError(f"{graph.name}: two outputs cannot take over the memory of one input.")


class Native(NamedTuple):
    """Machine code, and what it needs to run.

    Attributes
    ----------
    code : Code
        It has the entries `run` and `assist`.
    failures : tuple of (type, str)
        What a call can fail with; `run` returns the place, counted from 1.
    constants : tuple of ndarray
        What stands in the table after inputs and outputs.
    arena_bytes : int
        The size of the arena.
    scratch_bytes : int
        What each thread needs for itself besides.
    threads : int
        How many threads a call may use.
    tuned : bool
        Whether it uses them only while that is quicker.
    """

    code: Code
    failures: tuple[tuple[type[Exception], str], ...]
    constants: tuple[Array, ...]
    arena_bytes: int
    scratch_bytes: int
    threads: int
    tuned: bool


class Executable:
    """A native function and its memory.

    Attributes
    ----------
    arena_bytes : int
        The size of the memory that holds all intermediate values.
    threads : int
        How many threads a call may use: no more than can have work at one time, 1 if no operation
        is large enough to be shared.
    scratch_bytes : int
        What each of them needs for itself besides.
    run_address, control_address : int
        Where the machine code and the control block are.
    turns : Turns
        Whose turn it is: calls would share the arena.
    nanoseconds : int
        How long the quickest call took so far.
    """

    def __init__(self, graph: Graph, aliases: Mapping[int, int], native: Native) -> None:
        self.name = graph.name
        self.arena_bytes = native.arena_bytes
        self.threads = native.threads
        self._inputs = tuple(v.aval for v in graph.inputs)
        self._outputs = tuple(v.aval for v in graph.outputs)
        self._aliases = dict(aliases)
        self._native = native
        self.run_address = native.code.address("run")
        self.turns = Turns()
        self.nanoseconds = sys.maxsize
        self._run: Any = _RUN(self.run_address)
        self._assist: Any = _ASSIST(native.code.address("assist"))
        self._arena = _aligned(native.arena_bytes)
        self.scratch_bytes = native.scratch_bytes
        self._scratch = _aligned(self.threads * native.scratch_bytes)
        self._pointers = len(self._inputs) + len(self._outputs)
        self._pack = struct.Struct(f"{self._pointers}P").pack
        words = layout.TABLE // 8 + self._pointers + len(native.constants)
        self._control = _aligned(8 * words).view(np.int64)
        self.control_address = int(self._control.ctypes.data)
        self._helpers = self._control[layout.HELPERS // 8 :]
        self._wanted = self._control[layout.WANTED // 8 :]
        self._known: list[tuple[weakref.ref[Array] | None, int]] = [(None, 0)] * self._pointers
        self.reset()
        pool.register(self)

    def reset(self) -> None:
        """Forget a call under way: for a child process, in which nobody is left to finish it."""
        control = self._control
        control[:] = 0
        control[layout.ORIGIN // 8] = -1
        control[layout.MOST // 8] = self.threads - 1
        tuned = self._native.tuned and self.threads > 1
        control[layout.WANTED // 8] = 0 if tuned else self.threads - 1
        control[layout.LEFT // 8] = -TRIALS if tuned else NEVER
        control[layout.PAUSE // 8] = SOON
        control[layout.ARENA // 8] = self._arena.ctypes.data
        control[layout.SCRATCH // 8] = self._scratch.ctypes.data
        control[layout.SHARE // 8] = self.scratch_bytes
        first = layout.TABLE // 8 + self._pointers
        control[first:] = [constant.ctypes.data for constant in self._native.constants]

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Run the function, when it is the turn of this call.

        Parameters
        ----------
        inputs : sequence of ndarray
            C-contiguous, of the graph's shapes and dtypes.
        outputs : sequence of ndarray
            C-contiguous; where an output takes over an input's memory, that very input.

        Raises
        ------
        TypeError, ValueError
            If an array is not what the graph says.
        IndexError
            If an index was out of range. The inputs, and outputs that last, are as they were.
        """
        thread = threading.get_ident()
        mark = self.turns.mark(thread)
        try:
            self.turns.callers.append(mark)
            self.turns.wait(thread)
            self.start(inputs, outputs)
        finally:
            self.turns.callers.remove(mark)

    def start(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Run the function at once: the caller knows that nobody else does."""
        pointers = self._pack(*self._addresses((*inputs, *outputs)))
        if self.threads > 1 and self._helpers[0] < self._wanted[0]:
            self.summon()
        started = time.perf_counter_ns()
        status = self._run(self.control_address, pointers)
        self.nanoseconds = min(self.nanoseconds, time.perf_counter_ns() - started)
        if status:
            self.fail(status)

    def summon(self) -> None:
        """Ask for as many helpers as calls want now."""
        pool.summon(self, int(self._wanted[0]))

    def limit(self, helpers: int) -> None:
        """Do with so many helpers at most from now on."""
        for word in (layout.MOST, layout.CHOSEN, layout.WANTED):
            self._control[word // 8] = min(int(self._control[word // 8]), helpers)

    def assist(self, thread: int) -> None:
        """Help with the calls of this function until none has come for a while."""
        self._assist(self.control_address, thread)

    def fail(self, status: int) -> None:
        """Raise the error of a call that returned `status`."""
        error, message = self._native.failures[status - 1]
        raise error(message)

    def _addresses(self, arrays: Sequence[Array]) -> list[int]:
        """Return the addresses of `arrays`, checking those that were not here the last time."""
        known = self._known
        if len(arrays) != len(known):
            raise TypeError(
                f"{self.name}: needs {len(self._inputs)} inputs and {len(self._outputs)} outputs, "
                f"got {len(arrays)} arrays."
            )
        addresses = []
        changed = False
        for place, (array, (reference, address)) in enumerate(zip(arrays, known, strict=True)):
            if reference is not None and reference() is array:
                addresses.append(address)
                continue
            self._check(place, array)
            addresses.append(int(array.ctypes.data))
            known[place] = weakref.ref(array), addresses[-1]
            changed = True
        if changed:
            self._check_outputs(addresses)
        return addresses

    def _check(self, place: int, array: Array) -> None:
        count = len(self._inputs)
        what, number = ("input", place) if place < count else ("output", place - count)
        wanted: Aval = (self._inputs if place < count else self._outputs)[number]
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"{self.name}: {what} {number} must be an ndarray, got {type(array).__name__}."
            )
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"{self.name}: {what} {number} must be {Aval(wanted.shape, wanted.dtype)}, "
                f"got {Aval(array.shape, array.dtype)}."
            )
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(
                f"{self.name}: {what} {number} must be C-contiguous and aligned; pass a copy of it."
            )
        if what == "output" and not array.flags.writeable:
            raise ValueError(f"{self.name}: output {number} is read-only.")

    def _check_outputs(self, addresses: list[int]) -> None:
        count = len(self._inputs)
        for output, source in self._aliases.items():
            if addresses[count + output] != addresses[source]:
                raise ValueError(
                    f"{self.name}: output {output} takes over the memory of input {source}; pass "
                    "that very array."
                )


def _aligned(nbytes: int) -> Array:
    """Return bytes that begin at a multiple of `ALIGNMENT`."""
    whole: Array = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + nbytes]

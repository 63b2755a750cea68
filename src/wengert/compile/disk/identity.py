"""What machine code depends on, written out and digested: the key by which it is kept on disk.

Two graphs with one key have the same code. The key is made of everything that the compiler may
read: the graph with its constants, the outputs made in place, the compiler's own source files, and
the machine. What it cannot write out has no key, and is compiled each time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from wengert.compile.disk.lines import Lines
from wengert.compile.settings import IMPORTED
from wengert.graph.graph import Graph
from wengert.graph.primitive import Primitive
from wengert.graph.variable import Aval, Operation, Variable

PARTS = ("graph", "ops", "ad", "passes", "compile")
"""The parts of the package that decide what code a graph becomes."""

_RULES = frozenset({"pull", "pullback", "pushforward"})
"""Parameters of calls that say how to differentiate, which has been done."""

_PLAIN = (bool, int, float, str, bytes, type(None), type(Ellipsis))


class _NoKeyError(Exception):
    """Something has no written form."""


def code_key(
    graph: Graph,
    aliases: Mapping[int, int],
    lines: Lines,
    machine: str,
    lasting: Iterable[int] = (),
) -> str | None:
    """Return the key of the code of `graph`, or None if it has none.

    Parameters
    ----------
    graph : Graph
        What is compiled.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    lines : Lines
        The lines of the graph: which operations share one decides which share a message.
    machine : str
        The processor, and the version of LLVM.
    lasting : iterable of int
        The outputs in memory that is seen also if a call fails.
    """
    compiler = compiler_digest()
    if compiler is None:
        return None
    try:
        text = _Writer(lines).graph(graph)
    except _NoKeyError:
        return None
    versions = f"numpy {np.__version__}"
    outputs = repr((sorted(aliases.items()), sorted(lasting)))
    parts = (compiler, machine, versions, outputs, text)
    return _digest("\n".join(parts).encode())


def text_key(text: str, machine: str) -> str:
    """Return the key of code that depends on nothing but what `text` says, and on the machine."""
    return _digest("\n".join((machine, text)).encode())


def _digest(data: Any) -> str:
    return blake2b(data, digest_size=20).hexdigest()


class _Writer:
    """Writes graphs out as text, one operation a line."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._avals: dict[Aval, str] = {}

    def graph(self, graph: Graph) -> str:
        """Return all that the compiler may read of `graph`: no names, no addresses."""
        numbers = {v: n for n, v in enumerate((*graph.inputs, *graph.free))}
        following = len(graph.inputs) + len(graph.free)
        places = {op: place for place, op in enumerate(graph.operations)}
        parts = [f"{len(graph.inputs)} inputs"]
        parts += [self._aval(v) for v in graph.inputs]
        parts += [_numpy(v.value) for v in graph.free]
        for op in graph.operations:
            results = graph.results(op)
            for v in results:
                numbers[v] = following
                following += 1
            inputs = [numbers[x] for x in op.inputs]
            origin = places.get(op.origin, -1) if op.origin is not None else -1
            made = ", ".join(map(self._aval, results))
            parts.append(
                f"{_name(op.primitive)}{inputs}{self._params(op)} {made} "
                f"{self._lines.number(op)} {origin}"
            )
        parts.append(f"return {[numbers[v] for v in graph.outputs]}")
        return "\n".join(parts)

    def _aval(self, v: Variable) -> str:
        aval = v.aval
        text = self._avals.get(aval)
        if text is None:
            text = self._avals[aval] = f"{aval.dtype.str}{aval.shape}{'~' if aval.weak else ''}"
        return text

    def _params(self, op: Operation) -> str:
        if not op.params:
            return ""
        items = sorted(op.params.items())
        return ", ".join(f"{key}={self._value(x)}" for key, x in items if key not in _RULES)

    def _value(self, value: Any) -> str:
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if kind in (tuple, list):
            return f"{kind.__name__}({','.join(map(self._value, value))})"
        if kind is slice:
            return f"slice{self._value((value.start, value.stop, value.step))}"
        if kind is Graph:
            return f"{{{self.graph(value)}}}"
        if kind is Primitive:
            return f"primitive {_name(value)}"
        return _numpy(value)


def _numpy(value: Any) -> str:
    if isinstance(value, np.dtype):
        return f"dtype {value.str}"
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        data = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        return f"{type(value).__name__} {value.dtype.str}{value.shape} {_digest(data)}"
    raise _NoKeyError


_own: set[Primitive] = set()
"""The primitives of the parts of the package that `compiler_digest` covers."""


def _name(primitive: Primitive) -> str:
    """Return the name of a primitive, which says all of it if it is the package's own."""
    if primitive not in _own:
        _own.update(_primitives())
        if primitive not in _own:
            raise _NoKeyError
    return primitive.name


def _primitives() -> Iterator[Primitive]:
    inside = tuple(f"wengert.{part}." for part in PARTS)
    for name, module in list(sys.modules.items()):
        if name.startswith(inside):
            yield from (x for x in list(vars(module).values()) if type(x) is Primitive)


@lru_cache(maxsize=1)
def compiler_digest() -> str | None:
    """Return a digest of the version, and of paths, sizes and times of the files that make code.

    These decide which compiled modules Python takes for theirs; reading them all takes several
    milliseconds. None if they are not there, or were changed after the package was imported: then
    they are not what runs.
    """
    return _digest_now()


def compiler_unchanged() -> bool:
    """Tell whether the source files are those of the digest still; some are imported late."""
    return _digest_now() == compiler_digest()


def _digest_now() -> str | None:
    root = str(Path(__file__).parents[2])
    try:
        with os.scandir(root) as entries:
            parts = sorted(entry.path for entry in entries if entry.name in PARTS)
        files = [found for part in parts for found in sorted(_sources(part))]
    except OSError:
        return None
    if not files or any(status.st_mtime > IMPORTED for _, status in files):
        return None
    version = sys.modules["wengert"].__version__
    lines = (f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in files)
    return _digest("\n".join((version, *lines)).encode())


def _sources(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the source files in a folder, with what Python goes by to tell if they changed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _sources(entry.path)
            elif entry.name.endswith(".py"):
                yield entry.path, entry.stat()

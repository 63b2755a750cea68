"""Generated code with all that is needed to run it, and its form on disk.

An entry is: eight bytes that say what it is; a digest of all that follows; the length of the head;
the head, in JSON; object code and constants, one after the other. Nothing in it is
executed or imported but the object code, and that only if the digest and the key fit.
"""

from __future__ import annotations

import builtins
import json
import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from wengert.graph import errors
from wengert.graph.dtypes import Array

MAGIC = b"WENGERT2"
_DIGEST = 20
_LENGTH = struct.Struct("<Q")
_HEAD = len(MAGIC) + _DIGEST + _LENGTH.size


class Record(NamedTuple):
    """What is made of a graph, and can be kept.

    Attributes
    ----------
    objects : tuple of bytes
        Object code in parts that may call those before them; it has the entries `run` and `assist`.
    failures : tuple of (type, str)
        What a call can fail with, with numbers of lines (see `Lines`).
    constants : tuple of int or ndarray
        What stands in the table after inputs and outputs: the number of a free variable of the
        graph, or an array that the compiler made.
    arena_bytes : int
        The size of the arena.
    scratch_bytes : int
        What each thread needs for itself besides.
    chunks : int
        How many threads can have work at one time.
    """

    objects: tuple[bytes, ...]
    failures: tuple[tuple[type[Exception], str], ...]
    constants: tuple[int | Array, ...]
    arena_bytes: int
    scratch_bytes: int
    chunks: int


def pack(record: Record, key: str) -> bytes | None:
    """Return the entry for `record`, or None if it cannot be written down."""
    if any(_error(error.__name__) is not error for error, _ in record.failures):
        return None
    parts = [*record.objects]
    constants: list[Any] = []
    for constant in record.constants:
        if isinstance(constant, int):
            constants.append(constant)
        else:
            constants.append([constant.dtype.str, constant.shape])
            parts.append(constant.tobytes())
    head = {
        "key": key,
        "objects": len(record.objects),
        "failures": [[error.__name__, message] for error, message in record.failures],
        "constants": constants,
        "arena_bytes": record.arena_bytes,
        "scratch_bytes": record.scratch_bytes,
        "chunks": record.chunks,
        "parts": [len(part) for part in parts],
    }
    text = json.dumps(head).encode()
    body = b"".join((_LENGTH.pack(len(text)), text, *parts))
    return MAGIC + _digest(body) + body


def unpack(entry: bytes, key: str) -> Record | None:
    """Return the record of an entry; None if it is damaged, foreign, or of another key."""
    view = memoryview(entry)
    start = len(MAGIC) + _DIGEST
    if len(entry) < _HEAD or view[: len(MAGIC)] != MAGIC:
        return None
    if view[len(MAGIC) : start] != _digest(view[start:]):
        return None
    (length,) = _LENGTH.unpack_from(entry, start)
    head = json.loads(entry[_HEAD : _HEAD + length])
    if head["key"] != key:
        return None
    parts = []
    place = _HEAD + length
    for size in head["parts"]:
        parts.append(entry[place : place + size])
        place += size
    return _record(head, parts)


def _record(head: dict[str, Any], parts: Sequence[bytes]) -> Record:
    count = head["objects"]
    made = iter(parts[count:])
    constants = tuple(
        constant
        if isinstance(constant, int)
        else np.frombuffer(bytearray(next(made)), constant[0]).reshape(constant[1])
        for constant in head["constants"]
    )
    failures = tuple((_error(name), message) for name, message in head["failures"])
    sizes = head["arena_bytes"], head["scratch_bytes"]
    return Record(tuple(parts[:count]), failures, constants, *sizes, head["chunks"])


def _error(name: str) -> Any:
    """Return the exception of this name that the compiler's messages are raised as."""
    return getattr(errors, name, None) or getattr(builtins, name, None)


def _digest(data: bytes | memoryview) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest()

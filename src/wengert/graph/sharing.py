"""Values whose memory somebody else can write: exported arrays, and arrays taken without a copy.

A variable's value never changes, but NumPy can write through memory that it shares. An operation
that is recorded on such a value keeps a fingerprint of it, and the backward pass refuses to use a
value whose fingerprint has changed.
"""

from __future__ import annotations

import zlib
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from wengert.graph.dtypes import Array
from wengert.graph.errors import MutationError
from wengert.graph.source import describe
from wengert.graph.variable import Operation

fingerprints: WeakKeyDictionary[Operation, tuple[int | None, ...]] = WeakKeyDictionary()
"""For each operation recorded on shared values: the fingerprint of each input."""

_shared: WeakValueDictionary[int, Array] = WeakValueDictionary()
noted = False
"""Whether any array was ever shared; until then nothing has to be looked up."""


def share(value: Array) -> None:
    """Note that somebody else can write into the memory of `value`."""
    global noted  # noqa: PLW0603  (one flag for the process, so that the usual path is one test)
    noted = True
    _shared[id(value)] = value


def is_shared(value: Array) -> bool:
    """Tell whether somebody else can write into the memory of `value`."""
    return noted and _shared.get(id(value)) is value


def fingerprint(value: Array) -> int:
    """Return a number that changes when the bytes of `value` change."""
    return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def note_shared_inputs(op: Operation, result: Array) -> Array:
    """Remember the values that `op` may need later; return its result in memory of its own."""
    marks = tuple(
        fingerprint(x.value) if x.value is not None and is_shared(x.value) else None
        for x in op.inputs
    )
    if all(mark is None for mark in marks):
        return result
    fingerprints[op] = marks
    return result.copy() if result.base is not None else result


def check_unchanged(op: Operation) -> None:
    """Raise MutationError if an input of `op` was written to since `op` was recorded."""
    marks = fingerprints.get(op)
    if marks is None:
        return
    for position, (x, mark) in enumerate(zip(op.inputs, marks, strict=True)):
        if mark is not None and x.value is not None and fingerprint(x.value) != mark:
            line = describe(op.source)
            raise MutationError(
                f"backward: operand {position} of {op.primitive.name}"
                f"{' at ' + line if line else ''} ({x.aval}) was changed in place after it was "
                "used, through memory shared with NumPy. Copy it first (wg.tensor copies; "
                "wg.asarray and .numpy() share), or change it after backward()."
            )

"""Values whose memory somebody else can write: exported arrays, and arrays taken without a copy.

A variable's value never changes, but NumPy can write through memory that it shares. An operation
that is recorded on such a value, and whose derivative needs it, keeps a fingerprint of it; a value
exported only after it was recorded is compared with what it was at the export. The backward pass
refuses to use a value that has changed.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np

from wengert.graph.dtypes import Array
from wengert.graph.errors import MutationError
from wengert.graph.source import describe
from wengert.graph.variable import Operation, Variable


class _Shared(NamedTuple):
    """An array that somebody else can write to, and its fingerprint when it was first shared."""

    reference: weakref.ref[Array]
    fingerprint: int


_shared: dict[int, _Shared] = {}
_marks: weakref.WeakKeyDictionary[Operation, tuple[int | None, ...]] = weakref.WeakKeyDictionary()
noted = False
"""Whether any array was ever shared; until then nothing has to be looked up."""


def share(value: Array) -> None:
    """Note that somebody else can write into the memory of `value`."""
    global noted  # noqa: PLW0603  (one flag for the process, so that the usual path is one test)
    noted = True
    owner = _owner(value)
    key = id(owner)
    if _record(owner) is None:
        reference = weakref.ref(owner, lambda _: _shared.pop(key, None))
        _shared[key] = _Shared(reference, fingerprint(owner))


def is_shared(value: Array) -> bool:
    """Tell whether somebody else can write into the memory of `value`, itself or a view."""
    return noted and _record(_owner(value)) is not None


def _owner(value: Array) -> Array:
    base = value.base
    while isinstance(base, np.ndarray):
        value, base = base, base.base
    return value


def _record(owner: Array) -> _Shared | None:
    record = _shared.get(id(owner))
    return record if record is not None and record.reference() is owner else None


def fingerprint(value: Array) -> int:
    """Return a number that changes when the bytes of `value` change."""
    import zlib

    return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def mark_inputs(op: Operation) -> None:
    """Remember the shared values that the derivative of `op` may need."""
    if not getattr(op.primitive.derivative, "needs_values", True):
        return
    marks: list[int | None] = []
    found = False
    for x in op.inputs:
        value = x.value
        if value is not None and _record(_owner(value)) is not None:
            marks.append(fingerprint(value))
            found = True
        else:
            marks.append(None)
    if found:
        _marks[op] = tuple(marks)


def check_unchanged(op: Operation, y: Any) -> None:
    """Raise MutationError if an operand or the output of `op` was changed after it was recorded."""
    if not getattr(op.primitive.derivative, "needs_values", True):
        return
    marks = _marks.get(op, (None,) * len(op.inputs))
    for position, (x, mark) in enumerate(zip(op.inputs, marks, strict=True)):
        _check(op, f"operand {position}", x, mark)
    for made in y if isinstance(y, tuple) else (y,):
        _check(op, "the result", made, None)


def _check(op: Operation, what: str, x: Variable, mark: int | None) -> None:
    value = x.value
    if value is None:
        return
    owner = _owner(value)
    record = _record(owner)
    if record is None:
        return
    changed = (
        fingerprint(value) != mark if mark is not None else fingerprint(owner) != record.fingerprint
    )
    if changed:
        line = describe(op.source)
        raise MutationError(
            f"backward: {what} of {op.primitive.name}{' at ' + line if line else ''} ({x.aval}) "
            "was changed in place after it was used, through memory shared with NumPy. Copy it "
            "first (wg.tensor copies; wg.asarray and .numpy() share), or change it after "
            "backward()."
        )

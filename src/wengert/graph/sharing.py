"""Values whose memory somebody else can write: exported arrays, and arrays taken without a copy.

A variable's value never changes, but NumPy can write through memory that it shares. Memory is lent
by an array that stands on a `Loan`: NumPy follows the bases of views only through arrays, so each
view of the borrower refers to the loan, and the loan ends when nobody can write any more.

An operation that is recorded on a lent value, and whose derivative needs it, keeps a fingerprint of
it; the backward pass refuses to use a value that has changed. Operations that were recorded before
have nothing to fear, since a value that anybody else refers to is copied before it is lent.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.graph import memory
from wengert.graph.dtypes import Array
from wengert.graph.errors import MutationError
from wengert.graph.source import describe
from wengert.graph.variable import Operation, Variable


class Loan:
    """What an array in borrowed memory stands on: it lives as long as the array and its views.

    Attributes
    ----------
    array : ndarray
        The array whose memory is lent.
    """

    __slots__ = ("__array_interface__", "__weakref__", "array")

    def __init__(self, array: Array) -> None:
        self.array = array
        self.__array_interface__ = array.__array_interface__


def _nothing() -> None:
    return None


class _Shared:
    """Memory of a variable that somebody else can write.

    Attributes
    ----------
    loan : weakref to Loan
        From us to the user; or from the user to us, if `borrowed`.
    owner : weakref to ndarray
        Our array.
    given : weakref to ndarray
        What the user was given, if it is not `borrowed`.
    cells : dict
        The cells whose changes in place the user sees, by their identity.
    variables : set
        The variables that are known to use the memory.
    """

    __slots__ = ("borrowed", "cells", "given", "loan", "owner", "variables")

    def __init__(self, loan: Loan, owner: Array, borrowed: bool) -> None:
        key = id(owner)
        self.loan = weakref.ref(loan, lambda ended: _end(key, ended))
        self.owner = weakref.ref(owner)
        self.given: Callable[[], Array | None] = _nothing
        self.borrowed = borrowed
        self.cells: dict[int, weakref.ref[Any]] = {}
        self.variables: weakref.WeakSet[Variable] = weakref.WeakSet()

    def over(self) -> bool:
        """Tell whether nobody else can write any more."""
        loan = self.loan()
        return loan is None or (self.borrowed and not _is_held(loan))


noted: dict[int, _Shared] = {}
"""The memory that is shared now, by the identity of our array; mostly empty, which is one test."""
horizon = 0
"""The last operation with a fingerprint: those with a larger serial number need no check."""
_marks: weakref.WeakKeyDictionary[Operation, tuple[int | None, ...]] = weakref.WeakKeyDictionary()
lock = threading.RLock()
"""Held while something is lent; reentrant, since a loan may end at any moment, in any thread."""


def lend(value: Array, *cells: Any) -> Array:
    """Return an array for the user in the memory of `value`: the same one while it lives.

    Parameters
    ----------
    value : ndarray
        A value that only these cells use, or that is lent already.
    cells : Tensor
        The cells whose changes in place the user is to see.
    """
    with lock:
        record = _record(value)
        loan = None if record is None else record.loan()
        if record is None or loan is None:
            loan = Loan(value)
            record = noted[id(value)] = _Shared(loan, value, borrowed=False)
        for cell in cells:
            _admit(record, cell)
        given = loan.array if record.borrowed else record.given()
        if given is None:
            given = np.asarray(loan)
            record.given = weakref.ref(given)
    if given.shape == value.shape and given.dtype == value.dtype:
        return given
    return given.reshape(-1).view(value.dtype).reshape(value.shape)  # the user relabelled it


def borrow(array: Array) -> Array:
    """Return an array for a variable in the memory of the user's `array`.

    It is shared for as long as anybody else refers to `array`, or to the array that it is a view
    of.
    """
    loan = Loan(array)
    value = np.asarray(loan)
    with lock:
        noted[id(value)] = _Shared(loan, value, borrowed=True)
    return value


def admit(cell: Any) -> None:
    """Let the user who lent us the value of `cell` see its changes in place."""
    with lock:
        record = _record(cell._variable.value)
        if record is not None:
            _admit(record, cell)


def _admit(record: _Shared, cell: Any) -> None:
    record.cells[id(cell)] = weakref.ref(cell)
    record.variables.add(cell._variable)


def is_shared(value: Array) -> bool:
    """Tell whether somebody else can write into the memory of `value`, itself or a view."""
    return bool(noted) and _record(value) is not None


def lent_by(cell: Any, value: Array) -> bool:
    """Tell whether the memory of `cell`, whose value is `value`, is that of somebody's array."""
    record = _record(value) if noted else None
    known = None if record is None else record.cells.get(id(cell))
    return known is not None and known() is cell


def shows(cell: Any, value: Array | None) -> bool:
    """Tell whether somebody else is to see changes in place of `cell`, whose value is `value`."""
    return bool(noted) and value is not None and value.flags.writeable and lent_by(cell, value)


def watch(variable: Variable) -> None:
    """Remember a variable that may use shared memory, so that a change in place spares it."""
    value = variable.value
    record = None if value is None else _record(value)
    if record is not None:
        with lock:
            record.variables.add(variable)


def spare(value: Array, but: Variable) -> None:
    """Give a copy to each variable `but` one that uses the memory of `value`, to be overwritten."""
    record = _record(value)
    if record is None:
        return
    with lock:
        variables = tuple(record.variables)
    owner = record.owner()
    for variable in variables:
        used = variable.value
        if variable is not but and used is not None and _owner(used) is owner:
            variable.value = memory.copied(used)


def _owner(value: Array) -> Array:
    while isinstance(value.base, np.ndarray) and not memory.owns(value):
        value = value.base
    return value


def _record(value: Array) -> _Shared | None:
    owner = _owner(value)
    record = noted.get(id(owner))
    if record is None or record.owner() is not owner:
        return None
    if record.over():
        _end(id(owner), record.loan)
        return None
    return record


def _end(key: int, loan: weakref.ref[Loan]) -> None:
    with lock:
        record = noted.get(key)
        if record is not None and record.loan is loan:
            del noted[key]


def _is_held(loan: Loan) -> bool:
    """Tell whether anybody but `loan` can reach the memory of the user's array."""
    return any(count > _ALONE for count in _reference_counts(loan))


def _reference_counts(loan: Loan) -> Iterator[float]:
    """Yield how many references there are to the array of `loan`, and to what it is a view of."""
    array = loan.array
    while True:
        yield sys.getrefcount(array) + weakref.getweakrefcount(array)
        if not isinstance(array.base, np.ndarray):
            break
        array = array.base
    if not array.flags.owndata:
        yield float("inf")  # memory of something else than NumPy


def _lone_count() -> float:
    loan = Loan(np.zeros(1))
    return next(_reference_counts(loan))


_ALONE = _lone_count()


# Fingerprints of what was recorded while it was shared


def fingerprint(value: Array) -> int:
    """Return a number that changes when the bytes of `value` change."""
    import zlib

    return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def mark_inputs(op: Operation) -> None:
    """Remember the shared values that the derivative of `op` may need."""
    global horizon  # noqa: PLW0603  (one number for the process: the usual check is a comparison)
    if not getattr(op.primitive.derivative, "needs_values", True):
        return
    marks = tuple(
        fingerprint(x.value) if x.value is not None and is_shared(x.value) else None
        for x in op.inputs
    )
    if marks.count(None) == len(marks):
        return
    for x, mark in zip(op.inputs, marks, strict=True):
        if mark is not None:
            watch(x)
    with lock:
        _marks[op] = marks
        horizon = max(horizon, op.serial)


def check_unchanged(op: Operation) -> None:
    """Raise MutationError if a shared operand of `op` was changed after it was recorded."""
    for position, (x, mark) in enumerate(zip(op.inputs, _marks.get(op, ()), strict=False)):
        if mark is None or x.value is None or fingerprint(x.value) == mark:
            continue
        line = describe(op.source)
        raise MutationError(
            f"backward: operand {position} of {op.primitive.name}{' at ' + line if line else ''} "
            f"({x.aval}) was changed in place after it was used, through memory shared with NumPy. "
            "Copy it first (wg.tensor copies; wg.asarray and .numpy() share), or change it after "
            "backward()."
        )

"""The form of machine code on disk: all of it comes back, and damage is noticed."""

from __future__ import annotations

import numpy as np

from tests.compile.programs import same_bits
from wengert.compile.disk import record
from wengert.graph.errors import DTypeError

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)


def test_arrays_made_by_the_compiler_and_those_of_the_graph_come_back():
    made = record.Record(
        (b"code", b"more"),
        ((IndexError, "bad\0" + "3\0."), (DTypeError, "é")),
        (2, X, np.ones(0)),
        640,
        64,
        6,
    )
    found = record.unpack(record.pack(made, "key"), "key")
    assert (found.objects, found.failures) == (made.objects, made.failures)
    assert (found.arena_bytes, found.scratch_bytes, found.chunks) == (640, 64, 6)
    assert found.constants[0] == 2
    same_bits(found.constants[1:], made.constants[1:])


def damaged(entry, place):
    return entry[:place] + bytes([entry[place] ^ 0x40]) + entry[place + 1 :]


def test_damage_anywhere_is_noticed():
    entry = record.pack(record.Record((b"code" * 9,), ((IndexError, "no"),), (X,), 64, 0, 1), "key")
    assert record.unpack(entry, "key") is not None
    for place in range(len(entry)):
        assert record.unpack(damaged(entry, place), "key") is None, place
        assert record.unpack(entry[:place], "key") is None, place
    assert record.unpack(entry + b"\0", "key") is None
    assert record.unpack(entry, "other") is None


def test_errors_that_are_not_found_by_their_name_are_not_written_down():
    odd = [type(name, (Exception,), {}) for name in ("Odd", "IndexError", "DTypeError")]
    for error in (IndexError, DTypeError, *odd):
        made = record.Record((b"code",), ((error, "no"),), (), 0, 0, 1)
        assert (record.pack(made, "key") is None) is (error in odd)

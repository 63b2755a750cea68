"""The machine code that looks at the places outside, and reads settings, before a call.

It is apart from `wengert.compile.call.check`, since some places can only be read by Python code.
"""

from __future__ import annotations

from wengert.compile.call import objects, program
from wengert.compile.call.check import keep_number
from wengert.compile.call.expecting import Expecting
from wengert.compile.call.program import PLACE
from wengert.compile.emit.ir import Module

_NOT_EQUAL = 3


def places(module: Module) -> Expecting:
    """Tell whether the places outside hold what they held; read the settings."""
    code = Expecting(module, "places", "program pointers numbers objects")

    def place(record: str, _: str) -> None:
        kinds = {
            program.ITEM: lambda: code.same(_item(code, record), _expected(code, record)),
            program.ELEMENT: lambda: code.same(_element(code, record), _expected(code, record)),
            program.TRUTH: lambda: _truth(code, record),
            program.READING: lambda: _reading(code, record),
            program.CALLED: lambda: _called(code, record),
            program.EQUAL: lambda: _equal(code, record),
            program.NUMBER_CALLED: lambda: _number_called(code, record),
        }
        code.switch(code.field(record, "kind", "i64", PLACE), kinds)

    code.each("places", PLACE, place)
    return code


def _expected(code: Expecting, record: str) -> str:
    return code.field(record, "value", "ptr", PLACE)


def _item(code: Expecting, record: str) -> str:
    holder, key = (code.field(record, name, "ptr", PLACE) for name in ("holder", "key"))
    return code.some(code.call("PyDict_GetItemWithError", holder, key))


def _element(code: Expecting, record: str) -> str:
    holder = code.field(record, "holder", "ptr", PLACE)
    return code.call("PyList_GetItem", holder, code.field(record, "key", "i64", PLACE))


def _truth(code: Expecting, record: str) -> None:
    found = _item(code, record)

    def look() -> None:
        _expect_number(code, found)
        truth = code.call("PyObject_IsTrue", found)
        code.same(truth, code.field(record, "value", "i32", PLACE), "i32")

    is_seen = code.equal(found, code.field(record, "seen", "ptr", PLACE))
    code.when(code.value(f"xor i1 {is_seen}, true"), look)


def _reading(code: Expecting, record: str) -> None:
    found = _item(code, record)
    _expect_number(code, found)
    _read_number(code, record, code.call("PyFloat_AsDouble", found))


def _returned(code: Expecting, record: str) -> str:
    return code.some(code.call("PyObject_CallNoArgs", code.field(record, "holder", "ptr", PLACE)))


def _called(code: Expecting, record: str) -> None:
    found = _returned(code, record)
    code.call("Py_DecRef", found)
    code.same(found, _expected(code, record))


def _equal(code: Expecting, record: str) -> None:
    found = _returned(code, record)
    expected = _expected(code, record)
    differs = code.call("PyObject_RichCompareBool", found, expected, str(_NOT_EQUAL))
    code.call("Py_DecRef", found)
    code.same(differs, 0, "i32")


def _number_called(code: Expecting, record: str) -> None:
    found = _returned(code, record)
    number = code.call("PyFloat_AsDouble", found)
    code.call("Py_DecRef", found)
    _read_number(code, record, number)


def _expect_number(code: Expecting, found: str) -> None:
    """Return unless an object is a Python number itself, which asks no other Python code."""
    kind = code.load(found, objects.TYPE)
    tests = [code.equal(kind, code.known(name)) for name in ("float", "int", "bool")]
    either = code.value(f"or i1 {tests[0]}, {tests[1]}")
    code.expect(code.value(f"or i1 {either}, {tests[2]}"))


def _read_number(code: Expecting, record: str, number: str) -> None:
    """Keep a number that was read in a place, unless reading it failed."""
    failed = code.value(f"fcmp oeq double {number}, -1.0")

    def look() -> None:
        code.same(code.call("PyErr_Occurred"), "null")

    code.when(failed, look)
    slot, place = (code.field(record, name, "i64", PLACE) for name in ("value", "place"))
    keep_number(code, number, slot, place)

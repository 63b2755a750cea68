"""The machine code that checks, without running Python, that all is as a program says.

Each function here returns whether it is, and collects what a call needs on the way: addresses of
arrays, and numbers. See `wengert.compile.call.code`, which calls them.
"""

from __future__ import annotations

from collections.abc import Callable

from wengert.compile.call import objects, program
from wengert.compile.call.expecting import Expecting
from wengert.compile.call.objects import Slots
from wengert.compile.call.program import ARGUMENT, PART, RECORD, WORDS
from wengert.compile.emit.ir import Module

CHECKED = "program args pointers numbers arrays seen objects"
"""What `check` is given: besides program and arguments, where to collect."""
_LISTS = {
    "parts": "program args objects",
    "arguments": "program args pointers numbers objects",
    "captured": "program pointers arrays seen objects",
    "tensors": "program args pointers arrays seen objects",
    "grads": "program args pointers arrays objects",
}
"""What the functions are given that look at one list of the program each."""

_COUNT = 0  # of references, which stands first in an object


def fits(module: Module) -> Expecting:
    """Tell whether an array is as a record says."""
    code = Expecting(module, "fits", "array record objects")
    code.same(code.load("%array", objects.TYPE), code.known("array"))
    code.same(code.load("%array", objects.DTYPE), code.field("%record", "dtype", "ptr"))
    flags = code.field("%record", "flags", "i32")
    found = _flags(code)
    code.same(code.value(f"and i32 {found}, {flags}"), flags, "i32")
    code.same(code.load("%array", objects.RANK, "i32"), code.field("%record", "rank", "i32"), "i32")
    lengths = code.load("%array", objects.LENGTHS)
    wanted = code.field("%record", "lengths", "ptr")

    def axis(index: str | int, _: list[str]) -> None:
        length = code.load(code.at(lengths, index), 0, "i64")
        code.same(length, code.load(code.at(wanted, index), 0, "i64"), "i64")

    code.loop(0, code.field("%record", "rank"), 1, axis)
    return code


def _flags(code: Expecting) -> str:
    """Return the flags of an array; it owns a block that nobody else knows, too."""
    found = code.load("%array", objects.FLAGS, "i32")
    base = code.load("%array", objects.BASE)

    def with_base() -> str:
        own = code.equal(code.load(base, objects.TYPE), code.known("block"))
        return code.value(f"select i1 {own}, i32 {objects.OWNED}, i32 0")

    more = code.either(code.equal(base, "null"), lambda: "0", with_base, "i32")
    return code.value(f"or i32 {found}, {more}")


def pristine(module: Module, slots: Slots) -> Expecting:
    """Tell whether a tensor is as calls return it, but for its values, and is held once."""
    code = Expecting(module, "pristine", "tensor record objects")
    code.some("%tensor")
    none = code.known("none")
    code.same(code.load("%tensor", _COUNT, "i32"), 1, "i32")
    code.same(code.load("%tensor", objects.TYPE), code.known("tensor"))
    code.same(code.load("%tensor", slots.weak), "null")
    code.same(code.load("%tensor", slots.grad), none)
    variable = code.load("%tensor", slots.variable)
    code.same(code.load(variable, _COUNT, "i32"), 1, "i32")
    code.same(code.load(variable, objects.TYPE), code.field("%record", "kind", "ptr"))
    code.same(code.load(variable, slots.requires_grad), code.field("%record", "requires", "ptr"))
    code.same(code.load(variable, slots.op), none)
    for unset in (slots.weak_variable, slots.hooks, slots.name, slots.trace):
        code.same(code.load(variable, unset), "null")
    array = code.load(variable, slots.value)
    code.same(code.load(array, _COUNT, "i32"), 1, "i32")
    code.expect(code.ask("fits", array, "record", "objects"))
    return code


def words(module: Module) -> Expecting:
    """Tell whether the thread, and words in memory, are those that the program was made for."""
    code = Expecting(module, "words", "program")
    thread = code.call("PyThreadState_GetID", code.call("PyThreadState_Get"))
    code.same(thread, code.header("thread"), "i64")

    def word(record: str, _: str) -> None:
        address = code.field(record, "address", "ptr", WORDS)
        expected = code.field(record, "expected", "i64", WORDS)
        is_equal = code.equal(code.load(address, 0, "i64"), expected, "i64")
        wanted = code.is_set(code.field(record, "same", "i64", WORDS))
        code.same(is_equal, wanted, "i1")

    code.each("words", WORDS, word)
    return code


def parts(module: Module) -> Expecting:
    """Tell whether nested arguments have their structure; find their parts."""
    code = Expecting(module, "parts", _LISTS["parts"])
    first = code.add(code.header("nargs"), code.header("names"))

    def part(record: str, number: str) -> None:
        holder = code.load(code.at("%args", code.field(record, "holder", "i64", PART)))
        key, index = (code.field(record, "key", kind, PART) for kind in ("ptr", "i64"))

        def item(kind: str, function: str, *given: str) -> str:
            code.same(code.load(holder, objects.TYPE), code.known(kind))
            length = code.load(holder, objects.SIZE, "i64")
            code.same(length, code.field(record, "length", "i64", PART), "i64")
            return code.some(code.call(function, holder, *given))

        def put(kind: str, function: str, given: str) -> Callable[[], None]:
            home = code.at("%args", code.add(first, number))
            return lambda: code.store(item(kind, function, given), home)

        def put_held(found: str) -> None:
            code.store(code.some(found), code.at("%args", code.add(first, number)))
            is_new = code.equal(code.load(found, _COUNT, "i32"), 1, "i32")
            code.call("Py_DecRef", found)  # where it was found it still is, unless it was made
            code.expect(is_new, False)

        def attribute() -> None:
            code.same(code.load(holder, objects.TYPE), code.field(record, "length", "ptr", PART))
            put_held(code.call("PyObject_GetAttr", holder, key))

        kinds = {
            program.IN_TUPLE: put("tuple", "PyTuple_GetItem", index),
            program.IN_LIST: put("list", "PyList_GetItem", index),
            program.IN_DICT: put("dict", "PyDict_GetItemWithError", key),
            program.OF_OBJECT: attribute,
            program.OF_MODULE: lambda: code.store(key, code.at("%args", code.add(first, number))),
            program.READ: lambda: put_held(code.call("PyObject_CallNoArgs", key)),
        }
        code.switch(code.field(record, "kind", "i64", PART), kinds)

    code.each("parts", PART, part)
    return code


def arguments(module: Module) -> Expecting:
    """Tell whether the arguments that are no arrays are as they were; read the floats."""
    code = Expecting(module, "arguments", _LISTS["arguments"])

    def argument(record: str, _: str) -> None:
        index = code.field(record, "index", "i64", ARGUMENT)
        value = code.field(record, "value", "i64", ARGUMENT)
        given = code.load(code.at("%args", index))

        def static() -> None:
            code.same(code.value(f"ptrtoint ptr {given} to i64"), value, "i64")

        def number() -> None:
            code.same(code.load(given, objects.TYPE), code.known("float"))
            place = code.field(record, "place", "i64", ARGUMENT)
            keep_number(code, code.call("PyFloat_AsDouble", given), value, place)

        def same() -> None:
            code.same(given, code.load(code.at("%args", value)))

        kinds = {program.STATIC: static, program.NUMBER: number, program.SAME: same}
        code.switch(code.field(record, "kind", "i64", ARGUMENT), kinds)

    code.each("arguments", ARGUMENT, argument)
    return code


def keep_number(code: Expecting, number: str, slot: str, place: str) -> None:
    """Put a number where the machine code finds it."""
    home = code.at("%numbers", slot)
    code.store(number, home, 0, "double")
    code.store(home, code.at("%pointers", place))


def _found(code: Expecting, record: str) -> str:
    """Return the object that a record starts at: an argument or a tensor."""
    where = code.field(record, "where")
    return code.either(
        code.is_set(code.field(record, "given")),
        lambda: code.load(code.at("%args", where)),
        lambda: code.value(f"inttoptr i64 {where} to ptr"),
    )


def captured(module: Module, slots: Slots) -> Expecting:
    """Tell whether the tensors from outside are as they were; collect addresses."""
    code = Expecting(module, "captured", _LISTS["captured"])

    def tensor(record: str, number: str) -> None:
        found = code.field(record, "where", "ptr")
        code.store(found, code.at("%seen", number))
        array = _value(code, slots, record, code.load(found, slots.variable))
        _collect(code, record, number, array)

    code.each("captured", RECORD, tensor)
    return code


def tensors(module: Module, slots: Slots) -> Expecting:
    """Tell whether arguments, and gradients that are read, are as they were; collect addresses."""
    code = Expecting(module, "tensors", _LISTS["tensors"])
    before = code.header("captured")

    def tensor(record: str, place: str) -> None:
        base, number = _found(code, record), str(code.add(before, place))
        array = code.either(
            code.is_set(code.field(record, "plain")),
            lambda: _no_tensor(code, number, base),
            lambda: _array_of(code, slots, record, number, base),
        )
        _collect(code, record, number, array)

    code.each("tensors", RECORD, tensor)
    return code


def _no_tensor(code: Expecting, number: str, array: str) -> str:
    code.store("null", code.at("%seen", number))
    return array


def _collect(code: Expecting, record: str, number: str, array: str) -> None:
    """Keep an array and its address, if it is as a record says."""
    code.expect(code.ask("fits", array, record, "objects"))
    code.store(array, code.at("%arrays", number))
    data = code.load(array, objects.DATA)
    code.store(data, code.at("%pointers", code.field(record, "place")))
    out = code.field(record, "out")
    taken_over = code.value(f"icmp sge i64 {out}, 0")
    code.when(taken_over, lambda: code.store(data, code.at("%pointers", out)))


def _array_of(code: Expecting, slots: Slots, record: str, number: str, base: str) -> str:
    """Return the array of a tensor, having checked all but the array."""
    tensor = code.either(
        code.is_set(code.field(record, "through")),
        lambda: code.some(code.load(base, slots.grad)),
        lambda: base,
    )
    code.same(code.load(tensor, objects.TYPE), code.field(record, "kind", "ptr"))
    code.store(tensor, code.at("%seen", number))

    def apart(index: str | int, _: list[str]) -> None:
        code.expect(code.equal(tensor, code.load(code.at("%seen", index))), False)

    code.loop(0, number, 1, apart)
    has_none = code.equal(code.load(tensor, slots.grad), code.known("none"))
    code.expect_as_asked(code.field(record, "grad"), has_none)
    variable = code.load(tensor, slots.variable)
    no_hooks = code.equal(code.load(variable, slots.hooks), "null")
    code.expect_as_asked(code.field(record, "hooks"), no_hooks)
    return _value(code, slots, record, variable)


def _value(code: Expecting, slots: Slots, record: str, variable: str) -> str:
    """Return the array of a variable, having checked the variable."""
    is_leaf = code.equal(code.load(variable, objects.TYPE), code.known("leaf"))
    code.expect_as_asked(code.field(record, "leaf"), is_leaf)
    code.same(code.load(variable, slots.requires_grad), code.field(record, "requires", "ptr"))
    array = code.load(variable, slots.value)

    def exclusive() -> None:
        for held in (variable, array):
            code.same(code.load(held, _COUNT, "i32"), 1, "i32")
        code.same(code.load(variable, slots.op), code.known("none"))

    code.when(code.is_set(code.field(record, "exclusive")), exclusive)
    return array


def grads(module: Module, slots: Slots) -> Expecting:
    """Tell whether the gradients to overwrite are held by their tensors alone."""
    code = Expecting(module, "grads", _LISTS["grads"])
    before = code.add(code.header("captured"), code.header("tensors"))

    def grad(record: str, number: str) -> None:
        tensor = code.load(_found(code, record), slots.grad)
        code.expect(code.ask("pristine", tensor, record, "objects"))
        array = code.load(code.load(tensor, slots.variable), slots.value)
        code.store(array, code.at("%arrays", code.add(before, number)))
        data = code.load(array, objects.DATA)
        code.store(data, code.at("%pointers", code.field(record, "place")))

    code.each("grads", RECORD, grad)
    return code


def check(module: Module) -> Expecting:
    """Tell whether all is as it was, as far as can be told without calling Python."""
    code = Expecting(module, "check", CHECKED)
    code.expect(code.ask("words", "program"))
    for name, given in _LISTS.items():

        def look(name: str = name, given: str = given) -> None:
            code.expect(code.ask(name, *given.split()))

        code.when(code.is_set(code.header(name)), look)
    return code

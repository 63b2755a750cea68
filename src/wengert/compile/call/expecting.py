"""Functions in LLVM assembly that work on Python objects and stop where one is not as expected."""

from __future__ import annotations

from collections.abc import Callable

from wengert.compile.call.program import HEADER, KNOWN, RECORD, WORD, offset
from wengert.compile.emit.ir import Function, Module

API = {
    "Py_IncRef": ("void", "ptr"),
    "Py_DecRef": ("void", "ptr"),
    "PyDict_GetItemWithError": ("ptr", "ptr", "ptr"),
    "PyList_GetItem": ("ptr", "ptr", "i64"),
    "PyList_Append": ("i32", "ptr", "ptr"),
    "PyList_SetSlice": ("i32", "ptr", "i64", "i64", "ptr"),
    "PyObject_CallNoArgs": ("ptr", "ptr"),
    "PyObject_GetAttr": ("ptr", "ptr", "ptr"),
    "PyObject_CallObject": ("ptr", "ptr", "ptr"),
    "PyObject_Vectorcall": ("ptr", "ptr", "ptr", "i64", "ptr"),
    "PyObject_RichCompareBool": ("i32", "ptr", "ptr", "i32"),
    "PyObject_IsTrue": ("i32", "ptr"),
    "PyFloat_AsDouble": ("double", "ptr"),
    "PyIter_Next": ("ptr", "ptr"),
    "PyTuple_New": ("ptr", "i64"),
    "PyTuple_GetItem": ("ptr", "ptr", "i64"),
    "PyFloat_FromDouble": ("ptr", "double"),
    "PyTuple_SetItem": ("i32", "ptr", "i64", "ptr"),
    "PyTuple_Size": ("i64", "ptr"),
    "PyErr_Occurred": ("ptr",),
    "PyErr_ExceptionMatches": ("i32", "ptr"),
    "PyErr_Clear": ("void",),
    "PyThreadState_Get": ("ptr",),
    "PyThreadState_GetID": ("i64", "ptr"),
    "PyEval_SaveThread": ("ptr",),
    "PyEval_RestoreThread": ("void", "ptr"),
}
"""What is used of the interpreter's C API: the type of the result, then those of the arguments."""

Piece = Callable[[], str]


def declare(module: Module, name: str) -> tuple[str, ...]:
    """Declare a function of the C API; return its types."""
    result, *kinds = types = API[name]
    module.declare(name, result, kinds)
    return types


class Expecting(Function):
    """A function that returns `failure` as soon as something is not as expected.

    Parameters
    ----------
    module : Module
        Where what it calls is declared.
    name : str
        Its name.
    parameters : str
        Their names; they are pointers.
    result, success, failure : str
        The type of its result, what it returns at its end, and otherwise.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: str,
        result: str = "i1",
        success: str = "true",
        failure: str = "false",
    ) -> None:
        super().__init__(module)
        self._name = name
        given = ", ".join(f"ptr %{parameter}" for parameter in parameters.split())
        self._head = f"define internal {result} @{name}({given}) #0 {{"
        self._end = [f"  ret {result} {success}", "fail:", f"  ret {result} {failure}", "}"]

    def close(self) -> None:
        """Add the finished function to the module."""
        text = "\n".join((self._head, "entry:", *self._lines, *self._end))
        self.module.add_text(self._name, text)

    def new_label(self) -> str:
        """Return a name for a place to go on at."""
        return self._new_label()

    def begin(self, label: str) -> None:
        """Go on with what follows a label."""
        self._begin(label)

    # Memory

    def address(self, base: str, at: int) -> str:
        """Return the address `at` bytes behind another."""
        return self.value(f"getelementptr i8, ptr {base}, i64 {at}") if at else base

    def load(self, base: str, at: int = 0, kind: str = "ptr") -> str:
        """Read what stands `at` bytes behind an address."""
        return self.value(f"load {kind}, ptr {self.address(base, at)}")

    def store(self, text: str, base: str, at: int = 0, kind: str = "ptr") -> None:
        """Write what stands `at` bytes behind an address."""
        self.do(f"store {kind} {text}, ptr {self.address(base, at)}")

    def at(self, base: str, index: str | int) -> str:
        """Return the address of a word of an array of words."""
        return self.element(base, "i64", index)

    def field(
        self, record: str, name: str, kind: str = "i64", table: tuple[str, ...] = RECORD
    ) -> str:
        """Read a word of a record."""
        return self.load(record, offset(table, name), kind)

    def header(self, name: str, kind: str = "i64") -> str:
        """Read a word of the head of the program."""
        return self.field("%program", name, kind, HEADER)

    def known(self, name: str) -> str:
        """Return an object that the code knows."""
        return self.load("%objects", offset(KNOWN, name))

    def words(self, count: str) -> str:
        """Return the address of memory for `count` words, until the function returns."""
        return self.value(f"alloca i64, i64 {count}")

    # Calls

    def call(self, name: str, *arguments: str) -> str:
        """Call a function of the C API; return its value."""
        result, *kinds = declare(self.module, name)
        given = ", ".join(f"{k} {a}" for k, a in zip(kinds, arguments, strict=True))
        text = f"call {result} @{name}({given})"
        if result != "void":
            return self.value(text)
        self.do(text)
        return ""

    def ask(self, name: str, *arguments: str, result: str = "i1") -> str:
        """Call one of our functions."""
        given = ", ".join(f"ptr %{argument.lstrip('%')}" for argument in arguments)
        return self.value(f"call {result} @{name}({given})")

    # Conditions

    def equal(self, one: str, other: str | int, kind: str = "ptr") -> str:
        """Tell whether two values are equal."""
        return self.value(f"icmp eq {kind} {one}, {other}")

    def is_set(self, word: str) -> str:
        """Tell whether a word is not zero."""
        return self.value(f"icmp ne i64 {word}, 0")

    def branch(self, condition: str, yes: str, no: str) -> None:
        """Go on at one of two labels."""
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    def expect(self, condition: str, holds: bool = True) -> None:
        """Return unless the condition holds, or does not hold."""
        go = self._new_label()
        self.branch(condition, *((go, "fail") if holds else ("fail", go)))
        self._begin(go)

    def some(self, pointer: str) -> str:
        """Return a pointer, unless it is null."""
        self.expect(self.equal(pointer, "null"), False)
        return pointer

    def same(self, one: str, other: str | int, kind: str = "ptr") -> None:
        """Return unless two values are equal."""
        self.expect(self.equal(one, other, kind))

    def expect_as_asked(self, asked: str, condition: str) -> None:
        """Return unless a condition is as a record asks for; any is right if it asks for none."""
        wanted = self.equal(asked, 1, "i64")
        differs = self.value(f"xor i1 {wanted}, {condition}")
        self.expect(self.value(f"and i1 {self.is_set(asked)}, {differs}"), False)

    def either(self, condition: str, then: Piece, other: Piece, kind: str = "ptr") -> str:
        """Return the value of one of two pieces of code."""
        yes, no, done = (self._new_label() for _ in range(3))
        self.branch(condition, yes, no)
        ends = []
        for label, piece in ((yes, then), (no, other)):
            self._begin(label)
            found = piece()
            ends.append(f"[ {found}, %{self.label} ]")
            self.do(f"br label %{done}")
        self._begin(done)
        return self.value(f"phi {kind} {', '.join(ends)}")

    def switch(self, kind: str, cases: dict[int, Callable[[], None]]) -> None:
        """Emit the piece of code for one of several kinds; return if it is none of them."""
        done = self._new_label()
        labels = {case: self._new_label() for case in cases}
        listed = " ".join(f"i64 {case}, label %{label}" for case, label in labels.items())
        self.do(f"switch i64 {kind}, label %fail [ {listed} ]")
        for case, piece in cases.items():
            self._begin(labels[case])
            piece()
            self.do(f"br label %{done}")
        self._begin(done)

    def each(self, name: str, table: tuple[str, ...], body: Callable[[str, str], None]) -> None:
        """Emit a loop over a list of the program: ``body(record, number)``."""
        first = self.header(f"{name}_at", "ptr")

        def turn(index: str | int, _: list[str]) -> None:
            start = self.mul(index, WORD * len(table))
            body(self.value(f"getelementptr i8, ptr {first}, i64 {start}"), str(index))

        self.loop(0, self.header(name), 1, turn)

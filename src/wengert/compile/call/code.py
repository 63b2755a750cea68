"""The machine code by which Python calls compiled functions.

It is one function for all of them, in CPython's protocol for quick calls (vectorcall). It walks
through a program (`wengert.compile.call.program`): checks that all is as it was when the function
was traced, collects the addresses of the arrays, runs, and returns the results. If anything is
not, it calls the Python function that decides what to do: a program is a quick way to a positive
answer, never to another answer. Of the interpreter it uses the stable C API, and the layout of
objects that `wengert.compile.call.objects` has tried.

No address is used after Python code may have run: `check`, which collects them, runs none, and is
repeated where some ran since.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Template
from typing import Any

from wengert.compile.call import objects, program
from wengert.compile.call.check import (
    CHECKED,
    arguments,
    captured,
    check,
    fits,
    grads,
    parts,
    pristine,
    tensors,
    words,
)
from wengert.compile.call.expecting import Expecting, Piece, declare
from wengert.compile.call.objects import Slots
from wengert.compile.call.places import places
from wengert.compile.call.program import (
    HEADER,
    KNOWN,
    LEAF,
    RECORD,
    WORD,
    offset,
)
from wengert.compile.emit import layout
from wengert.compile.emit.ir import Module
from wengert.compile.emit.machine import Machine

_MISSED = "inttoptr (i64 1 to ptr)"


def call_code(machine: Machine, slots: Slots, instance: int) -> Module:
    """Return the module with the function ``call``.

    Parameters
    ----------
    machine : Machine
        What the code is for.
    slots : Slots
        Where objects keep things.
    instance : int
        Where a callable keeps the address of its list of programs; those of the table of known
        objects, and of what keeps the programs alive, follow.
    """
    module = Module(machine)
    for part in (fits, words, parts, arguments, check, _names, places, _ready, _attempt):
        part(module).close()
    for reading in (pristine, captured, tensors, grads, _results, _finish):
        reading(module, slots).close()
    module.add_text("call", _call(module, instance))
    return module


def _names(module: Module) -> Expecting:
    """Tell whether the keywords are those of the program, as many as there are."""
    code = Expecting(module, "names", "program given")

    def name(record: str, number: str) -> None:
        given = code.call("PyTuple_GetItem", "%given", number)
        code.same(given, code.field(record, "name", "ptr", program.NAME))

    code.each("names", program.NAME, name)
    return code


def _results(module: Module, slots: Slots) -> Expecting:
    """Find a tensor for each result: one that nobody holds any more, or a new one."""
    code = Expecting(module, "results", "program pointers results renewed objects")

    def result(record: str, number: str) -> None:
        def renewed() -> str:
            code.store("1", "%renewed", 0, "i64")
            return code.call("PyObject_CallNoArgs", code.field(record, "renew", "ptr"))

        def second() -> str:
            return _again(code, record, "second", renewed)

        tensor = _again(code, record, "first", second)
        code.store(tensor, code.at("%results", number))
        code.some(tensor)
        variable = code.load(tensor, slots.variable)

        def stamp() -> None:
            serial = code.call("PyIter_Next", code.known("serials"))
            code.some(serial)
            before = code.load(variable, slots.serial)
            code.store(serial, variable, slots.serial)
            code.call("Py_DecRef", before)

        code.when(code.is_set(code.field(record, "stamped")), stamp)
        data = code.load(code.load(variable, slots.value), objects.DATA)
        code.store(data, code.at("%pointers", code.field(record, "place")))

    code.each("results", RECORD, result)
    return code


def _again(code: Expecting, record: str, which: str, otherwise: Piece) -> str:
    """Return a tensor that was a result before, if nobody holds it any more."""
    tensor = code.field(record, which, "ptr")

    def taken() -> str:
        code.call("Py_IncRef", tensor)
        return tensor

    return code.either(code.ask("pristine", tensor, record, "objects"), taken, otherwise)


def _ready(module: Module) -> Expecting:
    """Tell whether all is as it was; collect all that the machine code is given."""
    code = Expecting(module, "ready", f"{CHECKED} results")
    renewed = code.words("1")
    code.store(code.header("calls"), renewed, 0, "i64")
    checked = CHECKED.split()
    code.expect(code.ask("check", *checked))
    control = code.header("control", "ptr")
    helping, wanted = (code.load(control, at, "i64") for at in (layout.HELPERS, layout.WANTED))

    def summon() -> None:
        code.store("1", renewed, 0, "i64")
        done = code.some(code.call("PyObject_CallNoArgs", code.header("summon", "ptr")))
        code.call("Py_DecRef", done)

    code.when(code.value(f"icmp slt i64 {helping}, {wanted}"), summon)
    code.expect(code.ask("places", *["program", "pointers", "numbers", "objects"]))
    code.expect(code.ask("results", "program", "pointers", "results", renewed, "objects"))
    ran = code.is_set(code.load(renewed, 0, "i64"))
    code.when(ran, lambda: code.expect(code.ask("check", *checked)))
    return code


def _finish(module: Module, slots: Slots) -> Expecting:
    """Return the result, put together of what is handed over."""
    code = Expecting(module, "finish", "program results", "ptr", "%made", "null")
    form = code.header("form")
    leaves = code.header("leaves_at", "ptr")

    def leaf(record: str) -> str:
        value = code.field(record, "value", "ptr", LEAF)

        def static() -> str:
            code.call("Py_IncRef", value)
            return value

        def result() -> str:
            found = code.load(code.at("%results", code.field(record, "result", "i64", LEAF)))
            is_number = code.is_set(code.field(record, "number", "i64", LEAF))
            return code.either(is_number, lambda: _number(code, slots, found), lambda: found)

        return code.either(code.equal(value, "null"), result, static)

    def several() -> str:
        made = code.some(code.call("PyTuple_New", code.header("leaves")))

        def put(record: str, number: str) -> None:
            code.call("PyTuple_SetItem", made, number, leaf(record))

        code.each("leaves", LEAF, put)
        return code.either(
            code.equal(form, program.TUPLE, "i64"), lambda: made, lambda: _assembled(code, made)
        )

    is_single = code.equal(form, program.SINGLE, "i64")
    found = code.either(is_single, lambda: leaf(leaves), several)
    code.do(f"%made = getelementptr i8, ptr {found}, i64 0")
    return code


def _number(code: Expecting, slots: Slots, tensor: str) -> str:
    """Return the only element of a tensor, which is float64; let go of the tensor."""
    array = code.load(code.load(tensor, slots.variable), slots.value)
    value = code.load(code.load(array, objects.DATA), 0, "double")
    code.call("Py_DecRef", tensor)
    return code.call("PyFloat_FromDouble", value)


def _assembled(code: Expecting, leaves: str) -> str:
    made = code.call("PyObject_CallObject", code.header("assemble", "ptr"), leaves)
    code.call("Py_DecRef", leaves)
    return made


def _attempt(module: Module) -> Expecting:
    """Run, and return the result; null after an error, and `_MISSED` if Python must decide."""
    code = Expecting(module, "attempt", "program args objects", "ptr", _MISSED, "null")
    nargs = str(code.add(code.header("nargs"), code.header("names")))
    values = code.words(str(code.add(nargs, code.header("parts"))))
    _copy(code, "%args", values, nargs)
    count = code.header("results")
    read = str(code.add(code.header("captured"), code.header("tensors")))
    held = str(code.add(read, code.header("grads")))
    pointers, numbers = (code.words(code.header(name)) for name in ("pointers", "numbers"))
    seen, arrays, results = code.words(read), code.words(held), code.words(count)
    _each_word(code, results, count, lambda home: code.store("null", home))
    lists = (pointers, numbers, arrays, seen)
    is_ready = code.ask("ready", "program", values, *lists, "objects", results)
    run, missed, failed = (code.new_label() for _ in range(3))
    code.branch(is_ready, run, missed)

    code.begin(run)
    _take_turn(code)
    status = _run(code, arrays, held, pointers)
    done = code.new_label()
    code.branch(code.equal(status, 0, "i64"), done, failed)
    code.begin(done)
    made = code.ask("finish", "program", results, result="ptr")
    _end_turn(code)
    code.do(f"ret ptr {made}")

    code.begin(failed)
    _end_turn(code)
    code.store(status, "%program", offset(HEADER, "status"), "i64")
    _release(code, results, count)
    _drop(code, code.call("PyObject_CallNoArgs", code.header("fail", "ptr")))
    code.do("br label %fail")

    code.begin(missed)
    _release(code, results, count)

    def forgive() -> None:  # Python will meet the same error, unless nobody may catch it
        ordinary = code.call("PyErr_ExceptionMatches", code.known("exception"))
        code.expect(code.equal(ordinary, 0, "i32"), False)
        code.call("PyErr_Clear")

    raised = code.call("PyErr_Occurred")
    code.when(code.value(f"icmp ne ptr {raised}, null"), forgive)
    return code


def _copy(code: Expecting, given: str, values: str, count: str) -> None:
    """Copy addresses, with room for more behind them."""

    def turn(index: str | int, _: list[str]) -> None:
        code.store(code.load(code.at(given, index)), code.at(values, index))

    code.loop(0, count, 1, turn)


def _take_turn(code: Expecting) -> None:
    """Let calls in other threads wait, if some can run before this one is over.

    Nobody else is calling (see `Table.laid_out`).
    """
    callers, caller = code.header("callers", "ptr"), code.header("caller", "ptr")

    def take() -> None:
        code.same(code.call("PyList_Append", callers, caller), 0, "i32")

    code.when(code.value(f"icmp ne ptr {caller}, null"), take)


def _end_turn(code: Expecting) -> None:
    callers, caller = code.header("callers", "ptr"), code.header("caller", "ptr")

    def end() -> None:
        code.call("PyList_SetSlice", callers, "0", "1", "null")

    code.when(code.value(f"icmp ne ptr {caller}, null"), end)


def _run(code: Expecting, arrays: str, held: str, pointers: str) -> str:
    """Run the machine code; while it takes long, without the interpreter's lock."""
    long = code.is_set(code.header("long"))

    def unlock() -> str:
        _each_word(code, arrays, held, lambda home: code.call("Py_IncRef", code.load(home)))
        return code.call("PyEval_SaveThread")

    def lock() -> None:
        code.call("PyEval_RestoreThread", thread)
        _each_word(code, arrays, held, lambda home: code.call("Py_DecRef", code.load(home)))

    thread = code.either(long, unlock, lambda: "null")
    run, control = code.header("run", "ptr"), code.header("control", "ptr")
    status = code.value(f"call i64 {run}(ptr {control}, ptr {pointers})")
    code.when(long, lock)
    return status


def _release(code: Expecting, results: str, count: str) -> None:
    """Let go of the tensors that were to be results."""
    _each_word(code, results, count, lambda home: _drop(code, code.load(home)))


def _drop(code: Expecting, found: str) -> None:
    code.when(code.value(f"icmp ne ptr {found}, null"), lambda: _void(code, found))


def _void(code: Expecting, found: str) -> None:
    code.call("Py_DecRef", found)


def _each_word(code: Expecting, words: str, count: str, body: Callable[[str], Any]) -> None:
    """Emit a loop over words in memory: ``body(address)``."""

    def turn(index: str | int, _: list[str]) -> None:
        body(code.at(words, index))

    code.loop(0, count, 1, turn)


_CALL = Template("""define ptr @call(ptr %callable, ptr %args, i64 %flagged, ptr %names) #0 {
entry:
  %nargs = and i64 %flagged, 9223372036854775807
  %list_at = getelementptr i8, ptr %callable, i64 $list
  %list = load ptr, ptr %list_at
  %known_at = getelementptr i8, ptr %callable, i64 $known
  %objects = load ptr, ptr %known_at
  %keeper_at = getelementptr i8, ptr %callable, i64 $keeper
  %keeper = load ptr, ptr %keeper_at
  %plain = icmp eq ptr %names, null
  br i1 %plain, label %try, label %keywords
keywords:
  %size = call i64 @PyTuple_Size(ptr %names)
  br label %try
try:
  %named = phi i64 [ 0, %entry ], [ %size, %keywords ]
  call void @Py_IncRef(ptr %keeper)
  %length = load i64, ptr %list
  br label %next
next:
  %number = phi i64 [ 0, %try ], [ %following, %missed ]
  %following = add i64 %number, 1
  %more = icmp slt i64 %number, %length
  br i1 %more, label %look, label %none
look:
  %home = getelementptr i64, ptr %list, i64 %following
  %program = load ptr, ptr %home
  %nargs_at = getelementptr i8, ptr %program, i64 $nargs
  %wanted = load i64, ptr %nargs_at
  %fits = icmp eq i64 %wanted, %nargs
  br i1 %fits, label %read, label %missed
read:
  %named_at = getelementptr i8, ptr %program, i64 $named
  %wanted_names = load i64, ptr %named_at
  %as_many = icmp eq i64 %wanted_names, %named
  br i1 %as_many, label %count, label %missed
count:
  %unnamed = icmp eq i64 %named, 0
  br i1 %unnamed, label %attempt, label %compare
compare:
  %are_same = call i1 @names(ptr %program, ptr %names)
  br i1 %are_same, label %attempt, label %missed
attempt:
  %made = call ptr @attempt(ptr %program, ptr %args, ptr %objects)
  %again = icmp eq ptr %made, $missed
  br i1 %again, label %missed, label %end
missed:
  br label %next
end:
  call void @Py_DecRef(ptr %keeper)
  ret ptr %made
none:
  call void @Py_DecRef(ptr %keeper)
  br label %decide
decide:
  %given_all = add i64 %nargs, %named
  %room = add i64 %given_all, 1
  %vector = alloca ptr, i64 %room
  store ptr %callable, ptr %vector
  br label %copy
copy:
  %from = phi i64 [ 0, %decide ], [ %to, %move ]
  %to = add i64 %from, 1
  %left = icmp slt i64 %from, %given_all
  br i1 %left, label %move, label %ask
move:
  %argument_at = getelementptr ptr, ptr %args, i64 %from
  %argument = load ptr, ptr %argument_at
  %place = getelementptr ptr, ptr %vector, i64 %to
  store ptr %argument, ptr %place
  br label %copy
ask:
  %decider_at = getelementptr i8, ptr %objects, i64 $decide
  %decider = load ptr, ptr %decider_at
  %given = add i64 %nargs, 1
  %result = call ptr @PyObject_Vectorcall(ptr %decider, ptr %vector, i64 %given, ptr %names)
  ret ptr %result
}""")


def _call(module: Module, instance: int) -> str:
    """Try the programs of a callable in turn; let Python decide if none of them fits."""
    for name in ("PyTuple_Size", "PyObject_Vectorcall"):
        declare(module, name)
    return _CALL.substitute(
        list=instance,
        known=instance + WORD,
        keeper=instance + 2 * WORD,
        nargs=offset(HEADER, "nargs"),
        named=offset(HEADER, "names"),
        decide=offset(KNOWN, "decide"),
        missed=_MISSED,
    )

"""The layout of programs: tables that say what a call of a compiled function must find, and do.

A program is an array of 64-bit words: a header, then lists of records, whose lengths and addresses
are in the header. `wengert.compile.call.guards` writes it, `wengert.compile.call.code` reads it.
"""

from __future__ import annotations

WORD = 8

KNOWN = (
    "none",
    "array",
    "block",
    "tensor",
    "leaf",
    "float",
    "int",
    "bool",
    "tuple",
    "list",
    "dict",
    "decide",
    "serials",
    "exception",
)
"""The objects that the code knows, by their place in its table."""

HEADER = (
    *(
        "nargs",
        "names",
        "names_at",
        "parts",
        "parts_at",
        "thread",
        "control",
        "run",
        "callers",
        "caller",
        "summon",
        "long",
        "calls",
    ),
    *("words", "words_at", "arguments", "arguments_at", "captured", "captured_at", "tensors"),
    *(
        "tensors_at",
        "grads",
        "grads_at",
        "places",
        "places_at",
        "results",
        "results_at",
        "leaves",
        "leaves_at",
        "form",
    ),
    *("assemble", "fail", "status", "pointers", "numbers"),
)
"""The words at the head of a program.

The number of positional arguments, and lists: keywords, parts of nested arguments; the thread; the
control block and the address of the machine code, the list of its callers, the thread as it stands
there (0: no other can run meanwhile, so that it need not), what summons helping threads, whether it
takes long, whether a place calls Python. Further lists; how the result is put together; what raises
the error of a failure, which is left in `status`; how many addresses and numbers the machine code
is given.
"""

WORDS = ("address", "expected", "same")
"""A word in memory that must be, or must not be, what it was."""

NAME = ("name",)
PART = ("kind", "holder", "key", "length")
IN_TUPLE, IN_LIST, IN_DICT, OF_OBJECT, OF_MODULE, READ = range(6)
"""A part of a nested argument: an item of a container that is an argument or a part before it, and
has this length; an attribute of an object of this class; a parameter of a module, which announces
when it holds another one; or, of none, what stands in a place outside. The parts are numbered after
the arguments."""

ARGUMENT = ("kind", "index", "value", "place")
STATIC, NUMBER, SAME = range(3)
"""Kinds of arguments that are no arrays: one object, a float, the same as another argument."""

PLACE = ("kind", "holder", "key", "value", "place", "seen")
ITEM, ELEMENT, TRUTH, READING, CALLED, EQUAL, NUMBER_CALLED = range(7)
"""Kinds of places: an item of a dict or list is one object; the truth of an item, or its number;
what a function returns is one object, equals it, or is a number. `seen` is the item that was there,
whose truth is known."""

RECORD = (
    *("given", "where", "through", "plain", "place", "out", "rank", "lengths", "dtype", "flags"),
    *("requires", "kind", "leaf", "hooks", "exclusive", "grad", "renew", "first", "second"),
    "stamped",
)
"""An array: of a tensor that is read, of a gradient that is left, or of a result.

`given`: it comes with the argument number `where`, else with the tensor at this address (so do all
that are `captured`, of which fewer words are read); `through` its gradient; `plain`: without a
tensor. Its address goes to the places `place` and `out` (if that is not negative). Then what is
expected of array, variable and tensor (`kind` is the type of the tensor, or of the variable of a
result). A result is one of the tensors `first` and `second`, or what `renew` returns; `stamped`: it
is given a serial number.
"""

ANY, YES, NO = range(3)
"""What a record asks for."""

LEAF = ("value", "result", "number")
"""A leaf of the result: an object, or 0 and the number of a result; `number`: its only element."""
SINGLE, TUPLE, OTHER = range(3)
"""Forms of the result: its only leaf, a tuple of them, or what `assemble` makes of them."""


def offset(table: tuple[str, ...], name: str) -> int:
    """Return where in its record a word is, in bytes."""
    return WORD * table.index(name)

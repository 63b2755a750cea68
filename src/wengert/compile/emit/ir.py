"""LLVM assembly as text: modules, functions, loops. Text is several times quicker than objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from wengert.compile.emit.arrays import SCRATCH
from wengert.compile.emit.layout import ALIGNMENT

if TYPE_CHECKING:
    from wengert.compile.emit.arrays import Strided
    from wengert.compile.emit.machine import Machine

Carried: TypeAlias = Sequence[tuple[str, str]]


class Module:
    """The text of functions, of which those that are `hasty` may call the others, not the reverse.

    The two kinds are modules of their own for LLVM, which generates code at one pace for a module.

    Attributes
    ----------
    machine : Machine
        What the code is for.
    failures : list of (type, str)
        What a call can fail with; the error code is the place in this list, counted from 1, and
        the greatest of several is reported.
    scratch : int
        The bytes that each thread needs for itself: whole lines of the cache.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._names: dict[str, str] = {}
        self._declared: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self._hasty: dict[str, str] = {}
        self._heads: list[str] = []
        self._attributes = ""
        self.failures: list[tuple[type[Exception], str]] = []
        self.scratch = 0

    def declare(self, name: str, result: str, parameters: Sequence[str]) -> str:
        """Declare an external function or intrinsic and return its name, ``@name``."""
        self._declared[name] = f"declare {result} @{name}({', '.join(parameters)})"
        return f"@{name}"

    def define(self, function: Function) -> str:
        """Add a function and return its name, that of an equal one if there is one already."""
        body = function.text("")
        if body not in self._names:
            name = self._names[body] = f"f{len(self._names)}"
            self.add_text(name, function.text(name), function.hasty)
            if not function.hasty:
                self._heads.append(f"declare {function.head(name)}")
        return self._names[body]

    @property
    def external(self) -> tuple[str, ...]:
        """The functions outside the module that it calls, intrinsics and the runtime's aside."""
        return tuple(sorted(x for x in self._declared if not x.startswith(("llvm.", "wengert_"))))

    def add_text(self, name: str, text: str, hasty: bool = False) -> None:
        """Add a function written out by hand."""
        (self._hasty if hasty else self._functions)[name] = text

    def set_attributes(self, attributes: str) -> None:
        """Give all functions attributes (``"key"="value"`` …)."""
        self._attributes = attributes

    def text(self) -> str:
        """Return the functions that are not hasty."""
        return self._joined(self._functions.values())

    def hasty_text(self) -> str:
        """Return those that are."""
        return self._joined((*self._heads, *self._hasty.values()))

    def _joined(self, functions: Iterable[str]) -> str:
        attributes = f"attributes #0 = {{ nounwind {self._attributes} }}"
        return "\n".join((*self._declared.values(), *functions, attributes, ""))


class Function:
    """A function under construction: a cursor at the end of a growing list of instructions.

    Its parameters are the control block, the addresses of the arrays that it touches, in the order
    of `arrays`, and `numbers`: that of the chunk, unless it says otherwise. Values are written as
    LLVM writes them. Indices and offsets are i64 throughout; those that are known stay Python
    integers, so that they fold.

    Attributes
    ----------
    hasty : bool
        Whether to generate its code quickly rather than well, since it does little but call others.
    """

    def __init__(self, module: Module, numbers: Sequence[str] = ("chunk",)) -> None:
        self.module = module
        self.numbers = numbers
        self.label = "entry"
        self.hasty = False
        self.arrays: list[Strided] = []
        self._pointers: dict[Strided, str] = {}
        self._prologue: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._known: dict[str, str] = {}

    def text(self, name: str) -> str:
        """Return the finished function."""
        linkage = "internal " if self.hasty else ""
        head = f"define {linkage}{self.head(name)} #0 {{"
        return "\n".join((head, "entry:", *self._prologue, *self._lines, "  ret void", "}"))

    def head(self, name: str) -> str:
        """Return its type, name and parameters."""
        pointers = (f"ptr %a{i}" for i in range(len(self.arrays)))
        numbers = (f"i64 %{number}" for number in self.numbers)
        return f"void @{name}({', '.join(('ptr %control', *pointers, *numbers))})"

    def pointer(self, array: Strided) -> str:
        """Return the address of the first element of an array: a parameter."""
        key = array.at_home
        if key not in self._pointers:
            self._pointers[key] = f"%a{len(self.arrays)}"
            self.arrays.append(array)
        return self._pointers[key]

    def scratch(self, nbytes: int) -> str:
        """Return the address of memory that nobody else uses until the function returns.

        It begins with a cache line. Functions that this one calls may use it as their own.
        """
        whole = -(-nbytes // ALIGNMENT) * ALIGNMENT
        self.module.scratch = max(self.module.scratch, whole)
        return self.pointer(SCRATCH)

    def fresh(self) -> str:
        """Return a new name for a value."""
        self._count += 1
        return f"%v{self._count}"

    def value(self, instruction: str) -> str:
        """Append an instruction and return the name of its value."""
        name = self.fresh()
        self._lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Append an instruction without a value."""
        self._lines.append(f"  {instruction}")

    def invoke(self, name: str, pointers: Iterable[str], *numbers: str | int) -> None:
        """Append a call of another function of the module, with this one's control block."""
        given = (*(f"ptr {pointer}" for pointer in pointers), *(f"i64 {n}" for n in numbers))
        self.do(f"call void @{name}({', '.join(('ptr %control', *given))})")

    def once(self, instruction: str) -> str:
        """Return the value of an instruction at the head of the function, made at most once."""
        if instruction not in self._known:
            name = self._known[instruction] = self.fresh()
            self._prologue.append(f"  {name} = {instruction}")
        return self._known[instruction]

    def _new_label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _begin(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self.label = label

    def add(self, x: str | int, y: str | int) -> str | int:
        """Return the sum of two indices."""
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if x == 0 or y == 0:
            return y if x == 0 else x
        return self.value(f"add nsw i64 {x}, {y}")

    def mul(self, x: str | int, y: int) -> str | int:
        """Return the product of an index and a number."""
        if isinstance(x, int):
            return x * y
        if y in (0, 1):
            return x if y else 0
        return self.value(f"mul nsw i64 {x}, {y}")

    def dot(self, xs: Sequence[str | int], ys: Sequence[int]) -> str | int:
        """Return the sum of the products of indices and numbers."""
        total: str | int = 0
        for x, y in zip(xs, ys, strict=True):
            total = self.add(total, self.mul(x, y))
        return total

    def min(self, x: str | int, y: str | int) -> str | int:
        """Return the smaller of two indices."""
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        smin = self.module.declare("llvm.smin.i64", "i64", ("i64", "i64"))
        return self.value(f"call i64 {smin}(i64 {x}, i64 {y})")

    def max(self, x: str | int, y: str | int) -> str | int:
        """Return the larger of two indices."""
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        smax = self.module.declare("llvm.smax.i64", "i64", ("i64", "i64"))
        return self.value(f"call i64 {smax}(i64 {x}, i64 {y})")

    def shuffle(self, kind: str, x: str, y: str, places: Sequence[int | None]) -> str:
        """Return elements of two vectors of one type, numbered through; None: any."""
        listed = ", ".join(f"i32 {'poison' if place is None else place}" for place in places)
        return self.value(f"shufflevector {kind} {x}, {kind} {y}, <{len(places)} x i32> <{listed}>")

    def element(self, pointer: str, kind: str, index: str | int) -> str:
        """Return the address of an element of type `kind`."""
        if index == 0:
            return pointer
        return self.value(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def loop(
        self,
        start: str | int,
        stop: str | int,
        step: int,
        body: Callable[[str | int, list[str]], Sequence[str] | None],
        carried: Carried = (),
    ) -> list[str]:
        """Emit a loop and return the last values of what it carries.

        Parameters
        ----------
        start, stop, step : index
            As in `range`.
        body : callable
            ``body(index, values)`` emits one turn and returns the next values.
        carried : sequence of (type, value)
            What the turns hand on, with the first values.
        """
        first = [value for _, value in carried]
        known = isinstance(start, int) and isinstance(stop, int)
        if isinstance(start, int) and isinstance(stop, int) and stop - start <= step:
            return first if stop <= start else list(body(start, first) or ())
        entry, inside, done = self.label, self._new_label(), self._new_label()
        head = inside if known else self._new_label()
        self.do(f"br label %{head}")
        self._begin(head)
        index, names = self.fresh(), [self.fresh() for _ in carried]
        place = len(self._lines)
        self._lines.extend([""] * (1 + len(names)))
        if not known:
            test = self.value(f"icmp slt i64 {index}, {stop}")
            self.do(f"br i1 {test}, label %{inside}, label %{done}")
            self._begin(inside)
        following = list(body(index, names) or ())
        advanced = self.value(f"add nsw i64 {index}, {step}")
        latch = self.label
        if known:  # one turn at least
            test = self.value(f"icmp slt i64 {advanced}, {stop}")
            self.do(f"br i1 {test}, label %{inside}, label %{done}")
        else:
            self.do(f"br label %{head}")
        phis = [("i64", index, start, advanced)]
        phis += [
            (kind, name, value, after)
            for (kind, value), name, after in zip(carried, names, following, strict=True)
        ]
        self._lines[place : place + len(phis)] = [
            f"  {name} = phi {kind} [ {before}, %{entry} ], [ {after}, %{latch} ]"
            for kind, name, before, after in phis
        ]
        self._begin(done)
        return following if known else names

    def choose(
        self, condition: str, then: Callable[[], Sequence[str]], otherwise: Carried
    ) -> list[str]:
        """Return what `then` emits and returns if the condition (i1) holds, else other values.

        Parameters
        ----------
        condition : str
            An i1.
        then : callable
            Emits code to run only if the condition holds, and returns its values.
        otherwise : sequence of (type, value)
            The values without it.
        """
        before, inside, done = self.label, self._new_label(), self._new_label()
        self.do(f"br i1 {condition}, label %{inside}, label %{done}")
        self._begin(inside)
        made = then()
        after = self.label
        self.do(f"br label %{done}")
        self._begin(done)
        return [
            self.value(f"phi {kind} [ {new}, %{after} ], [ {old}, %{before} ]")
            for new, (kind, old) in zip(made, otherwise, strict=True)
        ]

    def when(self, condition: str, then: Callable[[], None]) -> None:
        """Emit what `then` emits, to run only if the condition (i1) holds."""
        inside, done = self._new_label(), self._new_label()
        self.do(f"br i1 {condition}, label %{inside}, label %{done}")
        self._begin(inside)
        then()
        self.do(f"br label %{done}")
        self._begin(done)

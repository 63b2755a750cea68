"""A trace: one run of a function on variables without values, with a journal of its effects.

Mutable cells (the user's tensors) are bindings to immutable variables. A trace keeps the bindings
of the cells that were made before it in a journal of its own: the cells themselves stay as they
are, for other threads and after an exception. What the journal holds at the end are the effects,
which the transform carries out.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, ParamSpec, Self, TypeVar

from wengert.graph.errors import TracerError
from wengert.graph.mode import THREAD
from wengert.graph.variable import Aval, Leaf, Variable, next_serial

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Write:
    """A cell that was written inside a trace: what it was bound to before and at the end."""

    cell: Any
    attribute: str
    before: Any
    after: Any = None


class Guard(NamedTuple):
    """Something that the traced function read and that its graph depends on."""

    what: str
    read: Callable[[], Any]
    value: Any


@dataclass(frozen=True, slots=True)
class Way:
    """How a function comes to a tensor: by a cell or the place of an argument, or its gradient."""

    cell: Any
    attribute: str


@dataclass(frozen=True, slots=True)
class StandIn:
    """The cell that stands in a trace for a tensor that is known to it in another way already."""

    cell: Any
    of: Any
    """The tensor from outside; held so that its identity stays its own."""
    way: Way


def _bound(entry: Write) -> Any:
    """Return the variable that a cell, or its gradient, ended with."""
    if entry.attribute == "_variable" or entry.after is None:
        return entry.after
    return entry.after._variable


class Trace:
    """One run of a function on variables that have shapes and dtypes but no values.

    Used as a context manager: inside, operations on its variables are recorded; afterwards its
    variables can only be read as a graph, and using one in an operation raises TracerError.

    Parameters
    ----------
    what : str
        What is traced, for messages.
    lifts : bool
        Whether cells and hyper-parameters that are read become inputs of the graph. Otherwise
        they stay what they are: free variables.
    draws : bool
        Whether random draws are recorded although their state has a value, so that the lanes of a
        batch draw apart. Not so where a transform collects what derivative rules emit: there a
        draw is one that the forward pass has made already.

    Attributes
    ----------
    cell_inputs : list of (cell, Variable)
        The cells that became inputs, in the order of their first read.
    grad_inputs : list of (cell, Variable)
        The cells whose gradients became inputs.
    hyper_inputs : list of (read, Variable)
        The hyper-parameters that became inputs, with the function that reads them afresh.
    guards : list of Guard
        The modes that the function read.
    grads_known : list of (cell, bool)
        The cells whose gradient was asked for, and whether there was one: guards too.
    same : list of (Way, Way)
        Two ways to one tensor that the function took: it is one input, while both lead to it.
    made : list of weakref, or None
        The cells that were made inside, if they are to be found out when the trace ends.
    used : list
        The objects from outside that said that they were used.
    modes : dict
        The modes of objects that the function set, with the values that they ended with.
    writes : list of Write
        The effects, filled in when the trace ends.
    calls : list of (int, int, str)
        The functions called by `call`: the serial numbers of the operations bound meanwhile lie
        between the two, and the name is that of the function.
    """

    started = 0
    """How many traces were started: a cell made before a trace has a smaller stamp."""

    watching: ClassVar[set[int]] = set()
    """The traces under way, in all threads, that want to know of the cells that are made."""

    def __init__(self, what: str, lifts: bool = False, draws: bool = True) -> None:
        self.what = what
        self.lifts = lifts
        self.draws = draws
        self.active = False
        self.parent: Trace | None = None
        self.depth = 0
        self.number = 0
        self.cell_inputs: list[tuple[Any, Variable]] = []
        self.grad_inputs: list[tuple[Any, Variable]] = []
        self.hyper_inputs: list[tuple[Callable[[], float], Variable]] = []
        self.guards: list[Guard] = []
        self.grads_known: list[tuple[Any, bool]] = []
        self.same: list[tuple[Way, Way]] = []
        self.made: list[weakref.ref[Any]] | None = None
        self.used: list[Any] = []
        self.modes: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.writes: list[Write] = []
        self.calls: list[tuple[int, int, str]] = []
        self._journal: dict[tuple[int, str], Write] = {}
        self._hypers: dict[tuple[int, str], Variable] = {}
        self._stand_ins: dict[int, StandIn] = {}

    def new_input(
        self, aval: Aval, name: str | None = None, requires_grad: bool = False
    ) -> Variable:
        """Return a fresh input variable of this trace."""
        variable = Variable.abstract(aval, self, requires_grad=requires_grad)
        if name is not None:
            variable.name = name
        return variable

    def identify(self, tensor: Any, stand_in: Any, way: Way) -> None:
        """Let `stand_in` stand for `tensor`, which `way` leads to, however the function gets it."""
        self._stand_ins[id(tensor)] = StandIn(stand_in, tensor, way)

    def _meant(self, cell: Any, attribute: str = "_variable", found: Any = None) -> Any:
        """Return the cell that stands for one from outside in this trace or an outer one.

        `attribute` of `cell` led to it: the cell itself, or its gradient `found`.
        """
        tensor = cell if found is None else found
        trace: Trace | None = self
        while trace is not None:
            known = trace._stand_ins.get(id(tensor))
            if known is not None:
                trace.same.append((Way(cell, attribute), known.way))
                return known.cell
            trace = trace.parent
        return tensor

    def note(self, cell: Any) -> None:
        """Remember a cell made inside, where a trace wants to know of them."""
        trace: Trace | None = self
        while trace is not None:
            if trace.made is not None:
                trace.made.append(weakref.ref(cell))
            trace = trace.parent

    def use(self, owner: Any) -> None:
        """Note that the graph depends on what `owner`, a module, holds."""
        if self.lifts:
            self.used.append(owner)
        if self.parent is not None:
            self.parent.use(owner)

    def read(self, cell: Any) -> Variable:
        """Return what `cell` is bound to; lift it to an input at its first read."""
        if cell._stamp < self.number:
            cell = self._meant(cell)
        if cell._stamp >= self.number:
            return cell._variable  # type: ignore[no-any-return]
        entry = self._journal.get((id(cell), "_variable"))
        if entry is not None:
            return entry.after  # type: ignore[no-any-return]
        outer: Variable = self.parent.read(cell) if self.parent else cell._variable
        if outer.value is None and outer.trace is not None and not outer.trace.active:
            raise TracerError(
                f"a traced variable ({outer.aval}{outer.made_by()}) was used after its trace "
                f"({outer.trace.what}) had ended; return it from the traced function instead of "
                "storing it."
            )
        if not self.lifts:
            return outer
        kind = Variable if outer.requires_grad and not isinstance(outer, Leaf) else Leaf
        variable = kind.abstract(outer.aval, self, requires_grad=outer.requires_grad)
        if isinstance(outer, Leaf) and isinstance(variable, Leaf):
            variable.cell = outer.cell
        if hasattr(outer, "hooks"):
            variable.hooks = outer.hooks
        if outer.name:
            variable.name = outer.name
        self._bind(cell, "_variable", variable)
        self.cell_inputs.append((cell, variable))
        return variable

    def write(self, cell: Any, attribute: str, value: Any) -> None:
        """Bind an attribute of `cell`; for a cell made before, in this trace only."""
        if cell._stamp < self.number:
            cell = self._meant(cell)
        if cell._stamp < self.number:
            self._bind(cell, attribute, value)
        else:
            setattr(cell, attribute, value)

    def read_grad(self, cell: Any) -> Any:
        """Return the gradient of `cell`; whether there is one is a guard.

        A trace that lifts takes the gradient's value as an input, whatever tensor holds it: the
        next call may find another one. Only a gradient that the function also reaches otherwise,
        or that is that of two tensors, is one tensor with what it is there.
        """
        if cell._stamp < self.number:
            cell = self._meant(cell)
        if cell._stamp >= self.number:
            return cell._grad
        entry = self._journal.get((id(cell), "_grad"))
        if entry is not None:
            return entry.after
        known = self.parent.read_grad(cell) if self.parent else cell._grad
        if self.lifts:
            self.grads_known.append((cell, known is not None))
        if known is None or not self.lifts:
            return known
        meant = self._meant(cell, "_grad", known)
        if meant is known and (id(known), "_variable") in self._journal:
            self.same.append((Way(cell, "_grad"), Way(known, "_variable")))
        elif meant is known:
            return self._lift_grad(cell, known)
        self._journal[id(cell), "_grad"] = Write(cell, "_grad", meant, meant)
        return meant

    def _lift_grad(self, cell: Any, known: Any) -> Any:
        variable = self.new_input(known._variable.aval, None, known._variable.requires_grad)
        lifted = type(known)(variable)
        self._bind(cell, "_grad", lifted)
        self.grad_inputs.append((cell, variable))
        self.identify(known, lifted, Way(cell, "_grad"))
        return lifted

    def hyper(self, key: tuple[int, str], read: Callable[[], float], name: str) -> Variable | None:
        """Return the weak 0-d input that stands for a number read afresh at each call.

        None if no trace under way lifts hyper-parameters.
        """
        if not self.lifts:
            return self.parent.hyper(key, read, name) if self.parent else None
        if key not in self._hypers:
            from wengert.graph.dtypes import FLOAT64

            variable = self.new_input(Aval((), FLOAT64, weak=True), name)
            self._hypers[key] = variable
            self.hyper_inputs.append((read, variable))
        return self._hypers[key]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function`, and remember that the operations bound meanwhile belong to it.

        So a graph can be told in the words of its author: ``conv2d``, not ``pad, window, contract,
        reshape, add``.
        """
        start = next_serial()
        result = function(*args, **kwargs)
        self.calls.append((start, next_serial(), function.__name__))
        return result

    def runs_once(self) -> bool:
        """Tell whether the graph of this trace, or of one around it, stands for further calls."""
        return self.lifts or (self.parent is not None and self.parent.runs_once())

    def set_mode(self, owner: Any, name: str, value: Any) -> None:
        """Note that the function set a mode, which each call must do."""
        if self.lifts:
            self.modes[id(owner), name] = owner, name, value
        if self.parent:
            self.parent.set_mode(owner, name, value)

    def guard(self, what: str, read: Callable[[], Any], value: Any, key: Any = None) -> None:
        """Note that the graph depends on what `read` returned, unless it set that mode itself."""
        if self.lifts and key not in self.modes:
            self.guards.append(Guard(what, read, value))
        if self.parent:
            self.parent.guard(what, read, value, key)

    def _bind(self, cell: Any, attribute: str, value: Any) -> None:
        entry = self._journal.setdefault(
            (id(cell), attribute), Write(cell, attribute, getattr(cell, attribute))
        )
        entry.after = value

    def __enter__(self) -> Self:
        """Make this the innermost trace of the thread."""
        self.parent = THREAD.now.trace
        self.depth = self.parent.depth + 1 if self.parent else 1
        if not self.number:
            Trace.started += 1
            self.number = Trace.started
        self.active = True
        if self.made is not None:
            Trace.watching.add(id(self))
        THREAD.now.trace = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the trace; its bindings end with it, also after an exception."""
        self.active = False
        Trace.watching.discard(id(self))
        THREAD.now.trace = self.parent
        read = {
            **{(id(cell), "_variable"): v for cell, v in self.cell_inputs},
            **{(id(cell), "_grad"): v for cell, v in self.grad_inputs},
        }
        self.writes += [
            entry
            for key, entry in self._journal.items()
            if _bound(entry) is not read.get(key, self)
        ]
        self.writes += self._changed_grads(read)
        self._journal = {}
        self._stand_ins = {}

    def _changed_grads(self, read: dict[tuple[int, str], Variable]) -> list[Write]:
        """Return the gradients that were changed and then let go, but are held elsewhere."""
        met = {id(way) for _, way in self.same}
        return [
            Write(known.of, "_variable", None, known.cell._variable)
            for known in self._stand_ins.values()
            if known.way.attribute == "_grad"
            and id(known.way) in met
            and (before := read.get((id(known.way.cell), known.way.attribute))) is not None
            and known.cell._variable is not before
            and self._journal[id(known.way.cell), "_grad"].after is not known.cell
        ]

    def forget(self) -> None:
        """Let go of the cells from outside, once what is known of them has been taken."""
        self.cell_inputs, self.grad_inputs, self.grads_known = [], [], []
        self.same, self.writes, self.used, self.modes = [], [], [], {}


def composite(function: Callable[P, R]) -> Callable[P, R]:
    """Let traces remember which operations belong to a call of `function`; see `Trace.call`."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        trace = THREAD.now.trace
        if trace is None:
            return function(*args, **kwargs)
        return trace.call(function, *args, **kwargs)  # type: ignore[no-any-return]

    return called

"""`compile`: a Python function of tensors becomes one native function.

A call looks up the entry for the structure, shapes and dtypes of its arguments, checks the guards
of the entry (what the traced function read besides arrays), and runs native code on the arrays of
the arguments and of the cells that the function reads. Cells that it writes are updated in place.
"""

from __future__ import annotations

import functools
import gc
import importlib
import warnings
import weakref
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any, overload

from wengert.compile.forks import COMPILING
from wengert.compile.settings import default_threads
from wengert.compile.trace.arguments import arguments_key, must_run_itself
from wengert.compile.turns import Turns
from wengert.graph.dtypes import default_float
from wengert.graph.mode import THREAD
from wengert.graph.source import stacklevel
from wengert.tensor import pytree

if TYPE_CHECKING:
    from wengert.compile.entry import Entry
    from wengert.compile.plan import Plan
    from wengert.passes.report import Change, PassReport

__all__ = ["CompiledFunction", "RecompilationWarning", "compile"]

_FIRST_NEEDED = (
    "optree",
    "wengert.compile.build",
    "wengert.compile.call.fastcall",
    "wengert.compile.call.guards",
    "wengert.compile.native.executable",
)
"""What the first calls of a compiled function need."""

_MANY = 8
_PARKED = "_compiled_versions"
_QUICK_FROM = 2  # which call of an entry gives it a program


class RecompilationWarning(UserWarning):
    """A compiled function was compiled so often that compiling may cost more than it saves."""


class CompiledFunction:
    """A Python function that runs as native code.

    Attributes
    ----------
    compilations : list of str
        Why it was compiled, each time.
    """

    def __init__(self, function: Callable[..., Any], threads: int | None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.threads = threads
        self.compilations: list[str] = []
        self._name = getattr(function, "__name__", type(function).__name__)
        self._entries: dict[Any, list[Entry]] = {}
        self._offered: Any = None
        self._turns = Turns()
        self._owners: dict[Any, weakref.ref[Any]] = {}
        self._most_owners = _MANY

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the native code for these arguments, compiling it first if there is none.

        Calls from several threads take turns, since they share memory. Inside another transform or
        trace, on tensors that an eager backward pass will visit, and on tensors that share memory
        which is to be written, the Python function itself is run, so that it does what it does
        without being compiled.
        """
        leaves, spec = pytree.flatten((args, kwargs))
        if THREAD.now.trace is not None or any(map(must_run_itself, leaves)):
            return self.function(*args, **kwargs)
        callers, thread = self._turns.callers, get_ident()
        mark = self._turns.mark(thread)
        try:
            callers.append(mark)
            self._turns.wait(thread)
            if mark != thread:  # called by what runs when something is stored or freed
                return self.function(*args, **kwargs)
            return self._called(args, kwargs, leaves, spec)
        finally:
            callers.remove(mark)

    def _called(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: Sequence[Any], spec: Any
    ) -> Any:
        """Run native code, or the Python function if native code would not do the same."""
        entry = self._entry(args, kwargs, leaves, spec)
        if THREAD.now.recording and entry.captures_recorded(leaves):
            return self.function(*args, **kwargs)
        if entry.is_tangled(leaves):
            return self.function(*args, **kwargs)
        result = entry(leaves)
        self._quicken(entry, args, kwargs, leaves)
        return result

    def _quicken(
        self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: Sequence[Any]
    ) -> None:
        """Let the next call like this one be made without Python, if there are more than one."""
        entry.runs += 1
        if entry.program is not None and entry.program.is_current():
            entry.program.refresh(entry.version)
        elif entry.program is not None or entry.runs == _QUICK_FROM:
            with COMPILING:
                from wengert.compile.call.guards import program_of

                entry.program = program_of(entry, args, kwargs, leaves, self._turns.callers)
                self._offer()

    def _offer(self) -> None:
        """Let calls try the programs of the entries that there are now."""
        from wengert.compile.call.fastcall import offer

        entries = [entry for entries in self._entries.values() for entry in entries]
        programs = [entry.program for entry in entries if entry.program is not None]
        self._offered = offer(self, CompiledFunction, programs)

    def _entry(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: Sequence[Any], spec: Any
    ) -> Entry:
        key = (spec, arguments_key(leaves), THREAD.now.recording, default_float())
        entries = self._entries.setdefault(key, [])
        reason = "first call" if not self.compilations else "new argument shapes or values"
        for entry in entries:
            broken = entry.broken_guard(leaves)
            if broken is None:
                return entry
            reason = f"changed: {broken}"
        from wengert.compile.build import build
        from wengert.compile.garbage import uncollected

        with uncollected():
            entry = build(self.function, self._name, args, kwargs, self.threads)
        entries.append(entry)
        self._remember_owner(key, args, kwargs)
        if len(entries) > _MANY:
            del entries[:-_MANY]  # the oldest may hold what was replaced since
            self._offer()
        self._note(reason)
        return entry

    def _remember_owner(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the first module among the arguments; see from time to time which are still used."""
        for owner in pytree.modules((args, kwargs))[:1]:
            self._owners[key] = weakref.ref(owner)
        if len(self._owners) > self._most_owners:
            self._forget_unowned()
            self._most_owners = 2 * len(self._owners) + _MANY

    def _forget_unowned(self) -> None:
        """Forget the versions for modules that nobody else has.

        They are held by the modules alone while garbage is collected.
        """
        owners = list(self._owners.values())
        for key, reference in self._owners.items():
            owner = reference()
            if owner is not None and key in self._entries:
                vars(owner).setdefault(_PARKED, []).append((key, self._entries.pop(key)))
        self._owners.clear()
        self._offer()
        del key, owner
        gc.collect()
        for reference in owners:
            owner = reference()
            if owner is not None:
                for key, entries in vars(owner).pop(_PARKED, ()):
                    self._entries[key], self._owners[key] = entries, reference
        self._offer()

    def _note(self, reason: str) -> None:
        self.compilations.append(reason)
        if len(self.compilations) == _MANY:
            listed = "; ".join(dict.fromkeys(self.compilations))
            warnings.warn(
                f"compile: {self._name} was compiled {_MANY} times ({listed}); pad batches to one "
                "size, and pass what changes as a tensor or a float.",
                RecompilationWarning,
                stacklevel=stacklevel(),
            )

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Compile for these arguments without running anything; nothing if that has been done.

        Examples
        --------
        >>> import wengert as wg
        >>> double = wg.compile(lambda x: x * 2)
        >>> double.prepare(wg.ones(3))
        >>> double.compilations
        ['first call']
        """
        leaves, spec = pytree.flatten((args, kwargs))
        self._entry(args, kwargs, leaves, spec)

    def graph(self, *args: Any, **kwargs: Any) -> Any:
        """Return the graph that runs for these arguments, with its effects as outputs.

        It is the graph as traced; `passes` shows what native code is made of.
        """
        leaves, spec = pytree.flatten((args, kwargs))
        return self._entry(args, kwargs, leaves, spec).graph

    def passes(self, *args: Any, **kwargs: Any) -> PassReport:
        """Return what the passes make of the graph for these arguments: a report to be printed.

        Examples
        --------
        >>> import wengert as wg
        >>> report = wg.compile(lambda x: wg.sin(x) * wg.sin(x)).passes(wg.ones(2))
        >>> report
        <PassReport of <lambda>: cse>
        >>> len(report.before.operations), len(report.after.operations)
        (3, 2)
        """
        from wengert.passes.pipeline import optimise
        from wengert.passes.report import PassReport

        graph = self.graph(*args, **kwargs)
        changes: list[Change] = []
        return PassReport(graph, optimise(graph, changes.append), changes)

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """Return what native code will do and need for these arguments, without running it.

        Examples
        --------
        >>> import wengert as wg
        >>> plan = wg.compile(lambda x: wg.sum(wg.tanh(x) * 2)).plan(wg.ones(1000))
        >>> plan.arena_bytes, plan.input_bytes, plan.output_bytes
        (0, 4000, 4)
        >>> [kernel.kind for kernel in plan.kernels]
        ['reduce']
        """
        from wengert.compile.plan import make_plan

        leaves, spec = pytree.flatten((args, kwargs))
        entry = self._entry(args, kwargs, leaves, spec)
        return make_plan(entry.graph, entry.donors, entry.lasting)

    def __reduce__(self) -> str:
        """Copy and pickle like a function: it stays the same object, found by its name."""
        return getattr(self, "__qualname__", self._name)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance, so that methods can be compiled."""
        return self if instance is None else functools.partial(self, instance)


def import_first_needed() -> None:
    """Import what the first calls of a compiled function need.

    That takes longer than reading its code from the disk.
    """
    for module in _FIRST_NEEDED:
        importlib.import_module(module)


@overload
def compile(function: Callable[..., Any], *, threads: int | None = None) -> CompiledFunction: ...
@overload
def compile(
    function: None = None, *, threads: int | None = None
) -> Callable[[Callable[..., Any]], CompiledFunction]: ...
def compile(
    function: Callable[..., Any] | None = None, *, threads: int | None = None
) -> CompiledFunction | Callable[[Callable[..., Any]], CompiledFunction]:
    """Return `function` compiled to native code: a value, a gradient, or a whole training step.

    The function may call models, `loss.backward()` and optimisers: it is traced once for each
    combination of argument shapes and dtypes, with the tensors that it reads from outside as
    inputs and those that it changes updated in place. Numbers that optimisers and layers read
    (a learning rate, a dropout probability) are read afresh at each call; Python floats among the
    arguments are inputs too. Modes (`training`, `requires_grad`), and which tensors and modules
    stand where the function finds them, are checked at each call and lead to another compilation if
    they changed. Other Python values are constants of the trace.

    Parameters
    ----------
    function : callable
        A function of tensors, NumPy arrays, floats and containers of them.
    threads : int, optional
        How many threads to use; default: the environment variable ``WENGERT_THREADS``, or else one
        or as many as there are processors, whichever turns out to be quicker. The bits of the
        result do not depend on it.

    Raises
    ------
    TracerError
        When called, if the function branches on the value of a tensor, or keeps a tensor that it
        made where no call can store its own.
    TypeError
        If `function` cannot be called, or `threads` is no integer.
    ValueError
        If `threads` is less than 1.

    Examples
    --------
    >>> import wengert as wg
    >>> step = wg.compile(lambda x: wg.sum(x * x))
    >>> step(wg.tensor([1.0, 2.0]))
    tensor(5.)
    """
    from wengert.compile.call.callables import quick_class

    if function is None:
        return functools.partial(compile, threads=threads)
    if not callable(function):
        raise TypeError(
            f"compile: needs a function, got {type(function).__name__}; pass the function itself, "
            "not what a call of it returned."
        )
    count = default_threads() if threads is None else threads
    if not isinstance(count, int | None):
        raise TypeError(f"compile: threads must be an integer or None, got {count!r}.")
    if count is not None and count < 1:
        raise ValueError(f"compile: threads must be at least 1, got {count}.")
    import_first_needed()
    kind: type[CompiledFunction] = quick_class(CompiledFunction)
    return kind(function, count)

"""What a function reaches by name: its closure, the globals it names, and what these hold.

A compiled function has read tensors and called modules. The places on the way to them (a variable,
an attribute, an item of a list or dict) must hold the same things at each call. Modules and
optimisers announce when what they hold changes; other places are looked at each time.
"""

from __future__ import annotations

import functools
import operator
import types
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from wengert.compile.trace.foreign import is_foreign
from wengert.graph.graph import Graph
from wengert.graph.tracing import Trace
from wengert.graph.variable import Operation, Variable
from wengert.tensor.tensor import Tensor

_MOST = 20_000
"""How many objects are looked at; those near the function come first."""

_CLOSED = (
    *(types.ModuleType, types.BuiltinFunctionType, types.CodeType, Graph, Trace),
    *(
        str,
        bytes,
        int,
        float,
        complex,
        np.ndarray,
        np.generic,
        np.dtype,
        Tensor,
        Variable,
        Operation,
    ),
)
"""Kinds of objects that hold nothing that a function reads by name."""

_CONTAINERS = dict, list, tuple, set, frozenset, deque
"""Kinds of objects in which somebody may have put a tensor."""

_CALLABLES = types.FunctionType, types.MethodType, functools.partial
"""Kinds of callables whose names and parts are looked at for further functions."""

Read: TypeAlias = functools.partial[Any]
"""Reads a place: of a function, a container, and a name or key."""


class _Edge(NamedTuple):
    """One object that another holds, and how to look again."""

    child: Any
    label: str
    read: Read | None
    """None: it cannot change, or whoever holds it announces it."""


@dataclass(frozen=True, slots=True)
class _Place:
    read: Read
    value: Any
    label: str

    def changed(self) -> bool:
        try:
            return self.read() is not self.value
        except _UNREADABLE:
            return True


class Change(NamedTuple):
    """A variable, attribute or item that holds another object than before."""

    read: Read
    label: str
    before: Any
    after: Any


MISSING = "nothing"
"""What a place holds that does not exist."""

_UNREADABLE = (LookupError, AttributeError, ValueError)


def held_by(read: Callable[[], Any]) -> Any:
    """Return what a place holds now."""
    try:
        return read()
    except _UNREADABLE:
        return MISSING


@dataclass(frozen=True, slots=True)
class _Structure:
    owner: Any
    held: Sequence[Any]

    def changed(self) -> bool:
        now = _parts(self.owner)
        return len(now) != len(self.held) or not all(map(operator.is_, now, self.held))

    def grown(self, cells: Container[int]) -> _Structure:
        """Return this with what it holds now, if only `cells` were added to it."""
        now = _Structure(self.owner, _parts(self.owner))
        known = [part for part in now.held if id(part) not in cells]
        return now if list(map(id, known)) == list(map(id, self.held)) else self


@dataclass(frozen=True, slots=True)
class Held:
    """What the places that a function reads held when it was traced.

    Attributes
    ----------
    places : list
        Looked at each time.
    sizes : list of (container, int)
        The lists and dicts among the places, and how long they were.
    structures : list
        The modules and optimisers, which announce changes.
    """

    places: list[_Place]
    sizes: list[tuple[Any, int]]
    structures: list[_Structure]

    def changed(self, announced: bool = False) -> str | None:
        """Return which place holds something else now; look at what announces or at the rest."""
        if announced:
            for structure in self.structures:
                if structure.changed():
                    return f"what {_called(structure.owner)} holds"
            return None
        for container, size in self.sizes:
            if len(container) != size:
                return f"the length of a {type(container).__name__}"
        return self.moved()

    def moved(self) -> str | None:
        """Return which of the places that are looked at holds something else now."""
        for place in self.places:
            if place.changed():
                return f"{place.label} is another object"
        return None


def _called(owner: Any) -> str:
    path = getattr(owner, "_path", "")
    return f"{path} ({type(owner).__name__})" if path else type(owner).__name__


class Survey:
    """What a function leads to before it is traced: objects, and what each of them holds.

    Parameters
    ----------
    roots : iterable
        The function and its arguments.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        self._nodes: dict[int, Any] = {}
        self._edges: dict[int, list[_Edge]] = {}
        self._sizes: dict[int, int] = {}
        self._structures: dict[int, _Structure] = {}
        self._walk(roots)

    def _walk(self, roots: Iterable[Any]) -> None:
        queue = deque(roots)
        while queue and len(self._nodes) < _MOST:
            node = queue.popleft()
            if id(node) in self._nodes:
                continue
            self._nodes[id(node)] = node
            self._edges[id(node)] = found = [] if _is_closed(node) else list(_edges(node))
            queue.extend(edge.child for edge in found)
            if isinstance(node, list | dict | deque):
                self._sizes[id(node)] = len(node)
            elif _announces(node):
                self._structures[id(node)] = _Structure(node, node.__wengert_structure__()[0])

    def changes(self, after: Survey) -> list[Change]:
        """Return the places of objects known here that hold others in `after`; no longer lists."""
        found = []
        for holder, node in self._nodes.items():
            known = {place_key(edge.read): edge.child for edge in self._edges[holder] if edge.read}
            for child, label, read in after._edges.get(holder, ()):
                if read is None or (before := known.get(place_key(read), MISSING)) is child:
                    continue
                if not (before is MISSING and isinstance(node, list | deque)):
                    found.append(Change(read, label, before, child))
        return found

    def ways_to(self, child: Any) -> int:
        """Return how many places and objects hold `child`."""
        return sum(edge.child is child for found in self._edges.values() for edge in found)

    def objects(self) -> list[Any]:
        """Return the objects."""
        children = (edge.child for found in self._edges.values() for edge in found)
        return [*self._nodes.values(), *children]

    def held(self, trace: Trace, moved: Container[int], stay: Container[int]) -> Held:
        """Return the places through which the function reached what it read in `trace`.

        Parameters
        ----------
        trace : Trace
            Its trace.
        moved : container of int
            The identities of the tensors that are looked up in their places at each call.
        stay : container of int
            The identities of those that were made in `trace` and stay.
        """
        wanted = {id(cell) for cell, _ in (*trace.cell_inputs, *trace.grad_inputs)}
        wanted |= {id(cell) for cell, _ in trace.grads_known}
        wanted |= {id(write.cell) for write in trace.writes}
        wanted |= {id(way.cell) for way, _ in trace.same}
        wanted |= {id(module) for module in trace.used}
        self._walk(trace.used)
        relevant = self._leading_to(wanted)
        places = [
            _Place(edge.read, edge.child, edge.label)
            for holder in relevant
            for edge in self._edges.get(holder, ())
            if edge.read is not None and id(edge.child) in relevant and id(edge.child) not in moved
        ]
        return Held(
            [*places, *self._functions()],
            [(self._nodes[x], size) for x, size in self._sizes.items() if x in relevant],
            [owner.grown(stay) for x, owner in self._structures.items() if x in relevant],
        )

    def _functions(self) -> Iterator[_Place]:
        """Yield the places of the functions that the first root calls by name, and those call."""
        todo, seen = [next(iter(self._nodes.values()))], set[int]()
        while todo:
            holder = todo.pop()
            if id(holder) in seen or not isinstance(holder, _CALLABLES):
                continue
            seen.add(id(holder))
            for child, label, read in self._edges.get(id(holder), ()):
                if isinstance(child, types.FunctionType) and not is_foreign(child.__module__):
                    todo.append(child)
                    if read is not None:
                        yield _Place(read, child, label)

    def _leading_to(self, wanted: Iterable[int]) -> set[int]:
        into: dict[int, list[int]] = {}
        for holder, found in self._edges.items():
            for edge in found:
                into.setdefault(id(edge.child), []).append(holder)
        relevant = set(wanted)
        todo = list(relevant)
        while todo:
            for holder in into.get(todo.pop(), ()):
                if holder not in relevant:
                    relevant.add(holder)
                    todo.append(holder)
        return relevant


def _parts(owner: Any) -> Sequence[Any]:
    return owner.__wengert_structure__()[0] if _announces(owner) else ()


def _is_closed(node: Any) -> bool:
    return node is None or isinstance(node, _CLOSED)


def _announces(node: Any) -> bool:
    return hasattr(type(node), "__wengert_structure__")


def _edges(node: Any) -> Iterator[_Edge]:
    if isinstance(node, dict | list | tuple | set | frozenset | deque) and len(node) > _MOST:
        return
    if isinstance(node, types.FunctionType):
        yield from _of_function(node)
    elif isinstance(node, type):
        yield from _of_class(node)
    elif isinstance(node, dict):
        yield from (_item(node, k, value, f"the item {k!r}") for k, value in node.items())
        yield from (_Edge(key, "", None) for key in node)
    elif isinstance(node, list | deque):
        yield from (_item(node, i, value, f"the item {i}") for i, value in enumerate(node))
    elif isinstance(node, tuple | set | frozenset | types.MethodType | functools.partial):
        yield from (_Edge(part, "", None) for part in _fixed_parts(node))
    elif _announces(node):
        held, others = node.__wengert_structure__()
        yield from (_Edge(part, "", None) for part in held)
        yield from _attributes(node, others)
        yield from _of_class(type(node))
    elif type(node).__module__.startswith("wengert.compile"):
        yield _Edge(node.function, "", None) if hasattr(node, "function") else _Edge(None, "", None)
    else:
        yield from _attributes(node, getattr(node, "__dict__", ()))
        yield from _of_slots(node)
        yield from _of_class(type(node))


def _fixed_parts(node: Any) -> Iterable[Any]:
    """Return the parts of something that holds the same ones for as long as it lives."""
    if isinstance(node, types.MethodType):
        return node.__self__, node.__func__
    if isinstance(node, functools.partial):
        return node.func, *node.args, *node.keywords.values()
    return node  # type: ignore[no-any-return]


def place_key(read: Read) -> tuple[int, Any]:
    """Return what tells a place from all others while its container lives."""
    container, name = read.args
    return id(container), name


def _item(container: Any, key: Any, value: Any, label: str) -> _Edge:
    return _Edge(value, label, functools.partial(operator.getitem, container, key))


def _attributes(node: Any, names: Iterable[str]) -> Iterator[_Edge]:
    for name in list(names):
        value = vars(node)[name]
        yield _item(vars(node), name, value, f"{type(node).__name__}.{name}")


def _of_slots(node: Any) -> Iterator[_Edge]:
    for base in type(node).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(node, name):
                label = f"{type(node).__name__}.{name}"
                yield _Edge(getattr(node, name), label, functools.partial(getattr, node, name))


def _of_function(function: types.FunctionType) -> Iterator[_Edge]:
    """Yield what a function's closure, defaults and, unless it is foreign, globals hold."""
    names = () if is_foreign(function.__module__) else tuple(_names(function.__code__))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue
        yield _Edge(value, name, functools.partial(getattr, cell, "cell_contents"))
        yield from _of_module(value, name, names)
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield _Edge(value, "", None)
    outside = function.__globals__
    for name in names:
        if name in outside:
            yield _item(outside, name, outside[name], name)
            yield from _of_module(outside[name], name, names)


def _of_module(module: Any, called: str, names: Sequence[str]) -> Iterator[_Edge]:
    """Yield what the attributes of a Python module hold that are named: of others', containers."""
    if not isinstance(module, types.ModuleType):
        return
    foreign = is_foreign(module.__name__)
    for name in names:
        value = vars(module).get(name)
        if name in vars(module) and (not foreign or isinstance(value, _CONTAINERS)):
            yield _item(vars(module), name, value, f"{called}.{name}")


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code may look up among its globals, in nested functions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_class(kind: type) -> Iterator[_Edge]:
    """Yield what the methods of a user's class name, and the attributes that it has itself."""
    for base in kind.__mro__:
        if is_foreign(base.__module__):
            continue
        for name, value in vars(base).items():
            if isinstance(value, staticmethod | classmethod):
                yield _Edge(value.__func__, "", None)
            elif isinstance(value, property):
                yield _Edge(value.fget, "", None)
            elif not name.startswith("__") or isinstance(value, types.FunctionType):
                label = f"{base.__name__}.{name}"
                if hasattr(type(value), "__get__"):  # a function, or what computes a value
                    yield _item(vars(base), name, value, label)
                else:
                    read = functools.partial(type.__getattribute__, base, name)
                    yield _Edge(value, label, read)

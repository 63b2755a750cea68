"""Writing programs: the arguments, and the parts of those that are nested."""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from inspect import getattr_static
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.compile.call import program
from wengert.compile.call.table import Table, Unsaid
from wengert.tensor.tensor import Tensor

if TYPE_CHECKING:
    from wengert.compile.entry import Entry

_CONSTANT = (int, bool, str, bytes, types.NoneType)
"""Types of arguments of which one object is one value, besides those that know no equals."""

_CONTAINERS: dict[type, int] = {
    tuple: program.IN_TUPLE,
    list: program.IN_LIST,
    dict: program.IN_DICT,
}


class Arguments(Table):
    """A program in which the arguments are being written.

    Attributes
    ----------
    entry : Entry
        What has just run for these arguments.
    args : list
        The arguments, then the parts of those that are nested.
    places : list of int
        For each leaf of the arguments, which argument or part it is.
    """

    def __init__(
        self,
        entry: Entry,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        leaves: Sequence[Any],
    ) -> None:
        super().__init__()
        self.entry = entry
        self.args: list[Any] = [*args, *kwargs.values()]
        self.names, self.leaves = tuple(kwargs), leaves
        self.places: list[int] = []

    def find_leaves(self) -> None:
        """Find the leaves, in the order in which they are flattened: dicts by their keys."""
        positional = len(self.args) - len(self.names)
        self.header["nargs"] = positional
        self.lists["names"] = [[self.keep(sys.intern(name))] for name in self.names]
        named = {name: positional + place for place, name in enumerate(self.names)}
        for place in (*range(positional), *(named[name] for name in sorted(named))):
            self._walk(place)
        found = [self.args[place] for place in self.places]
        if len(found) != len(self.leaves) or not all(map(operator.is_, found, self.leaves)):
            raise Unsaid

    def _walk(self, place: int) -> None:
        """Find the leaves of an argument or part."""
        value = self.args[place]
        if hasattr(value, "__wengert_flatten__"):
            self._walk_module(place, value)
        elif is_dataclass(value) and not isinstance(value, type):
            self._walk_object(place, value)
        elif type(value) in _CONTAINERS:
            self._walk_items(place, value)
        elif value is not None:
            self.places.append(place)

    def _walk_items(self, place: int, container: Any) -> None:
        if not container:
            raise Unsaid
        keyed = type(container) is dict
        if keyed and any(type(key) is not str for key in container):
            raise Unsaid
        for key in sorted(container) if keyed else range(len(container)):
            kind, where = _CONTAINERS[type(container)], self.keep(key) if keyed else key
            self._part(kind, place, where, len(container), container[key])

    def _walk_object(self, place: int, made: Any) -> None:
        """Find the attributes of an object of a data class, which no Python code gives."""
        kind = type(made)
        asked = kind.__getattribute__ is not object.__getattribute__  # type: ignore[comparison-overlap]
        if not fields(made) or asked or hasattr(kind, "__getattr__"):
            raise Unsaid
        for field in fields(made):
            found = getattr_static(kind, field.name, None)
            if hasattr(found, "__get__") and not isinstance(found, types.MemberDescriptorType):
                raise Unsaid
            name = self.keep(sys.intern(field.name))
            self._part(program.OF_OBJECT, place, name, self.keep(kind), getattr(made, field.name))

    def _walk_module(self, place: int, module: Any) -> None:
        """Take the parameters of a module: it is this one, and modes that matter are guards."""
        params = module.__wengert_flatten__()[0]
        self.modules.append((module, params))
        for param in params:
            self._part(program.OF_MODULE, place, self.keep(param), 0, param)

    def _part(self, kind: int, place: int, where: int, length: int, part: Any) -> None:
        """Add a part of the argument, or part, at `place`; find its own leaves."""
        self.lists["parts"].append([kind, place, where, length])
        self.args.append(part)
        self._walk(len(self.args) - 1)

    def expect_others(self) -> None:
        """Say what the arguments and parts are that are no arrays."""
        first = {id(leaf): place for place, leaf in reversed(list(enumerate(self.leaves)))}
        for index, arg in enumerate(self.args):
            if type(arg) in _CONTAINERS or is_dataclass(arg):
                continue
            if isinstance(arg, Tensor):
                same = self.places[first[id(arg)]]
                if same != index:
                    self.lists["arguments"].append([program.SAME, index, same, 0])
            elif type(arg) is float:
                source = self.entry.sources.index(self.places.index(index))
                self.lists["arguments"].append([program.NUMBER, index, self.new_number(), source])
            elif type(arg) in _CONSTANT or type(arg).__eq__ is object.__eq__:  # type: ignore[comparison-overlap]
                self.lists["arguments"].append([program.STATIC, index, self.keep(arg), 0])
            elif type(arg) is not np.ndarray:
                raise Unsaid

    def expect_same(self) -> None:
        """Say where an argument must be the tensor that was found elsewhere."""
        for one, other in self.entry.same:
            if one.is_grad or other.is_grad or not isinstance(other.cell, int):
                raise Unsaid
            index = self.places[other.cell]
            if isinstance(one.cell, functools.partial):
                raise Unsaid
            if isinstance(one.cell, int):
                self.lists["arguments"].append([program.SAME, index, self.places[one.cell], 0])
            else:
                self.lists["arguments"].append([program.STATIC, index, self.keep(one.cell), 0])

    def new_number(self) -> int:
        """Return a place among the numbers that a call reads."""
        self.header["numbers"] += 1
        return self.header["numbers"] - 1

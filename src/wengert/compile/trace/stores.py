"""Tensors that a function stores outside: each call of the compiled function stores its own.

A tensor that is made in a trace is looked for in the places that the function reaches by name: an
attribute, an item of a dict, a variable. What such a place held before is a guard, since the
function may have asked for it, as one does that makes its state when it is first called.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wengert.compile.trace.arguments import hooks_of
from wengert.compile.trace.reach import MISSING, Change, Read, Survey, held_by, place_key
from wengert.graph.errors import TracerError
from wengert.graph.tracing import Trace
from wengert.graph.variable import Leaf
from wengert.ops.convert import weak_value
from wengert.tensor.tensor import Tensor

_WRITERS: dict[Any, Callable[..., None]] = {
    operator.getitem: operator.setitem,
    getattr: setattr,
    type.__getattribute__: setattr,
}
_DELETERS: dict[Any, Callable[..., None]] = {
    operator.getitem: operator.delitem,
    getattr: delattr,
    type.__getattribute__: delattr,
}
_PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True, slots=True)
class _Result:
    """Stands for a tensor that is made: its place among the results."""

    place: int


@dataclass(frozen=True, slots=True)
class _Argument:
    """Stands for a tensor that is an argument: its place among the leaves of the arguments."""

    place: int


class _Same:
    """Equal only to what stands for the same object."""

    def __init__(self, meant: Any) -> None:
        self.meant = meant

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.meant is self.meant

    def __hash__(self) -> int:
        return id(self.meant)


@dataclass(frozen=True, slots=True)
class Store:
    """A place where a function stores tensors.

    Attributes
    ----------
    read : partial
        Reads the place.
    label : str
        What it is called.
    before : object
        What is there when the function is called; tensors are told apart by shape and dtype.
    after : object
        What is stored there, with marks for the tensors.
    """

    read: Read
    label: str
    before: Any
    after: Any

    @property
    def takes_arguments(self) -> bool:
        """Whether arguments are stored there."""
        return _holds(_Argument, self.after)

    def changed(self) -> bool:
        """Tell whether something else is there than when the function was traced."""
        return bool(_mapped(_seen, held_by(self.read)) != self.before)

    def carry_out(self, leaves: Sequence[Any], results: Sequence[Tensor]) -> None:
        """Store tensors of this call: arguments and results."""

        def filled(mark: Any) -> Any:
            if isinstance(mark, _Result):
                return results[mark.place]
            return leaves[mark.place] if isinstance(mark, _Argument) else mark

        _WRITERS[self.read.func](*self.read.args, _mapped(filled, self.after))


def any_changed(stores: Sequence[Store]) -> bool:
    """Tell whether something else is in one of the places than when the function was traced."""
    return any(store.changed() for store in stores)


def stores_of(
    trace: Trace,
    changes: Sequence[Change],
    returned: Sequence[Tensor],
    arguments: Mapping[int, int],
) -> tuple[list[Store], list[Tensor]]:
    """Return what a traced function stored, and the tensors that it did not return.

    Parameters
    ----------
    trace : Trace
        The trace of the function.
    changes : sequence of Change
        The places that hold another object than before.
    returned : sequence of Tensor
        The tensors that it returned.
    arguments : mapping of int to int
        For the cells that stood for arguments, by identity, their places among the leaves.

    Raises
    ------
    TracerError
        If it put a tensor there that it neither made nor read (which one it is, is not looked at in
        later calls), or one that stood in another of these places.
    """
    gone = {id(change.before) for change in changes}
    captured = {id(cell) for cell, _ in trace.cell_inputs} - gone
    numbers = {id(cell): place for place, cell in reversed(list(enumerate(returned)))}
    stored: list[Tensor] = []

    def marked(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) in arguments:
            return _Argument(arguments[id(leaf)])
        if id(leaf) in captured:
            return leaf
        if leaf._stamp < trace.number:
            raise moved_error(trace.what, f"{label} is another object")
        if id(leaf) not in numbers:
            if not _can_be_made_again(leaf, trace):
                return leaf  # kept, and refused for that
            numbers[id(leaf)] = len(returned) + len(stored)
            stored.append(leaf)
        return _Result(numbers[id(leaf)])

    stores = []
    for read, label, before, after in changes:
        if _holds(Tensor, after):
            stores.append(Store(read, label, _mapped(_seen, before), _mapped(marked, after)))
    return stores, stored


def moving(stores: Sequence[Store], changes: Sequence[Change], survey: Survey) -> dict[int, Read]:
    """Return how to read the places whose tensor each call replaces, by the identity of that.

    A tensor that the function reads is looked up there at each call, if it stands nowhere else.
    """
    stored = {place_key(store.read) for store in stores}
    return {
        id(change.before): change.read
        for change in changes
        if isinstance(change.before, Tensor)
        and place_key(change.read) in stored
        and survey.ways_to(change.before) == 1
    }


def restore(changes: Sequence[Change]) -> None:
    """Let the places of tensors hold what they held before the trace, whose tensors have no values.

    They do so after an exception, too.
    """
    for read, _, before, after in changes:
        if not _holds(Tensor, after):
            continue
        if before is MISSING:
            _DELETERS[read.func](*read.args)
        else:
            _WRITERS[read.func](*read.args, before)


def _can_be_made_again(cell: Tensor, trace: Trace) -> bool:
    """Tell whether a call can make a tensor like `cell` of an output of the graph."""
    variable = cell._variable
    if variable.value is None and variable.trace is not trace:
        return False  # of a transform within the function
    is_leaf = isinstance(variable, Leaf) and variable.requires_grad
    return type(cell) is Tensor and not is_leaf and weak_value(variable) is None


def moved_error(name: str, what: str) -> TracerError:
    """Return the error for a function that put another tensor where tensors are read from."""
    return TracerError(
        f"compile: {name} changed where it reads tensors from ({what}). The Python code of a "
        "compiled function does not run again, so that this would happen once: change the "
        "tensors in place (copy_) instead of assigning others, or assign outside."
    )


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Return `value` with `function` applied to what its tuples, lists and dicts hold."""
    if type(value) is dict:
        return {key: _mapped(function, part) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_mapped(function, part) for part in value)
    return function(value)


def _holds(kind: type, value: Any) -> bool:
    """Tell whether a value is of a kind, or a part of its tuples, lists and dicts is."""
    if type(value) in (tuple, list, dict):
        parts = value.values() if type(value) is dict else value
        return any(_holds(kind, part) for part in parts)
    return isinstance(value, kind)


def _seen(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        variable = leaf._variable
        is_leaf = isinstance(variable, Leaf)
        return variable.shape, variable.dtype, variable.requires_grad, is_leaf, hooks_of(variable)
    return leaf if type(leaf) in _PLAIN else _Same(leaf)

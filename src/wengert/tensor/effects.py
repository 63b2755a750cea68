"""What layers and optimisers tell a trace: numbers that are inputs, modes that are guards."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wengert.ad.tape import close_off
from wengert.graph.mode import THREAD
from wengert.graph.tracing import Trace, Write
from wengert.graph.variable import Leaf, Variable
from wengert.tensor.creation import leaf
from wengert.tensor.tensor import Tensor


def hyper(owner: object, name: str, read: Callable[[], float]) -> float | Tensor:
    """Return a number that is read afresh at each call of a compiled function.

    Parameters
    ----------
    owner : object
        Whose number it is; with `name` it identifies the input.
    name : str
        What it is called, e.g. ``"lr"``.
    read : callable
        Returns the number as it is now.

    Returns
    -------
    float or Tensor
        The number itself; in a trace that lifts hyper-parameters a weak 0-d tensor.
    """
    trace = THREAD.now.trace
    if trace is None:
        return read()
    variable = trace.hyper((id(owner), name), read, name)
    return read() if variable is None else Tensor(variable)


def changed(trace: Trace) -> list[Write]:
    """Return what cells from outside a trace has left bound to something else."""
    return [write for write in trace.writes if write.after is not write.before]


@dataclass(frozen=True, slots=True)
class Effects:
    """The cells that a traced part of a computation wrote, whose values it must carry out.

    Attributes
    ----------
    writes : list of Write
        The cells, with what they are bound to at the end of the trace.
    """

    writes: list[Write]

    @classmethod
    def of(cls, name: str, trace: Trace) -> Effects:
        """Return the effects of `trace`; `name` is what its user called.

        Raises
        ------
        RuntimeError
            If the part accumulated gradients into a tensor from outside.
        """
        writes = changed(trace)
        for write in writes:
            if write.attribute == "_grad" and write.after is not None:
                raise RuntimeError(
                    f"{name}: the function called backward() into the .grad of a tensor from "
                    f"outside ({write.cell._variable.aval}), which cannot be carried out of it; "
                    "use wg.grad inside and return the gradients."
                )
        return cls([write for write in writes if write.attribute == "_variable"])

    def outputs(self) -> list[Variable]:
        """Return the new values: the last outputs of the graph of the part."""
        return [write.after for write in self.writes]

    def carry_out(self, made: Sequence[Variable]) -> Sequence[Variable]:
        """Bind the cells to the last of the outputs `made`; return the others.

        What required no gradient inside requires none outside, and a leaf stays a leaf.
        """
        count = len(made) - len(self.writes)
        for write, value in zip(self.writes, made[count:], strict=True):
            is_leaf = isinstance(write.after, Leaf)
            kept = value if write.after.requires_grad and not is_leaf else close_off(value)
            write.cell._bind(leaf(write.cell, kept) if is_leaf else kept)
        return made[:count]


class written:
    """Collect the cells that are bound to something else inside, for `close_cells`."""

    __slots__ = ("_before", "_cells")

    def __enter__(self) -> dict[int, weakref.ref[Tensor]]:
        mode = THREAD.now
        self._before = mode.written
        self._cells = mode.written = {}
        return self._cells

    def __exit__(self, *_: object) -> None:
        THREAD.now.written = self._before
        if self._before is not None:
            self._before.update(self._cells)


def made_since(cells: Mapping[int, weakref.ref[Tensor]], since: int) -> list[Tensor]:
    """Return the cells that are bound to what a derivative may pass through, made after `since`.

    Parameters
    ----------
    cells : mapping
        What `written` collected.
    since : int
        A serial number.
    """
    found = []
    for reference in cells.values():
        cell = reference()
        op = None if cell is None else cell._read().op
        if cell is not None and op is not None and op.serial > since and cell.requires_grad:
            found.append(cell)
    return found


def close_cells(cells: Mapping[int, weakref.ref[Tensor]], since: int) -> None:
    """Cut the cells that a transform's function wrote off from the variables of the transform.

    Parameters
    ----------
    cells : mapping
        What `written` collected.
    since : int
        A serial number taken before the function ran.
    """
    for cell in made_since(cells, since):
        cell._bind(close_off(cell._read()))


class Setting:
    """Reads a number or a mode: what ``meaning`` makes of one item of a dict.

    Compiled functions read such settings without calling Python.

    Attributes
    ----------
    holder : dict
        Where it stands.
    key : str
        Its name there.
    meaning : callable
        Takes the item; `bool` or `float`.
    """

    __slots__ = ("holder", "key", "meaning")

    def __init__(self, holder: dict[str, Any], key: str, meaning: Callable[[Any], Any]) -> None:
        self.holder = holder
        self.key = key
        self.meaning = meaning

    def __call__(self) -> Any:
        """Return the setting as it is now."""
        return self.meaning(self.holder[self.key])


class Structure:
    """Counts the announcements that an object holds other parts: modules, optimisers, hooks.

    Attributes
    ----------
    version : int
        How many there were. Compiled functions look again when it has changed.
    """

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0

    def announce(self) -> None:
        """Say that some object holds other parts than before."""
        self.version += 1


structure = Structure()


def guard(what: str, read: Callable[[], Any], owner: object = None, name: str = "") -> Any:
    """Return ``read()``, and note that the traced graph holds only while it stays the same.

    The mode `name` of `owner` is no guard where the traced function has set it itself.
    """
    value = read()
    trace = THREAD.now.trace
    if trace is not None:
        trace.guard(what, read, value, (id(owner), name))
    return value


def set_mode(owner: Any, name: str, value: Any) -> None:
    """Set an attribute that is a mode; a compiled function does it at each call."""
    trace = THREAD.now.trace
    if trace is not None:
        trace.set_mode(owner, name, value)
    vars(owner)[name] = value

"""Writing programs: what an entry checks before a call, as a table for machine code.

See `wengert.compile.call.program` for the table. Whatever the table cannot say in words of memory
and items of dicts is said by a Python function that the machine code calls. There is no program for
an entry that does more around its call than can be said at all: then each call goes through Python.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.ad.call import Refusal, Refused
from wengert.compile.call import objects, program
from wengert.compile.call.arguments import Arguments
from wengert.compile.call.program import ANY, NO, YES
from wengert.compile.call.renewal import Renewal
from wengert.compile.call.table import Program, Unsaid
from wengert.compile.settings import SETTINGS
from wengert.compile.trace.arguments import hooks_of
from wengert.compile.trace.stores import any_changed
from wengert.graph.dtypes import DEFAULTS, FLOAT64
from wengert.graph.mode import THREAD
from wengert.graph.variable import Leaf, Variable
from wengert.tensor import pytree
from wengert.tensor.effects import Setting, structure

if TYPE_CHECKING:
    from wengert.compile.entry import Captured, Entry, Home
    from wengert.compile.trace.reach import Read

_PLAIN = objects.CONTIGUOUS | objects.ALIGNED
_OWN = _PLAIN | objects.OWNED | objects.WRITEABLE
_NUMBERS = (float, int, bool)


def program_of(
    entry: Entry,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    leaves: Sequence[Any],
    callers: list[Any],
) -> Program | None:
    """Return the program of `entry` for arguments like these; None if there is none.

    Parameters
    ----------
    entry : Entry
        It has just run for these arguments.
    args, kwargs : sequence, mapping
        The arguments.
    leaves : sequence
        Their leaves.
    callers : list
        Who calls the function now; see `Turns`.
    """
    if objects.slots() is None:
        return None
    try:
        writer = _Writer(entry, args, kwargs, leaves)
        writer.write()
        return writer.laid_out(entry, callers)
    except Unsaid:
        return None


class _Writer(Arguments):
    """A program that is being written."""

    def __init__(
        self,
        entry: Entry,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        leaves: Sequence[Any],
    ) -> None:
        super().__init__(entry, args, kwargs, leaves)
        self.recording = THREAD.now.recording
        self.grad_rules: dict[int, int] = {}
        self.reads: dict[int, int] = {}
        """For what reads a place, by identity, the part that is found there."""

    def write(self) -> None:
        """Write all that the entry asks for."""
        entry = self.entry
        recorded = self.recording and entry.differentiable
        if recorded and entry.obstacle is None:
            raise Unsaid
        self.find_leaves()
        self._modes()
        self._places()
        self._settings()
        self._effects()
        self._grads_known()
        self.expect_others()
        self.expect_same()
        self._tensors()
        refuses = recorded and entry.obstacle is not None
        self._results(Refusal(entry.results, entry.obstacle or "") if refuses else None)
        self._leaves()

    # Words and places outside

    def _modes(self) -> None:
        slots = self.slots
        self.word(THREAD.now, slots.mode_trace, id(None))
        self.word(THREAD.now, slots.recording, id(self.recording))
        self.word(structure, slots.version, id(structure.version))
        self.word(SETTINGS, slots.enabled, id(True))
        self.word(DEFAULTS, slots.default, self.keep(DEFAULTS.float))
        for owner, name, value in self.entry.modes:
            self.place(program.ITEM, vars(owner), name, value)

    def _places(self) -> None:
        if stores := self.entry.finish.stores:
            self.call(program.CALLED, functools.partial(any_changed, stores), False)
        for place in self.entry.held.places:
            self._held_place(place.read, place.value)
        for container, size in self.entry.held.sizes:
            if type(container).__len__ in (dict.__len__, list.__len__):
                self.word(container, objects.SIZE, size)
            else:
                self.call(program.EQUAL, functools.partial(len, container), size)

    def _held_place(self, read: Read, value: Any) -> None:
        holder, key = read.args
        if read.func is getattr and isinstance(holder, types.CellType):
            self.word(holder, self.slots.content, self.keep(value))
        elif read.func is operator.getitem and _is_plain_dict(holder, key):
            self.place(program.ITEM, holder, key, value)
        elif read.func is operator.getitem and type(holder) is list:
            self.place(program.ELEMENT, holder, key, value)
        else:
            self.call(program.CALLED, read, value)

    def _settings(self) -> None:
        for guard in self.entry.guards:
            read = guard.read
            if (setting := _number(read, bool)) and type(guard.value) is bool:
                self.place(program.TRUTH, setting.holder, setting.key)
                item = setting.holder[setting.key]  # as the call left it
                seen = self.keep(item) if bool(item) is guard.value else 0
                self.lists["places"][-1][3:] = [int(guard.value), 0, seen]
            else:
                self.call(program.EQUAL, read, guard.value)
        first = len(self.entry.sources)
        for number, read in enumerate(self.entry.hypers):
            if setting := _number(read, float):
                self.place(program.READING, setting.holder, setting.key)
            else:
                self.call(program.NUMBER_CALLED, read, None)
            self.lists["places"][-1][3:] = [self.new_number(), first + number, 0]

    # Tensors

    def _grads_known(self) -> None:
        """Say which tensors must have a gradient or none, but for the arguments' (see `_where`)."""
        known = [*self.entry.grads_known]
        known += [
            (e.home, False) for e in self.entry.effects if e.home.is_grad and e.output is None
        ]
        for home, has in known:
            if isinstance(home.cell, int):
                self.grad_rules[home.cell] = NO if has else YES
            elif isinstance(home.cell, functools.partial):
                raise Unsaid
            else:
                self.word(home.cell, self.slots.grad, id(None), same=not has)

    def _effects(self) -> None:
        outputs = len(self.entry.sources) + len(self.entry.hypers)
        for effect in self.entry.effects:
            if effect.requires_grad is not None or isinstance(effect.home.cell, functools.partial):
                raise Unsaid
            if effect.output is None or effect.donor is not None:
                continue
            if not effect.home.is_grad:
                raise Unsaid
            record = self.array(self.entry.graph.outputs[effect.output].aval, _OWN)
            record["place"] = outputs + effect.output
            record.update(kind=id(Variable), requires=id(False), **self._where(effect.home))
            self.add("grads", record)

    def _where(self, home: Home) -> dict[str, int]:
        if isinstance(home.cell, int):
            return {"given": 1, "where": self.places[home.cell]}
        if isinstance(home.cell, functools.partial):
            return {"given": 1, "where": self._read(home.cell)}
        return {"given": 0, "where": self.keep(home.cell)}

    def _read(self, read: Read) -> int:
        """Return the part that is what stands in a place, which is read without Python code."""
        holder, key = read.args
        if not (_is_plain_dict(holder, key) or isinstance(holder, types.CellType)):
            raise Unsaid
        if id(read) not in self.reads:
            self.reads[id(read)] = len(self.args)
            self.lists["parts"].append([program.READ, 0, self.keep(read), 0])
            self.args.append(read())
        return self.reads[id(read)]

    def _tensors(self) -> None:
        entry = self.entry
        taken_over = {donor: output for output, donor in entry.donors.items()}
        outputs = len(entry.sources) + len(entry.hypers)
        for place, source in enumerate(entry.sources):
            fixed = not isinstance(source, int) and not source.home.moves
            if not isinstance(source, int):
                record = self._tensor(source, place in entry.donated)
            elif type(self.leaves[source]) is np.ndarray:
                record = self.array(entry.graph.inputs[place].aval, _PLAIN)
                record.update(given=1, plain=1, where=self.places[source])
            else:
                continue  # a float
            output = taken_over.get(place)
            record.update(place=place, out=-1 if output is None else outputs + output)
            self.add("captured" if fixed else "tensors", record)

    def _tensor(self, captured: Captured, donated: bool) -> dict[str, int]:
        home = captured.home
        record = self.array(captured.aval, _OWN if donated else _PLAIN)
        record.update(self._where(home), exclusive=int(donated))
        record["requires"] = id(captured.requires_grad)
        tensor = home.tensor(self.leaves)
        if home.moves:
            record["kind"] = self.keep(type(tensor))
        if home.is_grad:
            record["through"] = 1
        elif home.moves:
            record["leaf"] = YES if isinstance(tensor._variable, Leaf) else NO
            record["grad"] = self.grad_rules.get(home.cell, ANY)
            record["hooks"] = YES if captured.requires_grad else ANY
            if captured.requires_grad and hooks_of(tensor._variable):
                raise Unsaid
        if self.recording and captured.requires_grad:
            record["leaf"] = YES
        return record

    # Results

    def _results(self, refusal: Refusal | None) -> None:
        first = len(self.entry.sources) + len(self.entry.hypers)
        for place, output in zip(self.entry.shown, self.entry.results.outputs, strict=True):
            refused = refusal if output.requires_grad else None
            record = self.array(output.aval, _OWN)
            renewal = Renewal(output.aval.shape, output.aval.dtype, refused)
            self.renewals.append(renewal)
            record.update(
                place=first + place,
                kind=id(Variable if refused is None else Refused),
                requires=id(refused is not None),
                stamped=int(refused is not None),
                renew=self.keep(renewal),
            )
            self.add("results", record)

    def _leaves(self) -> None:
        """Say how the result is put together, by trying it on marks; or leave it to Python."""
        finish = self.entry.finish
        marks = [object() for _ in finish.leaves]
        made = pytree.unflatten(finish.spec, marks)
        known = dict(zip(map(id, marks), finish.leaves, strict=True))
        is_tuple = type(made) is tuple and all(x is None or x in marks for x in made)
        parts = made if is_tuple else (made,)
        leaves = [self._leaf(known.get(id(part))) for part in parts]
        is_single = made is None or (len(marks) == 1 and made is marks[0])
        if finish.stores or None in leaves or not (is_tuple or is_single):
            if any(store.takes_arguments for store in finish.stores):
                raise Unsaid
            self.header["assemble"] = self.keep(functools.partial(finish, ()))
            self.header["form"] = program.OTHER
            leaves = [[0, number, 0] for number in range(len(self.renewals))]
        else:
            self.header["form"] = program.TUPLE if is_tuple else program.SINGLE
        self.lists["leaves"] += [leaf for leaf in leaves if leaf is not None]

    def _leaf(self, leaf: Any) -> list[int] | None:
        """Return the record of a leaf; None if there can be none."""
        from wengert.compile.entry import Number, Static

        if isinstance(leaf, Number):
            is_double = self.entry.results.outputs[leaf.output].dtype == FLOAT64
            return [0, leaf.output, 1] if is_double else None
        if isinstance(leaf, int):
            return [0, leaf, 0]
        if isinstance(leaf, Static):
            return [self.keep(leaf.value), 0, 0] if leaf.is_fixed else None
        return [self.keep(None), 0, 0]


def _is_plain_dict(holder: Any, key: Any) -> bool:
    """Tell whether reading an item runs no Python code."""
    return (
        isinstance(holder, dict)
        and type(holder).__getitem__ is dict.__getitem__
        and type(key) is str
    )


def _number(read: Any, meaning: type) -> Setting | None:
    """Return a setting that is the number, or the truth, of an item that is a Python number."""
    if (
        isinstance(read, Setting)
        and read.meaning is meaning
        and _is_plain_dict(read.holder, read.key)
        and type(read.holder.get(read.key)) in _NUMBERS
    ):
        return read
    return None

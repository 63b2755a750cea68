"""What a derivative must walk: the operations between chosen variables and an output."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

from wengert.graph.bind import bind
from wengert.graph.errors import GraphFreedError
from wengert.graph.mode import THREAD
from wengert.graph.source import describe
from wengert.graph.variable import Leaf, Operation, Variable, next_serial
from wengert.ops.shape import alias_p, stop_gradient


class Tape(NamedTuple):
    """A part of the Wengert list.

    Attributes
    ----------
    results : list of Variable
        One output of each operation, in execution order.
    reached : set of Variable or None
        The variables that depend on the chosen ones; None if every variable of the tape does.
    open : bool
        Whether an operation of the tape also uses a variable from outside it that a later
        derivative may be asked of.
    """

    results: list[Variable]
    reached: set[Variable] | None
    open: bool


class Isolated(Variable):
    """A variable that a transform differentiates by, without an operation that made it.

    Attributes
    ----------
    serial : int
        When it was made, in the order of operations.
    """

    __slots__ = ("serial",)

    serial: int


def isolate(x: Variable) -> Variable:
    """Return a fresh variable equal to `x`, for a transform to differentiate by.

    Nesting follows reachability: an outer transform passes through the alias, an inner one stops
    at it, and other uses of `x` stay apart.
    """
    if x.value is not None and not x.requires_grad:
        fresh = Isolated(x.value, None, True)
        fresh.serial = next_serial()
        return fresh
    alias: Variable = bind(alias_p, (x,))
    alias.requires_grad = True
    return alias


def close_off(y: Variable) -> Variable:
    """Return a variable equal to `y` that nobody can differentiate by what made it."""
    return stop_gradient(y) if y.requires_grad or y.value is not None else y


def closes_off(record: bool) -> bool:
    """Tell whether a derivative is recorded all the same and its results are closed off.

    So it is in a trace, for a derivative that nobody may differentiate again: one `stop_gradient`
    for each result instead of one for each variable of 𝓖 that 𝓑 uses.
    """
    mode = THREAD.now
    return not record and mode.recording and mode.trace is not None


def horizon() -> int:
    """Return a serial number that every operation bound later exceeds."""
    return next_serial()


def record_tape(
    outputs: Sequence[Variable], wrt: Sequence[Variable] | None, since: int = 0
) -> Tape:
    """Collect the operations that lead to `outputs`.

    Parameters
    ----------
    outputs : sequence of Variable
        Where to start.
    wrt : sequence of Variable or None
        The variables to differentiate by; None for every leaf that requires a gradient.
    since : int
        Operations up to this serial number cannot depend on `wrt` and are not visited.

    Raises
    ------
    GraphFreedError
        If an operation was freed by an earlier backward pass.
    """
    results, ends = _walk(outputs, since)
    if wrt is None:
        return Tape(results, None, False)
    chosen = set(wrt)
    if ends <= chosen:
        return Tape(results, None, False)
    reached = set(chosen)
    inside: set[Variable] = set()
    is_open = False
    for v in results:
        op = v.op
        assert op is not None
        made = op.all_outputs() if op.primitive.several else (v,)
        inside.update(made)
        hit = False
        for x in op.inputs:
            if x in reached:
                hit = True
            elif x.requires_grad:
                is_open = is_open or (x not in inside and not _is_spent(x, since))
        if hit:
            reached.update(made)
    is_open = is_open or any(
        y.requires_grad and y not in inside and y not in chosen and not _is_spent(y, since)
        for y in outputs
    )
    return Tape(results, reached, is_open)


def _is_spent(x: Variable, since: int) -> bool:
    """Tell whether a transform that has ended since differentiated by `x`, which nobody else can.

    Such variables are left in what it gave besides the derivative: a value, or `aux`.
    """
    if isinstance(x, Isolated):
        return 0 < since < x.serial
    return x.op is not None and 0 < since < x.op.serial and not isinstance(x, Leaf)


def _walk(outputs: Sequence[Variable], since: int) -> tuple[list[Variable], set[Variable]]:
    """Return the results of the operations since then, in order, and the variables they end at."""
    seen: set[Operation] = set()
    results: list[Variable] = []
    stack = [v for v in outputs if v.requires_grad]
    ends = {v for v in stack if v.op is None}
    while stack:
        v = stack.pop()
        op = v.op
        if op is None or op in seen:
            continue
        if op.serial <= since:
            ends.add(v)
            continue
        if not op.inputs:
            raise _freed(op)
        leaf = True  # unless a parent requires a gradient, though an operation made its value
        for x in op.inputs:
            if x.requires_grad:
                leaf = False
                if x.op is None:
                    ends.add(x)
                else:
                    stack.append(x)
        if leaf:
            ends.add(v)
        else:
            seen.add(op)
            results.append(v)
    results.sort(key=_SERIAL)
    return results, ends


_SERIAL = operator.attrgetter("op.serial")


def _freed(op: Operation) -> GraphFreedError:
    line = describe(op.source)
    return GraphFreedError(
        f"backward: the graph of {op.primitive.name}{' at ' + line if line else ''} was freed by "
        "an earlier backward pass. If a value is used in several losses, add the losses and call "
        "backward once, or pass retain_graph=True to the earlier call; if it was made outside a "
        "loop, make it anew in each iteration or detach it; if it was stored by a function that "
        "wg.grad differentiated, return it with has_aux=True."
    )

"""Reverse mode: the pullback of a graph, as a second graph 𝓑 emitted through `bind`.

This is Algorithm 6.2 of Goodfellow, Bengio & Courville (2016): a table of cotangents, filled once
for each variable, in exactly the reverse of the execution order. Where several paths meet, the
contributions are added into one buffer as they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.ad.tape import Tape, record_tape
from wengert.graph import sharing
from wengert.graph.bind import bind, bind_inplace
from wengert.graph.errors import ShapeError
from wengert.graph.mode import THREAD
from wengert.graph.primitive import Contribution, Indexed
from wengert.graph.variable import Operation, Variable
from wengert.ops.arithmetic import add_p
from wengert.ops.derivatives import zeros_like

Hook = Callable[[Variable], Variable | None]


class _Hooks:
    """Whether any variable has hooks; until one has, nothing has to be looked up."""

    exist = False


def add_hook(x: Variable, hook: Hook) -> list[Hook]:
    """Have `hook` called with the complete cotangent of `x`; what it returns replaces it.

    Returns
    -------
    list
        The hooks of `x`, from which it can be removed.
    """
    _Hooks.exist = True
    registered: list[Hook] = getattr(x, "hooks", [])
    registered.append(hook)
    x.hooks = registered
    return registered


class CotangentTable:
    """The cotangents met so far (``grad_table``), each in one accumulation buffer.

    A buffer that the table made is owned by it and is added to in place; a cotangent that came
    from a rule may be shared and is never written to. Contributions that touch a part of a
    variable are added into that part.
    """

    __slots__ = ("_any_hooks", "_bars", "_owned", "_seen")

    def __init__(self) -> None:
        self._any_hooks = _Hooks.exist
        self._bars: dict[Variable, Variable] = {}
        self._owned: set[Variable] = set()
        self._seen: set[Variable] = set()

    def add(self, x: Variable, contribution: Contribution) -> None:
        """Add to the cotangent of `x`."""
        if isinstance(contribution, Indexed):
            self._add_indexed(x, contribution)
            return
        assert contribution is not None
        bars = self._bars
        known = bars.get(x)
        if known is None:
            bars[x] = contribution
        elif x in self._owned:
            bars[x] = bind_inplace(add_p, (known, contribution))
        else:
            bars[x] = bind(add_p, (known, contribution))
            self._owned.add(x)

    def _add_indexed(self, x: Variable, contribution: Indexed) -> None:
        known = self._bars.get(x)
        if known is None:
            known = zeros_like(x)
            self._owned.add(x)
        apply = bind_inplace if x in self._owned else bind
        arguments = (known, *contribution.operands)
        self._bars[x] = apply(contribution.primitive, arguments, contribution.params)
        self._owned.add(x)

    def get(self, x: Variable) -> Variable | None:
        """Return the cotangent of `x`, complete once all its consumers have been visited."""
        bar = self._bars.get(x)
        return self._hooked(x, bar) if self._any_hooks and bar is not None else bar

    def _hooked(self, x: Variable, bar: Variable) -> Variable:
        registered = getattr(x, "hooks", None)
        if not registered or x in self._seen:
            return bar
        self._seen.add(x)
        for hook in tuple(registered):
            replaced = hook(bar)
            bar = bar if replaced is None else _fitting(replaced, x)
            self._owned.discard(x)
        self._bars[x] = bar
        return bar

    def pop(self, x: Variable) -> Variable | None:
        """Return the cotangent of `x` and forget it."""
        bar = self._bars.pop(x, None)
        if bar is None:
            return None
        self._owned.discard(x)
        if self._any_hooks:
            bar = self._hooked(x, bar)
            self._bars.pop(x, None)
        return bar

    def variables(self) -> list[Variable]:
        """Return the variables whose cotangents have not been taken: the leaves."""
        return list(self._bars)


def _fitting(replaced: Variable, x: Variable) -> Variable:
    if (replaced.shape, replaced.dtype) != (x.shape, x.dtype):
        raise ShapeError(
            f"hook: a gradient of {x.aval} must be replaced by one like it, got {replaced.aval}"
        )
    return replaced


def pull(
    tape: Tape,
    outputs: Sequence[Variable],
    cotangents: Sequence[Variable | None],
    keep: Sequence[Variable] = (),
    *,
    record: bool,
    free: bool = False,
) -> CotangentTable:
    """Walk `tape` backwards from the cotangents of `outputs`.

    Parameters
    ----------
    tape : Tape
        The operations to walk.
    outputs, cotangents : sequences of Variable
        The seeds; None is zero.
    keep : sequence of Variable
        Variables whose cotangents stay in the table although operations made them.
    record : bool
        Whether 𝓑 is recorded, to be differentiated again.
    free : bool
        Whether the operations are freed as they are passed, with the values they hold.

    Returns
    -------
    CotangentTable
        The cotangents of the leaves and of `keep`.
    """
    table = CotangentTable()
    for y, y_bar in zip(outputs, cotangents, strict=True):
        if y_bar is not None and y.requires_grad:
            table.add(y, y_bar)
    kept = set(keep)
    mode = THREAD.now
    origin, recording = mode.origin, mode.recording
    mode.recording = record
    try:
        _pull_all(tape, table, kept, free)
    finally:
        mode.origin, mode.recording = origin, recording
    return table


def _pull_all(tape: Tape, table: CotangentTable, kept: set[Variable], free: bool) -> None:
    results, reached, mode = tape.results, tape.reached, THREAD.now
    for place in range(len(results) - 1, -1, -1):
        v = results[place]
        op = v.op
        assert op is not None
        y: Any
        y_bar: Any
        if op.primitive.several:
            y = op.all_outputs()
            y_bar = tuple(table.get(x) if x in kept else table.pop(x) for x in y)
            reaches = any(bar is not None for bar in y_bar)
        else:
            y = v
            y_bar = table.get(v) if v in kept else table.pop(v)
            reaches = y_bar is not None
        if reaches:
            mode.origin = op
            _pull_one(op, y_bar, y, table, reached)
        if free:
            results.pop()
            op.inputs = ()


def _pull_one(
    op: Operation, y_bar: Any, y: Any, table: CotangentTable, reached: set[Variable] | None
) -> None:
    xs = op.inputs
    if reached is None:
        needed = [x.requires_grad for x in xs]
    else:
        needed = [x.requires_grad and x in reached for x in xs]
        if True not in needed:
            return
    if op.serial <= sharing.horizon:
        sharing.check_unchanged(op)
    derivative = op.primitive.derivative
    assert derivative is not None
    contributions = derivative.pullback(y_bar, y, xs, op.params, needed)
    for x, contribution, need in zip(xs, contributions, needed, strict=True):
        if need and contribution is not None:
            table.add(x, contribution)


def vjp(
    outputs: Sequence[Variable],
    cotangents: Sequence[Variable | None],
    wrt: Sequence[Variable],
    since: int = 0,
) -> tuple[list[Variable | None], bool]:
    """Return the cotangents of `wrt`, and whether a later derivative may pass through them.

    Parameters
    ----------
    outputs, cotangents : sequences of Variable
        What is differentiated, and the seeds.
    wrt : sequence of Variable
        What it is differentiated by.
    since : int
        A serial number taken before any operation that depends on `wrt`.

    Returns
    -------
    cotangents : list of Variable or None
        One for each of `wrt`; None where no path leads to it.
    open : bool
        Whether the computation also depends on variables outside that require gradients.
    """
    tape = record_tape(outputs, wrt, since)
    outer = (
        tape.open
        or any(_depends_on_outside(x) for x in wrt)
        or any(bar is not None and bar.requires_grad for bar in cotangents)
    )
    table = pull(tape, outputs, cotangents, wrt, record=THREAD.now.recording and outer)
    return [table.get(x) for x in wrt], outer


def _depends_on_outside(x: Variable) -> bool:
    return x.op is not None and any(z.requires_grad for z in x.op.inputs)

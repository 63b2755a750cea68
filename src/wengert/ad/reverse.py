"""Reverse mode: the pullback of a graph, as a second graph 𝓑 emitted through `bind`.

This is Algorithm 6.2 of Goodfellow, Bengio & Courville (2016): a table of cotangents, filled once
for each variable, in exactly the reverse of the execution order. Where several paths meet, the
contributions are added into one buffer as they arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.ad.tape import Tape, close_off, closes_off, record_tape
from wengert.graph import sharing
from wengert.graph.bind import bind, bind_inplace
from wengert.graph.errors import ShapeError
from wengert.graph.mode import THREAD
from wengert.graph.primitive import Indexed, Updated
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
    variable are added into that part. The buffer of a cotangent that was just taken can be taken
    over by a contribution that is this cotangent but for a part.
    """

    __slots__ = ("_any_hooks", "_bars", "_closes", "_keep", "_owned", "_plain", "_seen", "_spare")

    def __init__(self, keep: Sequence[Variable] = (), closes: bool = False) -> None:
        self._closes = closes
        self._any_hooks = _Hooks.exist
        self._keep = {x for x in keep if x.op is not None}  # the others are never taken
        self._plain = not (self._any_hooks or self._keep)
        self._bars: dict[Variable, Variable] = {}
        self._owned: set[Variable] = set()
        self._seen: set[Variable] = set()
        self._spare: Variable | None = None  # a cotangent that was taken with its buffer

    def add(self, x: Variable, contribution: Variable | Indexed | Updated) -> None:
        """Add to the cotangent of `x`."""
        known = self._bars.get(x)
        if isinstance(contribution, tuple):
            if isinstance(contribution, Indexed):
                self._add_part(x, known, contribution)
            else:
                self._add_updated(x, known, contribution)
        elif known is None:
            self._bars[x] = contribution
        elif x in self._owned:
            self._bars[x] = bind_inplace(add_p, (known, contribution))
        else:
            self._bars[x] = bind(add_p, (known, contribution))
            self._owned.add(x)

    def _add_part(self, x: Variable, known: Variable | None, part: Indexed) -> None:
        if known is None:
            known = zeros_like(x)
            self._owned.add(x)
        apply = bind_inplace if x in self._owned else bind
        self._bars[x] = apply(part.primitive, (known, *part.operands), part.params)
        self._owned.add(x)

    def _add_updated(self, x: Variable, known: Variable | None, updated: Updated) -> None:
        apply = bind_inplace if updated.y_bar is self._spare else bind
        made = apply(updated.primitive, (updated.y_bar, *updated.operands), updated.params)
        self._bars[x] = made if known is None else bind_inplace(add_p, (made, known))
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
        if self._closes:
            bar = close_off(bar)
        for hook in tuple(registered):
            replaced = hook(bar)
            bar = bar if replaced is None else _fitting(replaced, x)
            self._owned.discard(x)
        self._bars[x] = bar
        return bar

    def take(self, x: Variable) -> Variable | None:
        """Return the cotangent of `x`, as `get`, and forget it unless it is to be kept."""
        self._spare = None
        bar = self._bars.pop(x, None)
        if bar is None:
            return None
        if not self._plain:
            if x in self._keep:
                self._bars[x] = bar
                return self.get(x)
            if self._any_hooks:
                bar = self._hooked(x, bar)
                self._bars.pop(x, None)
        if x in self._owned:
            self._owned.remove(x)
            self._spare = bar
        return bar

    def finish(self) -> None:
        """Close off what is left, if this pass is not to be differentiated again."""
        if self._closes:
            self._bars = {x: close_off(bar) for x, bar in self._bars.items()}

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
    closes = closes_off(record)
    table = CotangentTable(keep, closes)
    for y, y_bar in zip(outputs, cotangents, strict=True):
        if y_bar is not None and y.requires_grad:
            table.add(y, y_bar)
    mode = THREAD.now
    origin, recording = mode.origin, mode.recording
    mode.recording = record or closes
    try:
        _pull_all(tape, table, free)
        table.finish()
    finally:
        mode.origin, mode.recording = origin, recording
    return table


def _pull_all(tape: Tape, table: CotangentTable, free: bool) -> None:
    results, reached, mode = tape.results, tape.reached, THREAD.now
    for place in range(len(results) - 1, -1, -1):
        y = results[place]
        op = y.op
        assert op is not None
        mode.origin = op
        if op.primitive.several:
            ys = op.all_outputs()
            bars = tuple([table.take(x) for x in ys])
            if bars.count(None) < len(bars):
                _pull_one(op, bars, ys, table, reached)
            del ys, bars  # else they live until the next operation of several outputs
        else:
            y_bar = table.take(y)
            if y_bar is not None:
                _pull_one(op, y_bar, y, table, reached)
        if free:
            op.inputs = ()
            results.pop()
            if reached is not None:
                reached.discard(y)


_NEEDED = (True,)


def _pull_one(
    op: Operation, y_bar: Any, y: Any, table: CotangentTable, reached: set[Variable] | None
) -> None:
    xs = op.inputs
    needed: Sequence[bool]
    if reached is None:  # of several operands some may be constants, of one none is
        needed = [x.requires_grad for x in xs] if len(xs) > 1 else _NEEDED
    else:
        needed = [x.requires_grad and x in reached for x in xs]
        if True not in needed:
            return
    if op.serial <= sharing.horizon:
        sharing.check_unchanged(op)
    derivative = op.primitive.derivative
    assert derivative is not None
    contributions = derivative.pullback(y_bar, y, xs, op.params, needed)
    for place, contribution in enumerate(contributions):
        if contribution is not None and needed[place]:
            table.add(xs[place], contribution)


def vjp(
    outputs: Sequence[Variable],
    cotangents: Sequence[Variable | None],
    wrt: Sequence[Variable],
    since: int = 0,
    *,
    free: bool = False,
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
    free : bool
        Whether nobody will walk these operations again unless a later derivative passes through
        them: otherwise they are freed as they are passed, with the values they hold.

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
        or any(x.op is not None and _depends_on_outside(x.op) for x in wrt)
        or any(bar is not None and bar.requires_grad for bar in cotangents)
    )
    free = free and not outer and all(y.value is not None for y in outputs)
    record = THREAD.now.recording and outer
    table = pull(tape, outputs, cotangents, wrt, record=record, free=free)
    return [table.get(x) for x in wrt], outer


def _depends_on_outside(op: Operation) -> bool:
    return any(z.requires_grad for z in op.inputs)

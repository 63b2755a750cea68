"""Forward mode: the pushforward of a graph, emitted through `bind` in execution order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.ad.tape import close_off, closes_off, record_tape
from wengert.graph.mode import THREAD, emitting, recording
from wengert.graph.variable import Variable


def jvp(
    outputs: Sequence[Variable],
    wrt: Sequence[Variable],
    tangents: Sequence[Variable | None],
    since: int = 0,
) -> tuple[list[Variable | None], bool]:
    """Return the tangents of `outputs` for the `tangents` of `wrt`.

    Parameters
    ----------
    outputs : sequence of Variable
        What is differentiated.
    wrt, tangents : sequences of Variable
        What it is differentiated by, and in which direction; None is zero.
    since : int
        A serial number taken before any operation that depends on `wrt`.

    Returns
    -------
    tangents : list of Variable or None
        One for each output; None where it does not depend on `wrt`.
    open : bool
        Whether a later derivative may pass through them.
    """
    tape = record_tape(outputs, wrt, since)
    outer = (
        tape.open
        or any(x.op is not None and any(z.requires_grad for z in x.op.inputs) for x in wrt)
        or any(t is not None and t.requires_grad for t in tangents)
    )
    dots: dict[Variable, Variable] = {
        x: x_dot for x, x_dot in zip(wrt, tangents, strict=True) if x_dot is not None
    }
    record = THREAD.now.recording and outer
    closes = closes_off(record)
    with emitting(THREAD.now.origin), recording(record or closes):
        for v in tape.results:
            _push_one(v, dots)
    found = [dots.get(y) for y in outputs]
    return [close_off(v) if v and closes else v for v in found], outer


def _push_one(v: Variable, dots: dict[Variable, Variable]) -> None:
    op = v.op
    assert op is not None
    x_dots = [dots.get(x) for x in op.inputs]
    if all(x_dot is None for x_dot in x_dots):
        return
    THREAD.now.origin = op
    primitive = op.primitive
    assert primitive.derivative is not None
    y: Any = op.all_outputs() if primitive.several else v
    y_dot = primitive.derivative.pushforward(primitive, x_dots, y, op.inputs, op.params)
    if primitive.several:
        dots.update((out, dot) for out, dot in zip(y, y_dot, strict=True) if dot is not None)
    elif y_dot is not None:
        dots[v] = y_dot

"""Tensors that a traced function kept: state that would be lost without a word."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Sequence
from typing import Any

from wengert.compile.trace.reach import Survey
from wengert.graph.errors import TracerError
from wengert.graph.graph import Graph
from wengert.graph.tracing import Trace
from wengert.tensor.tensor import Tensor

_MOST = 50
"""How many holders of holders are looked at."""


def made_to_stay(trace: Trace) -> list[Any]:
    """Return the state that an optimiser of outside made in `trace`, for later calls, too."""
    made = [cell for made in trace.made or () if (cell := made()) is not None]
    return [cell for cell in made if cell._stamp < trace.number]


def refuse_kept(
    name: str,
    trace: Trace,
    graph: Graph,
    lent: Sequence[weakref.ref[Any]],
    known: Sequence[Any],
    readers: Sequence[Any],
) -> None:
    """Raise TracerError if a tensor that the traced function made outlives it, but the known.

    So it does if one is kept that was `lent` to it, to stand for an argument of this call.

    The Python code runs once, so that what it keeps would hold a variable of a trace that has
    ended, and later calls would not renew it. Known are the tensors that it returned, and those in
    places where each call stores its own. Not meant are tensors that only reference cycles
    keep, or frames that a debugger or a traceback holds, or hooks and rules of the graph itself, or
    the `readers` of numbers and modes of an object made inside.
    """
    left = _alive(trace, lent, known)
    if left:
        left.clear()
        gc.collect()
        left = _alive(trace, lent, known)
    if left:
        hooks = (getattr(v, "hooks", None) for op in graph.operations for v in graph.results(op))
        params = (op.params for op in graph.operations)
        inside = set[int]()
        for found in Survey([*params, *hooks, *readers]).objects():
            inside |= {id(found), id(found._grad) if isinstance(found, Tensor) else 0}
        left = [cell for cell in left if id(cell) not in inside and not _in_frames(cell, left)]
    trace.made = None
    if left:
        variable = left[0]._variable
        kept = "an argument" if any(cell() is left[0] for cell in lent) else "a tensor that it made"
        raise TracerError(
            f"compile: {name} kept {kept} ({variable.aval}{variable.made_by()}). "
            "The Python code of a compiled function does not run again, so that what it stores "
            "would never be renewed: return the tensor, or store it in an attribute, a variable or "
            "an item of a dict, where each call stores its own."
        )


def _alive(trace: Trace, lent: Sequence[weakref.ref[Any]], known: Sequence[Any]) -> list[Any]:
    """Return the cells that were made inside, or lent, and are alive, each once."""
    cells = (*(trace.made or ()), *lent)
    found = {id(cell): cell for made in cells if (cell := made()) is not None}
    listed = {id(cell) for cell in (*known, *made_to_stay(trace))}
    return [cell for cell in found.values() if id(cell) not in listed]


def _in_frames(cell: Any, ours: list[Any]) -> bool:
    """Tell whether only frames of functions that have returned hold a cell, or nobody known."""
    todo, seen = [cell], {id(cell)}
    while todo:
        held = todo.pop()
        holders = [x for x in gc.get_referrers(held) if x is not ours and x is not todo]
        if len(seen) > _MOST or (held is not cell and not holders):
            return False
        for holder in holders:
            if id(holder) not in seen and not isinstance(holder, types.FrameType):
                seen.add(id(holder))
                todo.append(holder)
        del holders, held
    return True

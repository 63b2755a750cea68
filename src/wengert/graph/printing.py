"""The printed form of a graph: one operation a line, made to be read and diffed.

Names depend on the graph alone, never on addresses or on how many graphs were made before.
"""

from __future__ import annotations

import numpy as np

from wengert.graph import source as _source
from wengert.graph.graph import Graph
from wengert.graph.variable import Operation, Variable

_COMMENT_COLUMN = 64
_SMALL_CONSTANT = 4


def format_graph(graph: Graph) -> str:
    """Return the printed form of `graph`.

    The head gives the inputs and outputs with dtypes and shapes; each line an operation with its
    static parameters; the comment at its end the user's line, the layer, and ``∂`` with the
    number of the forward operation for an operation of a backward graph.
    """
    names = variable_names(graph)
    places = {op: place for place, op in enumerate(graph.operations)}
    head = ", ".join(f"{names[v]}: {v.aval}" for v in graph.inputs)
    tail = ", ".join(f"{names[v]}: {v.aval}" for v in graph.outputs)
    lines = [f"graph {graph.name}({head}) -> ({tail}):"]
    lines.extend(
        f"  {names[v]}: {v.aval} = {_constant(v)}" for v in graph.free if not _is_inline(v)
    )
    lines.extend(
        _format_operation(op, place, graph, names, places)
        for place, op in enumerate(graph.operations)
    )
    lines.append(f"  return {', '.join(names[v] for v in graph.outputs)}")
    return "\n".join(lines)


def variable_names(graph: Graph) -> dict[Variable, str]:
    """Return a unique name for each variable of `graph`: the user's where there is one."""
    names: dict[Variable, str] = {}
    taken: set[str] = set()

    def give(v: Variable, fallback: str) -> None:
        if v in names:
            return
        base = v.name or fallback
        name, suffix = base, 1
        while name in taken:
            suffix += 1
            name = f"{base}_{suffix}"
        taken.add(name)
        names[v] = name

    for position, v in enumerate(graph.inputs):
        give(v, f"in{position}")
    for position, v in enumerate(graph.free):
        if _is_inline(v):
            names[v] = _literal(v)
        else:
            give(v, f"const{position}")
    count = 0
    for op in graph.operations:
        for v in graph.results(op):
            give(v, f"%{count}")
            count += 1
    return names


def _format_operation(
    op: Operation,
    place: int,
    graph: Graph,
    names: dict[Variable, str],
    places: dict[Operation, int],
) -> str:
    results = ", ".join(f"{names[v]}: {v.aval}" for v in graph.results(op))
    arguments = ", ".join(names[x] for x in op.inputs)
    params = ", ".join(f"{key}={format_param(value)}" for key, value in op.params.items())
    inside = "; ".join(part for part in (arguments, params) if part)
    text = f"  {results} = {op.primitive.name}({inside})"
    notes = [_source.describe(op.source), op.scope]
    if op.origin in places and op.origin is not None:
        forward = graph.results(op.origin)[0]
        notes.append(f"∂{names[forward]}")
    elif op.origin is not None:
        notes.append(f"∂{op.origin.primitive.name}")
    comment = "  ".join(note for note in notes if note)
    del place
    return f"{text.ljust(_COMMENT_COLUMN)}  # {comment}" if comment else text


def format_param(value: object) -> str:
    """Return a static parameter as it is printed."""
    if isinstance(value, Graph):
        return f"<{value.name}: {len(value.operations)} operations>"
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, slice):
        parts = [value.start, value.stop] + ([value.step] if value.step not in {None, 1} else [])
        return ":".join("" if part is None else str(part) for part in parts)
    if isinstance(value, tuple):
        inner = ", ".join(format_param(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if callable(value):
        return getattr(value, "__name__", "function")
    return repr(value)


def _is_inline(v: Variable) -> bool:
    return v.value is not None and v.value.ndim == 0 and v.name is None


def _literal(v: Variable) -> str:
    assert v.value is not None
    return f"{v.value.item()!r}"


def _constant(v: Variable) -> str:
    if v.value is None:
        return "outer variable"
    if v.value.size <= _SMALL_CONSTANT:
        return f"constant {v.value.tolist()}"
    return "constant"

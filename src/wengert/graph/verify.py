"""The grammar of a valid graph, executable: run before and after every pass in the tests."""

from __future__ import annotations

from typing import Any

from wengert.graph.errors import InvalidGraphError
from wengert.graph.graph import Graph
from wengert.graph.primitive import registry
from wengert.graph.variable import Operation, Variable


def verify(graph: Graph) -> None:
    """Check that `graph` is valid.

    The grammar: inputs are distinct and have no operation between them and the graph; each
    operation applies a registered primitive to variables that are inputs, free, or outputs of
    earlier operations; shapes and dtypes are those that the primitive's rule gives; a derivative
    passes through every operation that has one, since only `stop_gradient` stops it; each output
    is known; the list is ordered by serial number.

    Raises
    ------
    InvalidGraphError
        At the first rule that is broken, naming the operation and its line.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.verify(wg.trace(lambda x: x + x)(wg.ones(2)))
    """
    if len(set(graph.inputs)) != len(graph.inputs):
        raise InvalidGraphError(f"{graph.name}: two inputs are the same variable.")
    known: set[Variable] = {*graph.inputs, *graph.free}
    serial = 0
    for op in graph.operations:
        if op.serial <= serial:
            raise InvalidGraphError(f"{graph.name}: {op!r} stands out of order.")
        serial = op.serial
        _verify_operation(graph, op, known)
        known.update(graph.results(op))
    for v in graph.outputs:
        if v not in known:
            raise InvalidGraphError(f"{graph.name}: the output {v!r} is made by no operation.")


def _verify_operation(graph: Graph, op: Operation, known: set[Variable]) -> None:
    if registry.get(op.primitive.name) is not op.primitive:
        raise InvalidGraphError(f"{graph.name}: {op!r} applies a primitive not in the registry.")
    for x in op.inputs:
        if x not in known:
            raise InvalidGraphError(f"{graph.name}: {op!r} uses {x!r} before it is made.")
    inferred = op.primitive.infer(*(x.aval for x in op.inputs), **op.params)
    expected: tuple[Any, ...] = tuple(inferred) if op.primitive.several else (inferred,)
    results = graph.results(op)
    if len(expected) != len(results):
        raise InvalidGraphError(
            f"{graph.name}: {op!r} has {len(results)} outputs, its rule gives {len(expected)}."
        )
    passes = op.primitive.differentiable and any(x.requires_grad for x in op.inputs)
    for position, (v, aval) in enumerate(zip(results, expected, strict=True)):
        if (v.shape, v.dtype) != (aval.shape, aval.dtype):
            raise InvalidGraphError(
                f"{graph.name}: output {position} of {op!r} is {v.aval}, its rule gives {aval}."
            )
        if not v.requires_grad and v.dtype.kind == "f" and passes:
            raise InvalidGraphError(
                f"{graph.name}: output {position} of {op!r} requires no gradient although an "
                "operand does; stop_gradient says where derivatives end."
            )
        if v.op is not op or v.index != position:
            raise InvalidGraphError(f"{graph.name}: {v!r} does not name {op!r} as its maker.")

"""A graph: inputs, outputs and, between them, the Wengert list.

Graphs are what transforms take and give. All walks are loops: no depth is too deep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.graph.variable import Operation, Variable


class Graph:
    """A function of variables, as the ordered list of its operations.

    Printed, it shows one operation a line. `wengert.trace` makes one from a Python function.

    Attributes
    ----------
    inputs : tuple of Variable
        The arguments.
    outputs : tuple of Variable
        The results.
    free : tuple of Variable
        What the operations use besides the inputs: constants, and variables of an outer trace.
    operations : tuple of Operation
        The Wengert list: each operation stands after those that it depends on.
    name : str
        What was traced.

    Examples
    --------
    >>> import wengert as wg
    >>> graph = wg.trace(lambda x: x + x)(wg.ones(2))
    >>> len(graph.operations), graph.outputs[0].shape
    (1, (2,))
    """

    def __init__(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], name: str = "graph"
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._results, self.free = _collect(self.inputs, self.outputs)
        self.operations = tuple(self._results)

    def results(self, op: Operation) -> tuple[Variable, ...]:
        """Return the outputs of `op`."""
        return self._results[op]

    def consumers(self) -> dict[Variable, list[Operation]]:
        """Return, for each variable, the operations that use it, in order."""
        table: dict[Variable, list[Operation]] = {}
        for op in self.operations:
            for x in dict.fromkeys(op.inputs):
                table.setdefault(x, []).append(op)
        return table

    def last_uses(self) -> dict[Variable, int]:
        """Return, for each variable, the place of the last operation that reads it.

        Outputs are read after the last operation.
        """
        table: dict[Variable, int] = {}
        for place, op in enumerate(self.operations):
            for x in op.inputs:
                table[x] = place
        table.update(dict.fromkeys(self.outputs, len(self.operations)))
        return table

    def __call__(self, *values: Array) -> tuple[Array, ...]:
        """Evaluate with NumPy; see `evaluate`."""
        shapes = [v.shape for v in self.inputs]
        if (given := [np.shape(value) for value in values]) != shapes:
            raise ShapeError(f"graph {self.name}: needs arrays of shapes {shapes}, got {given}")
        return evaluate(self, values)

    def __str__(self) -> str:
        """Return the printed form."""
        from wengert.graph.printing import format_graph

        return format_graph(self)

    def __repr__(self) -> str:
        """Return a one-line summary."""
        return (
            f"<Graph {self.name}: {len(self.inputs)} inputs, {len(self.operations)} operations, "
            f"{len(self.outputs)} outputs>"
        )


def evaluate(graph: Graph, values: Sequence[Array]) -> tuple[Array, ...]:
    """Evaluate `graph` with NumPy: the reference that compiled code is compared with.

    Parameters
    ----------
    graph : Graph
        A graph whose free variables all have values.
    values : sequence of ndarray
        One array per input, of its shape and dtype.

    Returns
    -------
    tuple of ndarray
        One array per output.
    """
    return THREAD.now.run(evaluate_now, graph, values)


def evaluate_now(graph: Graph, values: Sequence[Array]) -> tuple[Array, ...]:
    """Evaluate `graph` inside an evaluation that is under way; see `evaluate`."""
    environment: dict[Variable, Array] = dict(zip(graph.inputs, values, strict=True))
    for v in graph.free:
        environment[v] = v.concrete("evaluating a graph")
    dying = _dying(graph)
    for place, op in enumerate(graph.operations):
        arguments = [environment[x] for x in op.inputs]
        result = op.primitive.evaluate(*arguments, **op.params)
        if op.primitive.several:
            for output, array in zip(graph.results(op), result, strict=True):
                environment[output] = np.asarray(array)
        else:
            environment[graph.results(op)[0]] = np.asarray(result)
        del arguments
        for v in dying.get(place, ()):
            environment.pop(v, None)
    return tuple(environment[v] for v in graph.outputs)


def _dying(graph: Graph) -> dict[int, list[Variable]]:
    table: dict[int, list[Variable]] = {}
    for v, place in graph.last_uses().items():
        table.setdefault(place, []).append(v)
    return table


def replay(
    graph: Graph, inputs: Sequence[Variable], free: Mapping[Variable, Variable] | None = None
) -> tuple[Variable, ...]:
    """Bind the operations of `graph` again, on other inputs.

    Parameters
    ----------
    graph : Graph
        What to repeat.
    inputs : sequence of Variable
        One per input of the graph.
    free : mapping, optional
        What stands for the graph's free variables; those not named stand for themselves.
    """
    environment: dict[Variable, Variable] = dict(zip(graph.inputs, inputs, strict=True))
    environment.update(free or {})
    for op in graph.operations:
        arguments = tuple(environment.get(x, x) for x in op.inputs)
        results = graph.results(op)
        made = bind(op.primitive, arguments, op.params)
        environment.update(zip(results, made if op.primitive.several else (made,), strict=True))
    return tuple(environment.get(v, v) for v in graph.outputs)


def drop_aliases(outputs: Sequence[Variable]) -> tuple[Variable, ...]:
    """Take the aliases out of the operations that lead to `outputs`; return what is meant by them.

    Transforms isolate their inputs by aliases, which keep nested derivatives apart. Only once the
    outermost trace has ended, and nothing inside it can be differentiated again on its own, may
    they be taken out. The operations are changed in place.
    """
    meant = tuple(_without_alias(v) for v in outputs)
    seen: set[Operation] = set()
    stack = [v.op for v in meant if v.value is None and v.op is not None]
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        op.inputs = tuple(_without_alias(x) for x in op.inputs)
        stack.extend(x.op for x in op.inputs if x.value is None and x.op is not None)
    return meant


def _without_alias(variable: Variable) -> Variable:
    """Follow aliases back to the variable meant."""
    while variable.value is None and variable.op is not None:
        if variable.op.primitive.name != "alias":
            break
        (variable,) = variable.op.inputs
    return variable


def _collect(
    inputs: tuple[Variable, ...], outputs: tuple[Variable, ...]
) -> tuple[dict[Operation, tuple[Variable, ...]], tuple[Variable, ...]]:
    """Find the operations between `inputs` and `outputs`, and the free variables."""
    traces = {v.trace for v in (*inputs, *outputs) if v.value is None}
    innermost = max(traces, key=lambda trace: trace.depth if trace else 0, default=None)
    given = set(inputs)
    free: dict[Variable, None] = {}
    found: dict[Operation, tuple[Variable, ...]] = {}
    stack = list(reversed(outputs))
    while stack:
        v = stack.pop()
        if v in given:
            continue
        if v.value is not None or v.trace is not innermost:
            free[v] = None
            continue
        op = v.op
        if op is None:
            raise TracerError(
                f"a traced variable ({v.aval}) reaches the outputs but is no input of the trace."
            )
        if op in found:
            continue
        found[op] = _all_outputs(op, v)
        stack.extend(op.inputs)
    return dict(sorted(found.items(), key=lambda item: item[0].serial)), tuple(free)


def _all_outputs(op: Operation, known: Variable) -> tuple[Variable, ...]:
    return op.all_outputs() if op.primitive.several else (known,)

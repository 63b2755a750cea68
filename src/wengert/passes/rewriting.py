"""What passes have in common: one walk along the Wengert list that makes the list anew.

Derivatives are taken before: the new graph computes the same values, but where derivatives end in
it is no longer said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from wengert.graph.graph import Graph
from wengert.graph.primitive import Params, Primitive, registry
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval, Operation, Variable, next_serial

Inputs: TypeAlias = tuple[Variable, ...]
Rule: TypeAlias = "Callable[[Rewriting, Primitive, Inputs, Params], Sequence[Variable] | None]"
"""``rule(site, primitive, inputs, params)``: what stands for the outputs; None: nothing better."""


class Rewriting:
    """The walk along one graph; a rule is given it as the `site` at which it may emit operations.

    What is emitted carries the source line, the layer and the forward operation of the operation
    that it stands for.

    Attributes
    ----------
    op : Operation
        The operation of the old graph that the walk has come to.
    """

    op: Operation

    def __init__(self, graph: Graph, rule: Rule) -> None:
        self._graph = graph
        self._rule = rule
        self._known: dict[Variable, Variable] = {}
        self._leaves = {*graph.inputs, *graph.free}
        self._trace = _trace_of(graph)
        self._origins: dict[Operation, Operation] = {}
        self._since = next_serial()
        self._made = False

    def run(self) -> Graph:
        """Return the new graph; the old one, if no rule has found anything better."""
        for op in self._graph.operations:
            self._visit(op)
        if not self._known:
            return self._graph
        outputs = [self._known.get(v, v) for v in self._graph.outputs]
        return Graph(self._graph.inputs, outputs, self._graph.name)

    def _visit(self, op: Operation) -> None:
        self.op = op
        known = self._known
        inputs = tuple([known.get(x, x) for x in op.inputs]) if known else op.inputs
        found = self._rule(self, op.primitive, inputs, op.params)
        if found is None:
            found = self.keep(op.primitive, inputs, op.params)
        results = self._graph.results(op)
        if found is results:
            return
        for before, after in zip(results, found, strict=True):
            if after is not before:
                known[before] = after
                self._succeed(before, after)

    def _succeed(self, before: Variable, after: Variable) -> None:
        """Let a variable take over the operations that derive from another, and its name."""
        made = self.maker(after)
        if made is None:
            return
        if made.primitive is self.op.primitive:
            self._origins[self.op] = made
        fresh = made.serial > self._since  # others are in the old graph too
        if fresh and before.name is not None and after.name is None:
            after.name = before.name

    def maker(self, x: Variable, name: str | None = None) -> Operation | None:
        """Return the operation that made `x`; None for inputs and constants.

        With `name`, None for operations that apply another primitive, too.
        """
        op = None if x.value is not None or x in self._leaves else x.op
        return op if op is None or name is None or op.primitive is registry[name] else None

    def emit(self, name: str, *inputs: Variable, **params: Any) -> Variable:
        """Return the output of the primitive called `name`, or what the rule finds better."""
        return self.apply(registry[name], inputs, params)

    def apply(self, primitive: Primitive, inputs: Inputs, params: Params) -> Variable:
        """Return the output of a primitive that has one, or what the rule finds better."""
        found = self._rule(self, primitive, inputs, params)
        return (self.make(primitive, inputs, params) if found is None else found)[0]

    def keep(self, primitive: Primitive, inputs: Inputs, params: Params) -> Sequence[Variable]:
        """Return the outputs of the present operation with these inputs and parameters.

        It stays itself while it can: until the first new operation has been made, after which all
        are, so that the serial numbers keep the order of the list.
        """
        op, results = self.op, self._graph.results(self.op)
        if not self._made and inputs == op.inputs and params is op.params:
            return results
        return self.make(primitive, inputs, params, tuple([v.aval for v in results]))

    def make(
        self,
        primitive: Primitive,
        inputs: Inputs,
        params: Params,
        avals: tuple[Aval, ...] | None = None,
    ) -> tuple[Variable, ...]:
        """Return the outputs of a new operation."""
        avals = avals or avals_of(primitive, inputs, params)
        self._made = True
        origin = self.op.origin
        origin = None if origin is None else self._origins.get(origin, origin)
        op = Operation(primitive, inputs, params, self.op.source, origin, self.op.scope)
        passes = primitive.derivative is not None and any(x.requires_grad for x in inputs)
        outputs = tuple(
            [
                Variable.abstract(aval, self._trace, op, passes and aval.dtype.kind == "f", index)
                for index, aval in enumerate(avals)
            ]
        )
        if primitive.several:
            op.set_outputs(outputs)
        return outputs


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """Return `graph` with each operation replaced by what `rule` finds better.

    The rule sees inputs that have been replaced already, so that chains need only one walk.
    """
    return Rewriting(graph, rule).run()


def avals_of(primitive: Primitive, inputs: Inputs, params: Params) -> tuple[Aval, ...]:
    """Return what is known of the outputs of a primitive."""
    inferred: Any = primitive.infer(*(x.aval for x in inputs), **params)
    return tuple(inferred) if primitive.several else (inferred,)


def carries_graphs(graph: Graph) -> bool:
    """Tell whether an operation of `graph` has another graph among its parameters."""
    return any(op.primitive.several and "graph" in op.params for op in graph.operations)


def _trace_of(graph: Graph) -> Trace:
    """Return the trace that the variables of `graph` belong to."""
    for op in graph.operations:
        trace = graph.results(op)[0].trace
        assert trace is not None
        return trace
    return Trace(graph.name)

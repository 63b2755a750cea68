"""One compiled version of a function: its graph, its native code, and where its arrays live."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.ad.call import record_call
from wengert.compile.arguments import argument_array, argument_aval, contiguous, is_leaf_cell
from wengert.compile.settings import SETTINGS
from wengert.graph import sharing
from wengert.graph.dtypes import Array
from wengert.graph.errors import TracerError
from wengert.graph.graph import Graph, drop_aliases, evaluate
from wengert.graph.tracing import Guard, Trace, Write
from wengert.graph.variable import Aval, Closed, Leaf, Variable
from wengert.tensor import inplace, pytree
from wengert.tensor.backward import accumulate
from wengert.tensor.tensor import Tensor
from wengert.tensor.transforms import read


@dataclass(slots=True)
class Effect:
    """A cell that the function changes: what it is bound to after each call."""

    cell: Any
    """The tensor; for an argument its place among the leaves of the arguments."""
    attribute: str
    output: int | None
    """The place among the graph's outputs; None: the attribute is set to None."""
    donor: int | None = None
    """The input whose buffer the output takes over."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A tensor from outside that the graph reads: a cell, or the gradient that it has now."""

    cell: Any
    is_grad: bool
    aval: Aval
    requires_grad: bool

    def tensor(self) -> Any:
        """Return the tensor as it is now."""
        return self.cell._grad if self.is_grad else self.cell


@dataclass(slots=True)
class Entry:
    """One compiled version of a function.

    Attributes
    ----------
    graph : Graph
        Arguments, cells and hyper-parameters in; results and new values of cells out.
    cells : list of Captured
        The tensors from outside that the graph reads.
    hypers : list of callable
        The numbers read afresh at each call.
    guards : list of Guard
        What must be as it was when the function was traced.
    effects : list of Effect
        The cells that change.
    """

    graph: Graph
    cells: list[Captured]
    hypers: list[Callable[[], float]]
    guards: list[Guard]
    effects: list[Effect]
    result_spec: Any
    result_leaves: list[Any]
    """For each leaf of the result: the place among the outputs, or `Static` of its value."""
    run: Callable[[Sequence[Array], Sequence[Array]], None]
    donors: dict[int, int]
    donated: frozenset[int]

    def broken_guard(self) -> str | None:
        """Return what differs from when the function was traced, or None."""
        for guard in self.guards:
            if guard.read() != guard.value:
                return guard.what
        for captured in self.cells:
            variable, aval = captured.tensor()._variable, captured.aval
            if variable.shape != aval.shape or variable.dtype != aval.dtype:
                return f"a captured tensor changed from {aval} to {variable.aval}"
            if variable.requires_grad != captured.requires_grad:
                return "requires_grad of a captured tensor"
        return None

    def captures_recorded(self) -> bool:
        """Tell whether a captured tensor was made by operations that a backward pass will visit."""
        return any(
            captured.requires_grad and not isinstance(captured.tensor()._variable, Leaf)
            for captured in self.cells
        )

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run on the leaves of the arguments; change the cells; return the result."""
        arguments = [argument_array(leaf) for leaf in leaves if argument_aval(leaf) is not None]
        if sharing.noted:
            arguments = [self._apart(array) for array in arguments]
        cells = [
            inplace.own(captured.tensor())
            if place in self.donated
            else contiguous(captured.tensor()._variable)
            for place, captured in enumerate(self.cells, len(arguments))
        ]
        hypers = [np.asarray(hyper(), np.float64) for hyper in self.hypers]
        inputs = [*arguments, *cells, *hypers]
        outputs = self._outputs(inputs)
        if SETTINGS.enabled:
            self.run(inputs, outputs)
        else:
            values = [np.array(value) for value in evaluate(self.graph, inputs)]
            for target, value in zip(outputs, values, strict=True):
                np.copyto(target, value)
        self._apply_effects(leaves, outputs)
        variables = self._variables(leaves, inputs, outputs)
        results = [
            leaf.value if isinstance(leaf, Static) else Tensor(variables[leaf])
            for leaf in self.result_leaves
        ]
        return pytree.unflatten(self.result_spec, results)

    def _apart(self, array: Array) -> Array:
        """Return `array`, or a copy if the function changes the memory that it stands in."""
        first = len(self.graph.inputs) - len(self.cells) - len(self.hypers)
        changed = (c for place, c in enumerate(self.cells, first) if place in self.donated)
        values = (captured.tensor()._variable.value for captured in changed)
        return array.copy() if any(np.may_share_memory(array, v) for v in values) else array

    def captures(self, leaves: Sequence[Any]) -> bool:
        """Tell whether an argument is a tensor that the function also reads from outside."""
        cells = {id(captured.cell) for captured in self.cells}
        return any(id(leaf) in cells for leaf in leaves)

    def _variables(
        self, leaves: Sequence[Any], inputs: Sequence[Array], outputs: Sequence[Array]
    ) -> Sequence[Variable]:
        """Return the outputs as variables, through which derivatives pass by recomputation.

        Only those of a function without effects: a training step has changed what it read.
        """
        if self.effects or not any(v.requires_grad for v in self.graph.outputs):
            return [
                (Closed if v.requires_grad else Variable)(array)
                for v, array in zip(self.graph.outputs, outputs, strict=True)
            ]
        arguments = [leaf for leaf in leaves if argument_aval(leaf) is not None]
        last = len(arguments) + len(self.cells)
        given = (
            *(
                leaf._variable if isinstance(leaf, Tensor) else Variable(array.copy())
                for leaf, array in zip(arguments, inputs, strict=False)
            ),
            *(captured.tensor()._variable for captured in self.cells),
            *(Variable(array) for array in inputs[last:]),
        )
        return record_call(self.graph, given, outputs)

    def _outputs(self, inputs: Sequence[Array]) -> list[Array]:
        return [
            inputs[self.donors[place]] if place in self.donors else np.empty(v.shape, v.dtype)
            for place, v in enumerate(self.graph.outputs)
        ]

    def _apply_effects(self, leaves: Sequence[Any], outputs: Sequence[Array]) -> None:
        for effect in self.effects:
            if isinstance(effect.cell, int):
                _change_argument(leaves[effect.cell], effect, outputs)
                continue
            if effect.output is None:
                setattr(effect.cell, effect.attribute, None)
            elif effect.donor is not None:
                continue
            elif effect.attribute == "_grad":
                effect.cell._grad = Tensor(Variable(outputs[effect.output]))
            else:
                inplace.rebind(effect.cell, outputs[effect.output])


@dataclass(frozen=True, slots=True)
class Static:
    """A leaf of the result that is no tensor: what the function returned when it was traced."""

    value: Any


def build(
    function: Callable[..., Any],
    name: str,
    leaves: Sequence[Any],
    spec: Any,
    names: Sequence[str],
    threads: int,
) -> Entry:
    """Trace `function` and compile its graph.

    Parameters
    ----------
    function : callable
        What to compile.
    name : str
        Its name, for messages.
    leaves, spec : list, any
        The leaves of ``(args, kwargs)`` and their structure.
    names : sequence of str
        A name for each leaf.
    threads : int
        How many threads the native code uses.
    """
    from wengert.compile.executable import compile_graph

    trace = Trace(name, lifts=True)
    given: list[Variable] = []
    replaced = list(leaves)
    with trace, _witnessing() as made:
        for i, leaf in enumerate(leaves):
            aval = argument_aval(leaf)
            if aval is not None:
                replaced[i] = _argument(trace, leaf, aval, names[i])
                given.append(replaced[i]._variable)
        args, kwargs = pytree.unflatten(spec, replaced)
        results, result_spec = pytree.flatten(function(*args, **kwargs))
        outputs = [read(leaf) for leaf in results if isinstance(leaf, Tensor)]
    inputs = [
        *given,
        *(v for _, v in trace.cell_inputs),
        *(v for _, v in trace.grad_inputs),
        *(v for _, v in trace.hyper_inputs),
    ]
    _refuse_kept(name, trace, made, [*results, *replaced, *(w.after for w in trace.writes)])
    effects = _effects(trace.writes, trace, len(given), outputs)
    effects += _changed_arguments(replaced, given, outputs)
    graph = Graph(inputs, drop_aliases(outputs), name)
    donors = {e.output: e.donor for e in effects if e.output is not None and e.donor is not None}
    places = iter(range(len(outputs)))
    return Entry(
        graph=graph,
        cells=[
            *(Captured(cell, False, v.aval, v.requires_grad) for cell, v in trace.cell_inputs),
            *(Captured(cell, True, v.aval, v.requires_grad) for cell, v in trace.grad_inputs),
        ],
        hypers=[hyper for hyper, _ in trace.hyper_inputs],
        guards=trace.guards,
        effects=effects,
        result_spec=result_spec,
        result_leaves=[
            next(places) if isinstance(leaf, Tensor) else Static(leaf) for leaf in results
        ],
        run=compile_graph(graph, donors, threads),
        donors=donors,
        donated=frozenset(donors.values()),
    )


def _changed_arguments(
    replaced: Sequence[Any], given: Sequence[Variable], outputs: list[Variable]
) -> list[Effect]:
    """Return the arguments that the function changed; add their new values to `outputs`."""
    effects: list[Effect] = []
    inputs = set(given)
    for place, leaf in enumerate(replaced):
        if not isinstance(leaf, Tensor):
            continue
        if leaf._variable not in inputs:
            effects.append(Effect(place, "_variable", len(outputs)))
            outputs.append(leaf._variable)
        if leaf._grad is not None:
            effects.append(Effect(place, "_grad", len(outputs)))
            outputs.append(leaf._grad._variable)
    return effects


def _change_argument(leaf: Any, effect: Effect, outputs: Sequence[Array]) -> None:
    """Let an argument that is a tensor see what the function did to it."""
    if not isinstance(leaf, Tensor) or effect.output is None:
        return
    if effect.attribute == "_grad":
        accumulate(leaf, Variable(outputs[effect.output]))
    else:
        inplace.rebind(leaf, outputs[effect.output])


def _argument(trace: Trace, leaf: Any, aval: Aval, name: str) -> Tensor:
    """Return the tensor that stands for an argument while the function is traced."""
    if not is_leaf_cell(leaf):
        return Tensor(trace.new_input(aval, name))
    variable = Leaf.abstract(aval, trace, requires_grad=True)
    variable.name = name
    if hasattr(leaf._variable, "hooks"):
        variable.hooks = leaf._variable.hooks
    stand_in = Tensor(variable)
    variable.cell = weakref.ref(stand_in)
    return stand_in


@contextmanager
def _witnessing() -> Iterator[list[weakref.ref[Any]]]:
    """Collect the tensors that are made and then changed inside."""
    before = Trace.witness
    made: list[weakref.ref[Any]] = []
    Trace.witness = made
    try:
        yield made
    finally:
        Trace.witness = before


def _refuse_kept(
    name: str, trace: Trace, made: Sequence[weakref.ref[Any]], given: Sequence[Any]
) -> None:
    """Raise TracerError if the function kept a tensor that it made and changed: state, but lost.

    Such state must be made before, so that it is a tensor that the compiled function changes.
    """
    known = {id(leaf) for leaf in given}

    def kept() -> list[Any]:
        alive = [cell for reference in made if (cell := reference()) is not None]
        return [
            cell
            for cell in alive
            if id(cell) not in known and getattr(cell._variable, "trace", None) is trace
        ]

    if kept() and gc.collect() >= 0 and (left := kept()):
        variable = left[0]._variable
        raise TracerError(
            f"compile: {name} kept a tensor that it made and changed ({variable.aval}"
            f"{variable.made_by()}); make such state before the call, so that the compiled "
            "function can change it, or return the tensor."
        )


def _effects(
    writes: Sequence[Write], trace: Trace, first_cell: int, outputs: list[Variable]
) -> list[Effect]:
    """Return what the function changed; add the new values to `outputs`."""
    lifted = {
        (id(cell), attribute): (place, v)
        for place, (cell, attribute, v) in enumerate(
            [
                *((cell, "_variable", v) for cell, v in trace.cell_inputs),
                *((cell, "_grad", v) for cell, v in trace.grad_inputs),
            ],
            first_cell,
        )
    }
    effects: list[Effect] = []
    for write in writes:
        if write.after is write.before:
            continue
        after = write.after._variable if isinstance(write.after, Tensor) else write.after
        if after is None:
            effects.append(Effect(write.cell, write.attribute, None))
            continue
        donor = None
        if (id(write.cell), write.attribute) in lifted:
            place, v = lifted[id(write.cell), write.attribute]
            donor = place if v.aval[:2] == after.aval[:2] else None
        effects.append(Effect(write.cell, write.attribute, len(outputs), donor))
        outputs.append(after)
    return effects

"""One compiled version of a function: its graph, its native code, and where its arrays live."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.ad.call import Refusal, Refused, record_call
from wengert.compile.pullback import Pullback
from wengert.compile.settings import SETTINGS
from wengert.compile.trace.arguments import argument_array, contiguous, hooks_of
from wengert.compile.trace.reach import Held
from wengert.compile.trace.stores import Store
from wengert.graph import memory, sharing
from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph, evaluate
from wengert.graph.mode import THREAD
from wengert.graph.tracing import Guard
from wengert.graph.variable import Aval, Leaf, Variable
from wengert.tensor import effects, inplace, pytree
from wengert.tensor.tensor import Tensor

if TYPE_CHECKING:
    from wengert.compile.call.table import Program
    from wengert.compile.native.executable import Executable


@dataclass(frozen=True, slots=True)
class Home:
    """Where a tensor stands: among the arguments or outside, itself or as a gradient."""

    cell: Any
    """The tensor; for an argument its place among the leaves of the arguments; for one that each
    call replaces, what reads its place."""
    is_grad: bool = False

    @property
    def moves(self) -> bool:
        """Whether another tensor may stand here at each call."""
        return self.is_grad or isinstance(self.cell, int | functools.partial)

    def holder(self, leaves: Sequence[Any]) -> Any:
        """Return the cell, of the arguments of this call."""
        if isinstance(self.cell, functools.partial):
            return self.cell()
        return leaves[self.cell] if isinstance(self.cell, int) else self.cell

    def tensor(self, leaves: Sequence[Any]) -> Any:
        """Return the tensor as it is now; None if there is no gradient."""
        holder = self.holder(leaves)
        return holder._grad if self.is_grad else holder


@dataclass(frozen=True, slots=True)
class Captured:
    """A tensor that the graph reads, and what its code relies on."""

    home: Home
    aval: Aval
    requires_grad: bool
    hooks: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """A cell that the function changes: what it is bound to after each call."""

    home: Home
    output: int | None
    """The place among the graph's outputs; None: the gradient is set to None."""
    donor: int | None = None
    """The input whose buffer the output takes over."""
    requires_grad: bool | None = None
    """Whether it requires gradients from now on, if the function switched that."""


@dataclass(frozen=True, slots=True)
class Static:
    """A leaf of the result that is no tensor: what the function returned when it was traced."""

    value: Any

    @property
    def is_fixed(self) -> bool:
        """Whether each call may return the very object; a copy of what has no hash."""
        return isinstance(self.value, Hashable)

    def given(self) -> Any:
        """Return what a call returns."""
        return self.value if self.is_fixed else copy.deepcopy(self.value)


@dataclass(frozen=True, slots=True)
class Number:
    """A leaf of the result that is a Python number: a place among the outputs."""

    output: int


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done when native code has run: tensors are stored, and the result put together.

    Attributes
    ----------
    stores : list of Store
        The places outside where the function stores tensors.
    spec : object
        The structure of the result.
    leaves : list
        For each leaf of the result: the place among the tensors, `Number` of it, or `Static`.
    """

    stores: list[Store]
    spec: Any
    leaves: list[Any]

    def __call__(self, arguments: Sequence[Any], *tensors: Tensor) -> Any:
        """Store tensors; return the result."""
        for store in self.stores:
            store.carry_out(arguments, tensors)
        return pytree.unflatten(self.spec, [_result(leaf, tensors) for leaf in self.leaves])


def _result(leaf: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(leaf, Static):
        return leaf.given()
    return tensors[leaf.output].item() if isinstance(leaf, Number) else tensors[leaf]


@dataclass(slots=True)
class Entry:
    """One compiled version of a function.

    Attributes
    ----------
    graph : Graph
        Arguments, cells and hyper-parameters in; results and new values of cells out.
    sources : list of int or Captured
        The inputs before the hyper-parameters: places of arguments that are arrays or numbers, and
        tensors.
    hypers : list of callable
        The numbers read afresh at each call.
    guards : list of Guard
        What must be as it was when the function was traced.
    modes : list of (object, str, value)
        The attributes of objects that the function sets to modes.
    grads_known : list of (Home, bool)
        The tensors that must have a gradient, or must have none.
    same : list of (Home, Home)
        The places at which one tensor must stand.
    held : Held
        Where the tensors and modules were found that the function reads from outside.
    effects : list of Effect
        The cells that change.
    finish : Finish
        What is done at the end of a call.
    shown : list of int
        The outputs that are results: what the function returns, then what it only stores.
    results : Graph
        The graph with the results alone as its outputs.
    pullback : Pullback
        The backward pass of `results`.
    obstacle : str or None
        Why no derivative can pass through a call, if it cannot.
    run : Executable
        The native code of `graph`.
    donors : dict of int to int
        The outputs that take over the memory of an input.
    donated : frozenset of int
        Those inputs.
    lasting : frozenset of int
        The gradients among the outputs that do not: calls without Python write to memory they have.
    """

    graph: Graph
    sources: list[int | Captured]
    hypers: list[Callable[[], float]]
    guards: list[Guard]
    modes: list[tuple[Any, str, Any]]
    grads_known: list[tuple[Home, bool]]
    same: list[tuple[Home, Home]]
    held: Held
    effects: list[Effect]
    finish: Finish
    shown: list[int]
    results: Graph
    pullback: Pullback
    obstacle: str | None
    run: Executable
    donors: dict[int, int]
    donated: frozenset[int]
    lasting: frozenset[int]
    cells: list[Captured] = field(init=False)
    fixed: list[Any] = field(init=False)
    """The tensors outside among `cells`; None for those that are looked up at each call."""
    moving: list[tuple[int, Home]] = field(init=False)
    differentiable: bool = field(init=False)
    version: int = field(init=False)
    runs: int = 0
    program: Program | None = None
    """What lets calls be made without Python."""

    def __post_init__(self) -> None:
        self.cells = [source for source in self.sources if isinstance(source, Captured)]
        homes = [captured.home for captured in self.cells]
        self.fixed = [None if home.moves else home.cell for home in homes]
        self.moving = [(place, home) for place, home in enumerate(homes) if home.moves]
        self.differentiable = any(v.requires_grad for v in self.results.outputs)
        self.version = effects.structure.version

    def broken_guard(self, leaves: Sequence[Any]) -> str | None:
        """Return what differs from when the function was traced, or None."""
        for guard in self.guards:
            if guard.read() != guard.value:
                return guard.what
        for store in self.finish.stores:  # before what is looked up in their places
            if store.changed():
                return f"{store.label} holds something else"
        for home, known in self.grads_known:
            if (home.holder(leaves)._grad is not None) is not known:
                return "whether .grad is None"
        return self._changed_place() or self._changed_tensor(leaves)

    def _changed_place(self) -> str | None:
        """Return which place holds something else; look at what announces changes after one."""
        now = effects.structure.version
        if self.version != now:
            for captured in self.cells:
                home = captured.home
                if not home.moves and hooks_of(home.cell._variable) != captured.hooks:
                    return "the hooks of a captured tensor"
            changed = self.held.changed(announced=True)
            if changed is not None:
                return changed
            self.version = now
        return self.held.changed()

    def _changed_tensor(self, leaves: Sequence[Any]) -> str | None:
        for one, other in self.same:
            if one.tensor(leaves) is not other.tensor(leaves):
                return "two tensors were one"
        tensors = self._tensors(leaves)
        for captured, tensor in zip(self.cells, tensors, strict=True):
            variable, aval = tensor._variable, captured.aval
            value = variable.value
            if value is None or value.shape != aval.shape or value.dtype != aval.dtype:
                return f"a captured tensor changed from {aval} to {variable.aval}"
            if variable.requires_grad is not captured.requires_grad:
                return "requires_grad of a captured tensor"
        return "two tensors are one" if len(set(map(id, tensors))) < len(tensors) else None

    def _tensors(self, leaves: Sequence[Any]) -> list[Any]:
        """Return the tensors that the graph reads, as they are now."""
        tensors = self.fixed.copy()
        for place, home in self.moving:
            tensors[place] = home.tensor(leaves)
        return tensors

    def captures_recorded(self, leaves: Sequence[Any]) -> bool:
        """Tell whether a captured tensor was made by operations that a backward pass will visit."""
        return any(
            captured.requires_grad and not isinstance(tensor._variable, Leaf)
            for captured, tensor in zip(self.cells, self._tensors(leaves), strict=True)
        )

    def is_tangled(self, leaves: Sequence[Any]) -> bool:
        """Tell whether memory shared with NumPy is to be written that native code cannot write.

        It is not in order, or that of two inputs: what is written to one is seen in the other, but
        the graph knows nothing of it.
        """
        if not sharing.noted:
            return False
        tensors = iter(self._tensors(leaves))
        found = [
            leaves[source] if isinstance(source, int) else next(tensors)._variable.value
            for source in self.sources
        ]
        return any(
            np.may_share_memory(found[place], other) if number != place else not other.flags.carray
            for place in self.donated
            if sharing.is_shared(found[place])
            for number, other in enumerate(found)
        )

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run on the leaves of the arguments; change the cells; return the result.

        No other call of the function may run from before the cells are read until they are changed.
        """
        inputs = self._inputs(leaves)
        recorded = THREAD.now.recording and self.differentiable
        given = self._given(leaves, inputs) if recorded and self.obstacle is None else ()
        outputs = self._outputs(inputs)
        if SETTINGS.enabled:
            self.run.start(inputs, outputs)
        else:
            values = [np.array(value) for value in evaluate(self.graph, inputs)]
            for target, value in zip(outputs, values, strict=True):
                np.copyto(target, value)
        self._apply_effects(leaves, outputs)
        arrays = [outputs[place] for place in self.shown]
        variables: Sequence[Variable] = [Variable(array) for array in arrays]
        if given:
            variables = record_call(self.results, given, arrays, self.pullback)
        elif recorded and self.obstacle is not None:
            variables = self._refused(Refusal(self.results, self.obstacle), arrays)
        return self.finish(leaves, *(Tensor(variable) for variable in variables))

    def _refused(self, refusal: Refusal, arrays: Sequence[Array]) -> list[Variable]:
        return [
            Refused(array, refusal) if output.requires_grad else Variable(array)
            for array, output in zip(arrays, self.results.outputs, strict=True)
        ]

    def _inputs(self, leaves: Sequence[Any]) -> list[Array]:
        """Return an array for each input; those that are written in buffers of their own."""
        tensors, donated = iter(self._tensors(leaves)), self.donated
        inputs = [
            argument_array(leaves[source])
            if isinstance(source, int)
            else inplace.own(next(tensors))
            if place in donated
            else contiguous(next(tensors)._variable)
            for place, source in enumerate(self.sources)
        ]
        inputs += [np.asarray(hyper(), np.float64) for hyper in self.hypers]
        return inputs

    def _given(self, leaves: Sequence[Any], inputs: Sequence[Array]) -> tuple[Variable, ...]:
        """Return the inputs as variables, from which the results can be computed again."""
        given = [
            Variable(array.copy())
            if isinstance(source, int) or place in self.donated
            else source.home.tensor(leaves)._variable
            for place, (source, array) in enumerate(zip(self.sources, inputs, strict=False))
        ]
        return (*given, *(Variable(array) for array in inputs[len(given) :]))

    def _outputs(self, inputs: Sequence[Array]) -> list[Array]:
        return [
            inputs[self.donors[place]] if place in self.donors else memory.empty(v.shape, v.dtype)
            for place, v in enumerate(self.graph.outputs)
        ]

    def _apply_effects(self, leaves: Sequence[Any], outputs: Sequence[Array]) -> None:
        for owner, name, value in self.modes:
            vars(owner)[name] = value
        for effect in self.effects:
            cell = effect.home.holder(leaves)
            if effect.requires_grad is not None:
                cell.requires_grad_(effect.requires_grad)
            if effect.donor is not None:
                continue
            if effect.output is None:
                cell._grad = None
            elif effect.home.is_grad:
                cell._grad = Tensor(Variable(outputs[effect.output]))
            else:
                inplace.rebind(cell, outputs[effect.output])

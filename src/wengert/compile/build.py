"""Tracing a function and compiling its graph: one `Entry` comes of it."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from wengert.compile.entry import Captured, Effect, Entry, Finish, Home, Number, Static
from wengert.compile.pullback import Pullback
from wengert.compile.trace.arguments import argument_aval, hooks_of
from wengert.compile.trace.kept import made_to_stay, refuse_kept
from wengert.compile.trace.reach import Held, Read, Survey
from wengert.compile.trace.stores import Store, moved_error, moving, restore, stores_of
from wengert.graph.errors import TracerError
from wengert.graph.graph import Graph, drop_aliases
from wengert.graph.tracing import Trace, Way
from wengert.graph.variable import Leaf, Variable
from wengert.ops.convert import weak_value
from wengert.tensor import pytree
from wengert.tensor.effects import changed
from wengert.tensor.tensor import Tensor
from wengert.tensor.traced import argument_names


@dataclass(slots=True)
class _Run:
    """What one run of a function on variables without values has left."""

    trace: Trace
    inputs: list[Variable]
    sources: list[int | Captured]
    outputs: list[Variable]
    result_spec: Any
    results: list[Tensor]
    """The tensors among the leaves of the result."""
    result_leaves: list[Any]
    places: dict[int, int]
    """For the cell that stands for an argument, by identity, its place among the leaves."""
    stand_ins: list[weakref.ref[Tensor]]
    """These cells."""

    moved: dict[int, Read] = field(default_factory=dict)
    """For a tensor that each call replaces where it stands, by identity, how to read that place."""

    def move(self, moved: dict[int, Read]) -> None:
        """Let tensors be looked up where they stand."""
        self.moved = moved
        self.sources = [
            replace(source, home=self.home(source.home.cell, source.home.is_grad))
            if isinstance(source, Captured)
            else source
            for source in self.sources
        ]

    def home(self, cell: Any, is_grad: bool = False) -> Home:
        """Return where a cell of the trace stands at each call."""
        known: Any = self.moved.get(id(cell), cell)
        return Home(self.places.get(id(cell), known), is_grad)


def build(
    function: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    threads: int | None,
) -> Entry:
    """Trace `function` and compile its graph.

    Parameters
    ----------
    function : callable
        What to compile.
    name : str
        Its name, for messages.
    args, kwargs : tuple, dict
        The arguments.
    threads : int, optional
        How many threads the native code uses; None: as many as turn out to be quickest.

    Raises
    ------
    TracerError
        If the function kept a tensor that it made where no call can store its own, or put another
        one where it reads one from.
    """
    from wengert.compile.native.executable import compile_graph

    trace = Trace(name, lifts=True)
    run, outside = _observed(trace, function, args, kwargs)
    count = len(run.outputs)
    effects = _effects(run)
    shown = [*range(count), *range(len(run.outputs), len(run.outputs) + len(outside.stored))]
    outputs = drop_aliases([*run.outputs, *(cell._variable for cell in outside.stored)])
    graph = Graph(run.inputs, outputs, name)
    grads_known = [(run.home(cell), known) for cell, known in trace.grads_known]
    same, obstacle = _same(run), _obstacle(name, effects, run)
    hypers, guards = [hyper for hyper, _ in trace.hyper_inputs], trace.guards
    modes = [x for x in trace.modes.values() if getattr(x[0], "_original", None) is None]
    trace.forget()
    readers = [*hypers, *(guard.read for guard in guards)]
    refuse_kept(name, trace, graph, run.stand_ins, [*run.results, *outside.stored], readers)
    held = outside.held
    if moved := outside.moved or held.changed() or held.changed(announced=True):
        raise moved_error(name, moved)
    donors = {e.output: e.donor for e in effects if e.output is not None and e.donor is not None}
    grads = [e for e in effects if e.home.is_grad and e.donor is None]
    lasting = frozenset(e.output for e in grads if e.output is not None)
    results = Graph(run.inputs, [outputs[place] for place in shown], name)
    return Entry(
        graph=graph,
        sources=run.sources,
        hypers=hypers,
        guards=guards,
        modes=modes,
        grads_known=grads_known,
        same=same,
        held=held,
        effects=effects,
        finish=Finish(outside.stores, run.result_spec, run.result_leaves),
        shown=shown,
        results=results,
        pullback=Pullback(results, threads),
        obstacle=obstacle,
        run=compile_graph(graph, donors, threads, lasting),
        donors=donors,
        donated=frozenset(donors.values()),
        lasting=lasting,
    )


class _Outside(NamedTuple):
    """What a run has read and stored outside; the places hold what they held before.

    Attributes
    ----------
    held : Held
        The places of what it has read.
    moved : str or None
        Which of them it has changed, other than by storing a tensor, if it has.
    stores : list of Store
        The places where it has stored tensors.
    stored : list of Tensor
        The tensors there that it did not return.
    """

    held: Held
    moved: str | None
    stores: list[Store]
    stored: list[Tensor]


def _observed(
    trace: Trace, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[_Run, _Outside]:
    """Run `function` in `trace`, and look at what it reaches before and after."""
    roots = [function, *args, *kwargs.values()]
    survey = Survey(roots)
    try:
        run = _run(trace, function, args, kwargs)
        changes = survey.changes(Survey(roots))
        stores, stored = stores_of(trace, changes, run.results, run.places)
        run.move(moving(stores, changes, survey))
        held = survey.held(trace, run.moved, set(map(id, made_to_stay(trace))))
        outside = _Outside(held, held.moved(), stores, stored)
    except BaseException:
        restore(survey.changes(Survey(roots)))
        raise
    restore(changes)
    return run, outside


def _run(
    trace: Trace, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Run:
    """Run `function` in `trace`, with stand-ins for the leaves of its arguments."""
    leaves, spec = pytree.flatten((args, kwargs))
    names = argument_names(function, args, kwargs)
    trace.made = []
    replaced = list(leaves)
    stand_ins: dict[int, int] = {}
    arguments: dict[int, Variable] = {}
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            first = next(i for i, other in enumerate(leaves) if other is leaf)
            replaced[place] = replaced[first] if first < place else _stand_in(leaf)
            stand_ins.setdefault(id(replaced[place]), place)
            trace.identify(leaf, replaced[place], Way(replaced[place], "_variable"))
    with trace:
        for place, leaf in enumerate(leaves):
            aval = argument_aval(leaf)
            if isinstance(leaf, Tensor):
                if stand_ins[id(replaced[place])] != place:
                    continue
                arguments[place] = variable = trace.read(replaced[place])
                variable.name = names[place]
                if isinstance(variable, Leaf):
                    variable.cell = weakref.ref(replaced[place])
            elif aval is not None:
                arguments[place] = trace.new_input(aval, names[place])
                replaced[place] = Tensor(arguments[place])
        new_args, new_kwargs = pytree.unflatten(spec, replaced)
        results, result_spec = pytree.flatten(function(*new_args, **new_kwargs))
        _refuse_replaced(trace.what, pytree.modules((new_args, new_kwargs)))
        returned = [leaf for leaf in results if isinstance(leaf, Tensor)]
        outputs = [leaf._read() for leaf in returned]
    sources, inputs = _sources(trace, arguments, stand_ins)
    leaves = _result_leaves(trace.what, results)
    lent = [weakref.ref(replaced[place]) for place in stand_ins.values()]
    return _Run(trace, inputs, sources, outputs, result_spec, returned, leaves, stand_ins, lent)


def _refuse_replaced(name: str, modules: Sequence[Any]) -> None:
    """Raise TracerError if copies of modules among the arguments were given other buffers."""
    for part in (part for module in modules for part in module.modules()):
        for buffer, _ in part.named_buffers(recurse=False):
            original = part._original
            if original is not None and vars(part)[buffer] is not vars(original).get(buffer):
                raise TracerError(
                    f"compile: {name} replaced the buffer {buffer!r} of a {type(part).__name__} "
                    "that is an argument, which would be lost: change it in place (copy_), or let "
                    "the function find the module by its name."
                )


def _stand_in(leaf: Tensor) -> Tensor:
    """Return a cell that stands for an argument: like it, and made before the trace."""
    made = Tensor(leaf._variable)
    made._grad = leaf._grad
    made._stamp = -1
    return made


def _result_leaves(name: str, results: Sequence[Any]) -> list[Any]:
    leaves: list[Any] = []
    place = 0
    for leaf in results:
        if isinstance(leaf, Iterator | Awaitable):
            raise TracerError(
                f"compile: {name} returned a {type(leaf).__name__}, whose code would run once; "
                "return a list of what it yields, or compile what is to run at each step."
            )
        if not isinstance(leaf, Tensor):
            leaves.append(Static(leaf))
            continue
        leaves.append(Number(place) if weak_value(leaf._variable) is not None else place)
        place += 1
    return leaves


def _sources(
    trace: Trace, arguments: dict[int, Variable], places: dict[int, int]
) -> tuple[list[int | Captured], list[Variable]]:
    """Return the inputs of the graph and where they come from: the arguments first."""
    known = {v: Home(places.get(id(cell), cell)) for cell, v in trace.cell_inputs}
    grads = {v: Home(places.get(id(cell), cell), True) for cell, v in trace.grad_inputs}
    outside = [v for v in known if v not in set(arguments.values())]
    place_of = {v: place for place, v in arguments.items()}
    inputs = [*arguments.values(), *outside, *grads]
    homes = {**known, **grads}
    sources = [
        Captured(homes[v], v.aval, v.requires_grad, hooks_of(v)) if v in homes else place_of[v]
        for v in inputs
    ]
    return sources, [*inputs, *(v for _, v in trace.hyper_inputs)]


def _same(run: _Run) -> list[tuple[Home, Home]]:
    """Return the pairs of places that led to one tensor, each once."""
    pairs = {tuple((id(way.cell), way.attribute) for way in ways): ways for ways in run.trace.same}
    return [
        (
            run.home(one.cell, one.attribute == "_grad"),
            run.home(other.cell, other.attribute == "_grad"),
        )
        for one, other in pairs.values()
    ]


def _effects(run: _Run) -> list[Effect]:
    """Return what the function changed; add the new values to the outputs of the run."""
    trace, outputs = run.trace, run.outputs
    place_of = {v: place for place, v in enumerate(run.inputs)}
    lifted = {
        **{(id(cell), "_variable"): v for cell, v in trace.cell_inputs},
        **{(id(cell), "_grad"): v for cell, v in trace.grad_inputs},
    }
    effects: list[Effect] = []
    for write in changed(trace):
        home = run.home(write.cell, write.attribute == "_grad")
        after = write.after._variable if isinstance(write.after, Tensor) else write.after
        if after is None:
            effects.append(Effect(home, None))
            continue
        before = lifted.get((id(write.cell), write.attribute))
        fits = before is not None and before.aval[:2] == after.aval[:2]
        donor = place_of[before] if fits and before is not None else None
        effects.append(Effect(home, len(outputs), donor, _switched(before, after)))
        outputs.append(after)
    return effects


def _switched(before: Variable | None, after: Variable) -> bool | None:
    """Return whether a cell is to require gradients from now on; None if that stays as it is."""
    if not isinstance(before, Leaf) or before.requires_grad == after.requires_grad:
        return None
    return after.requires_grad if isinstance(after, Leaf) or before.requires_grad else None


def _obstacle(name: str, effects: Sequence[Effect], run: _Run) -> str | None:
    """Say why no derivative can pass through a call of the function, if none can.

    What is changed and requires no gradient (a running mean, the state of a random generator) is
    small and kept; parameters are not.
    """
    names = {id(cell): v.name for cell, v in run.trace.cell_inputs}
    arguments = {place: names.get(cell) for cell, place in run.places.items()}
    shown = {
        _shown(effect.home, names, arguments)
        for effect in effects
        if effect.home.is_grad
        or (effect.output is not None and run.outputs[effect.output].requires_grad)
    }
    if not shown:
        return None
    return (
        f"backward: this value comes from the compiled function {name}, which changed "
        f"{', '.join(sorted(shown))}; what it read is overwritten, so no derivative passes through "
        "it. Call backward() inside the compiled function, or return the value from a compiled "
        "function that leaves parameters and gradients alone."
    )


def _shown(home: Home, names: Mapping[int, str | None], arguments: Mapping[int, str | None]) -> str:
    """Return the name of a cell, from those of cells by identity and of arguments by place."""
    cell = home.cell
    name = arguments[cell] if isinstance(cell, int) else names.get(id(cell))
    name = name or getattr(cell, "name", None) or "a tensor"
    return f"{name}.grad" if home.is_grad else name

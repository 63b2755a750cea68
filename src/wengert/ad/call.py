"""Primitives that call a whole graph: recomputation and custom derivative rules.

They carry the graph as a static parameter; what the graph uses from outside is an explicit input,
so that derivatives reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.ad import forward, reverse
from wengert.ad.batching import batch
from wengert.ad.tape import horizon, isolate
from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.graph import Graph, evaluate_now, replay
from wengert.graph.mode import recording
from wengert.graph.primitive import Contribution, Params, Primitive, Sample, register
from wengert.graph.source import caller
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval, Operation, Variable, next_serial
from wengert.ops.batching import with_batch
from wengert.ops.derivatives import Rules, add_all, emit, zeros_like
from wengert.ops.lowering import Inexact, Kernels, View


def close(graph: Graph) -> tuple[Graph, tuple[Variable, ...]]:
    """Return `graph` with what it uses from outside as further inputs, and these variables.

    Constants through which no derivative can flow stay constants.
    """
    outside = tuple(v for v in graph.free if v.value is None or v.requires_grad)
    if not outside:
        return graph, ()
    return Graph((*graph.inputs, *outside), graph.outputs, graph.name), outside


def _infer(*avals: Aval, graph: Graph, **rules: Any) -> tuple[Aval, ...]:
    del avals, rules
    return tuple(v.aval for v in graph.outputs)


def _evaluate(*arrays: Array, graph: Graph, **rules: Any) -> tuple[Array, ...]:
    del rules
    return evaluate_now(graph, arrays)


def _lower(kernels: Kernels, *xs: View, graph: Graph, **rules: Any) -> tuple[View, ...]:
    del rules
    return kernels.inline(graph, *xs)


def _rerun(
    graph: Graph, xs: tuple[Variable, ...]
) -> tuple[list[Variable], tuple[Variable, ...], int]:
    since = horizon()
    with recording(True):
        fresh = [isolate(x) if x.dtype.kind == "f" else x for x in xs]
        return fresh, replay(graph, fresh), since


def _pullback_checkpoint(
    y_bar: Sequence[Variable | None],
    y: Sequence[Variable],
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    """Compute the graph again, then pull back through it; or let who computed it do so."""
    del y
    pull = params.get("pull")
    made: Sequence[Variable | None] | None = pull(y_bar, xs, needed) if pull else None
    if made is not None:
        return made
    fresh, outputs, since = _rerun(params["graph"], xs)
    wrt = [x for x, need in zip(fresh, needed, strict=True) if need]
    bars, _ = reverse.vjp(outputs, y_bar, wrt, since)
    found = iter(bars)
    return [next(found) if need else None for need in needed]


def _pushforward_checkpoint(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Sequence[Variable],
    xs: tuple[Variable, ...],
    params: Params,
) -> Sequence[Variable | None]:
    del primitive, y
    fresh, outputs, since = _rerun(params["graph"], xs)
    moving = [(x, dot) for x, dot in zip(fresh, x_dots, strict=True) if dot is not None]
    dots, _ = forward.jvp(outputs, [x for x, _ in moving], [dot for _, dot in moving], since)
    return dots


def batched_graph(
    graph: Graph, batched: Sequence[bool], size: int
) -> tuple[Graph, tuple[bool, ...]]:
    """Return the graph of a whole batch, and which of its outputs are batched."""
    trace = Trace(graph.name)
    with trace:
        inputs = [
            trace.new_input(
                Aval((size, *v.shape) if b else v.shape, v.dtype), v.name, v.requires_grad
            )
            for v, b in zip(graph.inputs, batched, strict=True)
        ]
        outputs, flags = batch(graph, inputs, batched, size)
    return Graph(inputs, outputs, graph.name), flags


def _batch_checkpoint(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Any, Any]:
    graph, flags = batched_graph(params["graph"], batched, size)
    return bind(primitive, xs, {"graph": graph}), flags


Pull = Callable[
    [Sequence[Variable | None], Sequence[Variable], Sequence[bool]],
    Sequence[Variable | None] | None,
]
"""``pull(y_bar, xs, needed)`` returns cotangents, or None if it cannot."""


def record_call(
    graph: Graph, inputs: tuple[Variable, ...], values: Sequence[Array], pull: Pull
) -> tuple[Variable, ...]:
    """Return variables for `values`, which `graph` gave for `inputs` elsewhere.

    A derivative passes through them as through a checkpoint, by computing the graph again; a
    backward pass that is not recorded through `pull`, if that can.
    """
    return _recorded(checkpoint_p, inputs, {"graph": graph, "pull": pull}, values)


class Refusal:
    """Why the values that a graph gave elsewhere cannot be differentiated, nor given again.

    Parameters
    ----------
    graph : Graph
        It gave them.
    reason : str
        What RuntimeError says.
    """

    def __init__(self, graph: Graph, reason: str) -> None:
        def refuse(*_: Any) -> Sequence[Variable]:
            raise RuntimeError(reason)

        self._rules = {"graph": graph, "count": 1, "pullback": refuse, "pushforward": refuse}

    def operation(self) -> Operation:
        """Return an operation that raises when a derivative reaches it."""
        return Operation(custom_p, (_OVERWRITTEN,), self._rules, None, None, "")


class Refused(Variable):
    """A value that requires gradients, and refuses the derivative that reaches it.

    Most such values, the losses of training steps, are only printed: the operation that made it
    is there when it is asked for.

    Attributes
    ----------
    refusal : Refusal
        Why.
    serial : int
        When it was made, in the order of operations.
    """

    __slots__ = ("refusal", "serial")

    def __init__(self, value: Array, refusal: Refusal) -> None:
        super().__init__(value, None, True)
        self.refusal = refusal
        self.serial = next_serial()

    @property
    def op(self) -> Operation:
        """The operation that refuses."""
        made: Operation | None = _kept_op.__get__(self)
        if made is None:
            made = self.refusal.operation()
            made.serial = self.serial
            made.set_outputs((self,))
            _kept_op.__set__(self, made)
        return made

    @op.setter
    def op(self, op: Operation | None) -> None:
        _kept_op.__set__(self, op)


_kept_op: Any = vars(Variable)["op"]


_OVERWRITTEN = Variable(np.zeros(()), requires_grad=True)
"""Stands for what a call read, which is gone, so that a derivative comes by."""


def _recorded(
    primitive: Primitive, inputs: tuple[Variable, ...], params: Params, values: Sequence[Array]
) -> tuple[Variable, ...]:
    graph = params["graph"]
    op = Operation(primitive, inputs, params, caller(), None, "")
    outputs = tuple(
        Variable(value, op, v.requires_grad, index)
        for index, (value, v) in enumerate(zip(values, graph.outputs, strict=True))
    )
    op.set_outputs(outputs)
    return outputs


def _sample_graph(dtype: np.dtype[Any]) -> Graph:
    from wengert.ops.exponential import sin

    trace = Trace("sample")
    with trace:
        x = trace.new_input(Aval((2, 3), dtype))
        y = trace.new_input(Aval((3,), dtype))
        outputs = [sin(x) * y, x + y]
    return Graph([x, y], outputs, "sample")


def _arrays(rng: np.random.Generator, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    return rng.standard_normal((2, 3)).astype(dtype), rng.standard_normal(3).astype(dtype)


def _checkpoint_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    yield Sample(_arrays(rng, dtype), {"graph": _sample_graph(dtype)}, (0, 1))


checkpoint_p = register(
    Primitive(
        name="checkpoint",
        notation=r"\operatorname{{checkpoint}}({0})",
        infer=_infer,
        evaluate=_evaluate,
        derivative=Rules(_pullback_checkpoint, _pushforward_checkpoint),
        batch=_batch_checkpoint,
        samples=_checkpoint_samples,
        several=True,
        lower=Inexact(_lower, normwise=8),  # that of its samples, which call `sin`
        recomputes=True,
    )
)


Rule = Callable[[tuple[Variable, ...], Sequence[Variable], Sequence[Variable]], Sequence[Variable]]
"""``rule(xs, ys, bars_or_dots)``: linear in the last. `ys` are all outputs, residuals included;
cotangents and tangents are those of the first outputs only, which the rule is about."""


def transposed(rule: Rule, along: str, count: int) -> Rule:
    """Return the transpose of a rule that is linear in its last argument.

    A pushforward gives a pullback and the other way round: the transpose of ``t -> rule(t)`` is
    its pullback, which does not depend on the point, since the rule is linear.

    Parameters
    ----------
    rule : callable
        The rule that the user gave.
    along : {"xs", "ys"}
        What the last argument of `rule` is shaped like.
    count : int
        How many outputs the rule is about.
    """

    def transpose(
        xs: tuple[Variable, ...], ys: Sequence[Variable], given: Sequence[Variable]
    ) -> Sequence[Variable]:
        since = horizon()
        with recording(True):
            points = [isolate(zeros_like(v)) for v in (xs if along == "xs" else ys[:count])]
            images = rule(xs, ys, points)
        bars, _ = reverse.vjp(images, given, points, since)
        return [zeros_like(p) if b is None else b for p, b in zip(points, bars, strict=True)]

    return transpose


def _pullback_custom(
    y_bar: Sequence[Variable | None],
    y: Sequence[Variable],
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    """Apply the user's rule; residuals are differentiated as the graph that computes them."""
    count = params["count"]
    bars = [zeros_like(v) if bar is None else bar for v, bar in zip(y, y_bar, strict=True)]
    found = params["pullback"](xs, y, bars[:count])
    result: list[Variable | None] = [
        bar if need else None for bar, need in zip(found, needed, strict=True)
    ]
    if all(bar is None for bar in y_bar[count:]):
        return result
    residual = (*(None,) * count, *y_bar[count:])
    more = _pullback_checkpoint(residual, y, xs, {"graph": params["graph"]}, needed)
    return [
        add_all((mine, extra))  # type: ignore[arg-type]
        for mine, extra in zip(result, more, strict=True)
    ]


def _pushforward_custom(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Sequence[Variable],
    xs: tuple[Variable, ...],
    params: Params,
) -> Sequence[Variable | None]:
    count = params["count"]
    dots = [zeros_like(x) if dot is None else dot for x, dot in zip(xs, x_dots, strict=True)]
    found: Sequence[Variable | None] = params["pushforward"](xs, y, dots)
    if len(y) == count:
        return found
    rest = _pushforward_checkpoint(primitive, x_dots, y, xs, {"graph": params["graph"]})
    return [*found, *rest[count:]]


def _batched_rule(
    params: Params, along: str, batched: Sequence[bool], out_batched: Sequence[bool], size: int
) -> Rule:
    """Return `rule` for a whole batch: traced for one example, then batched."""
    rule: Rule = params["pullback" if along == "ys" else "pushforward"]
    about = tuple(out_batched[: params["count"]])

    def apply(
        xs: tuple[Variable, ...], ys: Sequence[Variable], given: Sequence[Variable]
    ) -> Sequence[Variable]:
        flags = (*batched, *out_batched, *(about if along == "ys" else tuple(batched)))
        values = (*xs, *ys, *given)
        trace = Trace("custom rule")
        with trace:
            lanes = [
                trace.new_input(Aval(v.shape[1:] if b else v.shape, v.dtype), None, v.requires_grad)
                for v, b in zip(values, flags, strict=True)
            ]
            n, m = len(xs), len(ys)
            found = rule(tuple(lanes[:n]), lanes[n : n + m], lanes[n + m :])
        made, made_flags = batch(Graph(lanes, found, "rule"), values, flags, size)
        wanted = tuple(batched) if along == "ys" else about
        return [
            _fit(v, has, want, size) for v, has, want in zip(made, made_flags, wanted, strict=True)
        ]

    return apply


def _fit(v: Variable, batched: bool, wanted: bool, size: int) -> Variable:
    """Sum a contribution over the batch where its variable is shared by all examples."""
    if wanted:
        return with_batch(v, batched, size)
    total: Variable = emit("sum", with_batch(v, batched, size), axes=(0,))
    return total


def _batch_custom(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Any, Any]:
    graph, flags = batched_graph(params["graph"], batched, size)
    rules = {
        "count": params["count"],
        "pullback": _batched_rule(params, "ys", batched, flags, size),
        "pushforward": _batched_rule(params, "xs", batched, flags, size),
    }
    return bind(primitive, xs, {"graph": graph, **rules}), flags


def _custom_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    graph = _sample_graph(dtype)

    def pushforward(
        xs: tuple[Variable, ...], ys: Sequence[Variable], dots: Sequence[Variable]
    ) -> Sequence[Variable]:
        from wengert.ops.exponential import cos, sin

        del ys
        return [cos(xs[0]) * xs[1] * dots[0] + sin(xs[0]) * dots[1], dots[0] + dots[1]]

    rules = {"pullback": transposed(pushforward, "xs", 2), "pushforward": pushforward}
    yield Sample(_arrays(rng, dtype), {"graph": graph, "count": 2, **rules}, (0, 1))


custom_p = register(
    Primitive(
        name="custom",
        notation=r"f({0})",
        infer=_infer,
        evaluate=_evaluate,
        derivative=Rules(_pullback_custom, _pushforward_custom),
        batch=_batch_custom,
        samples=_custom_samples,
        several=True,
        lower=Inexact(_lower, normwise=8),  # that of its samples, which call `sin`
    )
)

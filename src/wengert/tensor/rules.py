"""Recomputation and custom derivative rules, for functions of tensors."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from wengert.ad.call import checkpoint_p, close, custom_p, transposed
from wengert.ad.tape import close_off
from wengert.graph.bind import bind
from wengert.graph.graph import Graph
from wengert.graph.mode import THREAD
from wengert.graph.tracing import Trace
from wengert.graph.variable import Variable
from wengert.ops.derivatives import zeros_like
from wengert.tensor import pytree
from wengert.tensor.effects import Effects
from wengert.tensor.tensor import Tensor
from wengert.tensor.traced import is_array
from wengert.tensor.transforms import read


def traced_segment(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Graph, list[Variable], Any, Effects]:
    """Trace `function` as a part of a larger computation; `name` is what its user called.

    Returns
    -------
    graph : Graph
        Its outputs are the leaves of the result, then the values of the cells that were written.
    inputs : list of Variable
        The leaves of `args` that are arrays.
    spec : any
        The structure of the result.
    effects : Effects
        The cells that were written.
    """
    leaves, arg_spec = pytree.flatten(args)
    places = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
    inputs = [read(leaves[i]) for i in places]
    trace = Trace(name)
    with trace:
        for i, v in zip(places, inputs, strict=True):
            leaves[i] = Tensor(trace.new_input(v.aval, v.name, v.requires_grad))
        given = [leaves[i]._variable for i in places]
        result = function(*pytree.unflatten(arg_spec, leaves), **kwargs)
        out_leaves, spec = pytree.flatten(result)
        outputs = [read(leaf) for leaf in out_leaves]
    effects = Effects.of(name, trace)
    graph = Graph(given, [*outputs, *effects.outputs()], name)
    return graph, inputs, spec, effects


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` so that the backward pass computes its intermediates again.

    Nothing between the inputs and the outputs of `function` is stored: memory against time. The
    function is traced, so that it cannot branch on values; random numbers are drawn once and
    drawn again, equal, in the backward pass. The gradients have the same bits as without.

    Parameters
    ----------
    function : callable
        A function of tensors or containers of them; modules may be captured.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.grad(wg.checkpoint(lambda x: wg.sin(wg.sin(x))))(wg.tensor(0.0))
    tensor(1.)
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        name = f"checkpoint of {getattr(function, '__name__', type(function).__name__)}"
        graph, inputs, spec, effects = traced_segment(name, function, args, kwargs)
        whole, outside = close(graph)
        made = bind(checkpoint_p, (*inputs, *outside), {"graph": whole})
        outputs = [
            v if inside.requires_grad else close_off(v)
            for v, inside in zip(effects.carry_out(made), graph.outputs, strict=False)
        ]
        return pytree.unflatten(spec, [Tensor(v) for v in outputs])

    return wrapped


class custom_vjp:
    """A function with a pullback of the user's own.

    Parameters
    ----------
    function : callable
        The function, of tensors; it returns a tensor or a container of them.

    Raises
    ------
    RuntimeError
        When called, if no rule was given or the function captures a tensor that requires
        gradients, to which none would come.

    Examples
    --------
    >>> import wengert as wg
    >>> @wg.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> def forward(x):
    ...     return x, ()
    >>> def backward(residuals, y_bar):
    ...     return (wg.clip(y_bar, -1, 1),)
    >>> clipped.defvjp(forward, backward)
    >>> wg.grad(lambda x: 5 * clipped(x))(wg.tensor(2.0))
    tensor(1.)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        self._tracing: set[int] = set()

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Give the rule.

        Parameters
        ----------
        forward : callable
            Called like the function; returns ``(value, residuals)``.
        backward : callable
            ``backward(residuals, cotangent)`` returns a tuple of cotangents, one an argument.
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        """Call the function; a derivative goes through the rule."""
        if self._forward is None or self._backward is None:
            raise RuntimeError("custom_vjp: give the rule through .defvjp(forward, backward).")
        thread = threading.get_ident()
        if thread in self._tracing:  # the rule's forward pass calls the function itself
            return self.function(*args)
        name = getattr(self.function, "__name__", "custom_vjp")
        specs: dict[str, Any] = {}
        backward = self._backward
        self._tracing.add(thread)
        try:
            graph, inputs, _, effects = traced_segment(
                name, self._forward_leaves(name, self._forward, specs), args, {}
            )
        finally:
            self._tracing.discard(thread)
        _refuse_captures(name, graph)
        count, end = specs["count"], len(graph.outputs) - len(effects.writes)
        counts = [sum(map(is_array, pytree.flatten(argument)[0])) for argument in args]

        def pullback(
            xs: tuple[Variable, ...], ys: Sequence[Variable], bars: Sequence[Variable]
        ) -> Sequence[Variable]:
            kept = iter(ys[count:end])
            leaves = [Tensor(next(kept)) if x is _ARRAY else x for x in specs["rest"]]
            residuals = pytree.unflatten(specs["residuals"], leaves)
            cotangent = pytree.unflatten(specs["value"], [Tensor(v) for v in bars])
            return _cotangents(name, counts, backward(residuals, cotangent), xs)

        rules = {"pullback": pullback, "pushforward": transposed(pullback, "ys", count)}
        made = bind(custom_p, tuple(inputs), {"graph": graph, "count": count, **rules})
        effects.carry_out(made)
        return pytree.unflatten(specs["value"], [Tensor(v) for v in made[:count]])

    @staticmethod
    def _forward_leaves(
        name: str, forward: Callable[..., Any], specs: dict[str, Any]
    ) -> Callable[..., list[Any]]:
        """Return the rule's forward pass as a function to a flat list; note its structure."""

        def both(*inner: Any) -> list[Any]:
            pair = forward(*inner)
            if not isinstance(pair, tuple) or len(pair) != 2:  # noqa: PLR2004
                raise TypeError(
                    f"{name}: the rule's forward function must return (value, residuals), "
                    f"got {type(pair).__name__}."
                )
            leaves, specs["value"] = pytree.flatten(pair[0])
            rest, specs["residuals"] = pytree.flatten(pair[1])
            specs["count"], specs["rest"] = len(leaves), _statics(rest)
            return [*leaves, *(leaf for leaf in rest if is_array(leaf))]

        return both


class custom_jvp:
    """A function with a pushforward of the user's own; its pullback is the transpose.

    Parameters
    ----------
    function : callable
        The function, of tensors; it returns a tensor or a container of them.

    Examples
    --------
    >>> import wengert as wg
    >>> @wg.custom_jvp
    ... def half(x):
    ...     return x / 2
    >>> half.defjvp(lambda primals, tangents: (half(*primals), 10 * tangents[0]))
    >>> wg.grad(half)(wg.tensor(2.0))
    tensor(10.)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)
        self._rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> None:
        """Give the rule: ``rule(primals, tangents)`` returns ``(value, tangent)``."""
        self._rule = rule

    def __call__(self, *args: Any) -> Any:
        """Call the function; a derivative goes through the rule."""
        if self._rule is None:
            raise RuntimeError("custom_jvp: give the rule through .defjvp(rule).")
        name = getattr(self.function, "__name__", "custom_jvp")
        graph, inputs, spec, effects = traced_segment(name, self.function, args, {})
        _refuse_captures(name, graph)
        rule = self._rule
        count = len(graph.outputs) - len(effects.writes)
        leaves, arg_spec = pytree.flatten(args)
        statics = _statics(leaves)
        places = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

        def arguments(values: Sequence[Variable]) -> Any:
            filled = list(statics)
            for place, v in zip(places, values, strict=True):
                filled[place] = Tensor(v)
            return pytree.unflatten(arg_spec, filled)

        def pushforward(
            xs: tuple[Variable, ...], ys: Sequence[Variable], dots: Sequence[Variable]
        ) -> Sequence[Variable]:
            _, tangent = rule(arguments(xs), arguments(dots))
            found = [read(leaf) for leaf in pytree.flatten(tangent)[0]]
            return _matching(name, "tangents", found, ys[:count])

        rules = {"pullback": transposed(pushforward, "xs", count), "pushforward": pushforward}
        made = bind(custom_p, tuple(inputs), {"graph": graph, "count": count, **rules})
        return pytree.unflatten(spec, [Tensor(v) for v in effects.carry_out(made)])


_ARRAY = object()
"""Stands for an array among leaves that a rule remembers: it must not keep the array alive."""


def _statics(leaves: Sequence[Any]) -> list[Any]:
    return [_ARRAY if is_array(leaf) else leaf for leaf in leaves]


def _cotangents(
    name: str, counts: Sequence[int], found: Any, xs: Sequence[Variable]
) -> Sequence[Variable]:
    """Return what a rule gave, one for each array among the arguments; None is zero."""
    given = tuple(found) if isinstance(found, list | tuple) else (found,)
    if len(given) != len(counts):
        raise ValueError(
            f"{name}: its rule must return one cotangent for each of its {len(counts)} arguments, "
            f"got {len(given)}."
        )
    remaining = iter(xs)
    result: list[Variable] = []
    for arrays, bar in zip(counts, given, strict=True):
        mine = [next(remaining) for _ in range(arrays)]
        smooth = [x for x in mine if x.dtype.kind == "f"]
        bars = [read(leaf) for leaf in pytree.flatten(bar)[0] if is_array(leaf)]
        if bar is None:
            bars = [zeros_like(x) for x in smooth]
        if len(bars) == len(mine):
            bars = [b for b, x in zip(bars, mine, strict=True) if x.dtype.kind == "f"]
        matched = iter(_matching(name, "cotangents", bars, smooth))
        result += [next(matched) if x.dtype.kind == "f" else zeros_like(x) for x in mine]
    return result


def _matching(
    name: str, what: str, found: Sequence[Variable], like: Sequence[Variable]
) -> Sequence[Variable]:
    if [v.aval[:2] for v in found] != [v.aval[:2] for v in like]:
        expected = ", ".join(str(v.aval) for v in like)
        got = ", ".join(str(v.aval) for v in found)
        raise ValueError(f"{name}: its rule must return the {what} ({expected}), got ({got}).")
    return found


def _refuse_captures(name: str, graph: Graph) -> None:
    for v in graph.free:
        if v.requires_grad and THREAD.now.recording:
            raise RuntimeError(
                f"{name}: a function with a custom rule captures a tensor that requires gradients "
                f"({v.aval}); pass it as an argument, so that the rule can say its gradient."
            )

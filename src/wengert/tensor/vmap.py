"""`vmap` and the Jacobians that are built on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.ad import forward, reverse
from wengert.ad.batching import batch
from wengert.ad.tape import close_off, closes_off
from wengert.graph.errors import ShapeError
from wengert.graph.graph import Graph
from wengert.graph.mode import THREAD, recording
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval, Variable
from wengert.ops.batching import with_batch
from wengert.ops.derivatives import zeros_like
from wengert.ops.shape import moveaxis, reshape
from wengert.tensor import pytree
from wengert.tensor.effects import Effects
from wengert.tensor.tensor import Tensor
from wengert.tensor.transforms import (
    Argnums,
    _output,
    _tree_per_argument,
    grad,
    read,
    run,
)


def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that applies `function` to each example of a batch at once.

    The function runs once, on variables without values that stand for one example; then each of
    its operations is applied to the whole batch. The number of operations does not depend on the
    batch size.

    Parameters
    ----------
    function : callable
        A function of one example.
    in_axes : int, None, or a sequence of them, one for each argument
        Which axis of each argument is the batch; None: the argument is the same for all. For an
        argument that is a container, its axis holds for all its leaves, unless it is a container
        of the same structure itself, to any depth, such as ``({"w": 0, "b": None}, 0)``.
    out_axes : int, None, or a container of them
        Where the batch axis stands in the results, in the same way; None: a result that is the
        same for all is returned once.

    Raises
    ------
    ShapeError
        If the batch lengths differ, an axis is not there, or nothing is batched.
    ValueError
        If `in_axes` or `out_axes` does not fit the structure, or a result that differs between
        examples has None for its axis.
    RuntimeError
        If the function writes a value that differs between examples to a tensor from outside.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.vmap(lambda x: wg.sum(x * x))(wg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([ 5., 25.])
    >>> data = {"x": wg.ones((3, 2)), "scale": wg.tensor(5.0)}
    >>> wg.vmap(lambda d: wg.sum(d["x"] * d["scale"]), in_axes=({"x": 0, "scale": None},))(data)
    tensor([10., 10., 10.])
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError(
                f"vmap: pass the arguments by position, got {', '.join(kwargs)} by name; "
                "or fix them with functools.partial."
            )
        leaves, specs, axes, names = _flatten_arguments(args, in_axes)
        size = _batch_size(leaves, axes, names)
        inputs = [
            v if axis is None else moveaxis(v, axis, 0)
            for v, axis in zip(leaves, axes, strict=True)
        ]
        flags = [axis is not None for axis in axes]
        trace = Trace("vmap")
        with trace:
            lanes = [_lane(trace, v, b) for v, b in zip(inputs, flags, strict=True)]
            result = function(*_rebuild(specs, lanes))
            out_leaves, out_spec = pytree.flatten(result)
            outputs = [read(leaf) for leaf in out_leaves]
        effects = Effects.of("vmap", trace)
        graph = Graph(lanes, [*outputs, *effects.outputs()], "vmap")
        made, out_flags = batch(graph, inputs, flags, size)
        _refuse_apart(effects, out_flags[len(outputs) :])
        values = effects.carry_out(made)
        places = _out_axes(out_axes, result, list(zip(values, out_flags, strict=False)))
        full = [
            v if place is None else moveaxis(with_batch(v, b, size), 0, place)
            for v, b, place in zip(values, out_flags, places, strict=False)
        ]
        return pytree.unflatten(out_spec, [Tensor(v) for v in full])

    return wrapped


def _flatten_arguments(
    args: tuple[Any, ...], in_axes: Any
) -> tuple[list[Variable], list[tuple[Any, int]], list[int | None], list[str]]:
    """Return the leaves of the arguments, their structure, and an axis and a name for each leaf."""
    given = in_axes if isinstance(in_axes, list | tuple) else (in_axes,) * len(args)
    if len(given) != len(args):
        raise ValueError(f"vmap: in_axes {in_axes} does not fit {len(args)} arguments.")
    leaves: list[Variable] = []
    specs: list[tuple[Any, int]] = []
    axes: list[int | None] = []
    names: list[str] = []
    for position, (argument, prefix) in enumerate(zip(args, given, strict=True)):
        found, spec = pytree.flatten(argument)
        leaves += [read(leaf) for leaf in found]
        specs.append((spec, len(found)))
        named = [f"argument {position}{path}" for path in pytree.paths(argument)]
        axes += _axes(f"in_axes {prefix!r}", prefix, argument, f"argument {position}", named)
        names += named
    return leaves, specs, axes, names


def _axes(given: str, prefix: Any, tree: Any, what: str, names: Sequence[str]) -> list[int | None]:
    """Return the axis that `prefix` says for each leaf of `tree`."""
    try:
        axes = pytree.prefix_leaves(prefix, tree)
    except ValueError as error:
        raise ValueError(f"vmap: {given} does not fit the structure of {what}: {error}") from None
    for axis, name in zip(axes, names, strict=True):
        if axis is not None and not isinstance(axis, int):
            raise TypeError(f"vmap: {given} must hold integers or None, got {axis!r} for {name}.")
    return axes


def _batch_size(
    leaves: Sequence[Variable], axes: Sequence[int | None], names: Sequence[str]
) -> int:
    sizes: dict[int, list[str]] = {}
    for v, axis, name in zip(leaves, axes, names, strict=True):
        if axis is None:
            continue
        if not -v.ndim <= axis < v.ndim:
            raise ShapeError(f"vmap: in_axes {axis} does not fit {name} of shape {v.shape}.")
        sizes.setdefault(v.shape[axis], []).append(f"{name} of shape {v.shape} along axis {axis}")
    if not sizes:
        raise ShapeError("vmap: nothing is batched; give at least one argument an axis in in_axes.")
    if len(sizes) > 1:
        listed = "; ".join(f"{size} for {', '.join(names)}" for size, names in sizes.items())
        raise ShapeError(
            f"vmap: the batched arguments must have one batch length, got {listed}. Mark shared "
            "arguments with in_axes=None."
        )
    return next(iter(sizes))


def _out_axes(
    out_axes: Any, result: Any, made: Sequence[tuple[Variable, bool]]
) -> list[int | None]:
    names = [f"result{path}" for path in pytree.paths(result)]
    axes = _axes(f"out_axes {out_axes!r}", out_axes, result, "the result", names)
    for (v, batched), axis, name in zip(made, axes, names, strict=False):
        rank = v.ndim if batched else v.ndim + 1
        if axis is None and batched:
            raise ValueError(
                f"vmap: out_axes is None for {name}, which differs between examples; give the "
                "place of its batch axis."
            )
        if axis is not None and not -rank <= axis < rank:
            raise ShapeError(
                f"vmap: out_axes {axis} does not fit {name}, which has {rank} axes with the batch."
            )
    return axes


def _lane(trace: Trace, v: Variable, batched: bool) -> Variable:
    shape = v.shape[1:] if batched else v.shape
    return trace.new_input(Aval(shape, v.dtype), v.name, v.requires_grad)


def _rebuild(specs: Sequence[tuple[Any, int]], variables: Sequence[Variable]) -> list[Any]:
    arguments = []
    start = 0
    for spec, count in specs:
        leaves = [Tensor(v) for v in variables[start : start + count]]
        arguments.append(pytree.unflatten(spec, leaves))
        start += count
    return arguments


def _refuse_apart(effects: Effects, flags: Sequence[bool]) -> None:
    """Raise RuntimeError if a tensor from outside would have a value for each example."""
    for write, batched in zip(effects.writes, flags, strict=True):
        if batched:
            raise RuntimeError(
                f"vmap: the function changed a tensor from outside ({write.before.aval}) to a "
                "value that differs between examples; return the value instead."
            )


def jacobian(
    function: Callable[..., Any], argnums: Argnums = 0, mode: str = "auto", has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian of `function`.

    Parameters
    ----------
    function : callable
        A function of tensors that returns a tensor or a container of them.
    argnums : int or sequence of int
        Which arguments to differentiate by.
    mode : {"auto", "forward", "reverse"}
        Forward mode costs one pass for each input element, reverse mode one for each output
        element, all in one batch; "auto" takes the cheaper.
    has_aux : bool
        Whether `function` returns ``(value, aux)``; then the result is ``(jacobian, aux)``.

    Returns
    -------
    callable
        For each output and argument a tensor whose shape is the output's followed by the
        argument's, in the structure of the output, each leaf in the structure of the argument.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.jacobian(lambda x: x * x)(wg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if mode not in {"auto", "forward", "reverse"}:
        raise ValueError(f"jacobian: mode must be 'auto', 'forward' or 'reverse', got {mode!r}.")

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        primal = run("jacobian", function, argnums, has_aux, args, kwargs)
        leaves, spec = pytree.flatten(primal.result)
        outputs = [_output("jacobian", leaf) for leaf in leaves]
        count_in = sum(_size(x) for x in primal.fresh)
        count_out = sum(_size(y) for y in outputs)
        forwards = mode == "forward" or (mode == "auto" and count_in < count_out)
        blocks = (_forward if forwards else _reverse)(outputs, primal.fresh, primal.since)
        is_open = any(block.requires_grad for row in blocks for block in row)
        aux = primal.close(is_open)
        rows = [_tree_per_argument(primal, [Tensor(b) for b in row], argnums) for row in blocks]
        result = pytree.unflatten(spec, rows)
        return (result, aux) if has_aux else result

    return wrapped


def _size(v: Variable) -> int:
    return int(np.prod(v.shape, dtype=np.int64))


def _basis(v: Variable) -> Variable:
    n = _size(v)
    return Variable(np.eye(n, dtype=v.dtype).reshape(n, *v.shape))


def _reverse(
    outputs: Sequence[Variable], wrt: Sequence[Variable], since: int
) -> list[list[Variable]]:
    """Return the blocks by pulling back the unit cotangents of each output, in one batch."""
    blocks = []
    for y in outputs:
        trace = Trace("jacobian", draws=False)
        with trace:
            y_bar = trace.new_input(y.aval)
            bars, is_open = reverse.vjp([y], [y_bar], wrt, since)
            bars = [zeros_like(x) if b is None else b for x, b in zip(wrt, bars, strict=True)]
        rows = _batched(Graph([y_bar], [b for b in bars if b is not None]), y, is_open)
        blocks.append([reshape(r, y.shape + x.shape) for r, x in zip(rows, wrt, strict=True)])
    return blocks


def _forward(
    outputs: Sequence[Variable], wrt: Sequence[Variable], since: int
) -> list[list[Variable]]:
    """Return the blocks by pushing the unit tangents of each input forward, in one batch."""
    columns = []
    for x in wrt:
        trace = Trace("jacobian", draws=False)
        with trace:
            x_dot = trace.new_input(x.aval)
            dots, is_open = forward.jvp(outputs, [x], [x_dot], since)
            dots = [zeros_like(y) if d is None else d for y, d in zip(outputs, dots, strict=True)]
        made = _batched(Graph([x_dot], [d for d in dots if d is not None]), x, is_open)
        columns.append(
            [
                _axes_last(reshape(c, x.shape + y.shape), x.ndim)
                for c, y in zip(made, outputs, strict=True)
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def _axes_last(v: Variable, count: int) -> Variable:
    from wengert.ops.shape import permute_dims

    return permute_dims(v, (*range(count, v.ndim), *range(count))) if count else v


def _batched(graph: Graph, unit: Variable, is_open: bool) -> list[Variable]:
    basis = _basis(unit)
    record = THREAD.now.recording and is_open
    closes = closes_off(record)
    with recording(record or closes):
        made, flags = batch(graph, [basis], [True], basis.shape[0])
        full = [with_batch(v, b, basis.shape[0]) for v, b in zip(made, flags, strict=True)]
    return [close_off(v) for v in full] if closes else full


def hessian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Return a function that computes the Hessian of `function`: forward over reverse.

    Parameters
    ----------
    function : callable
        A function of tensors that returns one number.
    argnums : int
        The argument to differentiate by.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.hessian(lambda x: x[0] * x[0] * x[1])(wg.tensor([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    return jacobian(grad(function, argnums), argnums, mode="forward")

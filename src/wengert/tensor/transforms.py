"""Transforms of Python functions of tensors, nestable to any depth and in any order.

Each call wraps its inputs in fresh variables; the derivative is emitted through `bind` like any
other operation, so that an outer transform sees it.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from wengert.ad import forward, reverse
from wengert.ad.tape import close_off, horizon, isolate, record_tape
from wengert.graph.errors import DTypeError, GraphFreedError, ShapeError
from wengert.graph.mode import recording
from wengert.graph.variable import Variable
from wengert.ops.convert import as_variable
from wengert.ops.derivatives import ones_like, zeros_like
from wengert.tensor import pytree
from wengert.tensor.effects import close_cells, made_since, written
from wengert.tensor.tensor import Tensor, operand

F = TypeVar("F", bound=Callable[..., Any])
Argnums = int | Sequence[int]


def read(x: Any) -> Variable:
    """Return the variable of a tensor or array_like."""
    return as_variable(operand(x))


class Primal(NamedTuple):
    """A function's run on fresh variables, ready to be differentiated.

    `beside` tells whether `aux`, or a cell that the function wrote, depends on variables outside.
    """

    originals: list[Variable]
    fresh: list[Variable]
    specs: list[Any]
    counts: list[int]
    since: int
    result: Any
    aux: Any
    cells: dict[int, weakref.ref[Tensor]]
    beside: bool

    def close(self, is_open: bool) -> Any:
        """Cut the cells that were written off from the fresh variables, as results are.

        Returns
        -------
        any
            `aux`, cut off likewise.
        """
        is_open = is_open or self.beside
        if not is_open:
            close_cells(self.cells, self.since)
        return _closed(self.aux, is_open)


def _positions(name: str, argnums: Argnums, count: int) -> tuple[int, ...]:
    given = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for position in given:
        if not -count <= position < count:
            raise ValueError(f"{name}: argnums {argnums} does not fit {count} arguments.")
    return tuple([position % count for position in given])


def run(
    name: str,
    function: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Primal:
    """Run `function` with the arguments `argnums` replaced by fresh variables."""
    since = horizon()
    originals: list[Variable] = []
    fresh: list[Variable] = []
    specs: list[Any] = []
    counts: list[int] = []
    replaced = list(args)
    with recording(True), written() as cells:
        for position in _positions(name, argnums, len(args)):
            leaves, spec = pytree.flatten(args[position])
            variables = [_differentiable(name, position, leaf) for leaf in leaves]
            isolated = [isolate(v) for v in variables]
            originals += variables
            fresh += isolated
            specs.append(spec)
            counts.append(len(leaves))
            replaced[position] = pytree.unflatten(spec, map(Tensor, isolated))
        result = function(*replaced, **kwargs)
    aux = None
    if has_aux:
        if not isinstance(result, tuple) or len(result) != 2:  # noqa: PLR2004
            raise TypeError(f"{name}: with has_aux=True the function must return (value, aux).")
        result, aux = result
    others = made_since(cells, since)
    if aux is not None:
        others += _tensors_in(aux)
    beside = _captures([x._read() for x in others], fresh, since) if others else False
    return Primal(originals, fresh, specs, counts, since, result, aux, cells, beside)


def _tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.flatten(tree)[0] if isinstance(leaf, Tensor)]


def _captures(outputs: Sequence[Variable], fresh: Sequence[Variable], since: int) -> bool:
    """Tell whether a later derivative may pass through `outputs` to variables from outside."""
    try:
        return record_tape(outputs, fresh, since).open
    except GraphFreedError:  # by a backward pass of the function's own: it ends there
        return False


def _differentiable(name: str, position: int, leaf: Any) -> Variable:
    if isinstance(leaf, Tensor):
        variable = leaf._read()
        if variable.value is not None and variable.value.dtype.kind == "f":
            return variable
        variable = as_variable(variable)
    elif isinstance(leaf, float | int) or hasattr(leaf, "__array__"):
        variable = read(leaf)
    else:
        raise DTypeError(
            f"{name}: argument {position} holds {type(leaf).__name__}, which is no number; choose "
            "the arguments to differentiate by through argnums."
        )
    if variable.dtype.kind != "f":
        raise DTypeError(
            f"{name}: argument {position} has dtype {variable.dtype}, which has no derivative; "
            "convert it to a float, or choose other arguments through argnums."
        )
    return variable


def _closed(tree: Any, is_open: bool) -> Any:
    """Return a result as tensors, cut off from the fresh variables unless something is outside."""
    if tree is None:
        return None

    def close(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf if is_open else Tensor(close_off(leaf._read()))

    return pytree.map_leaves(close, tree)


def _wrapped(variables: Sequence[Variable], is_open: bool) -> list[Tensor]:
    if is_open:
        return [Tensor(v) for v in variables]
    seen: set[int] = set()
    tensors = []
    for v in variables:
        value = v.value
        if value is None:
            tensors.append(Tensor(close_off(v)))
            continue
        if id(value) in seen:
            value = np.array(value, order="C")
        seen.add(id(value))
        tensors.append(Tensor(Variable(value)))
    return tensors


def _tree_per_argument(primal: Primal, leaves: Sequence[Any], argnums: Argnums) -> Any:
    trees = []
    start = 0
    for spec, count in zip(primal.specs, primal.counts, strict=True):
        trees.append(pytree.unflatten(spec, leaves[start : start + count]))
        start += count
    return trees[0] if isinstance(argnums, int) else tuple(trees)


def _output(name: str, leaf: Any) -> Variable:
    if not (isinstance(leaf, (Tensor, float)) or hasattr(leaf, "__array__")):
        raise TypeError(
            f"{name}: the function must return tensors, got {type(leaf).__name__}; "
            "return other things through has_aux=True."
        )
    variable = read(leaf)
    if variable.dtype.kind != "f":
        raise DTypeError(
            f"{name}: the function returned {variable.dtype}, which has no derivative; "
            "return it through has_aux=True."
        )
    return variable


def value_and_grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the value of `function` and its gradient.

    Parameters
    ----------
    function : callable
        A function of tensors that returns one number (a 0-d tensor).
    argnums : int or sequence of int
        Which arguments to differentiate by. An argument may be a nested container.
    has_aux : bool
        Whether `function` returns ``(value, aux)``, where `aux` is passed through.

    Returns
    -------
    callable
        It returns ``(value, gradient)``, or ``((value, aux), gradient)``. The gradient has the
        structure, shapes and dtypes of the argument (a tuple of them for several `argnums`).

    Raises
    ------
    ShapeError
        If the value is not one number.
    DTypeError
        If an argument or the value is not floating point.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.value_and_grad(lambda x: wg.sum(x * x))(wg.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    if not callable(function):
        raise TypeError(
            f"grad: needs a function, got {type(function).__name__}. For a tensor that was "
            "computed already there is backward(), which leaves gradients in .grad."
        )

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        primal = run("grad", function, argnums, has_aux, args, kwargs)
        if isinstance(primal.result, tuple | list | dict) or primal.result is None:
            kind = type(primal.result).__name__
            raise TypeError(
                f"grad: the function must return one number (a 0-d tensor), got {kind}; "
                "use has_aux=True for a pair of it and something else."
            )
        y = _output("grad", primal.result)
        if y.shape != ():
            raise ShapeError(
                f"grad: the function must return one number (a 0-d tensor), got shape {y.shape}; "
                "reduce it, or use wg.jacobian or wg.vjp."
            )
        bars, is_open = reverse.vjp(
            [y], [ones_like(y)], primal.fresh, primal.since, free=not primal.beside
        )
        grads = [
            zeros_like(x) if bar is None else bar for x, bar in zip(primal.fresh, bars, strict=True)
        ]
        gradient = _tree_per_argument(primal, _wrapped(grads, is_open), argnums)
        (value,) = _wrapped([y], is_open)
        aux = primal.close(is_open)
        return ((value, aux) if has_aux else value), gradient

    return wrapped


def grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the gradient of `function`; see `value_and_grad`.

    Returns
    -------
    callable
        It returns the gradient, or ``(gradient, aux)`` with ``has_aux=True``.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.grad(wg.grad(lambda x: x * x * x))(wg.tensor(2.0))
    tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Run `function` and return its value with its pullback.

    Parameters
    ----------
    function : callable
        A function of tensors or containers of them.
    *primals : Tensor, array_like or container
        Where to run it.
    has_aux : bool
        Whether `function` returns ``(value, aux)``.

    Returns
    -------
    value : any
        What `function` returns.
    pullback : callable
        Takes a cotangent of the structure of the value; returns a tuple of cotangents, one for
        each of `primals`. It may be called several times.
    aux : any
        With ``has_aux=True`` only.

    Examples
    --------
    >>> import wengert as wg
    >>> y, pullback = wg.vjp(wg.sin, wg.tensor(0.0))
    >>> pullback(wg.tensor(2.0))
    (tensor(2.),)
    """
    argnums = tuple(range(len(primals)))
    primal = run("vjp", function, argnums, has_aux, primals, {})
    leaves, spec = pytree.flatten(primal.result)
    outputs = [_output("vjp", leaf) for leaf in leaves]

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        bar_leaves, bar_spec = pytree.flatten(cotangents)
        if bar_spec != spec:
            raise ValueError(f"vjp: the cotangent must have the structure {spec}, got {bar_spec}.")
        seeds = [
            _seed("vjp", "cotangent", bar, y) for bar, y in zip(bar_leaves, outputs, strict=True)
        ]
        bars, is_open = reverse.vjp(outputs, seeds, primal.fresh, primal.since)
        is_open = is_open or any(seed.requires_grad for seed in seeds)
        grads = [
            zeros_like(x) if bar is None else bar for x, bar in zip(primal.fresh, bars, strict=True)
        ]
        return tuple(_tree_per_argument(primal, _wrapped(grads, is_open), argnums))

    is_open = any(x.requires_grad for x in primal.originals) or _captures(
        outputs, primal.fresh, primal.since
    )
    aux = primal.close(is_open)
    value = pytree.unflatten(spec, _wrapped(outputs, is_open))
    return (value, pullback, aux) if has_aux else (value, pullback)


def _seed(name: str, role: str, leaf: Any, like: Variable) -> Variable:
    seed = as_variable(operand(leaf), like.dtype)
    if seed.shape != like.shape or seed.dtype != like.dtype:
        owner = "output" if role == "cotangent" else "argument"
        raise ShapeError(
            f"{name}: the {role} must be {like.aval} like its {owner}, got {seed.aval}."
        )
    return seed


def jvp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Run `function` and push tangents forward through it.

    Parameters
    ----------
    function : callable
        A function of tensors or containers of them.
    primals, tangents : sequences
        The arguments, and a direction of the same structure for each.
    has_aux : bool
        Whether `function` returns ``(value, aux)``.

    Returns
    -------
    value, tangent : any
        What `function` returns, and its derivative along `tangents`.
    aux : any
        With ``has_aux=True`` only.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.jvp(wg.sin, (wg.tensor(0.0),), (wg.tensor(2.0),))
    (tensor(0.), tensor(2.))
    """
    if not isinstance(primals, list | tuple) or not isinstance(tangents, list | tuple):
        raise TypeError("jvp: give the primals and the tangents as tuples, one entry an argument.")
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: {len(primals)} primals but {len(tangents)} tangents.")
    argnums = tuple(range(len(primals)))
    primal = run("jvp", function, argnums, has_aux, tuple(primals), {})
    dots = [_seed("jvp", "tangent", leaf, x) for leaf, x in _paired(tangents, primals, primal)]
    leaves, spec = pytree.flatten(primal.result)
    outputs = [_output("jvp", leaf) for leaf in leaves]
    results, is_open = forward.jvp(outputs, primal.fresh, dots, primal.since)
    y_dots = [
        zeros_like(y) if y_dot is None else y_dot for y, y_dot in zip(outputs, results, strict=True)
    ]
    aux = primal.close(is_open)
    value = pytree.unflatten(spec, _wrapped(outputs, is_open))
    tangent = pytree.unflatten(spec, _wrapped(y_dots, is_open))
    return (value, tangent, aux) if has_aux else (value, tangent)


def _paired(
    tangents: Sequence[Any], primals: Sequence[Any], primal: Primal
) -> list[tuple[Any, Variable]]:
    leaves: list[Any] = []
    for tangent, original in zip(tangents, primals, strict=True):
        found, spec = pytree.flatten(tangent)
        _, expected = pytree.flatten(original)
        if spec != expected:
            raise ValueError(f"jvp: a tangent has the structure {spec}, its primal {expected}.")
        leaves += found
    return list(zip(leaves, primal.fresh, strict=True))


def stop_gradient(x: Any) -> Any:
    """Return `x`, a tensor or container, as constants: no derivative flows through it.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.grad(lambda x: x * wg.stop_gradient(x))(wg.tensor(3.0))
    tensor(3.)
    """
    return pytree.map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, x)


def hvp(function: Callable[..., Any], x: Any, v: Any) -> Any:
    """Return the product of the Hessian of `function` at `x` with `v`, without the Hessian.

    Forward over reverse: the pushforward of the gradient (Pearlmutter 1994).

    Parameters
    ----------
    function : callable
        A function of one tensor or container that returns one number.
    x, v : Tensor, array_like or container
        The point and the direction, of one structure.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.hvp(lambda x: wg.sum(x * x * x), wg.tensor([1.0, 2.0]), wg.tensor([1.0, 0.0]))
    tensor([6., 0.])
    """
    return jvp(grad(function), (x,), (v,))[1]

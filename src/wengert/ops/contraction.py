"""The general contraction, of which every matrix product is a case.

A contraction is written as in Einstein's notation, ``"mk,kn->mn"``. Each label stands at most once
in an operand; a label of both operands that is missing from the result is summed over. The
transposes of a contraction are contractions with the same labels exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_products
from wengert.ops.convert import VariableLike, promoted
from wengert.ops.define import normal, strided
from wengert.ops.derivatives import Multilinear, emit
from wengert.ops.lowering import Inexact
from wengert.ops.shapes import normalize_axis, same_dtype

LABELS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@lru_cache(maxsize=4096)
def split(spec: str) -> tuple[str, str, str]:
    """Return the labels of the operands and of the result of a contraction."""
    operands, _, result = spec.partition("->")
    x, _, y = operands.partition(",")
    return x, y, result


def _infer(x: Aval, y: Aval, spec: str) -> Aval:
    same_dtype("contract", x, y)
    labels_x, labels_y, result = split(spec)
    lengths: dict[str, int] = {}
    for labels, aval in ((labels_x, x), (labels_y, y)):
        if len(labels) != len(aval.shape):
            raise ShapeError(f"contract: {spec!r} wants {len(labels)} axes, got {aval.shape}")
        for label, n in zip(labels, aval.shape, strict=True):
            if lengths.setdefault(label, n) != n:
                raise ShapeError(
                    f"contract: in {spec!r} the label {label!r} has length {lengths[label]} in one "
                    f"operand and {n} in the other, got {x.shape} and {y.shape}"
                )
    return Aval(tuple(lengths[label] for label in result), x.dtype)


def _evaluate(x: Array, y: Array, spec: str) -> Any:
    return _recipe(spec)(x, y)


@lru_cache(maxsize=4096)
def _recipe(spec: str) -> Callable[[Array, Array], Any]:
    """Return the quickest way to evaluate `spec` through NumPy's matrix product."""
    x, y, result = split(spec)
    if len(x) == len(y) == len(result) == 2 and len({*x, *y, *result}) == 3:  # noqa: PLR2004
        return _matrix_recipe(x, y, result)
    return _general_recipe(x, y, result)


def _matrix_recipe(x: str, y: str, result: str) -> Callable[[Array, Array], Any]:
    (inner,) = {*x, *y} - {*result}
    flip_x, flip_y = x[0] == inner, y[1] == inner
    swapped = result[0] in y
    if swapped:
        recipes: dict[tuple[bool, bool], Callable[[Array, Array], Any]] = {
            (False, False): lambda a, b: b.T.dot(a.T),
            (True, False): lambda a, b: b.T.dot(a),
            (False, True): lambda a, b: b.dot(a.T),
            (True, True): lambda a, b: b.dot(a),
        }
        return recipes[flip_x, flip_y]
    recipes = {
        (False, False): np.ndarray.dot,
        (True, False): lambda a, b: a.T.dot(b),
        (False, True): lambda a, b: a.dot(b.T),
        (True, True): lambda a, b: a.T.dot(b.T),
    }
    return recipes[flip_x, flip_y]


def _general_recipe(x: str, y: str, result: str) -> Callable[[Array, Array], Any]:
    batch = [label for label in result if label in x and label in y]
    rows = [label for label in result if label not in y]
    columns = [label for label in result if label not in x]
    inner = [label for label in x if label in y and label not in result]
    order_x = tuple(x.index(label) for label in (*batch, *rows, *inner))
    order_y = tuple(y.index(label) for label in (*batch, *inner, *columns))
    made = [*batch, *rows, *columns]
    order_result = tuple(made.index(label) for label in result)
    b, r, i = len(batch), len(rows), len(inner)

    def evaluate(a: Array, c: Array) -> Any:
        a, c = a.transpose(order_x), c.transpose(order_y)
        lead, middle, tail = a.shape[:b], a.shape[b : b + r], c.shape[b + i :]
        n = math.prod(c.shape[b : b + i])
        product = np.matmul(
            a.reshape(*lead, math.prod(middle), n), c.reshape(*lead, n, math.prod(tail))
        )
        return product.reshape((*lead, *middle, *tail)).transpose(order_result)

    return evaluate


@lru_cache(maxsize=4096)
def _transposes(spec: str) -> tuple[Params, Params]:
    x, y, result = split(spec)
    return {"spec": f"{result},{y}->{x}"}, {"spec": f"{x},{result}->{y}"}


def _transpose_x(z_bar: Variable, x: Variable, y: Variable, spec: str) -> Variable:
    return bind(contract_p, (z_bar, y), _transposes(spec)[0])  # type: ignore[no-any-return]


def _transpose_y(z_bar: Variable, x: Variable, y: Variable, spec: str) -> Variable:
    return bind(contract_p, (x, z_bar), _transposes(spec)[1])  # type: ignore[no-any-return]


def _batch(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    del size
    labels_x, labels_y, result = split(params["spec"])
    new = next(label for label in LABELS if label not in labels_x + labels_y)
    left = (new if batched[0] else "") + labels_x
    right = (new if batched[1] else "") + labels_y
    return bind(primitive, xs, {"spec": f"{left},{right}->{new}{result}"}), True


def _samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    cases = (
        ("ab,bc->ac", (2, 3), (3, 4)),
        ("ba,bc->ac", (3, 2), (3, 4)),
        ("ab,cb->ac", (2, 3), (4, 3)),
        ("ba,cb->ca", (3, 2), (4, 3)),
        ("ab,bc->ac", (2, 0), (0, 4)),
        ("nab,nbc->nac", (2, 2, 3), (2, 3, 2)),
        ("nab,bc->acn", (2, 2, 3), (3, 2)),
        ("ab,ab->", (2, 3), (2, 3)),
        ("a,b->ab", (2,), (3,)),
        (",ab->ba", (), (2, 3)),
        ("ij,jk->ik", (1, 1), (1, 1)),
    )
    for spec, shape_x, shape_y in cases:
        x, y = normal(rng, shape_x).astype(dtype), normal(rng, shape_y).astype(dtype)
        yield Sample((x, y), {"spec": spec}, (0, 1))
        yield Sample((strided(x), strided(y)), {"spec": spec}, (0, 1))


contract_p = register(
    Primitive(
        name="contract",
        notation=r"{0} \cdot {1}",
        infer=_infer,
        evaluate=_evaluate,
        derivative=Multilinear(_transpose_x, _transpose_y),
        batch=_batch,
        samples=_samples,
        lower=Inexact(lower_products.contract, normwise=8),
    )
)


def contract(spec: str, x: Variable, y: Variable) -> Variable:
    """Contract two variables of one dtype; see the module's notes on `spec`."""
    return bind(contract_p, (x, y), {"spec": spec})  # type: ignore[no-any-return]


def matmul(x: VariableLike, y: VariableLike) -> Variable:
    """Return the matrix product, for operands of any rank from 1.

    Parameters
    ----------
    x, y : Tensor or array_like
        Shapes ``(..., m, k)`` and ``(..., k, n)``; the leading axes broadcast. A one-dimensional
        operand is a row on the left and a column on the right.

    Returns
    -------
    Tensor
        Shape ``(..., m, n)``, without the axis that a one-dimensional operand lacks.

    Raises
    ------
    ShapeError
        If the inner lengths differ or the leading axes do not broadcast.

    Notes
    -----
    Pullback: ``x_bar = z_bar @ y.T`` and ``y_bar = x.T @ z_bar`` (Giles 2008, section 2.2).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.matmul(wg.tensor([[1.0, 2.0]]), wg.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    try:
        a, b = cast(Any, x).value, cast(Any, y).value
        if a.dtype is b.dtype and a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]:  # noqa: PLR2004
            return bind(contract_p, (x, y), _MATMUL)  # type: ignore[no-any-return, arg-type]
    except AttributeError:
        pass
    x, y = promoted(x, y)
    _check_matmul(x.shape, y.shape)
    lead_x, core_x = x.shape[:-2], x.shape[-2:]
    lead_y, core_y = y.shape[:-2], y.shape[-2:]
    rank = max(len(lead_x), len(lead_y))
    names = LABELS[3 : 3 + rank]
    kept_x, labels_x = _lead_labels(lead_x, lead_y, names)
    kept_y, labels_y = _lead_labels(lead_y, lead_x, names)
    x = emit("reshape", x, shape=kept_x + core_x) if kept_x != lead_x else x
    y = emit("reshape", y, shape=kept_y + core_y) if kept_y != lead_y else y
    left = "ab"[-len(core_x) :]
    right = "bc"[: len(core_y)]
    shown = "".join(label for label in names if label in labels_x + labels_y)
    result = shown + ("a" if len(core_x) > 1 else "") + ("c" if len(core_y) > 1 else "")
    z = contract(f"{labels_x}{left},{labels_y}{right}->{result}", x, y)
    full = _broadcast_lead(lead_x, lead_y) + (core_x[:-1] + core_y[1:])
    return emit("reshape", z, shape=full) if z.shape != full else z


_MATMUL = {"spec": "ab,bc->ac"}


def _lead_labels(
    mine: tuple[int, ...], other: tuple[int, ...], names: str
) -> tuple[tuple[int, ...], str]:
    """Drop the leading axes of length 1 that the other operand stretches (or that both have)."""
    kept, labels = [], ""
    for back in range(-len(mine), 0):
        n = mine[back]
        if n == 1 and len(other) >= -back:
            continue
        kept.append(n)
        labels += names[back]
    return tuple(kept), labels


def _broadcast_lead(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(x, y))


def _check_matmul(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    if not x or not y:
        raise ShapeError(f"matmul: needs operands of at least one axis, got {x} @ {y}; use *")
    inner_y = y[-2] if len(y) > 1 else y[0]
    if x[-1] != inner_y:
        hint = ""
        if len(y) > 1 and x[-1] == y[-1]:
            hint = ". Did you mean x @ y.mT?"
        elif len(x) > 1 and x[-2] == inner_y:
            hint = ". Did you mean x.mT @ y?"
        raise ShapeError(
            f"matmul: inner dimensions must agree, got {x} @ {y} ({x[-1]} against {inner_y}){hint}"
        )
    for place, (m, n) in enumerate(zip(x[-3::-1], y[-3::-1], strict=False), start=3):
        if m != n and 1 not in {m, n}:
            raise ShapeError(
                f"matmul: the leading axes of {x} and {y} do not broadcast: axis -{place} has "
                f"{m} against {n}"
            )


def tensordot(
    x: VariableLike, y: VariableLike, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Variable:
    """Return the sum of products over `axes` of `x` and of `y`.

    Parameters
    ----------
    x, y : Tensor or array_like
        The operands.
    axes : int or (axes of x, axes of y)
        How many of the last axes of `x` meet the first of `y`, or which meet which.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.tensordot(wg.ones((2, 3)), wg.ones((3, 4)), 1).shape
    (2, 4)
    """
    x, y = promoted(x, y)
    if isinstance(axes, int):
        axes_x, axes_y = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        axes_x = tuple(normalize_axis("tensordot", axis, x.ndim) for axis in axes[0])
        axes_y = tuple(normalize_axis("tensordot", axis, y.ndim) for axis in axes[1])
    if len(axes_x) != len(axes_y) or min((*axes_x, 0)) < 0 or len(axes_y) > y.ndim:
        raise ShapeError(f"tensordot: axes {axes} do not fit shapes {x.shape} and {y.shape}")
    labels_x = LABELS[: x.ndim]
    labels_y = list(LABELS[x.ndim : x.ndim + y.ndim])
    for axis_x, axis_y in zip(axes_x, axes_y, strict=True):
        labels_y[axis_y] = labels_x[axis_x]
    right = "".join(labels_y)
    result = "".join(label for label in labels_x + right if (labels_x + right).count(label) == 1)
    return contract(f"{labels_x},{right}->{result}", x, y)


def outer(x: VariableLike, y: VariableLike) -> Variable:
    """Return the outer product of two vectors.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.outer(wg.tensor([1.0, 2.0]), wg.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    x, y = promoted(x, y)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(f"outer: needs two vectors, got shapes {x.shape} and {y.shape}")
    return contract("a,b->ab", x, y)

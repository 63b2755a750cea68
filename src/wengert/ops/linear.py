"""The affine map of a layer: one primitive, because it is most of a small network's eager time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array
from wengert.graph.errors import ShapeError
from wengert.graph.primitive import Contribution, Outputs, Params, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops import lower_products
from wengert.ops.batching import with_rank
from wengert.ops.contraction import contract_p
from wengert.ops.convert import VariableLike, as_variable, promoted
from wengert.ops.define import normal, strided
from wengert.ops.derivatives import Rules, add_all, broadcast, emit
from wengert.ops.lowering import Inexact
from wengert.ops.reduce import sum_p
from wengert.ops.shapes import same_dtype

_LEAD = "nopqrstuvwxyz"


@lru_cache(maxsize=64)
def _specs(lead: int) -> tuple[Params, Params, Params, Params]:
    """Return the parameters of what gives y, x_bar, w_bar and b_bar.

    The first three are contractions of (x, w), (y_bar, w) and (y_bar, x), the last a sum of y_bar.
    """
    batch = _LEAD[:lead]
    return (
        {"spec": f"{batch}k,mk->{batch}m"},
        {"spec": f"{batch}m,mk->{batch}k"},
        {"spec": f"{batch}m,{batch}k->mk"},
        {"axes": tuple(range(lead))},
    )


def _infer(x: Aval, w: Aval, b: Aval) -> Aval:
    same_dtype("linear", x, w, b)
    if len(w.shape) != 2 or b.shape != w.shape[:1]:  # noqa: PLR2004
        raise ShapeError(f"linear: weight {w.shape} and bias {b.shape} must be (m, k) and (m,)")
    if not x.shape or x.shape[-1] != w.shape[1]:
        raise ShapeError(
            f"linear: the last axis of the input must have length {w.shape[1]} to meet the weight "
            f"of shape {w.shape}, got input shape {x.shape}"
        )
    return Aval((*x.shape[:-1], w.shape[0]), x.dtype)


def _evaluate(x: Array, w: Array, b: Array) -> Any:
    if b.shape != w.shape[:1]:
        raise ValueError("the bias does not fit")  # the shape rule says it better
    if x.ndim == 2:  # noqa: PLR2004
        y = x.dot(w.T)
        return np.add(y, b, out=y)
    rows = math.prod(x.shape[:-1])
    y = x.reshape(rows, x.shape[-1]).dot(w.T)
    np.add(y, b, out=y)
    return y.reshape(*x.shape[:-1], w.shape[0])


def _pullback(
    y_bar: Variable,
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
    needed: Sequence[bool],
) -> Sequence[Contribution]:
    x, w, _ = xs
    _, to_x, to_w, to_b = _specs(x.ndim - 1)
    return [
        bind(contract_p, (y_bar, w), to_x) if needed[0] else None,
        bind(contract_p, (y_bar, x), to_w) if needed[1] else None,
        bind(sum_p, (y_bar,), to_b) if needed[2] else None,
    ]


def _pushforward(
    primitive: Primitive,
    x_dots: Sequence[Variable | None],
    y: Variable,
    xs: tuple[Variable, ...],
    params: Params,
) -> Variable | None:
    (x, w, _), (x_dot, w_dot, b_dot) = xs, x_dots
    forward = _specs(x.ndim - 1)[0]
    return add_all(
        [
            None if x_dot is None else bind(contract_p, (x_dot, w), forward),
            None if w_dot is None else bind(contract_p, (x, w_dot), forward),
            None if b_dot is None else broadcast(b_dot, y.shape),
        ]
    )


def _batch(
    primitive: Primitive,
    xs: tuple[Variable, ...],
    batched: Sequence[bool],
    size: int,
    params: Params,
) -> tuple[Outputs, bool]:
    """More examples are more leading axes; a batch of weights needs the contraction spelt out."""
    x, w, b = xs
    if not (batched[1] or batched[2]):
        return bind(primitive, xs, params), True
    lead = x.ndim - 1 - batched[0]
    batch = _LEAD[:lead]
    left, right = ("z" if batched[0] else "") + batch, "z" if batched[1] else ""
    out = ("z" if batched[0] or batched[1] else "") + batch
    product: Variable = bind(contract_p, (x, w), {"spec": f"{left}k,{right}mk->{out}m"})
    rank = lead + 2
    if batched[2]:
        b = with_rank(b, rank)
    return emit("add", product, b), True


def _samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for lead in ((), (3,), (2, 3), (0,)):
        x, w, b = (normal(rng, shape).astype(dtype) for shape in ((*lead, 4), (2, 4), (2,)))
        yield Sample((x, w, b), {}, (0, 1, 2))
        yield Sample((strided(x), strided(w), strided(b)), {}, (0, 1, 2))


linear_p = register(
    Primitive(
        name="linear",
        notation=r"{0} {1}^{{\mathsf T}} + {2}",
        infer=_infer,
        evaluate=_evaluate,
        derivative=Rules(_pullback, _pushforward),
        batch=_batch,
        samples=_samples,
        lower=Inexact(lower_products.linear, normwise=8),
    )
)


def linear(x: VariableLike, weight: VariableLike, bias: VariableLike | None = None) -> Variable:
    """Return ``x @ weight.T + bias``, as a fully connected layer computes it.

    Parameters
    ----------
    x : Tensor or array_like, shape (..., k)
        The inputs.
    weight : Tensor or array_like, shape (m, k)
        One row for each output.
    bias : Tensor or array_like, shape (m,), optional
        What is added to each output.

    Raises
    ------
    ShapeError
        If the lengths do not fit.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.linear(wg.tensor([1.0, 2.0]), wg.tensor([[3.0, 4.0]]), wg.tensor([5.0]))
    tensor([16.])
    """
    if bias is None:
        x, w = promoted(x, weight)
        if w.ndim != 2 or not x.ndim or x.shape[-1] != w.shape[1]:  # noqa: PLR2004
            raise ShapeError(
                f"linear: input {x.shape} and weight {w.shape} must be (..., k), (m, k)"
            )
        return bind(contract_p, (x, w), _specs(x.ndim - 1)[0])  # type: ignore[no-any-return]
    variables = (as_variable(x), as_variable(weight), as_variable(bias))
    if len({v.dtype for v in variables}) > 1:
        x, w = promoted(variables[0], variables[1])
        variables = (x, *promoted(w, variables[2]))
    return bind(linear_p, variables)  # type: ignore[no-any-return]

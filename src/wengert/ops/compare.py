"""Comparison, logic and choice. Their results carry no derivative, except those of `where`."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.graph.bind import bind
from wengert.graph.dtypes import BOOL
from wengert.graph.errors import DTypeError
from wengert.graph.primitive import ELEMENTWISE, Laws, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops.batching import batch_elementwise
from wengert.ops.convert import VariableLike, apply_binary, as_variable, cast, promoted
from wengert.ops.define import BINARY_SHAPES, binary_samples, define_binary, magnitudes, normal
from wengert.ops.derivatives import Elementwise
from wengert.ops.lowering import Expression, elementwise
from wengert.ops.shapes import broadcast_shapes, same_dtype


def _define_comparison(
    name: str, ufunc: Any, notation: str, relation: str, laws: Laws = ELEMENTWISE
) -> Primitive:
    return define_binary(
        name,
        ufunc,
        None,
        notation,
        binary_samples(normal, normal, ()),
        result=BOOL,
        lower=elementwise(lambda e, x, y: e.compare(relation, x, y)),
        laws=laws,
    )


_SYMMETRIC = ELEMENTWISE._replace(commutative=True)

equal_p = _define_comparison("equal", np.equal, "{0} = {1}", "==", _SYMMETRIC)
not_equal_p = _define_comparison("not_equal", np.not_equal, r"{0} \neq {1}", "!=", _SYMMETRIC)
less_p = _define_comparison("less", np.less, "{0} < {1}", "<")
less_equal_p = _define_comparison("less_equal", np.less_equal, r"{0} \leq {1}", "<=")
greater_p = _define_comparison("greater", np.greater, "{0} > {1}", ">")
greater_equal_p = _define_comparison("greater_equal", np.greater_equal, r"{0} \geq {1}", ">=")


def _mask_samples(operands: int) -> Any:
    def samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
        del dtype
        for shapes in BINARY_SHAPES:
            yield Sample(
                tuple(rng.integers(0, 2, shape) == 1 for shape in shapes[:operands]),
                differentiable=(),
            )

    return samples


def _define_logical(
    name: str,
    ufunc: Any,
    notation: str,
    operands: int,
    expression: Expression,
    laws: Laws,
) -> Primitive:
    def infer(*avals: Aval) -> Aval:
        for aval in avals:
            if aval.dtype != BOOL:
                raise DTypeError(f"{name}: needs bool operands, got {aval.dtype}; compare first")
        return Aval(broadcast_shapes(name, *(aval.shape for aval in avals)), BOOL)

    return register(
        Primitive(
            name=name,
            notation=notation,
            infer=infer,
            evaluate=ufunc,
            derivative=None,
            batch=batch_elementwise,
            samples=_mask_samples(operands),
            lower=elementwise(expression),
            laws=laws,
        )
    )


logical_and_p = _define_logical(
    "logical_and",
    np.logical_and,
    r"{0} \land {1}",
    2,
    lambda e, x, y: e.both(x, y),
    _SYMMETRIC._replace(neutral=(True, True)),
)
logical_or_p = _define_logical(
    "logical_or",
    np.logical_or,
    r"{0} \lor {1}",
    2,
    lambda e, x, y: e.either(x, y),
    _SYMMETRIC._replace(neutral=(False, False)),
)
logical_not_p = _define_logical(
    "logical_not",
    np.logical_not,
    r"\lnot {0}",
    1,
    lambda e, x: e.invert(x),
    ELEMENTWISE._replace(self_inverse=True),
)


def _infer_where(condition: Aval, x: Aval, y: Aval) -> Aval:
    if condition.dtype != BOOL:
        raise DTypeError(f"where: the condition must be bool, got {condition.dtype}")
    same_dtype("where", x, y)
    return Aval(broadcast_shapes("where", condition.shape, x.shape, y.shape), x.dtype)


_SPREAD = magnitudes(normal, (1e-8, 1.0, 1e8))


def _where_samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for shape_x, shape_y in BINARY_SHAPES:
        condition = rng.integers(0, 2, np.broadcast_shapes(shape_x, shape_y)) == 1
        x, y = (_SPREAD(rng, s).astype(dtype) for s in (shape_x, shape_y))
        yield Sample((condition, x, y), differentiable=(1, 2))
    yield Sample(
        (np.array([True, False]), np.ones((3, 1), dtype), np.zeros(2, dtype)),
        differentiable=(1, 2),
    )


where_p = register(
    Primitive(
        name="where",
        notation=r"\operatorname{{where}}({0}, {1}, {2})",
        infer=_infer_where,
        evaluate=np.where,
        derivative=Elementwise(
            None, lambda z, c, x, y: c, lambda z, c, x, y: bind(logical_not_p, (c,))
        ),
        batch=batch_elementwise,
        samples=_where_samples,
        lower=elementwise(lambda e, condition, x, y: e.where(condition, x, y)),
        laws=ELEMENTWISE,
    )
)


def equal(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether ``x == y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.equal(wg.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return apply_binary(equal_p, x, y)


def not_equal(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether ``x != y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.not_equal(wg.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return apply_binary(not_equal_p, x, y)


def less(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether ``x < y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.less(wg.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return apply_binary(less_p, x, y)


def less_equal(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether ``x <= y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.less_equal(wg.tensor([1, 3]), 2)
    tensor([ True, False])
    """
    return apply_binary(less_equal_p, x, y)


def greater(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether ``x > y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.greater(wg.tensor([1, 3]), 2)
    tensor([False,  True])
    """
    return apply_binary(greater_p, x, y)


def greater_equal(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether ``x >= y``, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.greater_equal(wg.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return apply_binary(greater_equal_p, x, y)


def _mask(x: VariableLike) -> Variable:
    """Return `x` as bool: numbers other than zero are true, eager and traced alike."""
    return cast(as_variable(x), BOOL)


def logical_and(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether both masks hold, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.logical_and(wg.tensor([True, False]), True)
    tensor([ True, False])
    """
    return bind(logical_and_p, (_mask(x), _mask(y)))  # type: ignore[no-any-return]


def logical_or(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether either mask holds, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.logical_or(wg.tensor([True, False]), False)
    tensor([ True, False])
    """
    return bind(logical_or_p, (_mask(x), _mask(y)))  # type: ignore[no-any-return]


def logical_xor(x: VariableLike, y: VariableLike) -> Variable:
    """Return whether exactly one of two masks holds, element by element.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.logical_xor(wg.tensor([True, False]), True)
    tensor([False,  True])
    """
    return bind(not_equal_p, (_mask(x), _mask(y)))  # type: ignore[no-any-return]


def logical_not(x: VariableLike) -> Variable:
    """Return the opposite of a mask.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.logical_not(wg.tensor([True, False]))
    tensor([False,  True])
    """
    return bind(logical_not_p, (_mask(x),))  # type: ignore[no-any-return]


def where(condition: VariableLike, x: VariableLike, y: VariableLike) -> Variable:
    """Return `x` where the condition holds and `y` elsewhere.

    The branch that is not taken gets a zero cotangent, and zero times any slope is zero here: a
    NaN or an infinite slope in that branch does not reach the gradient.

    Parameters
    ----------
    condition : Tensor or array_like of bool
        The choice.
    x, y : Tensor or array_like
        The two branches; all three shapes broadcast.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([-1.0, 4.0])
    >>> wg.where(x > 0, wg.sqrt(x), 0.0)
    tensor([0., 2.])
    """
    condition = as_variable(condition)
    if condition.dtype != BOOL:
        condition = cast(condition, BOOL)
    x, y = promoted(x, y)
    return bind(where_p, (condition, x, y))  # type: ignore[no-any-return]

"""Change of dtype. Between floats it is linear; to integers and bool it carries no derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.graph.bind import bind
from wengert.graph.dtypes import Array, DType, check_dtype
from wengert.graph.primitive import ELEMENTWISE, Primitive, Sample, register
from wengert.graph.variable import Aval, Variable
from wengert.ops.batching import batch_elementwise
from wengert.ops.convert import VariableLike, as_variable
from wengert.ops.define import UNARY_SHAPES
from wengert.ops.derivatives import Linear
from wengert.ops.lowering import elementwise


def _transpose(
    y_bar: Variable, xs: tuple[Variable, ...], needed: Sequence[bool], dtype: DType
) -> list[Variable]:
    del needed, dtype
    return [bind(cast_p, (y_bar,), {"dtype": xs[0].dtype})]


def _evaluate(x: Array, dtype: DType) -> Array:
    return x.astype(dtype)


def _infer(x: Aval, dtype: DType) -> Aval:
    return Aval(x.shape, dtype)


def _samples(rng: np.random.Generator, dtype: np.dtype[Any]) -> Any:
    for shape in UNARY_SHAPES:
        x = np.asarray(3 * rng.standard_normal(shape)).astype(dtype)
        yield Sample((x,), {"dtype": np.dtype(np.float64)})
        yield Sample((x,), {"dtype": np.dtype(np.int32)}, ())
        yield Sample((x,), {"dtype": np.dtype(np.bool_)}, ())


cast_p = register(
    Primitive(
        name="cast",
        notation=r"\operatorname{{cast}}({0})",
        infer=_infer,
        evaluate=_evaluate,
        derivative=Linear(_transpose),
        batch=batch_elementwise,
        samples=_samples,
        lower=elementwise(lambda e, x, dtype: e.cast(x, dtype)),
        laws=ELEMENTWISE,
    )
)


def astype(x: VariableLike, dtype: npt.DTypeLike) -> Variable:
    """Return `x` converted to `dtype`.

    The gradient comes back in the dtype of `x`; no gradient passes through integers or bool.

    Raises
    ------
    TypeError
        If `dtype` is not supported.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.astype(wg.tensor([1.7, -1.7]), wg.int64)
    tensor([ 1, -1])
    """
    x = as_variable(x)
    chosen = check_dtype(dtype)
    if x.dtype == chosen:
        return x
    return bind(cast_p, (x,), {"dtype": chosen})  # type: ignore[no-any-return]

"""`bind`: the one function through which every operation comes into being.

It evaluates with NumPy and, where a derivative may be asked for, records (eager); or, when an
input has no value, it only records (traced).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.graph import sharing
from wengert.graph.dtypes import Array
from wengert.graph.errors import DTypeError, IndexRangeError, ShapeError, TracerError
from wengert.graph.mode import THREAD
from wengert.graph.primitive import Params, Primitive, registry
from wengert.graph.source import caller
from wengert.graph.tracing import Trace
from wengert.graph.variable import Aval, Operation, Variable

_NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray


def bind(  # noqa: C901  (the hot path: a call would cost more than a branch)
    primitive: Primitive, inputs: tuple[Variable, ...], params: Params = _NO_PARAMS
) -> Any:
    """Apply `primitive` to `inputs`: evaluate it, record it, or both.

    Parameters
    ----------
    primitive : Primitive
        What to compute.
    inputs : tuple of Variable
        The operands, already of the dtypes that the primitive wants.
    params : mapping
        The static parameters.

    Returns
    -------
    Variable or tuple of Variable
        The output; a tuple if the primitive has several.

    Raises
    ------
    ShapeError, DTypeError
        If the operands do not fit, with the user's line and the layer.
    TracerError
        If an operand belongs to a trace that has ended.
    """
    values = []
    requires_grad = False
    for x in inputs:
        if x.value is None:
            return _bind_abstract(primitive, inputs, params)
        values.append(x.value)
        if x.requires_grad:
            requires_grad = True
    mode = THREAD.now
    if mode.trace is not None and (not inputs or (primitive.per_lane and mode.trace.draws)):
        return _bind_abstract(primitive, inputs, params)
    try:
        result = mode.run(primitive.evaluate, *values, **params)
    except Exception as error:
        if not _is_reentry(error):
            raise _explained(primitive, inputs, params, error) from None
        result = primitive.evaluate(*values, **params)
    requires_grad = requires_grad and mode.recording and primitive.derivative is not None
    if primitive.several:
        return _wrap_several(primitive, inputs, params, result, requires_grad)
    if type(result) is not _ndarray:
        result = np.asarray(result)
    if not requires_grad:
        return Variable(result)
    origin = mode.origin
    op = Operation(
        primitive,
        inputs,
        params,
        caller() if origin is None else origin.source,
        origin,
        mode.scope,
    )
    if sharing.noted:
        sharing.mark_inputs(op)
    return Variable(result, op, result.dtype.kind == "f")


def evaluated(
    function: Callable[..., Any], variables: Sequence[Variable], *args: Any
) -> Variable | None:
    """Evaluate at once what several operations compute, where none of them is recorded.

    Parameters
    ----------
    function : callable
        ``function(*values, *args)`` with NumPy; it may return None.
    variables : sequence of Variable
        The operands.

    Returns
    -------
    Variable or None
        The result; None where the operations have to be bound one by one.
    """
    mode = THREAD.now
    if mode.recording:
        return None
    values = []
    for x in variables:
        if x.value is None:
            return None
        values.append(x.value)
    try:
        result = mode.run(function, *values, *args)
    except RuntimeError as error:
        result = _inside_another(error, function, *values, *args)
    return None if result is None else Variable(np.asarray(result))


def bind_inplace(
    primitive: Primitive, inputs: tuple[Variable, ...], params: Params = _NO_PARAMS
) -> Variable:
    """As `bind`, but the first operand gives its buffer to the result.

    The caller owns the first operand: nobody else reads it. If the operation is recorded, the
    operand stays in the graph as a variable whose value is gone; only primitives that are linear
    in it (their derivative does not need its value) have an in-place evaluation.
    """
    buffer, mode = inputs[0], THREAD.now
    value = buffer.value
    values = [x.value for x in inputs if x.value is not None]
    if primitive.inplace is None or len(values) < len(inputs):
        result = bind(primitive, inputs, params)
        assert isinstance(result, Variable)
        return result
    try:
        mode.run(primitive.inplace, *values, **params)
    except RuntimeError as error:
        _inside_another(error, primitive.inplace, *values, **params)
    if not (mode.recording and any(x.requires_grad for x in inputs)):
        return Variable(value)
    buffer._aval, buffer.value = buffer.aval, None
    return Variable(value, _record(primitive, inputs, params), True)


def _inside_another(
    error: RuntimeError, function: Callable[..., Any], *args: Any, **params: Any
) -> Any:
    """Evaluate directly where `error` says that an evaluation is under way; else raise it."""
    if not _is_reentry(error):
        raise error
    return function(*args, **params)


def _is_reentry(error: Exception) -> bool:
    """Tell whether an evaluation was under way already: a debugger or a finaliser called us."""
    return isinstance(error, RuntimeError) and "already entered" in str(error)


def _record(primitive: Primitive, inputs: tuple[Variable, ...], params: Params) -> Operation:
    mode = THREAD.now
    origin = mode.origin
    source = caller() if origin is None else origin.source
    return Operation(primitive, inputs, params, source, origin, mode.scope)


def _wrap_several(
    primitive: Primitive,
    inputs: tuple[Variable, ...],
    params: Params,
    results: Sequence[Array],
    requires_grad: bool,
) -> tuple[Variable, ...]:
    arrays = [np.asarray(result) for result in results]
    if not requires_grad:
        return tuple(Variable(array) for array in arrays)
    op = _record(primitive, inputs, params)
    if sharing.noted:
        sharing.mark_inputs(op)
    outputs = tuple(
        Variable(array, op, array.dtype.kind == "f", index) for index, array in enumerate(arrays)
    )
    op.set_outputs(outputs)
    return outputs


def _bind_abstract(primitive: Primitive, inputs: tuple[Variable, ...], params: Params) -> Any:
    trace = _innermost_trace(primitive, inputs)
    if not THREAD.now.recording and primitive.derivative is not None:
        inputs = tuple(_stopped(x) if x.requires_grad else x for x in inputs)
    avals = tuple(x.aval for x in inputs)
    result = primitive.infer(*avals, **params)
    results: tuple[Any, ...] = tuple(result) if primitive.several else (result,)
    op = _record(primitive, inputs, params)
    differentiable = primitive.derivative is not None and any(x.requires_grad for x in inputs)
    # Numbers that meet only weak variables do not make the result strong, as ``1 - lr``.
    weak = primitive.name != "cast" and any(aval.weak for aval in avals)
    weak = weak and all(x.value is not None or x.aval.weak for x in inputs)
    outputs = tuple(
        Variable.abstract(
            Aval(aval.shape, aval.dtype, weak and aval.dtype.kind == "f"),
            trace,
            op,
            differentiable and aval.dtype.kind == "f",
            index,
        )
        for index, aval in enumerate(results)
    )
    if primitive.several:
        op.set_outputs(outputs)
        return outputs
    return outputs[0]


def _stopped(x: Variable) -> Variable:
    """Return `x` for an operation that is traced while nothing is recorded.

    So the graph itself says where no derivative passes, to whatever binds it again.
    """
    return bind(registry["stop_gradient"], (x,))  # type: ignore[no-any-return]


def _innermost_trace(primitive: Primitive, inputs: tuple[Variable, ...]) -> Trace:
    current = THREAD.now.trace
    draws = primitive.per_lane and current is not None and current.draws
    innermost: Trace | None = current if draws else None
    for x in inputs:
        if x.value is not None:
            continue
        trace = getattr(x, "trace", None)
        if trace is None:
            raise TracerError(f"{primitive.name}: an operand's buffer was given away.")
        if not trace.active:
            raise TracerError(
                f"{primitive.name}: a traced variable ({x.aval}{x.made_by()}) was used after "
                f"its trace ({trace.what}) had ended; return it from the traced function instead "
                "of storing it"
            )
        if innermost is None or trace.depth > innermost.depth:
            innermost = trace
    innermost = innermost or current
    assert innermost is not None
    return innermost


def _explained(
    primitive: Primitive, inputs: tuple[Variable, ...], params: Params, error: Exception
) -> Exception:
    """Return the clear error of the shape rule for a failed evaluation, if the rule has one."""
    try:
        primitive.infer(*(x.aval for x in inputs), **params)
    except (ShapeError, DTypeError) as clear:
        return clear
    if isinstance(error, IndexError):
        return IndexRangeError(f"{primitive.name}: {error}")
    return error

"""Backpropagation from scratch: Wengert's engine once more, in one file made to be read.

It needs NumPy only and holds what the engine rests on: graphs of variables and operations; one
function `bind` through which every operation comes into being; one derivative statement an op for
both modes; reverse and forward mode that build graphs by the same `bind`, so that they nest;
batching. It leaves out dtypes (all is float64), tensors that change, ops of several outputs, useful
errors, memory and speed. The tests compare it with the real engine in values, derivatives and
printed graphs. Read it from top to bottom, or run it to see graphs and nested transforms.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Function = Callable[..., "Variable"]
Operations = list["Operation"]

# 1. The graph -------------------------------------------------------------------------------------
#
# A graph has two kinds of node. A *variable* (a square) is one array value. An *operation* (a
# circle) applies a primitive to variables and makes a variable. Both point backwards: a variable
# knows the operation that made it, an operation its inputs. Serial numbers, in the order in which
# operations were made, are an order of execution: the Wengert list.


def operator(name: str, swapped: bool = False, **params: Any) -> Function:
    """Return a method that applies a primitive to a variable and other operands."""
    return lambda *xs: bind(name, *(reversed(xs) if swapped else xs), **params)


@dataclass(eq=False, repr=False)
class Variable:
    """One array value. While a function is traced there is no value, only a shape."""

    value: np.ndarray | None
    shape: Shape
    op: Operation | None = None

    __add__, __radd__ = operator("add"), operator("add", swapped=True)
    __sub__, __rsub__ = operator("sub"), operator("sub", swapped=True)
    __mul__, __rmul__ = operator("mul"), operator("mul", swapped=True)
    __truediv__, __rtruediv__ = operator("div"), operator("div", swapped=True)
    __neg__, __matmul__ = operator("neg"), operator("contract", spec="ab,bc->ac")
    __rmatmul__ = operator("contract", swapped=True, spec="ab,bc->ac")
    __array_ufunc__ = None  # so that NumPy arrays, too, leave operators to variables


serials = itertools.count()


@dataclass(eq=False, repr=False)
class Operation:
    """A primitive applied to variables."""

    primitive: Primitive
    inputs: tuple[Variable, ...]
    params: dict[str, Any]
    serial: int = field(default_factory=lambda: next(serials))
    output: Variable = field(init=False)


def variable(x: Any) -> Variable:
    """Return `x` as a variable: itself, or a constant."""
    return x if isinstance(x, Variable) else Variable(np.asarray(x, np.float64), np.shape(x))


# 2. Primitives, and the one way to apply them -----------------------------------------------------
#
# All that is known of an op stands in one record. `bind` evaluates and records; in a trace it only
# records. Forward code, derivative rules and batching rules all go through it, and this is why
# every transform can be applied to every other.


@dataclass(frozen=True, eq=False)
class Primitive:
    """All that is known of an op: its meaning, its derivative, how it is batched."""

    name: str
    evaluate: Any
    rules: Sequence[Any]
    diagonal: bool
    batch: Function | None


registry: dict[str, Primitive] = {}
traces: list[int] = []  # those under way


def bind(name: str, *inputs: Any, **params: Any) -> Variable:
    """Apply a primitive to `inputs`: evaluate it and record it."""
    primitive, xs = registry[name], tuple(variable(x) for x in inputs)
    op = Operation(primitive, xs, params)
    traced = any(x.value is None for x in xs) or (traces and not xs)
    # In a trace any number will do: it is for the shape. (The real engine has rules for shapes.)
    values = [np.broadcast_to(0.5, x.shape) if x.value is None else x.value for x in xs]
    with np.errstate(all="ignore"):
        value = np.asarray(primitive.evaluate(*values, **params))
    op.output = Variable(None if traced else value, value.shape, op)
    return op.output


# 3. One derivative statement for both modes -------------------------------------------------------
#
# For y = f(x) with Jacobian A, forward mode needs ẏ = A ẋ, the pushforward of a tangent, and
# reverse mode x̄ = Aᵀ ȳ, the pullback of a cotangent. Nobody should state A twice:
#
# * The Jacobian of an elementwise op is diagonal: its rules are the partial derivatives,
#   ``partial(y, *xs)``, or a number where constant, None where there is none.
# * A multilinear op (a sum, a product of matrices) is its own pushforward in each operand: its
#   rules are the transposes, ``transpose(y_bar, *xs, **params)``.


def pullback(op: Operation, y_bar: Variable, needed: Sequence[bool]) -> list[Variable | None]:
    """Return the contribution of an operation to the cotangent of each input."""
    rules = [r if need else None for r, need in zip(op.primitive.rules, needed, strict=True)]
    if op.primitive.diagonal:
        pairs = zip(rules, op.inputs, strict=True)
        return [unbroadcast(scaled(y_bar, r, op), x.shape) if r else None for r, x in pairs]
    return [r(y_bar, *op.inputs, **op.params) if r else None for r in rules]


def pushforward(op: Operation, x_dots: Sequence[Variable | None]) -> Variable | None:
    """Return the tangent of the output of an operation."""
    terms, xs, primitive = [], op.inputs, op.primitive
    for i, (x_dot, rule) in enumerate(zip(x_dots, primitive.rules, strict=True)):
        if x_dot and rule and primitive.diagonal:
            terms.append(scaled(x_dot, rule, op))
        elif x_dot and rule:
            terms.append(bind(primitive.name, *xs[:i], x_dot, *xs[i + 1 :], **op.params))
    return broadcast(sum(terms[1:], terms[0]), op.output.shape) if terms else None


def scaled(bar: Variable, partial: Any, op: Operation) -> Variable:
    """Return the product of a cotangent or tangent with a partial derivative."""
    if callable(partial):
        return bind("cotangent_mul", bar, partial(op.output, *op.inputs))
    return bar if partial == 1 else -bar


def broadcast(x: Variable, shape: Shape) -> Variable:
    """Repeat `x` to `shape`."""
    return x if x.shape == shape else bind("broadcast", x, shape=shape)


def reshape(x: Variable, shape: Shape) -> Variable:
    """Return the elements of `x` in another shape."""
    return x if x.shape == shape else bind("reshape", x, shape=shape)


def unbroadcast(bar: Variable, shape: Shape) -> Variable:
    """Sum over the axes along which a variable of `shape` was repeated."""
    extra = len(bar.shape) - len(shape)
    stretched = [extra + i for i, n in enumerate(shape) if n == 1 and bar.shape[extra + i] != 1]
    axes = (*range(extra), *stretched)
    return reshape(bind("sum", bar, axes=axes), shape) if axes else bar


def spread(bar: Variable, axes: tuple[int, ...], shape: Shape) -> Variable:
    """Undo a sum over `axes` of an array of `shape`: put the axes back, and repeat along them."""
    if axes != tuple(range(len(axes))):
        bar = reshape(bar, tuple(1 if i in axes else n for i, n in enumerate(shape)))
    return broadcast(bar, shape)


# 4. The primitives --------------------------------------------------------------------------------
#
# Rules are written in operations, never in NumPy: they are graphs too. A batching rule says how an
# op is applied when the inputs marked in `which` have a batch axis in front.


def aligned(x: Variable, rank: int) -> Variable:
    """Return `x`, whose first axis is the batch, with axes of length 1 after it up to `rank`."""
    return reshape(x, (x.shape[0], *(1,) * (rank - len(x.shape)), *x.shape[1:]))


def batch_elementwise(op: Operation, xs: Any, which: Any, size: int) -> Variable:
    """Align the ranks; broadcasting does the rest."""
    rank = max(len(x.shape) + (not b) for x, b in zip(xs, which, strict=True))
    lined = [aligned(x, rank) if b else x for x, b in zip(xs, which, strict=True)]
    return bind(op.primitive.name, *lined)


def batch_shape(op: Operation, xs: Any, which: Any, size: int) -> Variable:
    """Put the batch in front of the static shape."""
    shape = (size, *op.params["shape"])
    x = aligned(xs[0], len(shape)) if op.primitive.name == "broadcast" else xs[0]
    return bind(op.primitive.name, x, shape=shape)


def batch_contract(op: Operation, xs: Any, which: Any, size: int) -> Variable:
    """Give the batch a letter of its own: a batched contraction is a contraction."""
    x, y, z = op.params["spec"].replace("->", ",").split(",")
    x, y = ("N" * b + letters for b, letters in zip(which, (x, y), strict=True))
    return bind("contract", *xs, spec=f"{x},{y}->N{z}")


def transposed(spec: str, operand: int) -> str:
    """Return the contraction that pulls a cotangent back: the transposes are contractions too."""
    x, y, z = spec.replace("->", ",").split(",")
    return f"{z},{y}->{x}" if operand == 0 else f"{x},{z}->{y}"


def elementwise(name: str, evaluate: Any, *partials: Any) -> None:
    """Add an elementwise primitive to the registry."""
    registry[name] = Primitive(name, evaluate, partials, True, batch_elementwise)


def multilinear(name: str, evaluate: Any, batch: Any, *transposes: Any) -> None:
    """Add a multilinear primitive to the registry."""
    registry[name] = Primitive(name, evaluate, transposes, False, batch)


elementwise("add", np.add, 1, 1)
elementwise("sub", np.subtract, 1, -1)
elementwise("mul", np.multiply, lambda z, x, y: y, lambda z, x, y: x)
elementwise("div", np.divide, lambda z, x, y: 1 / y, lambda z, x, y: -(z / y))
elementwise("neg", np.negative, -1)
elementwise("exp", np.exp, lambda y, x: y)
elementwise("log", np.log, lambda y, x: 1 / x)
elementwise("sin", np.sin, lambda y, x: bind("cos", x))
elementwise("cos", np.cos, lambda y, x: -bind("sin", x))
elementwise("tanh", np.tanh, lambda y, x: 1 - y * y)
elementwise("relu", lambda x: np.maximum(x, 0), lambda y, x: bind("greater", y, 0))
elementwise("greater", np.greater, None, None)
elementwise("logical_not", np.logical_not, None)
elementwise("where", np.where, None, lambda z, c, x, y: c, lambda z, c, *_: bind("logical_not", c))
# Products with a slope are zero where a factor is, whatever the other: a *strong* zero, so that the
# branch that `where` did not take, whose slope may be infinite or NaN, never poisons a gradient.
elementwise(
    "cotangent_mul",
    lambda a, b: np.where(a == 0, a, np.where(b == 0, b, a * b)),
    *registry["mul"].rules,
)
multilinear(
    "sum",
    lambda x, axes: np.sum(x, axis=axes),
    lambda op, xs, which, size: bind("sum", *xs, axes=tuple(i + 1 for i in op.params["axes"])),
    lambda bar, x, axes: spread(bar, axes, x.shape),
)
multilinear(
    "contract",
    lambda x, y, spec: np.einsum(spec, x, y),
    batch_contract,
    lambda bar, x, y, spec: bind("contract", bar, y, spec=transposed(spec, 0)),
    lambda bar, x, y, spec: bind("contract", x, bar, spec=transposed(spec, 1)),
)
multilinear("broadcast", np.broadcast_to, batch_shape, lambda b, x, shape: unbroadcast(b, x.shape))
multilinear("reshape", np.reshape, batch_shape, lambda bar, x, shape: reshape(bar, x.shape))
multilinear("full", lambda shape, value: np.full(shape, float(value)), None)
multilinear("alias", lambda x: x, batch_elementwise, lambda bar, x: bar)

# 5. Reverse and forward mode ----------------------------------------------------------------------
#
# Both walk the operations that lead from chosen variables to an output: backwards with a table of
# cotangents, forwards with a table of tangents. What they emit are ordinary operations.


def between(
    inputs: Sequence[Variable], y: Variable, since: float = np.inf
) -> tuple[Operations, set[Variable]]:
    """Return what leads from `inputs`, or from nothing after serial `since`, to `y`, in order."""
    found, stack = set(), [y]
    while stack:
        v = stack.pop()
        if v.op is not None and v not in inputs and v.op not in found:
            found.add(v.op)
            stack += v.op.inputs
    reached, chosen = set(inputs), []
    for op in sorted(found, key=lambda op: op.serial):
        if any(x in reached for x in op.inputs) or (not op.inputs and op.serial > since):
            chosen.append(op)
            reached.add(op.output)
    return chosen, reached


def pull(y: Variable, y_bar: Variable, x: Variable) -> Variable:
    """Return the cotangent of `x`: reverse mode, linear in the operations, however many paths.

    A table is filled once for each variable; where paths meet, contributions are added.
    """
    (operations, reached), bars = between([x], y), {y: y_bar}
    for op in reversed(operations):
        if op.output in bars:
            terms = pullback(op, bars.pop(op.output), [z in reached for z in op.inputs])
            for z, term in zip(op.inputs, terms, strict=True):
                if term is not None:
                    bars[z] = bars[z] + term if z in bars else term
    return bars.get(x) or bind("full", shape=x.shape, value=0)


def push(y: Variable, x: Variable, x_dot: Variable) -> Variable:
    """Return the tangent of `y`: forward mode."""
    dots: dict[Variable, Variable | None] = {x: x_dot}
    for op in between([x], y)[0]:
        dots[op.output] = pushforward(op, [dots.get(z) for z in op.inputs])
    return dots.get(y) or bind("full", shape=y.shape, value=0)


# 6. Transforms ------------------------------------------------------------------------------------
#
# Each differentiates by a fresh variable. That is all there is to nesting: an outer transform
# reaches through the alias, an inner one stops at it, other uses of the same value stay apart.


def grad(f: Function) -> Function:
    """Return the gradient of `f`, which gives one number, by its first argument."""

    @functools.wraps(f)
    def gradient(x: Any, *rest: Any) -> Variable:
        fresh = bind("alias", x)
        return pull(f(fresh, *rest), bind("full", shape=(), value=1), fresh)

    return gradient


def jvp(f: Function, x: Any, x_dot: Any) -> tuple[Variable, Variable]:
    """Return ``f(x)`` and its derivative along `x_dot`."""
    fresh = bind("alias", x)
    y = f(fresh)
    return y, push(y, fresh, variable(x_dot))


def trace(f: Function, shapes: Sequence[Shape]) -> tuple[list[Variable], Variable, Operations]:
    """Run `f` on variables without values; return these, the result, and what leads to it."""
    since = next(serials)
    traces.append(since)
    try:
        inputs = [Variable(None, shape) for shape in shapes]
        y = f(*inputs)
    finally:
        traces.pop()
    return inputs, y, between(inputs, y, since)[0]


def vmap(f: Function) -> Function:
    """Return `f` for batches along the first axes: traced for one example, applied to all."""

    def batched(*args: Any) -> Variable:
        xs = [variable(x) for x in args]
        lanes, y, operations = trace(f, [x.shape[1:] for x in xs])
        size, values, has_batch = xs[0].shape[0], dict(zip(lanes, xs, strict=True)), set(lanes)
        for op in operations:
            operands = [values.get(x, x) for x in op.inputs]
            which = [x in has_batch for x in op.inputs]
            if any(which):
                values[op.output] = op.primitive.batch(op, operands, which, size)
                has_batch.add(op.output)
            else:
                values[op.output] = bind(op.primitive.name, *operands, **op.params)
        made = values.get(y, y)
        return made if y in has_batch else broadcast(made, (size, *y.shape))

    return batched


def show(f: Function, *args: Any) -> str:
    """Return the graph of `f` for such arguments in print: one operation a line."""

    def meant(v: Variable) -> Variable:
        return meant(v.op.inputs[0]) if v.op and v.op.primitive.name == "alias" else v

    def shown(v: Variable) -> str:
        return names.get(meant(v)) or (repr(v.value.item()) if v.shape == () else "constant")

    def typed(v: Variable) -> str:
        return f"{shown(v)}: f64[{', '.join(map(str, v.shape))}]"

    inputs, y, made = trace(f, [np.shape(x) for x in args])
    operations = [op for op in made if op.primitive.name != "alias"]
    names = dict(zip(inputs, inspect.signature(f).parameters, strict=False))
    names |= {op.output: f"%{place}" for place, op in enumerate(operations)}
    lines = [f"graph {f.__name__}({', '.join(map(typed, inputs))}) -> ({typed(y)}):"]
    for op in operations:
        params = ", ".join(f"{key}={value!r}" for key, value in op.params.items())
        given = "; ".join(filter(None, [", ".join(map(shown, op.inputs)), params]))
        lines.append(f"  {typed(op.output)} = {op.primitive.name}({given})")
    return "\n".join([*lines, f"  return {shown(y)}"])


def loss(W: Variable, v: Variable, x: Variable) -> Variable:
    """Return the squared error of a network with one hidden layer, whose answer should be 1."""
    error = bind("tanh", x @ W) @ v - 1
    return bind("sum", error * error, axes=(0, 1))


if __name__ == "__main__":
    weights = np.ones((3, 4)), np.ones((4, 1))
    for f in (loss, grad(loss)):
        print(show(f, *weights, np.ones((2, 3))), end="\n\n")
    print("d³/dt³ t³ =", grad(grad(grad(lambda t: t * t * t)))(2.0).value)
    print("d/dt t³ at 1, 2, 3 =", vmap(grad(lambda t: t * t * t))([1.0, 2.0, 3.0]).value)
    print("d/dx (x · d/dy (x + y)) =", grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0).value)

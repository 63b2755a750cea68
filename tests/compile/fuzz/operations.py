"""The operations of random programs: ``operation(rng, x, y)`` makes a variable of one or two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.compile.programs import F
from wengert.graph.variable import Variable

Rng = np.random.Generator

FLOATS = ("float32", "float64")
DTYPES = (*FLOATS, *FLOATS, *FLOATS, "int8", "uint8", "int32", "int64", "uint64", "bool")


class Unfit(Exception):
    """An operation that cannot be applied to what there is."""


def _float(x: Variable) -> Variable:
    if x.dtype.kind != "f":
        raise Unfit
    return x


def _number(x: Variable) -> Variable:
    if x.dtype.kind == "b":
        raise Unfit
    return x


def _axis(rng: Rng, x: Variable) -> int:
    if not x.shape:
        raise Unfit
    return int(rng.integers(len(x.shape)))


def _fitting(rng: Rng, x: Variable, y: Variable) -> Variable:
    """Return something of the dtype of `x` that broadcasts with it: `y`, or what can be made."""
    if y.dtype == x.dtype:
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            pass
        else:
            return y
    choice = rng.integers(4)
    if choice == 0 or not x.shape or 0 in x.shape:
        return F.full((), rng.integers(0, 4), dtype=x.dtype)
    if choice == 1:
        return F.flip(x, _axis(rng, x))
    axis = _axis(rng, x)
    key = [slice(None)] * len(x.shape)
    key[axis] = slice(0, 1)
    return F.getitem(x, tuple(key))


def _binary(function: Callable[..., Variable], need: Any = None) -> Callable[..., Variable]:
    def apply(rng: Rng, x: Variable, y: Variable) -> Variable:
        if need is not None:
            need(x)
        other = _fitting(rng, x, y)
        return function(x, other) if rng.random() < 0.5 else function(other, x)

    return apply


def _unary(function: Callable[..., Variable], need: Any = None) -> Callable[..., Variable]:
    def apply(rng: Rng, x: Variable, y: Variable) -> Variable:
        if need is not None:
            need(x)
        return function(x)

    return apply


def _where(rng: Rng, x: Variable, y: Variable) -> Variable:
    other = _fitting(rng, x, y)
    test = y if y.dtype.kind == "b" else F.less(x, other)
    return F.where(test, x, other)


def _cast(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.astype(x, np.dtype(str(rng.choice(DTYPES))))


def _permute(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.permute_dims(x, tuple(int(i) for i in rng.permutation(len(x.shape))))


def _reshape(rng: Rng, x: Variable, y: Variable) -> Variable:
    size = int(np.prod(x.shape, dtype=int))
    shape = []
    for n in (2, 3, 5, 4, 7):
        if size and size % n == 0 and rng.random() < 0.5:
            shape.append(n)
            size //= n
    shape.insert(int(rng.integers(len(shape) + 1)), size)
    return F.reshape(x, tuple(shape))


def _slices(rng: Rng, x: Variable) -> tuple[Any, ...]:
    key: list[Any] = []
    for n in x.shape:
        choice = rng.integers(5)
        start, step = int(rng.integers(0, n + 1)), int(rng.choice((1, 2, 3, -1, -2)))
        if choice == 0 and n:
            key.append(int(rng.integers(-n, n)))
        elif choice == 1:
            key.append(slice(start, None, step))
        elif choice == 2:
            key.append(slice(None, None, step))
        else:
            key.append(slice(None))
    return tuple(key)


def _slice(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.getitem(x, _slices(rng, x))


def _set(rng: Rng, x: Variable, y: Variable) -> Variable:
    key = _slices(rng, x)
    part = F.getitem(x, key)
    value = F.flip(part, 0) if part.shape and rng.random() < 0.5 else _fitting(rng, part, y)
    return F.setitem(x, key, value)


def _take(rng: Rng, x: Variable, y: Variable) -> Variable:
    axis = _axis(rng, x)
    n = x.shape[axis]
    if not n:
        raise Unfit
    index = rng.integers(-n, n, int(rng.choice((1, 3, 20))))
    return F.take(x, index, axis=axis)


def _take_computed(rng: Rng, x: Variable, y: Variable) -> Variable:
    axis = _axis(rng, x)
    if not x.shape[axis]:
        raise Unfit
    places = F.argsort(x if rng.random() < 0.5 else F.flip(x, axis), axis=axis)
    return F.take_along_axis(x, places, axis=axis)


def _join(rng: Rng, x: Variable, y: Variable) -> Variable:
    axis = _axis(rng, x)
    other = y if y.dtype == x.dtype and y.shape == x.shape else F.flip(x, axis)
    return F.concat([x, other, x][: int(rng.integers(1, 4))], axis=axis)


def _stack(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.stack([x, x if y.shape != x.shape or y.dtype != x.dtype else y], axis=0)


def _pad(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.pad(x, [(int(rng.integers(3)), int(rng.integers(3))) for _ in x.shape])


def _broadcast(rng: Rng, x: Variable, y: Variable) -> Variable:
    shape = tuple(int(rng.choice((1, 3, 17))) if n == 1 else n for n in x.shape)
    return F.broadcast_to(x, (int(rng.choice((1, 2, 5))), *shape))


def _reduced(function: Callable[..., Variable], need: Any = None) -> Callable[..., Variable]:
    def apply(rng: Rng, x: Variable, y: Variable) -> Variable:
        if need is not None:
            need(x)
        count = int(rng.integers(0, len(x.shape) + 1))
        axes = tuple(int(i) for i in rng.permutation(len(x.shape))[:count])
        return function(x, axis=axes or None, keepdims=bool(rng.integers(2)))

    return apply


def _along(function: Callable[..., Variable], need: Any = None) -> Callable[..., Variable]:
    def apply(rng: Rng, x: Variable, y: Variable) -> Variable:
        if need is not None:
            need(x)
        return function(x, axis=_axis(rng, x))

    return apply


def _matmul(rng: Rng, x: Variable, y: Variable) -> Variable:
    _float(x)
    if len(x.shape) < 2:
        raise Unfit
    turned = F.permute_dims(x, (*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2))
    if y.dtype == x.dtype and len(y.shape) >= 2:
        if y.shape[-2] == x.shape[-1]:
            return F.matmul(x, y)
        if y.shape[-1] == x.shape[-1]:
            return F.matmul(x, F.permute_dims(y, (*range(len(y.shape) - 2), -1, -2)))
    return F.matmul(turned, x) if rng.random() < 0.5 else F.matmul(x, turned)


def _contract(rng: Rng, x: Variable, y: Variable) -> Variable:
    """Sum products of two arrays over the axes of equal lengths, some or all of them."""
    _float(x)
    if y.dtype != x.dtype or len(x.shape) + len(y.shape) > 6:
        y = x
    mine = "abcd"[: len(x.shape)]
    free = list("efgh")
    other = ""
    for n in y.shape:
        same = [a for a, m in zip(mine, x.shape, strict=True) if m == n and a not in other]
        other += str(rng.choice(same)) if same and rng.random() < 0.7 else free.pop(0)
    labels = [a for a in dict.fromkeys(mine + other) if rng.random() < 0.6 or a in "efgh"]
    result = "".join(str(a) for a in rng.permutation(labels)) if labels else ""
    alone = [a for a in mine if a not in other]
    result += "".join(a for a in alone if a not in result)
    return F.contract(f"{mine},{other}->{result}", x, y)


def _image(x: Variable) -> Variable:
    """Return `x` as one image of some channels, or several."""
    _float(x)
    if not 2 <= len(x.shape) <= 4 or 0 in x.shape:
        raise Unfit
    n, c, h, w = (1,) * (4 - len(x.shape)) + x.shape
    if c > 40 or h * w > 1200 or n > 20:
        raise Unfit
    return F.reshape(x, (n, c, h, w))


def _conv(rng: Rng, x: Variable, y: Variable) -> Variable:
    image = _image(x)
    high, wide = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    weight = F.getitem(image, (slice(0, 1), slice(None), slice(0, high), slice(0, wide)))
    more = [weight, F.flip(weight, 2), F.flip(weight, 3)][: int(rng.integers(1, 4))]
    return F.conv2d(
        image,
        F.concat(more, axis=0),
        stride=int(rng.integers(1, 3)),
        padding=int(rng.integers(2)),
        dilation=int(rng.integers(1, 3)),
    )


def _pool(rng: Rng, x: Variable, y: Variable) -> Variable:
    pool = F.max_pool2d if rng.random() < 0.5 else F.avg_pool2d
    return pool(_image(x), int(rng.integers(1, 4)), int(rng.integers(1, 4)))


def _linear(rng: Rng, x: Variable, y: Variable) -> Variable:
    if len(x.shape) != 2:
        raise Unfit
    weight = y if y.dtype == x.dtype and y.shape[1:] == x.shape[1:] else F.sin(_float(x))
    return F.linear(x, weight, F.getitem(weight, (slice(None), 0)))


def _cross_entropy(rng: Rng, x: Variable, y: Variable) -> Variable:
    if len(_float(x).shape) != 2 or 0 in x.shape:
        raise Unfit
    return F.cross_entropy(x, rng.integers(0, x.shape[1], x.shape[0]))


def _clip(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.clip(_number(x), int(rng.integers(0, 2)), int(rng.integers(2, 5)))


def _divided(rng: Rng, x: Variable, y: Variable) -> Variable:
    return F.divide(_float(x), _fitting(rng, x, y))


def _halved(rng: Rng, x: Variable, y: Variable) -> Variable:
    return _float(x) * float(rng.choice((0.5, -0.25, 2.0)))


OPERATIONS: dict[str, Callable[..., Variable]] = {
    "add": _binary(F.add),
    "sub": _binary(F.subtract, _number),
    "mul": _binary(F.multiply),
    "div": _divided,
    "maximum": _binary(F.maximum),
    "minimum": _binary(F.minimum),
    "less": _binary(F.less),
    "equal": _binary(F.equal),
    "greater_equal": _binary(F.greater_equal),
    "floor_divide": _binary(F.floor_divide, _number),
    "remainder": _binary(F.remainder, _number),
    "pow": _binary(F.power, _float),
    "logaddexp": _binary(F.logaddexp, _float),
    "where": _where,
    "clip": _clip,
    "cast": _cast,
    "neg": _unary(F.negative, _number),
    "abs": _unary(F.absolute, _number),
    "sign": _unary(F.sign, _number),
    "floor": _unary(F.floor),
    "ceil": _unary(F.ceil),
    "round": _unary(F.round),
    "square": _unary(F.square),
    "halved": _halved,
    "sqrt": _unary(lambda x: F.sqrt(F.absolute(_float(x)))),
    "relu": _unary(F.relu, _float),
    "leaky_relu": _unary(F.leaky_relu, _float),
    "isnan": _unary(F.isnan),
    "isfinite": _unary(F.isfinite),
    "logical_not": _unary(F.logical_not),
    "logical_and": _binary(F.logical_and),
    "logical_xor": _binary(F.logical_xor),
    "exp": _unary(F.exp, _float),
    "log": _unary(lambda x: F.log(F.absolute(_float(x)))),
    "tanh": _unary(F.tanh, _float),
    "sigmoid": _unary(F.sigmoid, _float),
    "sin": _unary(F.sin, _float),
    "erf": _unary(F.erf, _float),
    "softplus": _unary(F.softplus, _float),
    "gelu": _unary(F.gelu, _float),
    "elu": _unary(F.elu, _float),
    "expm1": _unary(F.expm1, _float),
    "log1p": _unary(lambda x: F.log1p(F.absolute(_float(x)))),
    "flip": _along(F.flip),
    "permute": _permute,
    "reshape": _reshape,
    "slice": _slice,
    "set": _set,
    "take": _take,
    "take_computed": _take_computed,
    "join": _join,
    "stack": _stack,
    "pad": _pad,
    "broadcast": _broadcast,
    "sum": _reduced(F.sum),
    "mean": _reduced(F.mean, _float),
    "max": _reduced(F.max),
    "min": _reduced(F.min),
    "prod": _reduced(F.prod),
    "any": _reduced(F.any),
    "logsumexp": _reduced(F.logsumexp, _float),
    "argmax": _along(F.argmax),
    "argmin": _along(F.argmin),
    "softmax": _along(F.softmax, _float),
    "log_softmax": _along(F.log_softmax, _float),
    "sort": _along(F.sort),
    "cumulative_sum": _along(F.cumulative_sum),
    "cumulative_prod": _along(F.cumulative_prod, _float),
    "matmul": _matmul,
    "contract": _contract,
    "linear": _linear,
    "cross_entropy": _cross_entropy,
    "norm": _along(F.norm, _float),
    "var": _along(F.var, _float),
    "conv": _conv,
    "pool": _pool,
}

WEIGHTS = {"matmul": 4.0, "contract": 3.0, "sum": 3.0, "cast": 2.0, "permute": 3.0, "slice": 2.0}
WEIGHTS |= {"add": 3.0, "mul": 3.0, "where": 2.0, "conv": 3.0, "pool": 2.0, "reshape": 2.0}

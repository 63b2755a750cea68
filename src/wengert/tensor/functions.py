"""The functions of the package, lifted from variables to tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert.graph.mode import THREAD
from wengert.graph.variable import Variable
from wengert.ops import (
    activations,
    arithmetic,
    assembly,
    cast,
    compare,
    contraction,
    creation,
    cumulative,
    exponential,
    extrema,
    finite,
    indexing,
    losses,
    power,
    reduce,
    rounding,
    shape,
    sorting,
    statistics,
    windows,
)
from wengert.ops import (
    einsum as _einsum,
)
from wengert.ops import (
    linear as _linear,
)
from wengert.ops.convert import as_variable, settled
from wengert.tensor.tensor import Tensor, operand, wrap


def lift(function: Callable[..., Any], settles: bool = True) -> Callable[..., Any]:
    """Return `function` of variables as a function of tensors.

    Parameters
    ----------
    function : callable
        The function of variables.
    settles : bool
        Whether numbers alone get their dtype before the function sees them.
    """

    @functools.wraps(function)
    def lifted(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            kwargs = {key: operand(value) for key, value in kwargs.items()}
        trace = THREAD.now.trace
        operands: Sequence[Any]
        if trace is None:
            operands = [x._variable if type(x) is Tensor else operand(x) for x in args]
            result = function(*operands, **kwargs)
        else:
            operands = [operand(x) for x in args]
            operands = settled(operands) if settles else operands
            result = trace.call(function, *operands, **kwargs)
        if isinstance(result, Variable):
            if trace is not None:
                result = as_variable(result)
            return wrap(result, (*operands, *kwargs.values()) if kwargs else operands)
        return tuple(Tensor(v) for v in result)

    return lifted


elu = lift(activations.elu)
gelu = lift(activations.gelu)
leaky_relu = lift(activations.leaky_relu)
log_softmax = lift(activations.log_softmax)
silu = lift(activations.silu)
softmax = lift(activations.softmax)
softplus = lift(activations.softplus)
abs = lift(arithmetic.absolute)
add = lift(arithmetic.add)
clip = lift(extrema.clip)
divide = lift(arithmetic.divide)
maximum = lift(extrema.maximum)
minimum = lift(extrema.minimum)
floor = lift(arithmetic.floor)
multiply = lift(arithmetic.multiply)
negative = lift(arithmetic.negative)
pow = lift(power.power)
isfinite = lift(finite.isfinite)
isinf = lift(finite.isinf)
isnan = lift(finite.isnan)
square = lift(power.square)
relu = lift(arithmetic.relu)
sign = lift(arithmetic.sign)
subtract = lift(arithmetic.subtract)
astype = lift(cast.astype)
equal = lift(compare.equal)
greater = lift(compare.greater)
greater_equal = lift(compare.greater_equal)
less = lift(compare.less)
less_equal = lift(compare.less_equal)
logical_and = lift(compare.logical_and)
logical_not = lift(compare.logical_not)
logical_or = lift(compare.logical_or)
logical_xor = lift(compare.logical_xor)
not_equal = lift(compare.not_equal)
where = lift(compare.where)
einsum = lift(_einsum.einsum)
matmul = lift(contraction.matmul)
outer = lift(contraction.outer)
tensordot = lift(contraction.tensordot)
arange = lift(creation.arange)
eye = lift(creation.eye)
full = lift(creation.full, settles=False)
linspace = lift(creation.linspace)
ones = lift(creation.ones)
zeros = lift(creation.zeros)
cumulative_prod = lift(cumulative.cumulative_prod)
cumulative_sum = lift(cumulative.cumulative_sum)
cos = lift(exponential.cos)
erf = lift(exponential.erf)
exp = lift(exponential.exp)
expm1 = lift(exponential.expm1)
log = lift(exponential.log)
linear = lift(_linear.linear)
logaddexp = lift(activations.logaddexp)
log1p = lift(exponential.log1p)
sigmoid = lift(exponential.sigmoid)
sin = lift(exponential.sin)
sqrt = lift(exponential.sqrt)
tanh = lift(exponential.tanh)
take = lift(indexing.take)
take_along_axis = lift(indexing.take_along_axis)
binary_cross_entropy_with_logits = lift(losses.binary_cross_entropy_with_logits)
cross_entropy = lift(losses.cross_entropy)
l1_loss = lift(losses.l1_loss)
mse_loss = lift(losses.mse_loss)
nll_loss = lift(losses.nll_loss)
all = lift(reduce.all)
any = lift(reduce.any)
argmax = lift(reduce.argmax)
argmin = lift(reduce.argmin)
logsumexp = lift(reduce.logsumexp)
max = lift(reduce.max)
max_with_index = lift(reduce.max_with_index)
min = lift(reduce.min)
sum = lift(reduce.sum)
ceil = lift(rounding.ceil)
floor_divide = lift(rounding.floor_divide)
remainder = lift(rounding.remainder)
round = lift(rounding.round)
broadcast_to = lift(shape.broadcast_to)
concat = lift(assembly.concat)
expand_dims = lift(shape.expand_dims)
flatten = lift(shape.flatten)
flip = lift(assembly.flip)
matrix_transpose = lift(shape.matrix_transpose)
moveaxis = lift(shape.moveaxis)
pad = lift(assembly.pad)
permute_dims = lift(shape.permute_dims)
reshape = lift(shape.reshape)
squeeze = lift(shape.squeeze)
stack = lift(assembly.stack)
swapaxes = lift(shape.swapaxes)
argsort = lift(sorting.argsort)
sort = lift(sorting.sort)
mean = lift(statistics.mean)
norm = lift(statistics.norm)
prod = lift(statistics.prod)
std = lift(statistics.std)
var = lift(statistics.var)
avg_pool2d = lift(windows.avg_pool2d)
conv2d = lift(windows.conv2d)
max_pool2d = lift(windows.max_pool2d)

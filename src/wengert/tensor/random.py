"""Random numbers: one counter-based generator whose key and counter live in a cell.

A draw advances the counter by a number that depends on shapes alone, so that eager and compiled
programs, recomputed segments and the lanes of a `vmap` draw the numbers that they should.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert.graph.dtypes import check_dtype, default_float
from wengert.graph.tracing import composite
from wengert.graph.variable import Variable
from wengert.ops import random as _random
from wengert.ops.creation import as_shape
from wengert.tensor.tensor import Tensor, operand

_KEY_OF_ZERO = (15793235383387715774, 12390638538380655177)
"""The key of seed 0, which the default generator starts from: `_key` without `numpy.random`."""


class Generator:
    """A stream of random numbers (Philox, Salmon et al. 2011).

    Parameters
    ----------
    seed : int
        Equal seeds give equal streams.

    Attributes
    ----------
    state : Tensor of uint64, shape (3,)
        Two words of key and the counter of the next block.

    Examples
    --------
    >>> import wengert as wg
    >>> a, b = wg.Generator(7), wg.Generator(7)
    >>> bool((wg.rand(3, generator=a) == wg.rand(3, generator=b)).numpy().all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        self.state = Tensor(Variable(_state(seed)))

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`; returns the generator."""
        self.state._bind(Variable(_state(seed)))
        return self

    def draw(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(state, *args)``, keep the new state and return the value as a tensor."""
        value, state = function(self.state._read(), *args)
        self.state._bind(state)
        return Tensor(value)


def _state(seed: int) -> npt.NDArray[np.uint64]:
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or seed < 0:
        raise ValueError(f"a seed must be an integer of at least 0, got {seed!r}.")
    return np.array([*_key(int(seed)), 0], np.uint64)


def _key(seed: int) -> tuple[int, ...]:
    if seed == 0:
        return _KEY_OF_ZERO
    return tuple(np.random.SeedSequence(seed).generate_state(2, np.uint64).tolist())


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Start the default generator anew; returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> g = wg.manual_seed(0)
    """
    return default_generator.manual_seed(seed)


def _shape(shape: tuple[Any, ...]) -> tuple[int, ...]:
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        return as_shape(shape[0])
    return as_shape(shape)


def _float(dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    return default_float() if dtype is None else check_dtype(dtype)


def rand(
    *shape: Any, dtype: npt.DTypeLike | None = None, generator: Generator | None = None
) -> Tensor:
    """Return numbers uniform on [0, 1).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.rand(2, 3).shape
    (2, 3)
    """
    stream = generator or default_generator
    return stream.draw(_random.uniform, _shape(shape), _float(dtype), 0.0, 1.0)  # type: ignore[no-any-return]


def uniform(
    low: float,
    high: float,
    shape: int | Sequence[int],
    dtype: npt.DTypeLike | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return numbers uniform on [low, high).

    Examples
    --------
    >>> import wengert as wg
    >>> wg.uniform(-1.0, 1.0, (2, 3)).shape
    (2, 3)
    """
    stream = generator or default_generator
    return stream.draw(_random.uniform, as_shape(shape), _float(dtype), low, high)  # type: ignore[no-any-return]


def randn(
    *shape: Any, dtype: npt.DTypeLike | None = None, generator: Generator | None = None
) -> Tensor:
    """Return numbers of the standard normal distribution.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.randn(2, 3).shape
    (2, 3)
    """
    stream = generator or default_generator
    return stream.draw(_random.normal, _shape(shape), _float(dtype))  # type: ignore[no-any-return]


def randint(
    low: int, high: int, shape: int | Sequence[int], generator: Generator | None = None
) -> Tensor:
    """Return integers uniform on low, ..., high - 1.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.randint(0, 10, (2, 3)).shape
    (2, 3)
    """
    if high <= low:
        raise ValueError(f"randint: needs low < high, got {low} and {high}.")
    stream = generator or default_generator
    return stream.draw(_random.randint, low, high, as_shape(shape))  # type: ignore[no-any-return]


def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """Return the numbers 0, ..., n - 1 in random order.

    Examples
    --------
    >>> import wengert as wg
    >>> sorted(wg.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    stream = generator or default_generator
    return stream.draw(_random.permutation, n)  # type: ignore[no-any-return]


def bernoulli(p: Any, shape: int | Sequence[int], generator: Generator | None = None) -> Tensor:
    """Return a mask that is true with probability `p`.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.bernoulli(0.5, (2, 3)).shape
    (2, 3)
    """
    stream = generator or default_generator
    return stream.draw(_random.bernoulli, operand(p), as_shape(shape))  # type: ignore[no-any-return]


@composite
def dropout(
    x: Any, p: Any = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Set each element to zero with probability `p` and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x : Tensor or array_like
        What to thin out.
    p : float
        The probability, from 0 to 1.
    training : bool
        Otherwise `x` is returned as it is.

    Raises
    ------
    ValueError
        If `p` is no probability.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.dropout(wg.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    from wengert.ops.arithmetic import divide, multiply, subtract
    from wengert.ops.compare import where
    from wengert.ops.convert import as_variable

    if isinstance(p, int | float) and not 0 <= p <= 1:
        raise ValueError(f"dropout: p must be a probability between 0 and 1, got {p}.")
    variable = as_variable(operand(x))
    if not training or (isinstance(p, int | float) and p == 0):
        return x if isinstance(x, Tensor) else Tensor(variable)
    if isinstance(p, int | float) and p == 1:
        return Tensor(where(False, variable, 0.0))
    keep = subtract(1.0, operand(p)) if isinstance(p, Tensor) else 1.0 - p
    mask = bernoulli(
        Tensor(keep) if isinstance(keep, Variable) else keep, variable.shape, generator
    )
    scale = divide(1.0, keep) if isinstance(keep, Variable) else 1.0 / keep
    return Tensor(where(mask._read(), multiply(variable, scale), 0.0))

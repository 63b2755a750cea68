"""Initial weights, drawn in place from Wengert's generator (`wengert.manual_seed`).

References
----------
Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks.
He, Zhang, Ren & Sun (2015), Delving deep into rectifiers, arXiv:1502.01852.
"""

from __future__ import annotations

import math

from wengert.graph.errors import ShapeError
from wengert.graph.mode import recording
from wengert.tensor import random
from wengert.tensor.random import Generator
from wengert.tensor.tensor import Tensor

_MATRIX = 2
_DEFAULT_SLOPE = 0.01
_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the scale of a signal through a function.

    Parameters
    ----------
    nonlinearity : str
        ``"linear"``, ``"conv2d"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``,
        ``"selu"``.
    param : float, optional
        The negative slope of ``"leaky_relu"``; default: 0.01.

    Raises
    ------
    ValueError
        If `nonlinearity` is something else.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.init.calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        slope = _DEFAULT_SLOPE if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"calculate_gain: unknown function {nonlinearity!r}; there are {known}.")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs each output of a weight has, and how many outputs each input.

    Raises
    ------
    ShapeError
        If `tensor` has fewer than two axes, as a bias has.
    """
    if tensor.ndim < _MATRIX:
        raise ShapeError(
            f"init: fan-in and fan-out need a weight of at least two axes, got shape "
            f"{tensor.shape}; use uniform_, normal_ or zeros_ for a bias."
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill `tensor` with numbers uniform on [a, b); returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> weight = wg.nn.init.uniform_(wg.zeros((2, 3)), -1.0, 1.0)
    """
    with recording(False):
        return tensor.copy_(random.uniform(a, b, tensor.shape, tensor.dtype, generator))


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill `tensor` with normal numbers; returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> weight = wg.nn.init.normal_(wg.zeros((2, 3)), std=0.1)
    """
    with recording(False):
        drawn = random.randn(*tensor.shape, dtype=tensor.dtype, generator=generator)
        return tensor.copy_(drawn * std + mean)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill `tensor` with one number; returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.init.constant_(wg.zeros(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    with recording(False):
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill `tensor` with zeros; returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.init.zeros_(wg.ones(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill `tensor` with ones; returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> wg.nn.init.ones_(wg.zeros(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill a weight uniformly on ±gain √(6 / (fan_in + fan_out)); returns it (Glorot & Bengio).

    Examples
    --------
    >>> import wengert as wg
    >>> weight = wg.nn.init.xavier_uniform_(wg.zeros((2, 3)))
    """
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight with normal numbers of deviation gain √(2 / (fan_in + fan_out)); returns it.

    Examples
    --------
    >>> import wengert as wg
    >>> weight = wg.nn.init.xavier_normal_(wg.zeros((2, 3)))
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), generator)


def _kaiming_deviation(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}.")
    fan_in, fan_out = fans(tensor)
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight uniformly on ±gain √(3 / fan); returns it (He et al.).

    Parameters
    ----------
    tensor : Tensor
        The weight, of shape ``(out, in, ...)``.
    a : float
        The negative slope of the leaky ReLU that follows.
    mode : {"fan_in", "fan_out"}
        Whether the scale is kept forward or backward.
    nonlinearity : str
        What follows; see `calculate_gain`.
    generator : Generator, optional
        Where the numbers come from.

    Examples
    --------
    >>> import wengert as wg
    >>> weight = wg.nn.init.kaiming_uniform_(wg.zeros((2, 3)), nonlinearity="relu")
    """
    bound = math.sqrt(3) * _kaiming_deviation(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight with normal numbers of deviation gain / √fan; see `kaiming_uniform_`.

    Examples
    --------
    >>> import wengert as wg
    >>> weight = wg.nn.init.kaiming_normal_(wg.zeros((2, 3)), nonlinearity="relu")
    """
    return normal_(tensor, 0.0, _kaiming_deviation(tensor, a, mode, nonlinearity), generator)


def reset_affine(weight: Tensor, bias: Tensor | None) -> None:
    """Draw the weight and bias of a layer anew, as PyTorch does for linear and convolution."""
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = fans(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        uniform_(bias, -bound, bound)

"""Adam and its relatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.graph.dtypes import FLOAT64
from wengert.optim.optimizer import (
    Number,
    Optimizer,
    ParamGroup,
    State,
    advance,
    check_range,
)
from wengert.tensor import functions
from wengert.tensor.tensor import Tensor


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts
        The leaves to update; see `Optimizer`.
    lr : float
        The learning rate, at least 0.
    betas : (float, float)
        How much of the running means of gradient and square is kept, each from 0 to below 1.
    eps : float
        Added to the denominator, at least 0.
    weight_decay : float
        The factor λ of the penalty (λ/2)‖p‖², at least 0.
    amsgrad : bool
        Whether to divide by the largest mean square so far.
    maximize : bool
        Whether to go up the gradient instead of down.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    At step t with gradient g: ``m = β₁ m + (1 - β₁) g``, ``v = β₂ v + (1 - β₂) g²``,
    ``p -= lr (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + eps)``, with the powers in float64.

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980.
    Reddi, Kale & Kumar (2018), On the convergence of Adam and beyond.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = wg.optim.Adam([x], lr=0.5)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([0.5000, 1.5000], requires_grad=True)
    """

    decoupled = False
    remembers = frozenset({"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"})

    def __init__(  # noqa: PLR0913  (PyTorch's arguments)
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def _check(self, group: ParamGroup) -> None:
        name = type(self).__name__
        for key in ("lr", "eps", "weight_decay"):
            check_range(name, key, group[key])
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:  # noqa: PLR2004  (two means)
            raise TypeError(f"{name}: betas must be two numbers, got {betas!r}.")
        for place, beta in enumerate(betas):
            check_range(name, f"betas[{place}]", beta, 0.0, 1.0)

    def _needs(self, group: ParamGroup) -> Sequence[str]:
        kept = ("step", "exp_avg", "exp_avg_sq")
        return (*kept, "max_exp_avg_sq") if group["amsgrad"] else kept

    def _update(self, group: ParamGroup) -> None:
        settings = _Settings.read(group)
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if settings.maximize:
                grad = -grad
            if settings.weight_decay is not None:
                if self.decoupled:
                    param.mul_(1.0 - settings.lr * settings.weight_decay)
                else:
                    grad = grad + param * settings.weight_decay
            _descend(param, grad, self._known(group, param), settings)


class _Settings(NamedTuple):
    """What a step reads of a group, and the shares that new values have in the running means."""

    lr: Number
    maximize: bool
    weight_decay: Number | None
    beta1: Number
    beta2: Number
    share1: Number
    share2: Number
    eps: Number
    amsgrad: bool

    @classmethod
    def read(cls, group: ParamGroup) -> _Settings:
        beta1, beta2 = group.number("betas", 0), group.number("betas", 1)
        return cls(
            group.number("lr"),
            group.chosen("maximize"),
            group.number_if_chosen("weight_decay"),
            beta1,
            beta2,
            1.0 - beta1,
            1.0 - beta2,
            group.number("eps"),
            group.chosen("amsgrad"),
        )


def _descend(param: Tensor, grad: Tensor, state: State, settings: _Settings) -> None:
    """Update the running means and take the step."""
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.mul_(settings.beta1).add_(grad, alpha=settings.share1)
    square.mul_(settings.beta2).add_(grad * grad, alpha=settings.share2)
    if settings.amsgrad:
        largest = state["max_exp_avg_sq"]
        square = largest.copy_(functions.maximum(largest, square))
    count = advance(state["step"])
    root = _root(_gathered(settings.beta2, count))
    # Both sides of the fraction are multiplied by √(1 - β₂ᵗ): one pass over the arrays less.
    size = _scalar(settings.lr / _gathered(settings.beta1, count) * root, param)
    bottom = functions.sqrt(square).add_(_scalar(settings.eps * root, param))
    param.sub_(mean / bottom, alpha=size)


def _gathered(beta: Number, count: int | Tensor) -> Number:
    """Return ``1 - beta ** count``: how much of its weight a running mean has gathered."""
    if isinstance(count, Tensor):
        power: Tensor = functions.pow(beta, count.astype(FLOAT64))
        return 1.0 - power
    return 1.0 - float(np.power(beta, float(count)))


def _root(x: Number) -> Number:
    return functions.sqrt(x) if isinstance(x, Tensor) else math.sqrt(x)


def _scalar(x: Number, param: Tensor) -> Number:
    """Return a number computed in float64 as one that does not widen the parameter."""
    return x.astype(param.dtype) if isinstance(x, Tensor) else x


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: ``p *= 1 - lr * weight_decay`` first.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts
        The leaves to update; see `Optimizer`.
    lr, betas, eps, amsgrad, maximize
        As for `Adam`.
    weight_decay : float
        How much of each parameter decays per unit of learning rate, at least 0.

    References
    ----------
    Loshchilov & Hutter (2019), Decoupled weight decay regularization, arXiv:1711.05101.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0, 2.0], requires_grad=True)
    >>> wg.optim.AdamW([x]).param_groups[0]["weight_decay"]
    0.01
    """

    decoupled = True

    def __init__(  # noqa: PLR0913  (PyTorch's arguments)
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

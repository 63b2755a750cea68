"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from wengert.graph.dtypes import DType
from wengert.optim.optimizer import (
    Number,
    Optimizer,
    ParamGroup,
    State,
    advance,
    check_range,
)
from wengert.tensor import functions, inplace
from wengert.tensor.creation import tensor
from wengert.tensor.tensor import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, weight decay and Nesterov's variant.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts
        The leaves to update; see `Optimizer`.
    lr : float
        The learning rate, at least 0.
    momentum : float
        How much of the last step is kept, at least 0.
    dampening : float
        How much of the gradient is left out of the momentum, from the second step on.
    weight_decay : float
        The factor λ of the penalty (λ/2)‖p‖², at least 0.
    nesterov : bool
        Whether to look ahead along the momentum; needs momentum and no dampening.
    maximize : bool
        Whether to go up the gradient instead of down.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    With gradient g: ``g += weight_decay * p``, ``b = momentum * b + (1 - dampening) * g`` (at the
    first step ``b = g``), ``p -= lr * b`` or, after Nesterov, ``p -= lr * (g + momentum * b)``.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), On the importance of initialization and momentum in
    deep learning.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = wg.optim.SGD([x], lr=0.25)
    >>> (x * x).sum().backward()
    >>> optimizer.step()
    >>> x
    tensor([0.5000, 1.0000], requires_grad=True)
    """

    remembers = frozenset({"momentum_buffer", "step"})

    def __init__(  # noqa: PLR0913  (PyTorch's arguments)
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def _check(self, group: ParamGroup) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            check_range("SGD", name, group[name])
        check_range("SGD", "dampening", group["dampening"], -float("inf"))
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov needs momentum above 0 and no dampening, got momentum "
                f"{group['momentum']} and dampening {group['dampening']}."
            )

    def _needs(self, group: ParamGroup) -> Sequence[str]:
        if not group["momentum"]:
            return ()
        return ("momentum_buffer", "step") if group["dampening"] else ("momentum_buffer",)

    def _restore(self, group: ParamGroup, param: Tensor, loaded: State) -> None:
        super()._restore(group, param, loaded)
        # PyTorch keeps no counter: there is a buffer from the first step on.
        if "step" in self.state[param] and "step" not in loaded:
            self.state[param]["step"].fill_(int("momentum_buffer" in loaded))

    def _update(self, group: ParamGroup) -> None:
        settings = _Settings.read(group)
        steps: list[tuple[Tensor, Tensor]] = []
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if settings.maximize:
                grad = -grad
            if settings.weight_decay is not None:
                grad = grad + param * settings.weight_decay
            if settings.momentum is not None:
                grad = _carried(self._known(group, param), grad, settings, settings.momentum)
            if settings.makes_arrays:  # one at a time, so that they are not all there at once
                param.sub_(grad, alpha=settings.lr)
            else:
                steps.append((param, grad))
        inplace.subtract_all(steps, settings.lr)


class _Settings(NamedTuple):
    """What a step reads of a group; None for what is switched off."""

    lr: Number
    maximize: bool
    weight_decay: Number | None
    momentum: Number | None
    undamped: Number | None
    nesterov: bool

    @property
    def makes_arrays(self) -> bool:
        """Whether the direction of a step is an array of its own."""
        return self.maximize or self.nesterov or self.weight_decay is not None

    @classmethod
    def read(cls, group: ParamGroup) -> _Settings:
        momentum = group.number_if_chosen("momentum")
        carries = momentum is not None
        dampening = group.number_if_chosen("dampening") if carries else None
        return cls(
            group.number("lr"),
            group.chosen("maximize"),
            group.number_if_chosen("weight_decay"),
            momentum,
            None if dampening is None else 1.0 - dampening,
            carries and group.chosen("nesterov"),
        )


def _carried(state: State, grad: Tensor, settings: _Settings, momentum: Number) -> Tensor:
    """Add the gradient to the momentum; return the direction of the step."""
    buffer = state["momentum_buffer"]
    buffer.mul_(momentum)
    if settings.undamped is None:
        buffer.add_(grad)
    else:
        buffer.add_(grad, alpha=_share(settings.undamped, state["step"], buffer.dtype))
    return grad + buffer * momentum if settings.nesterov else buffer


def _share(undamped: Number, counter: Tensor, dtype: DType) -> Number:
    """Return how much of the gradient enters the momentum: all of it at the first step."""
    count = advance(counter)
    if isinstance(count, Tensor):
        return functions.where(count == 1, tensor(1.0, dtype), undamped)  # type: ignore[no-any-return]
    return 1.0 if count == 1 else undamped

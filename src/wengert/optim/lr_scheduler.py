"""Schedules of the learning rate: call ``step()`` once after each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert.optim.optimizer import Optimizer, ParamGroup


class LRScheduler:
    """Base of the schedules: changes ``group["lr"]`` of each group of an optimizer.

    Several schedules of one optimizer may be stepped one after another, except `LambdaLR`, which
    sets the rate anew.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates.
    last_epoch : int
        The epoch to continue from; -1 starts anew.

    Attributes
    ----------
    base_lrs : list of float
        The rates at the start.
    last_epoch : int
        How often `step` was called.

    Raises
    ------
    TypeError
        If `optimizer` is none.
    KeyError
        If a schedule is continued whose optimizer has no ``"initial_lr"``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: needs an optimizer, got {type(optimizer).__name__}."
            )
        self.optimizer = optimizer
        for place, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: group {place} has no 'initial_lr', so the schedule "
                    f"cannot be continued from epoch {last_epoch}; load the optimizer's state."
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def step(self) -> None:
        """Go to the next epoch."""
        self.last_epoch += 1
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self._rate(group, base)

    def _rate(self, group: ParamGroup, base: float) -> float:
        """Return the rate in `last_epoch`, from that of the epoch before."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """Return the rates as they are now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return all but the optimizer and functions, for `load_state_dict`."""
        return {
            key: value
            for key, value in self.__dict__.items()
            if key not in ("optimizer", "lr_lambdas")
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.__dict__.update(state_dict)


class StepLR(LRScheduler):
    """Multiplies the rate by `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates.
    step_size : int
        How many epochs have one rate.
    gamma : float
        The factor.
    last_epoch : int
        The epoch to continue from.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0], requires_grad=True)
    >>> optimizer = wg.optim.SGD([x], lr=1.0)
    >>> scheduler = wg.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1 epoch, got {step_size}.")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: ParamGroup, base: float) -> float:
        del base
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return group["lr"] * self.gamma if falls else group["lr"]  # type: ignore[no-any-return]


class ExponentialLR(LRScheduler):
    """Multiplies the rate by `gamma` every epoch.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates.
    gamma : float
        The factor.
    last_epoch : int
        The epoch to continue from.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0], requires_grad=True)
    >>> optimizer = wg.optim.SGD([x], lr=1.0)
    >>> scheduler = wg.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: ParamGroup, base: float) -> float:
        del base
        return group["lr"] * self.gamma if self.last_epoch > 0 else group["lr"]  # type: ignore[no-any-return]


class CosineAnnealingLR(LRScheduler):
    """Lowers the rate to `eta_min` along half a cosine, and up again after that.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates.
    T_max : int
        How many epochs the way down takes.
    eta_min : float
        The lowest rate.
    last_epoch : int
        The epoch to continue from.

    References
    ----------
    Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts,
    arXiv:1608.03983.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0], requires_grad=True)
    >>> optimizer = wg.optim.SGD([x], lr=1.0)
    >>> scheduler = wg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1 epoch, got {T_max}.")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2

    def _rate(self, group: ParamGroup, base: float) -> float:
        # From the rate before, so that other schedules of the same optimizer have their effect.
        rate: float = group["lr"]
        if self.last_epoch == 0:
            return rate
        if (self.last_epoch - 1) % (2 * self.T_max) == self.T_max:
            return rate + (base - self.eta_min) * self._height(self.last_epoch)
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return self.eta_min + (rate - self.eta_min) * ratio


class LambdaLR(LRScheduler):
    """Sets the rate to the initial one times a function of the epoch.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates.
    lr_lambda : callable, or one for each group
        Takes the epoch, from 0, and returns the factor.
    last_epoch : int
        The epoch to continue from.

    Raises
    ------
    ValueError
        If there are not as many functions as groups.

    Examples
    --------
    >>> import wengert as wg
    >>> x = wg.tensor([1.0], requires_grad=True)
    >>> optimizer = wg.optim.SGD([x], lr=1.0)
    >>> scheduler = wg.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ValueError(
                f"LambdaLR: the optimizer has {count} groups of parameters, got "
                f"{len(self.lr_lambdas)} functions; give one, or one for each group."
            )
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        """Go to the next epoch."""
        self.last_epoch += 1
        for group, base, factor in zip(
            self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True
        ):
            group["lr"] = base * factor(self.last_epoch)

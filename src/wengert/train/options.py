"""What can be chosen about a training, and which choices make sense."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from wengert.data.errors import UserError, did_you_mean

ACTIVATIONS = ("relu", "tanh", "sigmoid")
OPTIMIZERS = ("adam", "sgd")
TASKS = ("classification", "regression")
LEARNING_RATES = {"adam": 0.001, "sgd": 0.05}
SGD_MOMENTUM = 0.9
MOST_UNITS = 1_000_000
MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Options:
    """The choices of one training; each is checked when the object is made.

    Attributes
    ----------
    hidden : tuple of int
        The width of each hidden layer; none for a linear model.
    activation : {"relu", "tanh", "sigmoid"}
        The function after each hidden layer.
    optimizer : {"adam", "sgd"}
        Adam, or gradient descent with momentum 0.9.
    lr : float
        The learning rate, above 0. None stands for 0.001 (Adam) or 0.05 (SGD).
    batch_size : int
        Rows per step, at least 1.
    epochs : int
        Passes over the training rows, at least 1.
    dropout : float
        The share of hidden values set to zero in training, in [0, 1).
    weight_decay : float
        The strength of the pull of all parameters towards zero, at least 0.
    validation, test : float
        The shares of rows held out, in (0, 1), together less than 1.
    seed : int
        Decides the split, the first weights, the order of rows and the dropout.
    """

    hidden: tuple[int, ...] = (256,)
    activation: str = "relu"
    optimizer: str = "adam"
    lr: float | None = None
    batch_size: int = 32
    epochs: int = 40
    dropout: float = 0.3
    weight_decay: float = 0.0
    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every choice."""
        _hidden(self.hidden)
        one_of("--activation", self.activation, ACTIVATIONS)
        one_of("--optimizer", self.optimizer, OPTIMIZERS)
        if self.lr is None:
            object.__setattr__(self, "lr", LEARNING_RATES[self.optimizer])
        _number("--lr", self.lr, "above 0", lambda value: value > 0)
        _whole("--batch-size", self.batch_size, 1)
        _whole("--epochs", self.epochs, 1)
        _number("--dropout", self.dropout, "at least 0 and below 1", lambda value: 0 <= value < 1)
        _number("--weight-decay", self.weight_decay, "at least 0", lambda value: value >= 0)
        for name, share in (("--validation", self.validation), ("--test", self.test)):
            _number(name, share, "above 0 and below 1", lambda value: 0 < value < 1)
        if self.validation + self.test >= 1:
            raise UserError(
                f"--validation {self.validation:g} and --test {self.test:g} together leave "
                "no rows to train on."
            )
        _whole("--seed", self.seed, 0, MOST_SEED)

    @property
    def rate(self) -> float:
        """The learning rate in use."""
        return self.lr if self.lr is not None else LEARNING_RATES[self.optimizer]

    def to_json(self) -> dict[str, Any]:
        """Return the choices as a value that JSON can hold."""
        plain = {
            name: value if isinstance(value, str) else (int if _is_whole(value) else float)(value)
            for name, value in asdict(self).items()
            if name != "hidden"
        }
        return {"hidden": [int(width) for width in self.hidden], **plain}


def parse_hidden(text: str) -> tuple[int, ...]:
    """Return the layer widths that a text lists.

    Parameters
    ----------
    text : str
        Whole numbers separated by commas, or ``none`` for no hidden layer.

    Returns
    -------
    tuple of int
        The widths.

    Raises
    ------
    UserError
        If the text is something else.

    Examples
    --------
    >>> parse_hidden("128,64"), parse_hidden("none")
    ((128, 64), ())
    """
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--hidden must be whole numbers separated by commas, such as 128,64, "
            f"or none; got {text!r}."
        ) from None


def one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise a UserError if `value` is not one of the `known` ones."""
    words = tuple(known)
    if value not in words:
        choices = f"{', '.join(words[:-1])} or {words[-1]}"
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        raise UserError(f"{name} must be {choices}, got {value!r}.{hint}")


def _hidden(hidden: tuple[int, ...]) -> None:
    """Check the layer widths."""
    for width in hidden:
        if not _is_whole(width) or not 1 <= width <= MOST_UNITS:
            raise UserError(f"--hidden must list widths from 1 to {MOST_UNITS:,}, got {width!r}.")


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _whole(name: str, value: int, least: int, most: int | None = None) -> None:
    """Check a whole number."""
    if not _is_whole(value) or value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"{name} must be a whole number {bounds}, got {value!r}.")


def _number(name: str, value: Any, bounds: str, holds: Callable[[float], bool]) -> None:
    """Check a finite number."""
    fine = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not fine or not math.isfinite(value) or not holds(value):
        raise UserError(f"{name} must be a number {bounds}, got {value!r}.")

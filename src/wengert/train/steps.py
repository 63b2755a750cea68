"""What is compiled for a training: a step of the optimiser, and the scoring of some rows.

Minibatches have one size, so that each is compiled once. Rows that only fill a minibatch up have
no class, or a target that is no number, and count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import wengert as wg
from wengert import nn, optim
from wengert.compile.function import import_first_needed

import_first_needed()  # since every training compiles

NO_CLASS = -100
"""The class of a row that only fills a minibatch up."""

Loss: TypeAlias = Callable[[wg.Tensor, wg.Tensor, str], wg.Tensor]
Step: TypeAlias = Callable[[Any, Any], wg.Tensor]
Scoring: TypeAlias = Callable[[Any, Any], tuple[wg.Tensor, wg.Tensor]]


def cross_entropy(answers: wg.Tensor, expected: wg.Tensor, reduction: str) -> wg.Tensor:
    """Return the cross-entropy of the rows that have a class.

    Parameters
    ----------
    answers : Tensor, shape (rows, classes)
        The network's answers.
    expected : Tensor, shape (rows,), int64
        The classes.
    reduction : {"mean", "sum"}
        What is done with the losses of the rows.
    """
    loss: wg.Tensor = nn.functional.cross_entropy(
        answers, expected, reduction=reduction, ignore_index=NO_CLASS
    )
    return loss


def squared_error(answers: wg.Tensor, expected: wg.Tensor, reduction: str) -> wg.Tensor:
    """Return the squared error of the rows whose target is a number.

    Parameters
    ----------
    answers, expected : Tensor, shape (rows, 1)
        The network's answers, and the targets.
    reduction : {"mean", "sum"}
        What is done with the losses of the rows.
    """
    absent = wg.isnan(expected)
    difference = wg.where(absent, 0.0, answers - expected)
    total: wg.Tensor = wg.sum(difference * difference)
    return total if reduction == "sum" else total / wg.sum(wg.where(absent, 0.0, 1.0))


def training_step(model: nn.Module, loss: Loss, optimizer: optim.Optimizer) -> Step:
    """Return the function that makes a step of the optimiser and returns the loss before it."""

    def step(features: wg.Tensor, expected: wg.Tensor) -> wg.Tensor:
        value = loss(model(features), expected, "mean")
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value

    return step


def scoring(model: nn.Module, loss: Loss, classes: bool) -> Scoring:
    """Return the function that sums up, for some rows, their losses and how many are right.

    Losses are taken and added in float64. Of a regression no row is right.
    """

    def sums(features: wg.Tensor, expected: wg.Tensor) -> tuple[wg.Tensor, wg.Tensor]:
        answers = model(features)
        total = loss(answers.astype(wg.float64), expected, "sum")
        right = wg.argmax(answers, axis=1) == expected if classes else wg.zeros(1, wg.bool)
        return total, wg.sum(right)

    return sums

"""Cutting rows into training, validation and test parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, Philox

from wengert.data.errors import UserError, counted
from wengert.data.frame import Indices, Target

FEWEST_ROWS = 10


@dataclass(frozen=True)
class Split:
    """The rows of each part.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Row indices in random order; together each row once, each part with at least one row.
    """

    train: Indices
    validation: Indices
    test: Indices


def split_rows(target: Target, validation: float, test: float, seed: int) -> Split:
    """Cut the rows at random, keeping the shares of the classes alike in all parts.

    Parameters
    ----------
    target : Target
        For classification, each class is cut by itself; a class of one row goes to training.
    validation, test : float
        The shares of all rows, each in (0, 1), together less than 1.
    seed : int
        The same seed and target give the same parts.

    Returns
    -------
    Split
        The three parts.

    Raises
    ------
    UserError
        If there are fewer than 10 rows, or a part would be empty.
    """
    rows = len(target.values)
    if rows < FEWEST_ROWS:
        raise UserError(
            f"{counted(rows, 'row')} with a target: at least {FEWEST_ROWS} are needed to train."
        )
    rng = Generator(Philox(seed))
    groups = (
        [np.flatnonzero(target.values == index) for index in range(len(target.classes))]
        if target.classes
        else [np.arange(rows)]
    )
    parts: tuple[list[Indices], ...] = ([], [], [])
    seen, taken = 0, [0, 0]
    for group in groups:
        shuffled = rng.permutation(group)
        seen += len(group)
        # Rounding the running total, not each class, gives many small classes their due share.
        wanted = [
            round(share * seen) - have
            for share, have in zip((validation, test), taken, strict=True)
        ]
        held = min(max(wanted[0], 0), len(group) - 1)
        tested = min(max(wanted[1], 0), len(group) - 1 - held)
        taken = [taken[0] + held, taken[1] + tested]
        parts[0].append(shuffled[held + tested :])
        parts[1].append(shuffled[:held])
        parts[2].append(shuffled[held : held + tested])
    train, held_out, tests = (rng.permutation(np.concatenate(part)) for part in parts)
    for name, part, share in (("validation", held_out, validation), ("test", tests, test)):
        if not len(part):
            raise UserError(
                f"A {name} share of {share:g} of {counted(rows, 'row')} is not one row; "
                f"give a larger --{name}."
            )
    return Split(train, held_out, tests)

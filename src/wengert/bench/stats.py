"""Medians, quartiles and ratios of what was measured in rounds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Summary:
    """What is reported of the rounds of one measurement.

    Attributes
    ----------
    median, lower, upper : float
        The quartiles over rounds.
    minimum : float
        The smallest value seen.
    rounds : int
        Number of rounds.
    """

    median: float
    lower: float
    upper: float
    minimum: float
    rounds: int

    def as_dict(self) -> dict[str, float]:
        """Return the fields as a dictionary for JSON."""
        return asdict(self)


def summarise(values: Sequence[float], minimum: float | None = None) -> Summary:
    """Summarise one value per round.

    Parameters
    ----------
    values : sequence of float
        One value per round; at least one.
    minimum : float, optional
        The smallest single measurement, where it is known more finely than per round.

    Examples
    --------
    >>> summarise([3.0, 1.0, 2.0])
    Summary(median=2.0, lower=1.5, upper=2.5, minimum=1.0, rounds=3)
    """
    if not values:
        raise ValueError("summarise: no rounds were measured. Ask for at least one.")
    smallest = min(values) if minimum is None else minimum
    if len(values) == 1:
        return Summary(values[0], values[0], values[0], smallest, 1)
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(median, lower, upper, smallest, len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Summary:
    """Summarise the ratio taken within each round.

    What slows a whole round (another process, a lower clock) cancels, which it would not in a
    ratio of two medians.

    Examples
    --------
    >>> ratios([1.0, 10.0, 3.0], [2.0, 20.0, 4.0]).median
    0.5
    """
    if len(numerators) != len(denominators):
        counts = f"{len(numerators)} and {len(denominators)}"
        raise ValueError(f"ratios: both sides need the same rounds, got {counts}.")
    return summarise([a / b for a, b in zip(numerators, denominators, strict=True)])


def disagreement(values: Sequence[float], reference: Sequence[float]) -> float:
    """Return the largest relative difference between two sequences; NaN if either holds a NaN.

    Examples
    --------
    >>> disagreement([1.0, 3.0], [1.0, 2.0])
    0.5
    """
    if len(values) != len(reference):
        raise ValueError(f"disagreement: lengths differ, got {len(values)} and {len(reference)}.")
    largest = 0.0
    for value, expected in zip(values, reference, strict=True):
        difference = abs(value - expected) / (abs(expected) or 1.0)
        if math.isnan(difference):  # `max` would lose it
            return difference
        largest = max(largest, difference)
    return largest

"""Numbers, times and quartiles as text."""

from __future__ import annotations

import math

from wengert.bench.stats import Summary

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def significant(value: float) -> str:
    """Write a number with three significant digits and no exponent.

    Examples
    --------
    >>> significant(0.04567), significant(12.34), significant(5678.0)
    ('0.0457', '12.3', '5678')
    """
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def duration(seconds: Summary) -> str:
    """Write a time: median, quartiles in brackets, minimum, in one unit.

    Examples
    --------
    >>> duration(Summary(2e-3, 1.9e-3, 2.5e-3, 1.8e-3, 7))
    '2.00 ms [1.90, 2.50] min 1.80'
    """
    scale, unit = next(
        ((s, u) for s, u in _UNITS if seconds.median >= s),
        _UNITS[-1],
    )
    middle, low, high, least = (
        significant(value / scale)
        for value in (seconds.median, seconds.lower, seconds.upper, seconds.minimum)
    )
    return f"{middle} {unit} [{low}, {high}] min {least}"


def spread(value: Summary) -> str:
    """Write a median with quartiles in brackets.

    Examples
    --------
    >>> spread(Summary(0.4, 0.38, 0.45, 0.35, 7))
    '0.400 [0.380, 0.450]'
    """
    return f"{significant(value.median)} [{significant(value.lower)}, {significant(value.upper)}]"

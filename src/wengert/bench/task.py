"""What a worker process can be asked to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Task:
    """One repeatable piece of work.

    Attributes
    ----------
    run : Callable
        Does the work once, completely (asynchronous libraries wait for their result).
    check : Callable, optional
        Takes a number of steps, does that many, and returns numbers which all peers must share.
    facts : dict
        What is known of the work beforehand: versions, operation counts, dtype.
    memory : Callable, optional
        Returns what memory the work needs, in bytes; asked after the first run.
    """

    run: Callable[[], Any]
    check: Callable[[int], list[float]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    memory: Callable[[], dict[str, int]] | None = None

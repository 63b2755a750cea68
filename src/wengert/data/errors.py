"""The one exception for what a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: a file, a column, an option.

    Its text is one sentence that names the thing at fault and what to do. The command line prints
    that sentence and exits with code 2, without a traceback.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to `word`, or an empty text.

    Examples
    --------
    >>> did_you_mean("pirce", ["size", "price"])
    " Did you mean 'price'?"
    >>> did_you_mean("zzz", ["size", "price"])
    ''
    """
    candidates = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    return f" Did you mean {candidates[near[0]]!r}?" if near else ""


def listing(words: Iterable[str], limit: int = 8) -> str:
    """Return the first `limit` words joined by commas, and how many more there are.

    Examples
    --------
    >>> listing(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    every = list(words)
    text = ", ".join(every[:limit])
    return text if len(every) <= limit else f"{text} and {len(every) - limit} more"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or the plural.

    Examples
    --------
    >>> counted(1, "row"), counted(1797, "row")
    ('1 row', '1,797 rows')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

"""The exceptions that Wengert raises for wrong programs.

Each is a subclass of the built-in exception that a user of NumPy or PyTorch would catch.
"""

from __future__ import annotations

from wengert.graph.mode import THREAD
from wengert.graph.source import caller, describe


class _Placed(Exception):
    """An error whose message ends with the layer and the user's line in which it arose."""

    def __init__(self, message: str) -> None:
        layer = THREAD.now.scope
        places = [f"in layer {layer}" if layer else "", describe(caller())]
        place = ", ".join(filter(None, places))
        text = message.rstrip(".")
        super().__init__(f"{text} ({place})." if place else f"{text}.")


class ShapeError(_Placed, ValueError):
    """Shapes that an operation cannot work with."""


class IndexRangeError(ShapeError, IndexError):
    """An index outside its axis."""


class DTypeError(_Placed, TypeError):
    """Data types that an operation cannot work with."""


class TracerError(_Placed, RuntimeError):
    """A value was asked of a variable that has none, or a traced variable escaped its trace."""


class GraphFreedError(RuntimeError):
    """A backward pass needs a part of the graph that an earlier backward pass has freed."""


class MutationError(RuntimeError):
    """A value needed by the backward pass was changed in place."""


class SettingError(ValueError):
    """An environment variable holds what Wengert does not know."""


class InvalidGraphError(AssertionError):
    """A graph breaks the grammar that `verify` checks."""

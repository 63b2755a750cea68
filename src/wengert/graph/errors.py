"""The exceptions that Wengert raises for wrong programs.

Each is a subclass of the built-in exception that a user of NumPy or PyTorch would catch.
"""

from __future__ import annotations


class ShapeError(ValueError):
    """Shapes that an operation cannot work with."""


class DTypeError(TypeError):
    """Data types that an operation cannot work with."""


class TracerError(RuntimeError):
    """A value was asked of a variable that has none, or a traced variable escaped its trace."""


class GraphFreedError(RuntimeError):
    """A backward pass needs a part of the graph that an earlier backward pass has freed."""


class MutationError(RuntimeError):
    """A value needed by the backward pass was changed in place."""


class InvalidGraphError(AssertionError):
    """A graph breaks the grammar that `verify` checks."""

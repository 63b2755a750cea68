"""Rows in pieces of one size, each of which a compiled function takes as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wengert.data.frame import Features, Indices
from wengert.train.steps import NO_CLASS

MOST_BYTES = 16 * 2**20
"""Of features that are copied at a time."""

Minibatch: TypeAlias = tuple[Features, npt.NDArray[Any]]


class Minibatches:
    """Copies rows into minibatches of one size.

    The last minibatch of an epoch is filled up with rows that count for nothing, so that one
    compiled function serves all. Rows are copied in their order, many at a time; the minibatches
    are views of the copy, the same at each pass.

    Parameters
    ----------
    features : ndarray, shape (rows, width), float32
        All rows.
    expected : ndarray, shape (rows,) int64 or (rows, 1) float32
        Their targets.
    size : int
        The rows of a minibatch.
    rows : int
        How many rows there are in a pass, at most.

    Examples
    --------
    >>> import numpy as np
    >>> minibatches = Minibatches(np.ones((5, 2), np.float32), np.arange(5), size=2, rows=3)
    >>> [classes.tolist() for _, classes in minibatches.of(np.array([4, 0, 2]))]
    [[4, 0], [2, -100]]
    """

    def __init__(
        self, features: Features, expected: npt.NDArray[Any], size: int, rows: int
    ) -> None:
        self._sources = features, expected
        self.size = size
        batch_bytes = size * features.itemsize * features.shape[1]
        count = min(-(-rows // size), max(1, MOST_BYTES // max(batch_bytes, 1)))
        self._copies = tuple(
            np.zeros((count * size, *source.shape[1:]), source.dtype) for source in self._sources
        )
        self._views: list[Minibatch] = [
            (self._copies[0][start : start + size], self._copies[1][start : start + size])
            for start in range(0, count * size, size)
        ]
        self._held: Indices | None = None

    def of(self, rows: Indices) -> Iterator[Minibatch]:
        """Return some rows in minibatches; each is valid until the next is asked for.

        Parameters
        ----------
        rows : ndarray of int64
            Indices. The very array of the last time is taken not to have changed.
        """
        held = len(self._copies[0])
        for start in range(0, len(rows), held):
            part = rows[start : start + held]
            if rows is not self._held:
                self._copy(part)
            yield from self._views[: -(-len(part) // self.size)]
        self._held = rows if len(rows) <= held else None

    def _copy(self, rows: Indices) -> None:
        """Copy some rows, and fill up the last minibatch."""
        self._held = None
        count = len(rows)
        for source, copy in zip(self._sources, self._copies, strict=True):
            np.take(source, rows, axis=0, out=copy[:count], mode="clip")
        features, expected = self._copies
        end = count + -count % self.size
        features[count:end] = 0.0
        expected[count:end] = NO_CLASS if expected.dtype.kind == "i" else np.nan

"""How the work of one kernel is cut into chunks. The cut depends on shapes alone."""

from __future__ import annotations

from typing import NamedTuple

from wengert.compile.emit.ir import Function

GRAIN = 16384
"""The least work of a chunk, in additions of an element: a few microseconds."""

_MOST = 32


class Grid(NamedTuple):
    """A range of `length` places, cut into `chunks` of `step` each (the last may be shorter)."""

    length: int
    step: int

    @property
    def chunks(self) -> int:
        """How many there are."""
        return max(1, -(-self.length // self.step))

    def bounds(
        self, function: Function, chunk: str | int | None, width: int = 1
    ) -> tuple[str | int, str | int]:
        """Return where a chunk starts, at a multiple of `width`, and stops.

        Parameters
        ----------
        function : Function
            Where to compute it.
        chunk : str, int or None
            The number of the chunk; None: all chunks, in turn.
        width : int
            How many places are walked at a time.
        """
        if chunk is None or self.chunks == 1:
            return 0, self.length
        assert self.step % width == 0, (self, width)
        start = function.mul(chunk, self.step)
        return start, function.min(function.add(start, self.step), self.length)


def cut(length: int, work: int, align: int = 1, most: int = _MOST) -> Grid:
    """Return the grid for `length` places and `work` additions, in multiples of `align` places."""
    chunks = min(most, max(1, work // GRAIN))
    step = -(-length // chunks)
    return Grid(length, max(align, -(-step // align) * align))

"""How the result of a matrix product is cut into tiles that fit into registers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from wengert.compile.emit.machine import Machine
from wengert.graph.dtypes import DType


class Split(NamedTuple):
    """A length in parts, nearly equal ones or equal ones of which the last begins too early.

    Attributes
    ----------
    parts : int
        How many.
    size : int
        The length of a part; the first `longer` parts have one more.
    longer : int
        See above.
    overlap : int
        How many places of the last part are also in the one before: it begins early, not ends late.
    """

    parts: int
    size: int
    longer: int = 0
    overlap: int = 0

    @property
    def most(self) -> int:
        """The length of the longest part."""
        return self.size + (self.longer > 0)

    def start(self, part: int) -> int:
        """Return where a part begins; where the parts end, for the number of parts."""
        last = part == self.parts - 1
        place = part * self.size + min(part, self.longer)
        return place - self.overlap if last or part == self.parts else place

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Yield ``(first part, last part + 1, size)`` of the parts of one size."""
        if self.longer:
            yield 0, self.longer, self.size + 1
        if self.longer < self.parts:
            yield self.longer, self.parts, self.size


def split(length: int, most: int) -> Split:
    """Return the fewest nearly equal parts of `length`, none longer than `most`."""
    parts = max(1, -(-length // most))
    return Split(parts, length // parts, length % parts)


def covering(length: int, size: int) -> Split:
    """Return the fewest parts of one size that cover a length, which is no shorter."""
    parts = -(-length // size)
    return Split(parts, size, overlap=parts * size - length)


class Tiling(NamedTuple):
    """The tiles of one result.

    Attributes
    ----------
    rows : Split
        The rows. The last tile may have rows of the one before, which it does not store: a smaller
        tile would have to be compiled.
    vectors : Split
        The columns, in vectors of `lanes`.
    lanes : int
        Lanes of a vector.
    """

    rows: Split
    vectors: Split
    lanes: int


MOST_ROWS = 24
"""The most rows of a tile."""

UNCROWDED = 7
"""The most rows of a tile whose rows are multiples of a page apart. Where all of them are in the
nearest cache, they are in the same few places of it, which are 8 in some processors, 12 in others;
one is for what else passes through."""


@lru_cache(maxsize=1024)
def tile(
    machine: Machine,
    dtype: DType,
    rows: int,
    columns: int,
    most_rows: int = MOST_ROWS,
    far: bool = False,
) -> Tiling:
    """Return the tiling of `rows` by `columns` elements that takes the fewest cycles.

    No tile has more than `most_rows` rows; `far` tells that its vectors come from the third cache.

    A tile of r rows and v vectors takes, for each term, r v multiply-adds and r + v loads. A
    processor does two multiply-adds in a cycle and hardly two loads; a multiply-add lasts four.
    With 512-bit vectors it is also charged for its instructions as if another program shared the
    processor. (With shorter ones that was measured to cost one percent.)
    """
    lanes = machine.lanes(dtype)
    rate = _SHARED if machine.whole_lines else math.inf
    fetch = _FETCH * machine.vector_bytes if far else 0.0
    rows, vectors = max(rows, 1), max(1, -(-columns // lanes))
    code = _SMALL_CODE if rows * vectors <= SMALL else _CODE
    best: tuple[float, Tiling] | None = None
    for v in range(1, min(vectors, _MOST_VECTORS) + 1):
        spare = 1 if machine.fma else 2
        most = min((machine.registers - v - spare) // v, most_rows)
        for r in range(1, min(most, rows) + 1):
            for parts in dict.fromkeys((split(rows, r), covering(rows, r))):
                tiling = Tiling(parts, split(vectors, v), lanes)
                shapes = len(list(tiling.rows.runs())) * len(list(tiling.vectors.runs()))
                cost = cycles(tiling, rate, fetch) * (1 + code * (shapes - 1))
                if best is None or cost < best[0]:
                    best = cost, tiling
    assert best is not None
    return best[1]


_MOST_VECTORS = 4
_LATENCY, _LOAD = 4.25, 0.55
"""Cycles that a multiply-add lasts, and that a load takes. Eight multiply-adds take exactly four:
the quarter lets such tiles lose against larger ones, which have work left when one is late."""

_SHARED, _COUNTING = 3, 2
"""Instructions in a cycle while another program has the processor's second thread, as it often has
in clouds: half of what there is, where the multiply-adds are hardly fewer. And those that a turn of
the loop needs to count."""

_FETCH = 0.08
"""Cycles that a byte from the third cache takes."""

_OVERHEAD = 0.25
_CODE, _SMALL_CODE = 0.01, 0.03
"""What a second shape of tile costs, and where the result is small: it must be compiled."""

SMALL = 1024
"""The most vectors of a small result. Its factors are in the nearest cache, so that tiles of few
rows, which read them more often, are hardly slower."""


def cycles(tiling: Tiling, rate: float = math.inf, fetch: float = 0.0) -> float:
    """Return the cycles that all tiles take for one term.

    `rate` is the most instructions in a cycle, `fetch` what a vector takes to come from far away.
    """
    total = 0.0
    for first, last, rows in tiling.rows.runs():
        for begin, end, vectors in tiling.vectors.runs():
            sums, loads = rows * vectors, rows + vectors
            issue = (sums + loads + _COUNTING) / rate
            work = max(sums / 2, loads * _LOAD, issue, vectors * fetch, _LATENCY)
            total += (last - first) * (end - begin) * (work + _OVERHEAD)
    return total

"""Checks: what makes a call fail before anything that lasts is written."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from wengert.compile.emit.arrays import Strided, immediate
from wengert.compile.emit.expression import Lanes
from wengert.compile.kernels.blocks import Turned
from wengert.compile.kernels.kernel import Store
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.nest import Evaluation, Offsets, Space
from wengert.graph.dtypes import BOOL, INT64, Array

_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "!=": operator.ne,
    "<": operator.lt,
    ">=": operator.ge,
}


class Requirement(NamedTuple):
    """What integers must be, and the error if one is not.

    Attributes
    ----------
    comparisons : tuple of (str, int)
        Relations and numbers: ``(">=", 0), ("<", 5)``.
    failure : str
        What the error says.
    error : type
        Its class.
    """

    comparisons: tuple[tuple[str, int], ...]
    failure: str
    error: type[Exception]

    def holds(self, values: Array) -> bool:
        """Tell whether it is met by all of `values`."""
        numbers = values.astype(np.int64)
        return all(_RELATIONS[name](numbers, n).all() for name, n in self.comparisons)


class Check(Map):
    """Lets the call fail if an element does not meet a requirement; it writes nothing."""

    def __init__(self, x: Strided, requirement: Requirement, labels: Sequence[str] = ()) -> None:
        nowhere = immediate(False, BOOL).broadcast(x.shape)
        super().__init__(x.shape, [Store(nowhere, x)], labels)
        self.requirement = requirement

    @property
    def writes(self) -> list[Strided]:
        """Nothing."""
        return []

    def _turned(self, space: Space) -> Turned | None:
        return None  # there is nothing to write along other lines than it is read

    def _store(self, values: Evaluation, lanes: Lanes, offsets: Offsets) -> None:
        comparisons, failure, error = self.requirement
        found = lanes.cast(values.value(self.stores[0].value, lanes), INT64)
        met = [lanes.compare(name, found, number) for name, number in comparisons]
        lanes.require(reduce(lanes.both, met), failure, error)

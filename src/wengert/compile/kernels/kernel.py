"""What all kernels have in common: an index space, and what is stored at each place of it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from wengert.compile.emit.arrays import Buffer, Shape, Strided
from wengert.compile.emit.ir import Function
from wengert.compile.kernels.grid import Grid
from wengert.compile.kernels.nodes import Node, Summary, replaced

Index: TypeAlias = str | int


class Store(NamedTuple):
    """``target[i] = value``, for each index i of the kernel's space."""

    target: Strided
    value: Node


class Kernel(abc.ABC):
    """A loop nest that reads some arrays and writes others.

    Attributes
    ----------
    shape : tuple of int
        The index space of the stores.
    labels : list of str
        The operations it carries out, for people.
    lasting : bool
        Whether it writes to memory that is seen also if the call fails.
    """

    lasting = False

    def __init__(self, shape: Shape, stores: Sequence[Store], labels: Sequence[str] = ()) -> None:
        self.shape = shape
        self.stores = stores
        self.labels = list(labels)

    @property
    def stores(self) -> Sequence[Store]:
        """What is written at each place, when everything read at that place has been read."""
        return self._stores

    @stores.setter
    def stores(self, stores: Sequence[Store]) -> None:
        self._stores = tuple(stores)
        self._forget()

    def _forget(self) -> None:
        """Forget what was found out about the expressions, since they are others now."""
        self._under: Summary | None = None

    @property
    @abc.abstractmethod
    def work(self) -> int:
        """About how many additions it is worth."""

    @property
    @abc.abstractmethod
    def grid(self) -> Grid:
        """The chunks that threads may run side by side."""

    @property
    def heart(self) -> tuple[Strided, ...]:
        """The views that it reads elsewhere than at the place of the stores."""
        return ()

    @property
    def roots(self) -> list[Node]:
        """What is evaluated, at places of the kernel's own choice."""
        return [store.value for store in self.stores]

    @roots.setter
    def roots(self, roots: Sequence[Node]) -> None:
        self.stores = [s._replace(value=v) for s, v in zip(self.stores, roots, strict=True)]

    def see(self, known: Mapping[Strided, Strided]) -> None:
        """Look at arrays otherwise, also at those that are written."""
        nodes: dict[Node, Node] = dict(known.items())
        self.roots = replaced(self.roots, nodes)
        self.stores = [s._replace(target=known.get(s.target, s.target)) for s in self.stores]

    @property
    def under(self) -> Summary:
        """What is under the values of the stores."""
        if self._under is None:
            self._under = Summary([store.value for store in self._stores])
        return self._under

    @property
    def evaluated(self) -> Summary:
        """What is under all that is evaluated."""
        return self.under

    @property
    def views(self) -> list[Strided]:
        """The views that are written or read at the place of the stores."""
        return [*self.writes, *self.under.leaves]

    @property
    def reads(self) -> list[Strided]:
        """The views it reads."""
        return [*self.heart, *self.under.leaves, *self.under.beside]

    @property
    def writes(self) -> list[Strided]:
        """The views it writes."""
        return [store.target for store in self._stores]

    def line(self, numbers: dict[Buffer, str]) -> str:
        """Return one line that says what is read, computed and written, for people.

        Parameters
        ----------
        numbers : dict of Buffer to str
            The names of arrays so far; new ones are added.
        """

        def seen(x: Strided) -> str:
            if x.buffer is None:
                return ""
            name = numbers.setdefault(x.buffer, f"t{len(numbers)}")
            steps = ",".join(map(str, x.strides))
            return f"{name}[{'×'.join(map(str, x.shape))}; {steps}]"

        reads = " ".join(dict.fromkeys(filter(None, map(seen, self.reads))))
        writes = " ".join(map(seen, self.writes))
        return f"{type(self).__name__.lower()} {writes} = {', '.join(self.labels)}({reads})"

    @abc.abstractmethod
    def emit(self, function: Function, chunk: Index | None) -> None:
        """Emit the code of one chunk; None: of all, in turn."""

    def may_overwrite(self, buffer: Buffer, target: Strided) -> bool:
        """Tell whether `target`, which is stored, may stand in the memory of `buffer`.

        It may if each element of `buffer` is read, if at all, at the very place of the index space
        where that element is written.
        """
        elsewhere = [*self.heart, *self.under.beside]
        if any(x.buffer is buffer for x in elsewhere):
            return False
        long = [i for i, n in enumerate(target.shape) if n > 1]
        return all(
            (x.offset, x.dtype.itemsize) == (target.offset, target.dtype.itemsize)
            and all(x.strides[i] == target.strides[i] for i in long)
            for x in self.under.leaves
            if x.buffer is buffer
        )

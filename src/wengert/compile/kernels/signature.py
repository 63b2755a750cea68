"""When two kernels have the same code: equal expressions of arrays that lie in memory alike."""

from __future__ import annotations

from collections.abc import Hashable
from types import FunctionType
from typing import Any

from wengert.compile.emit.arrays import Counter, Immediate, Strided
from wengert.compile.emit.types import literal
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.each import Each
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.nodes import Apply, Node, Result
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.reduce import Reduce
from wengert.passes.frozen import frozen


class Signature:
    """What the code of a kernel depends on, with its arrays numbered as they appear.

    Attributes
    ----------
    key : hashable
        Equal for kernels that have the same code.
    arrays : list of Strided
        The arrays, by number.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.arrays: list[Strided] = []
        self._numbers: dict[Strided, int] = {}
        self._nodes: dict[Node, int] = {}
        nodes = []
        for node in kernel.evaluated.nodes:
            self._nodes[node] = len(self._nodes)
            nodes.append(self._node(node))
        self.key: Hashable = (
            type(kernel),
            kernel.shape,
            tuple(nodes),
            tuple(self._nodes[root] for root in kernel.roots),
            tuple(self._view(target) for target in kernel.writes),
            self._heart(kernel),
        )

    def number(self, array: Strided) -> int:
        """Return the number of an array."""
        key = array.at_home
        if key not in self._numbers:
            self._numbers[key] = len(self.arrays)
            self.arrays.append(array)
        return self._numbers[key]

    def _node(self, node: Node) -> Hashable:
        if isinstance(node, Result):
            return "result", node.place, node.dtype
        if isinstance(node, Apply):
            args = tuple(self._nodes[a] for a in node.args)
            read = tuple(self._view(x) for x in node.beside)
            return behaviour(node.expression), args, node.dtype, node.cost, read
        return self._view(node)

    def _view(self, x: Strided) -> Hashable:
        where: Hashable
        if isinstance(x.base, Immediate):
            where = literal(x.base.value, x.dtype)
        elif isinstance(x.base, Counter):
            where = x.offset
        else:
            where = self.number(x)
        return type(x.base), where, x.dtype, x.strides

    def _heart(self, kernel: Kernel) -> Hashable:
        if isinstance(kernel, Reduce):
            steps = behaviour(kernel.identity), behaviour(kernel.combine)
            return kernel.inner, kernel.by_rows, len(kernel.terms), steps, kernel.dtypes
        if isinstance(kernel, Product):
            return self._view(kernel.x), self._view(kernel.y), kernel.inner
        if isinstance(kernel, Each):
            return kernel.body, kernel.grid
        if isinstance(kernel, Check):
            return kernel.requirement
        return ()


def behaviour(value: Any) -> Hashable:
    """Return something that is equal for functions of the same code over the same constants.

    What is neither a function nor a plain constant is equal to itself alone.
    """
    if not isinstance(value, FunctionType):
        return _Itself(value)
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    constants = frozen((cells, value.__defaults__, value.__kwdefaults__), behaviour)
    return value.__code__, id(value.__globals__), constants


class _Itself:
    """Equal to nothing but the same object."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)

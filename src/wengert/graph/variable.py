"""The two kinds of node: variables (squares) and operations (circles).

A graph is held by reachability alone: a variable knows the operation that made it, an operation
knows its input variables. An operation holds no strong reference to its outputs, so that an eager
graph is freed by reference counting as soon as nobody can ask for a derivative. The serial number,
taken when the operation is bound, orders the Wengert list.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from wengert.graph import source as _source
from wengert.graph.dtypes import Array, DType, short_name
from wengert.graph.errors import TracerError

if TYPE_CHECKING:
    from wengert.graph.primitive import Primitive
    from wengert.graph.tracing import Trace

Operand: TypeAlias = "Variable | float"

operators: dict[str, Callable[..., Variable]] = {}
"""The arithmetic of variables, so that derivative rules read as mathematics; filled by ops."""

next_serial: Callable[[], int] = itertools.count(1).__next__


class Aval(NamedTuple):
    """What is known of an array before it has a value: shape, dtype, and whether it is weak."""

    shape: tuple[int, ...]
    dtype: DType
    weak: bool = False

    @property
    def nbytes(self) -> int:
        """How many bytes the elements take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        """Return the printed form, such as ``f32[64, 10]``."""
        weak = "~" if self.weak else ""
        return f"{weak}{short_name(self.dtype)}[{', '.join(map(str, self.shape))}]"


class Variable:
    """One array value of a graph. Its value never changes.

    Attributes
    ----------
    value : ndarray or None
        The value; None for a variable of a trace, which has only a shape and a dtype.
    op : Operation or None
        The operation that made it; None for an input or a constant.
    index : int
        Which output of `op` it is.
    requires_grad : bool
        Whether a derivative may flow through it.
    trace : Trace or None
        The trace that it belongs to, if it has no value.
    """

    __slots__ = (
        "__weakref__",
        "_aval",
        "_name",
        "hooks",
        "index",
        "op",
        "requires_grad",
        "trace",
        "value",
    )
    __array_ufunc__ = None  # so that NumPy leaves an array on the left to our operators

    value: Array | None
    trace: Trace | None
    hooks: list[Callable[[Variable], Variable | None]]
    _aval: Aval

    def __init__(
        self,
        value: Array | None,
        op: Operation | None = None,
        requires_grad: bool = False,
        index: int = 0,
    ) -> None:
        self.value = value
        self.op = op
        self.requires_grad = requires_grad
        self.index = index

    @classmethod
    def abstract(
        cls,
        aval: Aval,
        trace: Trace,
        op: Operation | None = None,
        requires_grad: bool = False,
        index: int = 0,
    ) -> Self:
        """Return a variable that has no value, only a shape and a dtype."""
        self = cls(None, op, requires_grad, index)
        self._aval = aval
        self.trace = trace
        return self

    @property
    def aval(self) -> Aval:
        """Shape and dtype."""
        value = self.value
        return self._aval if value is None else Aval(value.shape, value.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""
        value = self.value
        return self._aval.shape if value is None else value.shape

    @property
    def dtype(self) -> DType:
        """Data type of the elements."""
        value = self.value
        return self._aval.dtype if value is None else value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str | None:
        """The name that the user knows it by, if it has one."""
        return getattr(self, "_name", None)

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def concrete(self, wanted: str) -> Array:
        """Return the value, or raise TracerError saying what cannot be had from a traced variable.

        Parameters
        ----------
        wanted : str
            What the value is asked for, e.g. ``".item()"``.
        """
        if self.value is None:
            raise TracerError(
                f"{wanted} needs the value of a traced variable ({self.aval}"
                f"{self.made_by()}), which has none while a function is traced; use wg.where "
                "for a choice that depends on values, or compute it outside the traced function."
            )
        return self.value

    def made_by(self) -> str:
        """Return a phrase that says which operation made it and where."""
        if self.op is None:
            return f", input {self.name!r}" if self.name else ""
        line = _source.describe(self.op.source)
        return f", made by {self.op.primitive.name}" + (f" at {line}" if line else "")

    def __float__(self) -> float:
        return float(self.concrete("a setting that must be a plain number").item())

    def __add__(self, other: Operand) -> Variable:
        return operators["add"](self, other)

    def __radd__(self, other: Operand) -> Variable:
        return operators["add"](other, self)

    def __sub__(self, other: Operand) -> Variable:
        return operators["sub"](self, other)

    def __rsub__(self, other: Operand) -> Variable:
        return operators["sub"](other, self)

    def __mul__(self, other: Operand) -> Variable:
        return operators["mul"](self, other)

    def __rmul__(self, other: Operand) -> Variable:
        return operators["mul"](other, self)

    def __truediv__(self, other: Operand) -> Variable:
        return operators["div"](self, other)

    def __rtruediv__(self, other: Operand) -> Variable:
        return operators["div"](other, self)

    def __neg__(self) -> Variable:
        return operators["neg"](self)

    def __repr__(self) -> str:
        """Return the printed form, for debugging."""
        name = f"{self.name} " if self.name else ""
        return f"<Variable {name}{self.aval}{self.made_by()}>"


class Leaf(Variable):
    """A variable that a cell is bound to and whose gradient that cell collects.

    Attributes
    ----------
    cell : weakref
        The cell. A weak reference, since the cell holds the variable.
    """

    __slots__ = ("cell",)

    cell: weakref.ref[Any]


class Detached(Variable):
    """A variable that a cell has in common with the cell that it was detached from.

    Attributes
    ----------
    cell : weakref
        The cell that it was detached from.
    """

    __slots__ = ("cell",)

    cell: weakref.ref[Any]


class Operation:
    """A primitive applied to variables with static parameters.

    Attributes
    ----------
    primitive : Primitive
        What is computed.
    inputs : tuple of Variable
        What it is computed from. Emptied when a backward pass frees the graph.
    params : mapping
        The static parameters.
    serial : int
        The place in the Wengert list: larger than that of each operation it depends on.
    source : (code, offset) or None
        The user's line that made it.
    origin : Operation or None
        The operation of 𝓖 that this operation of 𝓑 belongs to.
    scope : str
        The path of the layer that made it, such as ``"net.0"``.
    """

    __slots__ = (
        "__weakref__",
        "_outputs",
        "inputs",
        "origin",
        "params",
        "primitive",
        "scope",
        "serial",
        "source",
    )

    def __init__(
        self,
        primitive: Primitive,
        inputs: tuple[Variable, ...],
        params: Mapping[str, Any],
        source: _source.Source | None,
        origin: Operation | None,
        scope: str,
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.params = params
        self.serial = next_serial()
        self.source = source
        self.origin = origin
        self.scope = scope

    @property
    def freed(self) -> bool:
        """Whether a backward pass has freed it (only operations with inputs are ever recorded)."""
        return not self.inputs and self.primitive.differentiable

    def set_outputs(self, outputs: tuple[Variable, ...]) -> None:
        """Remember the outputs of an operation that has several, without keeping them alive."""
        self._outputs = [_OutputRecord.of(variable) for variable in outputs]

    def output(self, index: int) -> Variable:
        """Return output `index` of an operation that has several, made anew if it was dropped."""
        record = self._outputs[index]
        alive = record.reference()
        if alive is not None:
            return alive
        variable = Variable(record.value, self, record.requires_grad, index)
        if record.value is None:
            assert record.aval is not None
            variable._aval, variable.trace = record.aval, record.trace
        record.reference = weakref.ref(variable)
        return variable

    def all_outputs(self) -> tuple[Variable, ...]:
        """Return the outputs of an operation that has several."""
        return tuple(self.output(index) for index in range(len(self._outputs)))

    def __repr__(self) -> str:
        """Return the printed form, for debugging."""
        line = _source.describe(self.source)
        return f"<Operation {self.primitive.name}{' at ' + line if line else ''}>"


class _OutputRecord:
    """What an operation with several outputs must know to make one of them anew."""

    __slots__ = ("aval", "reference", "requires_grad", "trace", "value")

    def __init__(
        self,
        reference: weakref.ref[Variable],
        value: Array | None,
        aval: Aval | None,
        trace: Trace | None,
        requires_grad: bool,
    ) -> None:
        self.reference = reference
        self.value = value
        self.aval = aval
        self.trace = trace
        self.requires_grad = requires_grad

    @classmethod
    def of(cls, variable: Variable) -> _OutputRecord:
        abstract = variable.value is None
        return cls(
            weakref.ref(variable),
            variable.value,
            variable.aval if abstract else None,
            variable.trace if abstract else None,
            variable.requires_grad,
        )

"""What the lowering of a primitive is written in: scalar expressions, and kernels over arrays.

A lowering is a function ``lower(kernels, *arrays, **params)`` that returns the output array, or a
tuple of them. It sees arrays as strided views of memory that somebody else assigns, and builds
its result from few kinds of kernel: a map of a scalar expression, a reduction, a matrix product,
a loop. The native compiler provides the two protocols; nothing here knows LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from wengert.graph.dtypes import DType
from wengert.graph.graph import Graph
from wengert.graph.variable import Aval


class Scalar(Protocol):
    """One element of an array while it is being computed."""

    @property
    def dtype(self) -> DType:
        """Its dtype."""
        ...


class View(Protocol):
    """An array: the element at index i stands at ``offset + sum(i * strides)`` of some memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis."""
        ...

    @property
    def strides(self) -> tuple[int, ...]:
        """Distance of neighbours along each axis, in elements."""
        ...

    @property
    def dtype(self) -> DType:
        """Data type of the elements."""
        ...


Operand: TypeAlias = Scalar | bool | int | float
State: TypeAlias = tuple[Scalar, ...]
Expression: TypeAlias = Callable[..., Scalar]


class Expressions(Protocol):
    """The scalar operations; a Python number takes the dtype of the operand beside it.

    Arithmetic is IEEE arithmetic in the dtype of the operands, as NumPy does it: nothing is
    reordered, contracted or assumed to be finite. For bool, `add` is "or" and `mul` is "and".
    """

    def constant(self, value: bool | float, dtype: DType) -> Scalar:
        """Return a number."""
        ...

    def cast(self, x: Scalar, dtype: DType) -> Scalar:
        """Return `x` in another dtype, as C converts (to bool: whether it is not zero)."""
        ...

    def add(self, x: Operand, y: Operand) -> Scalar:
        """Return ``x + y``."""
        ...

    def sub(self, x: Operand, y: Operand) -> Scalar:
        """Return ``x - y``."""
        ...

    def mul(self, x: Operand, y: Operand) -> Scalar:
        """Return ``x * y``."""
        ...

    def div(self, x: Operand, y: Operand) -> Scalar:
        """Return ``x / y``; of integers the quotient toward zero, which must exist."""
        ...

    def neg(self, x: Scalar) -> Scalar:
        """Return ``-x``."""
        ...

    def absolute(self, x: Scalar) -> Scalar:
        """Return the absolute value."""
        ...

    def sqrt(self, x: Scalar) -> Scalar:
        """Return the square root, correctly rounded."""
        ...

    def call(self, function: str, *xs: Scalar) -> Scalar:
        """Return the value of an elementary function, such as ``"exp"``, by its name in C.

        Besides those of C there is ``"sigmoid"``, the logistic function.
        """
        ...

    def compare(self, relation: str, x: Operand, y: Operand) -> Scalar:
        """Return whether ``x relation y``: one of ``== != < <= > >=``; only ``!=`` holds of NaN."""
        ...

    def is_nan(self, x: Scalar) -> Scalar:
        """Return whether `x` is NaN."""
        ...

    def both(self, x: Scalar, y: Scalar) -> Scalar:
        """Return the bitwise "and"."""
        ...

    def either(self, x: Scalar, y: Scalar) -> Scalar:
        """Return the bitwise "or"."""
        ...

    def differ(self, x: Scalar, y: Scalar) -> Scalar:
        """Return the bitwise exclusive "or"."""
        ...

    def invert(self, x: Scalar) -> Scalar:
        """Return the bitwise opposite."""
        ...

    def shift_right(self, x: Scalar, places: int) -> Scalar:
        """Return unsigned `x` without its lowest bits."""
        ...

    def mul_high(self, x: Scalar, y: Scalar) -> Scalar:
        """Return the upper half of the product of unsigned integers."""
        ...

    def where(self, condition: Scalar, x: Operand, y: Operand) -> Scalar:
        """Return `x` where the condition holds, else `y`."""
        ...

    def load(self, array: View, *index: Operand) -> Scalar:
        """Return an element; the index must be in range, whatever the arrays hold."""
        ...

    def store(self, value: Scalar, array: View, *index: Operand) -> None:
        """Write an element."""
        ...

    def fold(self, length: Operand, start: State, step: Callable[[Scalar, State], State]) -> State:
        """Return the last of the states ``step(i, state)``, for i from 0 to `length` - 1."""
        ...


class Reducer(NamedTuple):
    """An associative and commutative operation on states of one or more scalars.

    Attributes
    ----------
    identity : callable
        ``identity(e)``: the state that changes nothing.
    combine : callable
        ``combine(e, state, state)``: the state of both.
    cost : int
        About how many additions combining is worth.
    """

    identity: Callable[[Expressions], State]
    combine: Callable[[Expressions, State, State], State]
    cost: int = 1


class Kernels(Protocol):
    """The kernels that a lowering is built from. Each makes new arrays, or views of old ones."""

    @property
    def outputs(self) -> tuple[Aval, ...]:
        """Shapes and dtypes of the operation's outputs."""
        ...

    @property
    def where(self) -> str:
        """What becomes the user's line, ``" (train.py:12)"``, at the end of a failure's message."""
        ...

    def require(
        self,
        x: View,
        *comparisons: tuple[str, int],
        failure: str,
        error: type[Exception] = IndexError,
    ) -> None:
        """Let the call end with `error`, saying `failure`, unless all of `x` is as it must be.

        That is looked at before anything is written that lasts. What reads `x` may run all the
        same, and must do no harm.

        Parameters
        ----------
        x : View
            Integers.
        *comparisons : tuple of str and int
            What each must be: ``(">=", 0), ("<", 5)``.
        failure : str
            What the error says.
        error : type
            Its class.
        """
        ...

    def empty(self, shape: Sequence[int], dtype: DType) -> View:
        """Return a new contiguous array, to be written."""
        ...

    def constant(self, value: bool | float, shape: Sequence[int], dtype: DType) -> View:
        """Return the array, stored nowhere, whose every element is one number."""
        ...

    def number(self, x: View) -> bool | float | None:
        """Return the number that all elements of `x` are, if it is known and stored nowhere."""
        ...

    def counter(self, shape: Sequence[int], axis: int) -> View:
        """Return the array of int64, stored nowhere, whose elements are their index on `axis`."""
        ...

    def view(self, x: View, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> View:
        """Return other elements of the memory of `x`, as `strides` and `offset` (elements) say."""
        ...

    def reshape(self, x: View, shape: Sequence[int]) -> View:
        """Return the elements in another shape: a view where the strides allow, else a copy."""
        ...

    def copy(self, x: View) -> View:
        """Return the elements in new contiguous memory."""
        ...

    def map(
        self,
        expression: Expression,
        *xs: View,
        shape: Sequence[int] | None = None,
        dtype: DType | None = None,
        reads: Sequence[View] = (),
        cost: int = 1,
    ) -> View:
        """Return ``expression(e, *elements)`` for each index.

        Parameters
        ----------
        expression : callable
            The scalar expression.
        *xs : View
            Operands; they broadcast.
        shape, dtype : optional
            Of the result; by default the broadcast shape, and the dtype of the first operand.
        reads : sequence of View
            What the expression reads besides, through `Expressions.load`.
        cost : int
            About how many additions an element is worth.
        """
        ...

    def write(self, target: View, expression: Expression, *xs: View) -> None:
        """Set the elements of `target`, a view of a new array, to ``expression(e, *elements)``."""
        ...

    def reduce(
        self,
        reducer: Reducer,
        axes: Sequence[int],
        *xs: View,
        lift: Callable[..., State] | None = None,
        dtypes: Sequence[DType] | None = None,
    ) -> tuple[View, ...]:
        """Reduce over `axes` of the operands, which have one shape.

        ``lift(e, *elements)`` makes a state of elements (by default the elements are the state);
        there is one result for each scalar of the state, of `dtypes` (by default those of the
        operands). The order of combination is a fixed tree that depends on shapes alone.
        """
        ...

    def product(self, x: View, y: View, rank: int) -> View:
        """Return ``sum(x * y)`` over the axes from number `rank` on, for floats of one shape.

        A factor has stride 0 along the axes that it lacks.
        """
        ...

    def factors(self, z: View) -> tuple[View, View] | None:
        """Return the factors of `z` if it is a result of `product`, else None.

        They have the axes of `z`, followed by those that are summed over.
        """
        ...

    def inline(self, graph: Graph, *xs: View) -> tuple[View, ...]:
        """Return the outputs of a whole graph for the inputs `xs`."""
        ...

    def each(
        self,
        shape: Sequence[int],
        body: Callable[..., None],
        *,
        reads: Sequence[View] = (),
        writes: Sequence[View],
        parallel: bool = False,
        movable: bool = False,
    ) -> None:
        """Run ``body(e, *index)`` for each index of `shape`, in order, or in any if `parallel`.

        If it is `movable`, what is written may be laid out as its readers like; then it is
        ``body(e, *writes, *index)``, with the views to write to.
        """
        ...


def identity(e: Expressions, x: Scalar) -> Scalar:
    """Return `x`: the expression of a copy."""
    del e
    return x


LIBRARY = 5
"""Units in the last place that native and NumPy's versions of a function may differ by.

NumPy's are within 4 units of the truth, the native ones within 1.5, or 2 in float64.
"""


class Inexact:
    """A lowering whose results may differ from NumPy's, with the bounds that tests hold it to.

    Other lowerings agree in every bit.

    Attributes
    ----------
    lower : callable
        The lowering.
    units : int
        How far each element may be off, in units in its last place.
    normwise : int
        How far each element may be off, in units in the last place of the largest: for sums in
        another order.
    """

    __slots__ = ("lower", "normwise", "units")

    def __init__(self, lower: Callable[..., Any], units: int = 0, normwise: int = 0) -> None:
        self.lower = lower
        self.units = units
        self.normwise = normwise

    def __call__(self, kernels: Kernels, *xs: View, **params: Any) -> Any:
        """Build the result."""
        return self.lower(kernels, *xs, **params)


def elementwise(
    expression: Expression,
    cost: int = 1,
    units: int = 0,
    check: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    """Return the lowering of an elementwise primitive: ``expression(e, *elements, **params)``.

    Parameters
    ----------
    expression : callable
        The value of one element.
    cost : int
        About how many additions it is worth.
    units : int
        How far it may be from NumPy's value, in units in the last place; 0: equal in every bit.
    check : callable, optional
        ``check(kernels, *operands)`` states what the operands must be (see `Kernels.require`).
    """

    def lower(kernels: Kernels, *xs: View, **params: Any) -> View:
        if check is not None:
            check(kernels, *xs)

        def build(e: Expressions, *elements: Scalar) -> Scalar:
            return expression(e, *elements, **params)

        (out,) = kernels.outputs
        return kernels.map(build, *xs, shape=out.shape, dtype=out.dtype, cost=cost)

    return Inexact(lower, units) if units else lower


def function(name: str, cost: int = 10, units: int = LIBRARY) -> Callable[..., Any]:
    """Return the lowering of an elementwise primitive that is one elementary function."""
    return elementwise(lambda e, *xs: e.call(name, *xs), cost, units)

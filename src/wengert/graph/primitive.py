"""The one record that holds all that the system knows of an operation.

A primitive states its shape rule, its NumPy evaluation, its derivative, its batching rule, its
points of non-smoothness, its notation and its lowering in one place. Everything else (reverse and
forward mode, higher order, vmap, compilation, printing, the registry test) reads the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from wengert.graph.dtypes import Array
from wengert.graph.variable import Aval, Variable

Params: TypeAlias = Mapping[str, Any]
Outputs: TypeAlias = Variable | tuple[Variable, ...]
Kind: TypeAlias = Literal["kink", "jump", "pole", "domain", "indeterminate"]


Intervals: TypeAlias = tuple[tuple[float, float] | None, ...]


class Indexed(NamedTuple):
    """A cotangent that touches only a part of its variable, kept in that form.

    The backward pass adds it into the accumulation buffer through `primitive`, called with the
    buffer, the `operands` and the `params`, so that a loop over the elements of an array stays
    linear instead of making one array of zeros per element.
    """

    primitive: Primitive
    operands: tuple[Variable, ...]
    params: Params


class Updated(NamedTuple):
    """The cotangent of the output itself, but for a part that was given another value.

    It is ``primitive(y_bar, *operands, **params)``. The backward pass computes it in the buffer of
    `y_bar` where that is its own, so that a loop that fills an array stays linear instead of
    copying the whole cotangent for each element. No other contribution may be a view of `y_bar`.
    """

    y_bar: Variable
    primitive: Primitive
    operands: tuple[Variable, ...]
    params: Params


Contribution: TypeAlias = Variable | Indexed | Updated | None


class Derivative(Protocol):
    """How cotangents are pulled back and tangents pushed forward through a primitive.

    For a primitive with several outputs, `y` and `y_bar` are tuples.
    """

    def pullback(
        self, y_bar: Any, y: Any, xs: tuple[Variable, ...], params: Params, needed: Sequence[bool]
    ) -> Sequence[Contribution]:
        """Return the contribution to the cotangent of each input (None: zero or not needed)."""
        ...

    def pushforward(
        self,
        primitive: Primitive,
        x_dots: Sequence[Variable | None],
        y: Any,
        xs: tuple[Variable, ...],
        params: Params,
    ) -> Any:
        """Return the tangent of the output, or of each output (None: zero)."""
        ...


class Batching(Protocol):
    """How a primitive is applied to inputs some of which have a batch axis in front."""

    def __call__(
        self,
        primitive: Primitive,
        xs: tuple[Variable, ...],
        batched: Sequence[bool],
        size: int,
        params: Params,
    ) -> tuple[Outputs, bool | tuple[bool, ...]]:
        """Return the outputs and, for each, whether it has the batch axis in front."""
        ...


class Nonsmooth(NamedTuple):
    """A set of points where the derivative of a primitive is undefined.

    Attributes
    ----------
    kind : {"kink", "jump", "pole", "domain", "indeterminate"}
        *kink*: Lipschitz, two one-sided derivatives; *jump*: the value jumps and the derivative is
        that of the side which the value belongs to, or 0 if it belongs to none; *pole*: the slope
        or the value is infinite; *domain*: the function is not defined and gives NaN;
        *indeterminate*: a product of zero and infinity.
    where : callable
        ``where(y, *xs, **params)`` in Wengert's own operations: a boolean variable, true at hits.
    interval : tuple of (low, high) or None, or callable
        For each input, the interval of possible slopes at a hit (a kink's one-sided derivatives);
        None where the notion does not apply. ``interval(**params)`` where it depends on them.
    """

    kind: Kind
    where: Callable[..., Variable]
    interval: Intervals | Callable[..., Intervals] = ()


class Sample(NamedTuple):
    """Inputs at which the registry test tries a primitive.

    Attributes
    ----------
    inputs : tuple of ndarray
        The inputs.
    params : mapping
        The static parameters.
    differentiable : tuple of int
        The inputs whose derivative is checked.
    """

    inputs: tuple[Array, ...]
    params: Params = MappingProxyType({})
    differentiable: tuple[int, ...] = (0,)


class Laws(NamedTuple):
    """Identities that hold bit by bit, for NaN, infinities and the signs of zeros too.

    The compiler's passes simplify graphs by them; the registry test checks each at special values.
    One NaN counts as any other.

    Attributes
    ----------
    elementwise : bool
        An element of the result depends on the elements at its place alone; the operands broadcast.
    moves : bool
        Each element of the result is one of the operand's.
    identity : bool
        The result is the operand.
    self_inverse : bool
        Applied twice, with the same parameters, it gives the operand.
    commutative : bool
        The two operands may be exchanged.
    neutral : (number or None, number or None)
        The numbers which, as the first or second operand, give the other one, in the dtype of the
        result. The sign of a zero is meant, where the dtype has one.
    """

    elementwise: bool = False
    moves: bool = False
    identity: bool = False
    self_inverse: bool = False
    commutative: bool = False
    neutral: tuple[float | None, float | None] = (None, None)


NO_LAWS = Laws()
ELEMENTWISE = Laws(elementwise=True)
MOVES = Laws(moves=True)


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """All that is known of one operation.

    Attributes
    ----------
    name : str
        Its unique name.
    notation : str
        How it is written as mathematics, with ``{0}``, ``{1}`` for the operands (LaTeX).
    infer : callable
        ``infer(*avals, **params)``: the Aval of the output, or a tuple of them. Raises ShapeError
        or DTypeError with a clear message where the operation cannot be applied.
    evaluate : callable
        ``evaluate(*arrays, **params)`` with NumPy: this defines what the primitive means.
    derivative : Derivative or None
        None only if no output can carry a derivative, and for `stop_gradient`.
    batch : Batching
        The batching rule.
    samples : callable
        ``samples(rng, dtype)``: inputs for the registry test, ordinary, tiny and huge.
    nonsmooth : tuple of Nonsmooth
        Where the derivative is undefined.
    several : bool
        Whether it has several outputs (a tuple, even of one).
    inplace : callable or None
        ``inplace(buffer, *arrays, **params)``: as `evaluate`, but writes into its first operand.
    per_lane : bool
        Whether `vmap` batches it even if no operand is batched, as random draws want.
    lower : callable or None
        The lowering, read by the native compiler; it says how exact it is (`ops.lowering.Inexact`).
    laws : Laws
        The identities by which graphs are simplified.
    recomputes : bool
        Whether its derivative computes values again that were not kept; they are not to be shared
        with others, which would keep them.
    """

    name: str
    notation: str
    infer: Callable[..., Aval | tuple[Aval, ...]]
    evaluate: Callable[..., Any]
    derivative: Derivative | None
    batch: Batching
    samples: Callable[[np.random.Generator, np.dtype[Any]], Iterable[Sample]]
    nonsmooth: tuple[Nonsmooth, ...] = ()
    several: bool = False
    inplace: Callable[..., Any] | None = None
    per_lane: bool = False
    lower: Any = None
    laws: Laws = NO_LAWS
    recomputes: bool = False

    @property
    def differentiable(self) -> bool:
        """Whether a derivative can flow through it."""
        return self.derivative is not None

    def __repr__(self) -> str:
        """Return the name."""
        return f"<Primitive {self.name}>"


registry: dict[str, Primitive] = {}


def register(primitive: Primitive) -> Primitive:
    """Add `primitive` to the registry and return it; names are unique."""
    if primitive.name in registry:
        raise ValueError(f"a primitive named {primitive.name!r} exists already.")
    registry[primitive.name] = primitive
    return primitive

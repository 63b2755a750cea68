"""Instructions of AVX-512 that take floats apart, put them together, and look numbers up.

They work on whole registers: shorter values are widened, longer ones cut. Only for machines that
have them: `Machine.avx512`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.types import literal, scalar_type, vector
from wengert.graph.dtypes import FLOAT32, FLOAT64, DType

_BYTES = 64

TABLE = {FLOAT32: 32, FLOAT64: 16}
"""Numbers in two registers."""

_CURRENT = "i32 4"
"""The rounding mode that is set."""

_FROM_THREE_QUARTERS = "i32 15"
"""Mantissas from 3/4 to 3/2, and NaN for negative numbers."""


def available(e: Lanes) -> bool:
    """Return whether the machine has them."""
    return e.function.module.machine.avx512


def scale(e: Lanes, x: Lane, exponent: Lane) -> Lane:
    """Return ``x * 2 ** floor(exponent)``, rounded once; the exponent is a float."""
    return _masked(e, "mask.scalef", (x, exponent))


def exponent_of(e: Lanes, x: Lane) -> Lane:
    """Return the k of ``2^k <= |x| < 2^(k + 1)`` as a float; minus infinity for 0."""
    return _masked(e, "mask.getexp", (x,))


def mantissa_of(e: Lanes, x: Lane) -> Lane:
    """Return x, divided by a power of 2 that brings it from 3/4 to 3/2.

    1 for zeros and infinity, NaN for numbers below zero.
    """
    return _masked(e, "mask.getmant", (x,), (_FROM_THREE_QUARTERS,))


def about_inverse(e: Lanes, x: Lane) -> Lane:
    """Return ``1 / x`` to a relative error of ``2^-14``."""
    return _masked(e, "rcp14", (x,), rounding=())


def looked_up(e: Lanes, table: Sequence[float], index: Lane) -> Lane:
    """Return the numbers at the places that the lowest bits of `index` say.

    The table fills two registers: with 32 numbers for indices of 32 bits, 16 for those of 64.
    """
    dtype = FLOAT32 if index.dtype.itemsize == FLOAT32.itemsize else FLOAT64
    lanes = _lanes(dtype)
    kind, places = (vector(scalar_type(d), lanes) for d in (dtype, index.dtype))
    name = f"llvm.x86.avx512.vpermi2var.p{_letter(dtype)}.512"
    callee = e.function.module.declare(name, kind, (kind, places, kind))
    low, high = (_listed(table[start : start + lanes], dtype) for start in (0, lanes))

    def call(*registers: str) -> str:
        arguments = f"{kind} {low}, {places} {registers[0]}, {kind} {high}"
        return e.function.value(f"call {kind} {callee}({arguments})")

    assert len(table) == TABLE[dtype]
    return _by_registers(e, (index,), dtype, call)


def _lanes(dtype: DType) -> int:
    return _BYTES // dtype.itemsize


def _letter(dtype: DType) -> str:
    return "s" if dtype == FLOAT32 else "d"


def _listed(numbers: Sequence[float], dtype: DType) -> str:
    kind = scalar_type(dtype)
    return f"<{', '.join(f'{kind} {literal(number, dtype)}' for number in numbers)}>"


def _masked(
    e: Lanes,
    name: str,
    xs: tuple[Lane, ...],
    options: tuple[str, ...] = (),
    rounding: tuple[str, ...] = (_CURRENT,),
) -> Lane:
    """Return the value of an instruction that may leave lanes as they are, but does not."""
    dtype = xs[0].dtype
    lanes = _lanes(dtype)
    kind = vector(scalar_type(dtype), lanes)
    numbers = [["i32 immarg"] * len(some) for some in (options, rounding)]
    types = (*[kind] * len(xs), *numbers[0], kind, f"i{lanes}", *numbers[1])
    callee = e.function.module.declare(f"llvm.x86.avx512.{name}.p{_letter(dtype)}.512", kind, types)
    rest = *options, f"{kind} zeroinitializer", f"i{lanes} -1", *rounding

    def call(*registers: str) -> str:
        arguments = ", ".join((*(f"{kind} {register}" for register in registers), *rest))
        return e.function.value(f"call {kind} {callee}({arguments})")

    return _by_registers(e, xs, dtype, call)


def _by_registers(e: Lanes, xs: tuple[Lane, ...], dtype: DType, call: Callable[..., str]) -> Lane:
    """Return ``call(*xs)``, a value of `dtype`, which takes and returns whole registers."""
    lanes = _lanes(dtype)
    if e.width < lanes:
        made = Lane(call(*(_widened(e, x, lanes) for x in xs)), dtype)
        return Lanes(e.function, lanes).some(made, 0, e.width)
    starts = range(0, e.width, lanes)
    parts = [call(*(e.some(x, start, lanes).text for x in xs)) for start in starts]
    while len(parts) > 1:
        kind = vector(scalar_type(dtype), lanes)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        lanes *= 2
        parts = [e.function.shuffle(kind, x, y, range(lanes)) for x, y in pairs]
    return Lane(parts[0], dtype)


def _widened(e: Lanes, x: Lane, lanes: int) -> str:
    """Return a value of more lanes, of which the first are those of `x`."""
    kind = scalar_type(x.dtype)
    if e.width == 1:
        wide = vector(kind, lanes)
        return e.function.value(f"insertelement {wide} poison, {kind} {x.text}, i64 0")
    places = [*range(e.width), *[None] * (lanes - e.width)]
    return e.function.shuffle(vector(kind, e.width), x.text, "poison", places)

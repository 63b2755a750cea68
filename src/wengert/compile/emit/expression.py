"""Scalar expressions in LLVM: the same code makes one element or several lanes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from wengert.compile.emit.access import element_address, load_scalar, to_memory
from wengert.compile.emit.arrays import Strided
from wengert.compile.emit.ir import Function
from wengert.compile.emit.layout import ERROR
from wengert.compile.emit.types import lanes_name, literal, scalar_type, splat, vector
from wengert.graph.dtypes import BOOL, FLOAT32, FLOAT64, INT32, INT64, UINT32, UINT64, DType, Scalar


class Lane(NamedTuple):
    """A value: its name or literal in LLVM, and its dtype."""

    text: str
    dtype: DType


Operand: TypeAlias = Lane | bool | int | float
State: TypeAlias = tuple[Lane, ...]

_ARITHMETIC = {"add": ("add", "fadd"), "sub": ("sub", "fsub"), "mul": ("mul", "fmul")}
_RELATIONS = {
    "==": ("eq", "eq", "oeq"),
    "!=": ("ne", "ne", "une"),
    "<": ("slt", "ult", "olt"),
    "<=": ("sle", "ule", "ole"),
    ">": ("sgt", "ugt", "ogt"),
    ">=": ("sge", "uge", "oge"),
}


class Lanes:
    """The scalar operations on values of `width` lanes (see `ops.lowering.Expressions`).

    Elementwise code carries no fast-math flag, so the width never changes a result.

    Attributes
    ----------
    function : Function
        Where the code goes.
    width : int
        How many lanes there are.
    mask : str or None
        The lanes that are in use; None: all. The others compute something that nobody stores.
    used : int or None
        How many are in use, if that is known.
    """

    def __init__(
        self, function: Function, width: int = 1, mask: str | None = None, used: int | None = None
    ) -> None:
        self.function = function
        self.width = width
        self.mask = mask
        self.used = used

    def _type(self, dtype: DType) -> str:
        return vector(scalar_type(dtype), self.width)

    def _emit(self, instruction: str, dtype: DType) -> Lane:
        return Lane(self.function.value(instruction), dtype)

    def constant(self, value: Scalar, dtype: DType) -> Lane:
        """Return a number."""
        return Lane(splat(literal(value, dtype), dtype, self.width), dtype)

    def splat(self, text: str, dtype: DType) -> Lane:
        """Return a scalar value in every lane."""
        if self.width == 1:
            return Lane(text, dtype)
        if not text.startswith("%"):  # LLVM (22) folds 0 / 0 to what is no NaN if it must spread 0
            return Lane(splat(text, dtype, self.width), dtype)
        kind, wide = scalar_type(dtype), self._type(dtype)
        first = self.function.value(f"insertelement {wide} poison, {kind} {text}, i64 0")
        zeros = f"<{self.width} x i32> zeroinitializer"
        return self._emit(f"shufflevector {wide} {first}, {wide} poison, {zeros}", dtype)

    def lane(self, x: Lane, place: int) -> str:
        """Return the scalar in one lane."""
        if self.width == 1:
            return x.text
        return self.function.value(f"extractelement {self._type(x.dtype)} {x.text}, i64 {place}")

    def some(self, x: Lane, first: int, count: int) -> Lane:
        """Return `count` neighbouring lanes of `x`, as a value of so many lanes."""
        if count == 1:
            return Lane(self.lane(x, first), x.dtype)
        places = range(first, first + count)
        return Lane(self.function.shuffle(self._type(x.dtype), x.text, "poison", places), x.dtype)

    def gather(self, scalars: list[str], dtype: DType) -> Lane:
        """Return a value whose lanes are `scalars`."""
        if self.width == 1:
            return Lane(scalars[0], dtype)
        text, kind, wide = "poison", scalar_type(dtype), self._type(dtype)
        for place, scalar in enumerate(scalars):
            text = self.function.value(f"insertelement {wide} {text}, {kind} {scalar}, i64 {place}")
        return Lane(text, dtype)

    def _pair(self, x: Operand, y: Operand) -> tuple[Lane, Lane]:
        if not isinstance(x, Lane):
            assert isinstance(y, Lane)
            return self.constant(x, y.dtype), y
        return x, y if isinstance(y, Lane) else self.constant(y, x.dtype)

    def _arithmetic(self, name: str, x: Operand, y: Operand) -> Lane:
        x, y = self._pair(x, y)
        if x.dtype == BOOL:
            return self.either(x, y) if name == "add" else self.both(x, y)
        operation = _ARITHMETIC[name][x.dtype.kind == "f"]
        return self._emit(f"{operation} {self._type(x.dtype)} {x.text}, {y.text}", x.dtype)

    def add(self, x: Operand, y: Operand) -> Lane:
        """Return ``x + y``."""
        return self._arithmetic("add", x, y)

    def sub(self, x: Operand, y: Operand) -> Lane:
        """Return ``x - y``."""
        return self._arithmetic("sub", x, y)

    def mul(self, x: Operand, y: Operand) -> Lane:
        """Return ``x * y``."""
        return self._arithmetic("mul", x, y)

    def div(self, x: Operand, y: Operand) -> Lane:
        """Return ``x / y``; of integers the quotient toward zero."""
        x, y = self._pair(x, y)
        division = {"f": "fdiv", "i": "sdiv", "u": "udiv"}[x.dtype.kind]
        return self._emit(f"{division} {self._type(x.dtype)} {x.text}, {y.text}", x.dtype)

    def neg(self, x: Lane) -> Lane:
        """Return ``-x``."""
        if x.dtype.kind != "f":
            return self.sub(0, x)
        return self._emit(f"fneg {self._type(x.dtype)} {x.text}", x.dtype)

    def _intrinsic(self, name: str, x: Lane, extra: str = "") -> Lane:
        kind = self._type(x.dtype)
        full = f"llvm.{name}.{lanes_name(x.dtype, self.width)}"
        callee = self.function.module.declare(full, kind, (kind, "i1") if extra else (kind,))
        return self._emit(f"call {kind} {callee}({kind} {x.text}{extra})", x.dtype)

    def absolute(self, x: Lane) -> Lane:
        """Return the absolute value."""
        if x.dtype.kind == "f":
            return self._intrinsic("fabs", x)
        return x if x.dtype.kind == "u" else self._intrinsic("abs", x, ", i1 false")

    def sqrt(self, x: Lane) -> Lane:
        """Return the square root, correctly rounded."""
        return self._intrinsic("sqrt", x)

    @property
    def fused(self) -> bool:
        """Whether `fma` is one instruction, which rounds once."""
        return self.function.module.machine.fma

    def fma(self, x: Lane, y: Operand, z: Operand) -> Lane:
        """Return ``x * y + z``, rounded once if the machine is `fused`, else twice."""
        if not self.fused:
            return self.add(self.mul(x, y), z)
        kind = self._type(x.dtype)
        (_, y), (_, z) = self._pair(x, y), self._pair(x, z)
        full = f"llvm.fma.{lanes_name(x.dtype, self.width)}"
        callee = self.function.module.declare(full, kind, (kind,) * 3)
        arguments = ", ".join(f"{kind} {value.text}" for value in (x, y, z))
        return self._emit(f"call {kind} {callee}({arguments})", x.dtype)

    def call(self, function: str, *xs: Lane) -> Lane:
        """Return the value of an elementary function, or of one of C's mathematical library."""
        from wengert.compile.elementary import written  # in terms of Lanes

        known = written(function)
        return known(self, *xs) if known else self.library(function, *xs)

    def library(self, function: str, *xs: Lane) -> Lane:
        """Call C's library, once for each lane."""
        dtype = xs[0].dtype
        kind = scalar_type(dtype)
        name = function + ("f" if dtype == FLOAT32 else "")
        callee = self.function.module.declare(name, kind, (kind,) * len(xs))
        results = []
        for place in range(self.width):
            arguments = ", ".join(f"{kind} {self.lane(x, place)}" for x in xs)
            results.append(self.function.value(f"call {kind} {callee}({arguments})"))
        return self.gather(results, dtype)

    def floor(self, x: Lane) -> Lane:
        """Return the greatest whole number that is not above `x`."""
        return self._intrinsic("floor", x)

    def rint(self, x: Lane) -> Lane:
        """Return the nearest whole number, of two the even one."""
        return self._intrinsic("rint", x)

    def copy_sign(self, x: Lane, y: Lane) -> Lane:
        """Return the absolute value of `x` with the sign of `y`."""
        kind = self._type(x.dtype)
        full = f"llvm.copysign.{lanes_name(x.dtype, self.width)}"
        callee = self.function.module.declare(full, kind, (kind, kind))
        return self._emit(f"call {kind} {callee}({kind} {x.text}, {kind} {y.text})", x.dtype)

    def compare(self, relation: str, x: Operand, y: Operand) -> Lane:
        """Return whether ``x relation y``."""
        x, y = self._pair(x, y)
        signed, unsigned, floating = _RELATIONS[relation]
        kind = self._type(x.dtype)
        if x.dtype.kind == "f":
            return self._emit(f"fcmp {floating} {kind} {x.text}, {y.text}", BOOL)
        predicate = signed if x.dtype.kind == "i" else unsigned
        return self._emit(f"icmp {predicate} {kind} {x.text}, {y.text}", BOOL)

    def is_nan(self, x: Lane) -> Lane:
        """Return whether `x` is NaN."""
        if x.dtype.kind != "f":
            return self.constant(False, BOOL)
        return self._emit(f"fcmp uno {self._type(x.dtype)} {x.text}, {x.text}", BOOL)

    def _bitwise(self, name: str, x: Lane, y: Lane) -> Lane:
        return self._emit(f"{name} {self._type(x.dtype)} {x.text}, {y.text}", x.dtype)

    def both(self, x: Lane, y: Lane) -> Lane:
        """Return the bitwise "and"."""
        return self._bitwise("and", x, y)

    def either(self, x: Lane, y: Lane) -> Lane:
        """Return the bitwise "or"."""
        return self._bitwise("or", x, y)

    def differ(self, x: Lane, y: Lane) -> Lane:
        """Return the bitwise exclusive "or"."""
        return self._bitwise("xor", x, y)

    def invert(self, x: Lane) -> Lane:
        """Return the bitwise opposite."""
        return self._bitwise("xor", x, self.constant(True if x.dtype == BOOL else -1, x.dtype))

    def shift_left(self, x: Lane, places: int) -> Lane:
        """Return `x` without its highest bits, and zeros below the others."""
        return self._bitwise("shl", x, self.constant(places, x.dtype))

    def shift_right(self, x: Lane, places: int) -> Lane:
        """Return unsigned `x` without its lowest bits."""
        return self._bitwise("lshr", x, self.constant(places, x.dtype))

    def bits(self, x: Lane) -> Lane:
        """Return the unsigned integer whose bits are those of the float `x`."""
        return self._reinterpret(x, UINT32 if x.dtype == FLOAT32 else UINT64)

    def from_bits(self, x: Lane) -> Lane:
        """Return the float whose bits are those of the unsigned integer `x`."""
        return self._reinterpret(x, FLOAT32 if x.dtype == UINT32 else FLOAT64)

    def _reinterpret(self, x: Lane, dtype: DType) -> Lane:
        before, after = self._type(x.dtype), self._type(dtype)
        return self._emit(f"bitcast {before} {x.text} to {after}", dtype)

    def mul_high(self, x: Lane, y: Lane) -> Lane:
        """Return the upper half of the product of unsigned integers."""
        bits = 8 * x.dtype.itemsize
        narrow, wide = self._type(x.dtype), vector(f"i{2 * bits}", self.width)
        value = self.function.value
        factors = [value(f"zext {narrow} {factor.text} to {wide}") for factor in (x, y)]
        product = value(f"mul {wide} {factors[0]}, {factors[1]}")
        places = f"i{2 * bits} {bits}"
        shift = str(bits) if self.width == 1 else f"<{', '.join([places] * self.width)}>"
        high = value(f"lshr {wide} {product}, {shift}")
        return self._emit(f"trunc {wide} {high} to {narrow}", x.dtype)

    def where(self, condition: Lane, x: Operand, y: Operand) -> Lane:
        """Return `x` where the condition holds, else `y`."""
        x, y = self._pair(x, y)
        kind, test = self._type(x.dtype), self._type(BOOL)
        return self._emit(
            f"select {test} {condition.text}, {kind} {x.text}, {kind} {y.text}", x.dtype
        )

    def cast(self, x: Lane, dtype: DType) -> Lane:
        """Return `x` in another dtype, as C converts; floats out of range as x86-64 does it."""
        if x.dtype == dtype:
            return x
        if dtype == BOOL:
            return self.compare("!=", x, 0)
        if x.dtype.kind == "f" and dtype.kind in "iu":
            return self._whole(x, dtype)
        conversion = _conversion(x.dtype, dtype)
        if conversion is None:
            return Lane(x.text, dtype)
        before, after = self._type(x.dtype), self._type(dtype)
        return self._emit(f"{conversion} {before} {x.text} to {after}", dtype)

    def _whole(self, x: Lane, dtype: DType) -> Lane:
        """Return the whole part of a float as an integer.

        It is found as a signed integer of 32 or 64 bits, the lowest one if there is none for it,
        of which the lowest bits are taken. Of uint64 the upper half is found less 2**63.
        """
        middle = INT32 if dtype.itemsize < INT32.itemsize or dtype == INT32 else INT64
        limit = 2.0 ** (8 * middle.itemsize - 1)
        upper = self.compare(">=", x, limit) if dtype == UINT64 else None
        if upper is not None:
            x = self.where(upper, self.sub(x, limit), x)
        before, after = self._type(x.dtype), self._type(middle)
        inside = self.compare("<", self.absolute(x), limit)
        found = self._emit(f"fptosi {before} {x.text} to {after}", middle)
        made = self.cast(self.where(inside, found, -int(limit)), dtype)
        if upper is None:
            return made
        return self.differ(made, self.where(upper, self.constant(1 << 63, UINT64), 0))

    def load(self, array: Strided, *index: Operand) -> Lane:
        """Return an element for each lane, at indices that differ from lane to lane."""
        offset = self._offset(array, index)
        if self.mask is not None:  # the other lanes may be beyond the end of memory
            offset = self.where(Lane(self.mask, BOOL), offset, 0)
        scalars = [
            load_scalar(self.function, array, self.lane(offset, place))
            for place in range(self.width)
        ]
        return self.gather(scalars, array.dtype)

    def store(self, value: Lane, array: Strided, *index: Operand) -> None:
        """Write an element; only where there is one lane, since the order of lanes is no order."""
        assert self.width == 1
        address = element_address(self.function, array, self._offset(array, index).text)
        kind, text = to_memory(self.function, value.text, value.dtype)
        self.function.do(f"store {kind} {text}, ptr {address}")

    def _offset(self, array: Strided, index: tuple[Operand, ...]) -> Lane:
        total = self.constant(0, INT64)
        for i, stride in zip(index, array.strides, strict=True):
            place = self.cast(i, INT64) if isinstance(i, Lane) else self.constant(i, INT64)
            total = self.add(total, place if stride == 1 else self.mul(place, stride))
        return total

    def require(self, condition: Lane, failure: str, error: type[Exception] = IndexError) -> None:
        """Let the call end with `error`, saying `failure`, if the condition does not hold.

        It is one of the failures of the module, whose last wins if several conditions do not hold.
        """
        function = self.function
        met = condition
        if self.mask is not None:
            met = self.where(Lane(self.mask, BOOL), condition, self.constant(True, BOOL))
        broken = function.value(f"xor i1 {self._across('and', met)}, true")
        code = function.module.failures.index((error, failure)) + 1
        slot = function.once(f"getelementptr i8, ptr %control, i64 {ERROR}")
        function.when(
            broken, lambda: function.do(f"atomicrmw umax ptr {slot}, i64 {code} monotonic")
        )

    def _across(self, name: str, condition: Lane) -> str:
        """Return the bitwise "and" or "or" of a condition in all lanes."""
        if self.width == 1:
            return condition.text
        kind = self._type(BOOL)
        full = f"llvm.vector.reduce.{name}.v{self.width}i1"
        callee = self.function.module.declare(full, "i1", (kind,))
        return self.function.value(f"call i1 {callee}({kind} {condition.text})")

    def repair(self, broken: Lane, state: State, repaired: Callable[[], State]) -> State:
        """Return `state`, but ``repaired()``, run only then, in the lanes that are `broken`."""

        def then() -> list[str]:
            pairs = zip(repaired(), state, strict=True)
            return [self.where(broken, new, old).text for new, old in pairs]

        kept = [(self._type(x.dtype), x.text) for x in state]
        seen = broken
        if self.mask is not None:
            seen = self.where(Lane(self.mask, BOOL), broken, self.constant(False, BOOL))
        texts = self.function.choose(self._across("or", seen), then, kept)
        return tuple(Lane(text, x.dtype) for text, x in zip(texts, state, strict=True))

    def fold(self, length: Operand, start: State, step: Callable[[Lane, State], State]) -> State:
        """Return the last of the states ``step(i, state)``."""
        dtypes = [x.dtype for x in start]

        def turn(index: str | int, values: list[str]) -> list[str]:
            state = tuple(Lane(v, d) for v, d in zip(values, dtypes, strict=True))
            counted = Lane(str(index), INT64)
            return [x.text for x in step(counted, state)]

        assert self.width == 1
        carried = [(self._type(x.dtype), x.text) for x in start]
        stop = length.text if isinstance(length, Lane) else int(length)
        values = self.function.loop(0, stop, 1, turn, carried)
        return tuple(Lane(v, d) for v, d in zip(values, dtypes, strict=True))


def _conversion(source: DType, target: DType) -> str | None:
    """Return the instruction that converts, or None where the bits stay."""
    floats = source.kind == "f", target.kind == "f"
    if floats == (True, True):
        return "fpext" if target.itemsize > source.itemsize else "fptrunc"
    if floats == (False, True):
        return "sitofp" if source.kind == "i" else "uitofp"
    if source != BOOL and source.itemsize == target.itemsize:
        return None
    if source != BOOL and source.itemsize > target.itemsize:
        return "trunc"
    return "sext" if source.kind == "i" else "zext"

"""Reading and writing the elements of strided arrays."""

from __future__ import annotations

from wengert.compile.arrays import Buffer, Counter, Immediate, Strided
from wengert.compile.ir import Function
from wengert.compile.layout import ARENA, TABLE
from wengert.compile.types import literal, memory_type
from wengert.graph.dtypes import BOOL, DType


def base_pointer(function: Function, buffer: Buffer) -> str:
    """Return the address of a buffer, read at the head of the function."""
    home = buffer.home
    at = ARENA if home.place == "arena" else TABLE + 8 * home.slot
    cell = function.once(f"getelementptr i8, ptr %control, i64 {at}")
    pointer = function.once(f"load ptr, ptr {cell}")
    if home.place == "table" or home.offset == 0:
        return pointer
    return function.once(f"getelementptr i8, ptr {pointer}, i64 {home.offset}")


def element_address(function: Function, array: Strided, offset: str | int) -> str:
    """Return the address of the element `offset` places into the memory of `array`."""
    assert isinstance(array.base, Buffer)
    return function.element(base_pointer(function, array.base), memory_type(array.dtype), offset)


def to_memory(function: Function, text: str, dtype: DType, shape: str = "{}") -> tuple[str, str]:
    """Return the type and value to store for a value in a register.

    Parameters
    ----------
    function : Function
        Where to convert.
    text, dtype : str, dtype
        The value.
    shape : str
        The pattern of the type, such as ``"<8 x {}>"``.
    """
    kind = shape.format(memory_type(dtype))
    if dtype != BOOL:
        return kind, text
    return kind, function.value(f"zext {shape.format('i1')} {text} to {kind}")


def from_memory(function: Function, text: str, dtype: DType, shape: str = "{}") -> str:
    """Return the value in a register for a value read from memory."""
    if dtype != BOOL:
        return text
    kind = shape.format("i8")
    zero = "0" if shape == "{}" else "zeroinitializer"
    return function.value(f"icmp ne {kind} {text}, {zero}")


def load_scalar(function: Function, array: Strided, offset: str | int) -> str:
    """Return the element `offset` places into the memory of `array`."""
    if isinstance(array.base, Immediate):
        return literal(array.base.value, array.dtype)
    if isinstance(array.base, Counter):
        return str(offset)
    address = element_address(function, array, offset)
    kind = memory_type(array.dtype)
    text = function.value(f"load {kind}, ptr {address}, align {array.dtype.itemsize}")
    return from_memory(function, text, array.dtype)

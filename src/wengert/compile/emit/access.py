"""Reading and writing the elements of strided arrays."""

from __future__ import annotations

from wengert.compile.emit.arrays import Counter, Immediate, Strided
from wengert.compile.emit.ir import Function
from wengert.compile.emit.types import literal, memory_type
from wengert.graph.dtypes import BOOL, DType


def element_address(function: Function, array: Strided, offset: str | int) -> str:
    """Return the address of the element `offset` places after the first of `array`."""
    return function.element(function.pointer(array), memory_type(array.dtype), offset)


def prefetch_line(function: Function, address: str, write: bool = False) -> None:
    """Ask for the line of memory at an address, which need not exist."""
    callee = function.module.declare("llvm.prefetch.p0", "void", ("ptr", *["i32 immarg"] * 3))
    function.do(f"call void {callee}(ptr {address}, i32 {int(write)}, i32 3, i32 1)")  # near, data


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
    """Return the element `offset` places after the first of `array`."""
    if isinstance(array.base, Immediate):
        return literal(array.base.value, array.dtype)
    if isinstance(array.base, Counter):
        return str(function.add(offset, array.offset))
    return load_at(function, element_address(function, array, offset), array.dtype)


def load_at(function: Function, address: str, dtype: DType) -> str:
    """Return the element that stands at an address."""
    text = function.value(f"load {memory_type(dtype)}, ptr {address}, align {dtype.itemsize}")
    return from_memory(function, text, dtype)


def store_at(function: Function, text: str, dtype: DType, address: str) -> None:
    """Write an element to an address."""
    kind, text = to_memory(function, text, dtype)
    function.do(f"store {kind} {text}, ptr {address}, align {dtype.itemsize}")

"""Reading and writing several neighbouring elements at once."""

from __future__ import annotations

from wengert.compile.access import element_address, from_memory, load_scalar, to_memory
from wengert.compile.arrays import Buffer, Counter, Strided
from wengert.compile.expression import Lane, Lanes
from wengert.compile.types import memory_type, vector
from wengert.graph.dtypes import INT64

WIDTH = 16
"""Most lanes a value has; LLVM splits it into as many registers as the machine needs."""


def width_for(length: int) -> int:
    """Return how many lanes a loop over `length` elements uses: a power of two."""
    return min(WIDTH, 1 << (max(length, 1).bit_length() - 1))


def load_lanes(lanes: Lanes, array: Strided, offset: str | int, stride: int) -> Lane:
    """Return the elements at ``offset + stride * lane``."""
    function, width, dtype = lanes.function, lanes.width, array.dtype
    if width == 1 or stride == 0 or not isinstance(array.base, Buffer | Counter):
        return lanes.splat(load_scalar(function, array, offset), dtype)
    if isinstance(array.base, Counter):
        steps = ", ".join(f"i64 {stride * place}" for place in range(width))
        return lanes.add(lanes.splat(str(offset), INT64), Lane(f"<{steps}>", INT64))
    if stride == 1:
        address = element_address(function, array, offset)
        kind = vector(memory_type(dtype), width)
        text = function.value(f"load {kind}, ptr {address}, align {dtype.itemsize}")
        return Lane(from_memory(function, text, dtype, f"<{width} x {{}}>"), dtype)
    scalars = [
        load_scalar(function, array, function.add(offset, stride * place)) for place in range(width)
    ]
    return lanes.gather(scalars, dtype)


def store_lanes(lanes: Lanes, value: Lane, array: Strided, offset: str | int, stride: int) -> None:
    """Write the elements at ``offset + stride * lane``."""
    function, width, dtype = lanes.function, lanes.width, value.dtype
    assert dtype == array.dtype, (dtype, array.dtype)
    if width > 1 and stride != 1:
        for place in range(width):
            at = function.add(offset, stride * place)
            store_lanes(Lanes(function), Lane(lanes.lane(value, place), dtype), array, at, 1)
        return
    address = element_address(function, array, offset)
    shape = "{}" if width == 1 else f"<{width} x {{}}>"
    kind, text = to_memory(function, value.text, dtype, shape)
    function.do(f"store {kind} {text}, ptr {address}, align {dtype.itemsize}")

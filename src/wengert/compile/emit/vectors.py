"""Reading and writing several elements at once."""

from __future__ import annotations

from wengert.compile.emit.access import (
    element_address,
    from_memory,
    load_at,
    load_scalar,
    store_at,
    to_memory,
)
from wengert.compile.emit.arrays import Buffer, Counter, Strided
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.types import lanes_name, memory_type, vector
from wengert.graph.dtypes import INT64

WIDTH = 16
"""Most lanes a value has; LLVM splits it into as many registers as the machine needs."""

NEAR = 4
"""The greatest stride with which elements are read and written together with what is between."""

_LEAST = 4
"""The fewest bytes of elements that are moved under a mask of every second one, or fewer."""


def width_for(length: int, most: int = WIDTH) -> int:
    """Return how many lanes a loop over `length` elements uses: a power of two."""
    return min(most, 1 << max(length - 1, 0).bit_length())


def load_lanes(lanes: Lanes, array: Strided, offset: str | int, stride: int) -> Lane:
    """Return the elements at ``offset + stride * lane``; anything in lanes that are not in use."""
    function, width, dtype = lanes.function, lanes.width, array.dtype
    if width == 1 or stride == 0 or not isinstance(array.base, Buffer | Counter):
        return lanes.splat(load_scalar(function, array, offset), dtype)
    if isinstance(array.base, Counter):
        steps = ", ".join(f"i64 {stride * place}" for place in range(width))
        first = lanes.splat(load_scalar(function, array, offset), INT64)
        return lanes.add(first, Lane(f"<{steps}>", INT64))
    if stride == 1 and (lanes.mask is None or function.module.machine.masks):
        return Lane(_load(lanes, array, offset), dtype)
    if _are_near(lanes, array, stride):
        apart = _apart(lanes, stride)
        kind, places = vector(memory_type(dtype), apart.width), range(0, apart.width, stride)
        return Lane(function.shuffle(kind, _load(apart, array, offset), "poison", places), dtype)
    used = width if lanes.used is None else lanes.used
    start, kind = element_address(function, array, offset), memory_type(dtype)
    scalars = [
        load_at(function, function.element(start, kind, stride * place), dtype)
        for place in range(used)
    ]
    # Not a constant: LLVM (22) takes 0 / 0 for a number, and its NaN then for what was selected.
    return lanes.gather(scalars + scalars[-1:] * (width - used), dtype)


def _are_near(lanes: Lanes, array: Strided, stride: int) -> bool:
    """Tell whether elements are best moved together, under a mask that hides those between."""
    masks, known = lanes.function.module.machine.masks, lanes.mask is None or lanes.used is not None
    return masks and known and 1 < stride <= NEAR and array.dtype.itemsize >= _LEAST


def _apart(lanes: Lanes, stride: int) -> Lanes:
    """Return as many lanes as there are elements, of which those `stride` apart are in use."""
    width, used = lanes.width * stride, lanes.width if lanes.used is None else lanes.used
    tests = (i % stride == 0 and i < used * stride for i in range(width))
    mask = f"<{', '.join(f'i1 {str(test).lower()}' for test in tests)}>"
    return Lanes(lanes.function, width, mask)


def _load(lanes: Lanes, array: Strided, offset: str | int) -> str:
    """Return neighbouring elements, under the mask if there is one."""
    function, width, dtype = lanes.function, lanes.width, array.dtype
    address, align = element_address(function, array, offset), dtype.itemsize
    kind, shape = vector(memory_type(dtype), width), f"<{width} x {{}}>"
    if lanes.mask is None:
        text = function.value(f"load {kind}, ptr {address}, align {align}")
        return from_memory(function, text, dtype, shape)
    tests = f"<{width} x i1>"
    name = f"llvm.masked.load.{memory_lanes(array, width)}.p0"
    callee = function.module.declare(name, kind, ("ptr", "i32 immarg", tests, kind))
    text = function.value(
        f"call {kind} {callee}(ptr {address}, i32 {align}, {tests} {lanes.mask}, "
        f"{kind} zeroinitializer)"
    )
    return from_memory(function, text, dtype, shape)


def store_lanes(lanes: Lanes, value: Lane, array: Strided, offset: str | int, stride: int) -> None:
    """Write the elements at ``offset + stride * lane``, from the lanes that are in use."""
    function, width, dtype = lanes.function, lanes.width, value.dtype
    assert dtype == array.dtype, (dtype, array.dtype)
    if width > 1 and lanes.used != 1 and _are_near(lanes, array, stride):
        apart, kind = _apart(lanes, stride), vector(memory_type(dtype), width)
        places = [None if i % stride else i // stride for i in range(apart.width)]
        wide = Lane(function.shuffle(kind, value.text, "poison", places), dtype)
        store_lanes(apart, wide, array, offset, 1)
        return
    address = element_address(function, array, offset)
    # LLVM (22) makes of a masked store of one lane a store of what the lane was narrowed from.
    if width == 1 or stride != 1 or lanes.used == 1:
        kind = memory_type(dtype)
        for place in range(width if lanes.used is None else lanes.used):
            at = function.element(address, kind, stride * place)
            store_at(function, lanes.lane(value, place), dtype, at)
        return
    kind, text = to_memory(function, value.text, dtype, f"<{width} x {{}}>")
    if lanes.mask is None:
        function.do(f"store {kind} {text}, ptr {address}, align {dtype.itemsize}")
        return
    tests = f"<{width} x i1>"
    name = f"llvm.masked.store.{memory_lanes(array, width)}.p0"
    callee = function.module.declare(name, "void", (kind, "ptr", "i32 immarg", tests))
    function.do(
        f"call void {callee}({kind} {text}, ptr {address}, i32 {dtype.itemsize}, "
        f"{tests} {lanes.mask})"
    )


def memory_lanes(array: Strided, width: int) -> str:
    """Return how the names of intrinsics say `width` elements in memory."""
    kind = memory_type(array.dtype)
    return f"v{width}i8" if kind == "i8" else lanes_name(array.dtype, width)

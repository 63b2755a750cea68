"""Elementary functions as native loops of a chosen width and processor, each function by itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.compile.elementary import written
from wengert.compile.emit import llvm
from wengert.compile.emit.expression import Lane, Lanes
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.llvm import attributes, machine, object_code
from wengert.compile.emit.loader import from_objects
from wengert.compile.emit.types import scalar_type, vector
from wengert.compile.emit.vectors import WIDTH

Array = Any


def native(
    name: str, dtype: Any, width: int = WIDTH, cpu: str = "", operands: int = 1
) -> Callable[..., Array]:
    """Return ``f(*arrays)``, a loop over vectors of `width` lanes.

    Parameters
    ----------
    name : str
        The function.
    dtype : dtype
        Of operands and results.
    width : int
        Lanes of a vector.
    cpu : str
        The processor to make code for, as LLVM calls it; without it, the one at hand.
    operands : int
        How many arrays there are.
    """
    dtype = np.dtype(dtype)
    chosen = replace(machine(), fma=cpu != "x86-64", avx512=False) if cpu else machine()
    module = Module(chosen)
    module.set_attributes("" if cpu else attributes())
    function = Function(module)
    scalar, kind = scalar_type(dtype), vector(scalar_type(dtype), width)
    align = f"align {dtype.itemsize}"
    cells = [function.element("%control", "ptr", i) for i in range(operands + 1)]
    *sources, target = (function.value(f"load ptr, ptr {cell}") for cell in cells)

    def turn(index: Any, carried: Any) -> None:
        places = [function.element(source, scalar, index) for source in sources]
        xs = [Lane(function.value(f"load {kind}, ptr {p}, {align}"), dtype) for p in places]
        y = written(name)(Lanes(function, width), *xs)
        place = function.element(target, scalar, index)
        function.do(f"store {kind} {y.text}, ptr {place}, {align}")

    function.loop(0, "%chunk", width, turn)
    body = f"call void @{module.define(function)}(ptr %addresses, i64 %count) ret void"
    module.add_text("entry", f"define void @entry(ptr %addresses, i64 %count) {{ {body} }}")
    code = from_objects(object_code(module.text(), cpu=cpu))
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code.address("entry"))

    def call(*xs: Array) -> Array:
        assert code is not None  # holds the machine code for as long as `call` lives
        count = -(-xs[0].size // width) * width
        padded = [np.resize(x, count).astype(dtype, copy=False) for x in xs]
        y = np.empty(count, dtype)
        addresses = np.array([x.ctypes.data for x in (*padded, y)])
        run(addresses.ctypes.data, count)
        return y[: xs[0].size]

    call.run = run
    return call


def processors() -> list[str]:
    """Return the kinds of processor to make code for: this one, and lesser ones that it can be."""
    return ["", *llvm.processors()]

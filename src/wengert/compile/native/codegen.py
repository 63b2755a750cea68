"""From kernels to the assembly of one module: a function for each kernel, called in phases."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from wengert.compile.emit.arrays import SCRATCH, Buffer, Strided
from wengert.compile.emit.ir import Function, Module
from wengert.compile.emit.layout import ARENA, ERROR, TABLE
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.kernels.signature import Signature
from wengert.compile.lowering.narrow import place_of, steps
from wengert.compile.lowering.phases import Chain, Phase
from wengert.compile.native.tickets import Row, add_runtime

CALLS = 256
"""How many kernels one function calls at most: code generation is not linear in its length."""


def generate(
    phases: Sequence[Phase],
    pointers: int,
    machine: Machine,
    attributes: str,
    pause: tuple[str, str] | None,
) -> tuple[Module, list[Row]]:
    """Return the module that runs the kernels of `phases`, and the rows of its work.

    Parameters
    ----------
    phases : sequence of Phase
        Kernels with their memory assigned.
    pointers : int
        How many inputs and outputs there are.
    machine : Machine
        What the code is for.
    attributes, pause : str
        See `llvm`.
    """
    module = Module(machine)
    module.set_attributes(attributes)
    module.failures = _failures(phases)
    functions = _Functions(module)
    rows: list[Row] = []
    for number, phase in enumerate(phases):
        rows += (row for chain in phase for row in functions.rows(chain, number))
    add_runtime(module, rows, pointers, pause)
    return module, rows


def _failures(phases: Sequence[Phase]) -> list[tuple[type[Exception], str]]:
    """Return what a call can fail with: the check of the first operation comes last, and wins.

    What later checks look at may be made of what it complains of.
    """
    kernels = {number: k for phase in phases for chain in phase for number, k in chain.kernels}
    checks = [k.requirement for _, k in sorted(kernels.items()) if isinstance(k, Check)]
    return list(dict.fromkeys((r.error, r.failure) for r in checks))[::-1]


class _Call(NamedTuple):
    """A kernel to be called, and what is added to the addresses of its arrays.

    Attributes
    ----------
    kernel : Kernel
        The kernel.
    chunk : "%chunk" or None
        Which of its own chunks it runs; None: all of it.
    moves : dict
        The bytes from one place to the next, by `place_of` an array.
    start, step : int
        The place of the first chunk, and the places from one to the next.
    """

    kernel: Kernel
    chunk: str | None = None
    moves: Mapping[Hashable, int] = MappingProxyType({})
    start: int = 0
    step: int = 0


class _Functions:
    """The functions of the kernels, one for all that have the same code."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._known: dict[Hashable, tuple[str, list[int | None]]] = {}

    def rows(self, chain: Chain, phase: int) -> Iterator[Row]:
        """Yield the work of a chain."""
        kernels = [kernel for _, kernel in chain.kernels]
        grid = chain.grid
        if len(kernels) == 1 and kernels[0].grid.chunks > 1:
            calls = [_Call(kernels[0], "%chunk")]
            yield Row(self._caller(calls), kernels[0].grid.chunks, phase)
        elif grid is None:
            yield Row(self._caller([_Call(kernel) for kernel in kernels]), 1, phase)
        else:
            whole, rest = divmod(grid.length, grid.step)
            for first, count, length in ((0, whole, grid.step), (whole, 1, rest)):
                if length:
                    calls = list(_narrowed(chain, first * grid.step, grid.step, length))
                    yield Row(self._caller(calls), count, phase)

    def _function(self, kernel: Kernel, chunk: str | None) -> tuple[str, list[Strided]]:
        """Return the name of the function of a kernel, and the arrays that it is to be given."""
        signature = Signature(kernel)
        key = signature.key, chunk
        if key not in self._known:
            function = Function(self._module)
            kernel.emit(function, chunk)
            numbers = [None if x is SCRATCH else signature.number(x) for x in function.arrays]
            self._known[key] = self._module.define(function), numbers
        name, numbers = self._known[key]
        return name, [SCRATCH if n is None else signature.arrays[n] for n in numbers]

    def _caller(self, calls: Sequence[_Call]) -> str:
        """Return the name of a function that makes `calls`, one after the other.

        After a failure nothing is written any more that lasts. All such functions have the same
        parameters.
        """
        caller = Function(self._module)
        caller.hasty = True
        scratch = caller.pointer(SCRATCH)
        if len(calls) > CALLS:
            for i in range(0, len(calls), CALLS):
                name = self._caller(calls[i : i + CALLS])
                caller.invoke(name, [scratch], "%chunk")
            return self._module.define(caller)
        for call in calls:
            name, arrays = self._function(call.kernel, call.chunk)
            pointers = [_moved(caller, array, call) for array in arrays]
            make = partial(caller.invoke, name, pointers, "%chunk")
            if call.kernel.lasting and self._module.failures:
                caller.when(_all_well(caller), make)
            else:
                make()
        return self._module.define(caller)


def _all_well(function: Function) -> str:
    slot = function.once(f"getelementptr i8, ptr %control, i64 {ERROR}")
    error = function.value(f"load atomic i64, ptr {slot} monotonic, align 8")
    return function.value(f"icmp eq i64 {error}, 0")


def _narrowed(chain: Chain, start: int, step: int, length: int) -> Iterator[_Call]:
    """Yield the kernels of a chain over `length` places of the cut, from `start` on."""
    for kernel, walk, first in chain.parts(start, length):
        moves = steps(kernel, walk.axis)
        assert moves is not None
        yield _Call(kernel, None, moves, first, step // walk.span)


def _moved(function: Function, array: Strided, call: _Call) -> str:
    """Return the address of the first element of an array in the chunk at hand."""
    if array is SCRATCH:
        return function.pointer(array)
    move = call.moves.get(place_of(array), 0)
    address = _address(function, array, call.start * move)
    if not move or not call.step:
        return address
    offset = function.mul("%chunk", call.step * move)
    return function.value(f"getelementptr i8, ptr {address}, i64 {offset}")


def _address(function: Function, array: Strided, more: int) -> str:
    """Return the address `more` bytes after the first element of an array."""
    assert isinstance(array.base, Buffer)
    home = array.base.home
    at = ARENA if home.slot < 0 else TABLE + 8 * home.slot
    cell = function.once(f"getelementptr i8, ptr %control, i64 {at}")
    start = function.once(f"load ptr, ptr {cell}")
    offset = home.offset + array.offset * array.dtype.itemsize + more
    return function.once(f"getelementptr i8, ptr {start}, i64 {offset}") if offset else start

"""From kernels to the assembly of one module: a function for each kernel, called in phases."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from wengert.compile.arrays import Buffer, Strided
from wengert.compile.ir import Function, Module
from wengert.compile.kernel import Kernel
from wengert.compile.layout import ARENA, TABLE
from wengert.compile.machine import Machine
from wengert.compile.signature import Signature
from wengert.compile.tickets import Phase, add_runtime

CALLS = 256
"""How many kernels one function calls at most: code generation is not linear in its length."""


def generate(
    kernels: Sequence[Kernel],
    pointers: int,
    machine: Machine,
    attributes: str,
    pause: tuple[str, str] | None,
) -> tuple[Module, list[Phase]]:
    """Return the module that runs `kernels`, and the phases of its work.

    Parameters
    ----------
    kernels : sequence of Kernel
        In execution order, with their memory assigned.
    pointers : int
        How many inputs and outputs there are.
    machine : Machine
        What the code is for.
    attributes, pause : str
        See `llvm`.
    """
    module = Module(machine)
    module.set_attributes(attributes)
    functions = _Functions(module)
    phases: list[Phase] = []
    for run in _runs(kernels):
        parts = (run[i : i + CALLS] for i in range(0, len(run), CALLS))
        phases += (Phase(functions.calls(part), run[0].grid.chunks) for part in parts)
    add_runtime(module, phases, pointers, pause)
    return module, phases


def _runs(kernels: Sequence[Kernel]) -> list[list[Kernel]]:
    """Group neighbouring kernels that one thread runs; each of the others stands alone."""
    runs: list[list[Kernel]] = []
    for kernel in kernels:
        alone = kernel.grid.chunks == 1
        if alone and runs and runs[-1][0].grid.chunks == 1:
            runs[-1].append(kernel)
        else:
            runs.append([kernel])
    return runs


class _Functions:
    """The functions of the kernels, one for all that have the same code."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._known: dict[Hashable, tuple[str, list[int]]] = {}

    def function(self, kernel: Kernel) -> tuple[str, list[Strided]]:
        """Return the name of the function of a kernel, and the arrays that it is to be given."""
        signature = Signature(kernel)
        if signature.key not in self._known:
            function = Function(self._module)
            kernel.emit(function, 0 if kernel.grid.chunks == 1 else "%chunk")
            numbers = [signature.number(array) for array in function.arrays]
            self._known[signature.key] = self._module.define(function), numbers
        name, numbers = self._known[signature.key]
        return name, [signature.arrays[number] for number in numbers]

    def calls(self, kernels: Sequence[Kernel]) -> str:
        """Return the name of a function that runs one chunk of `kernels`, one after the other."""
        caller = Function(self._module)
        for kernel in kernels:
            name, arrays = self.function(kernel)
            pointers = [f"ptr {_address(caller, array)}" for array in arrays]
            arguments = ", ".join(("ptr %control", *pointers, "i64 %chunk"))
            caller.do(f"call void @{name}({arguments})")
        return self._module.define(caller)


def _address(function: Function, array: Strided) -> str:
    """Return the address of the first element of an array, from the control block."""
    assert isinstance(array.base, Buffer)
    home = array.base.home
    at = ARENA if home.place == "arena" else TABLE + 8 * home.slot
    cell = function.once(f"getelementptr i8, ptr %control, i64 {at}")
    start = function.once(f"load ptr, ptr {cell}")
    offset = array.offset * array.dtype.itemsize + (home.offset if home.place == "arena" else 0)
    return function.once(f"getelementptr i8, ptr {start}, i64 {offset}") if offset else start

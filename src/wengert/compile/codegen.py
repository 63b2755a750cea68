"""From kernels to the assembly of one module: functions of bounded size, in phases."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.compile.ir import Function, Module
from wengert.compile.kernels import Kernel
from wengert.compile.tickets import Phase, add_runtime

LOOPS = 64
"""About how many loops a function has at most: code generation is not linear in its length."""

_PARAMETERS = ("ptr %control", "i64 %chunk")


def generate(
    kernels: Sequence[Kernel],
    pointers: int,
    attributes: str,
    pause: tuple[str, str] | None,
    fused: bool,
) -> tuple[Module, list[Phase]]:
    """Return the module that runs `kernels`, and the phases of its work.

    Parameters
    ----------
    kernels : sequence of Kernel
        In execution order, with their memory assigned.
    pointers : int
        How many inputs and outputs there are.
    attributes, pause : str
        See `llvm`.
    fused : bool
        See `ir.Module`.
    """
    module = Module(fused)
    module.set_attributes(attributes)
    phases: list[Phase] = []
    for run in _runs(kernels):
        names = _emit(module, run, f"phase{len(phases)}")
        phases.append(Phase(names, run[0].grid.chunks))
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


def _emit(module: Module, kernels: list[Kernel], name: str) -> tuple[str, ...]:
    names: list[str] = []
    function: Function | None = None
    for kernel in kernels:
        if function is None or function.loops >= LOOPS:
            if function is not None:
                module.define(function)
            names.append(f"{name}_{len(names)}")
            function = Function(module, names[-1], _PARAMETERS)
        kernel.emit(function, 0 if kernel.grid.chunks == 1 else "%chunk")
    assert function is not None
    module.define(function)
    return tuple(names)

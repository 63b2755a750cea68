"""Running programs in many ways that must change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.compile.fences import Fence
from tests.compile.fuzz.generator import Program
from tests.compile.programs import poisoned
from wengert.compile.emit.machine import Machine
from wengert.compile.kernels import grid, panels, product, reduce, strips
from wengert.compile.kernels.tiling import covering
from wengert.compile.lowering import phases, postpone, rounds
from wengert.compile.native import translate
from wengert.compile.native.executable import compile_graph

Array = Any


def run(program: Program, threads: int, taken: bool) -> list[Array]:
    """Compile and call on arrays between fences; `taken`: outputs take over inputs' memory."""
    aliases = program.aliases if taken else {}
    given, outputs, error = _called(program, threads, aliases)
    if error is not None:
        raise error
    for place, (before, after) in enumerate(zip(program.inputs, given, strict=True)):
        if place not in aliases.values():
            np.testing.assert_array_equal(after, before, err_msg=f"input {place} was changed")
    return [np.array(a) for a in outputs]


def failure(program: Program, threads: int, lasting: Sequence[int]) -> Exception | None:
    """Return the error of a call, which leaves inputs and `lasting` outputs as they were."""
    given, outputs, error = _called(program, threads, program.aliases, lasting)
    for place, (before, after) in enumerate(zip(program.inputs, given, strict=True)):
        np.testing.assert_array_equal(after, before, err_msg=f"input {place} was changed")
    for place in set(lasting) - set(program.aliases):
        np.testing.assert_array_equal(outputs[place], 1, err_msg=f"output {place} was changed")
    return error


def _called(
    program: Program, threads: int, aliases: Mapping[int, int], lasting: Sequence[int] = ()
) -> tuple[list[Array], list[Array], Exception | None]:
    """Compile and call; return the inputs and outputs after that, and the error if there is one."""
    executable = poisoned(compile_graph(program.graph, aliases, threads, lasting))
    fences = [Fence(a) for a in program.inputs]
    given = [fence.array for fence in fences]
    outputs = []
    for i, v in enumerate(program.graph.outputs):
        if i in aliases:
            outputs.append(given[aliases[i]])
        else:
            fences.append(Fence(np.ones(v.shape, v.dtype)))
            outputs.append(fences[-1].array)
    try:
        executable(given, outputs)
    except (IndexError, ZeroDivisionError) as error:
        return given, outputs, error
    return given, outputs, None


def machines(like: Machine) -> list[Machine]:
    """Return machines whose code the one at hand can run."""
    return [
        replace(like, vector_bytes=nbytes, registers=registers, masks=masks)
        for nbytes in (16, 32, 64)
        for registers in (4, 16, 32)
        for masks in (False, True)
    ]


def _overlapping(tile: Any) -> Any:
    """Return a way to cut results into tiles that always have one number of rows."""

    def cut(machine: Machine, dtype: Any, rows: int, *rest: Any) -> Any:
        found = tile(machine, dtype, rows, *rest)
        return found._replace(rows=covering(max(rows, 1), found.rows.most))

    return cut


@contextmanager
def changed(rng: np.random.Generator, *, tree: bool) -> Iterator[str]:
    """Cut, tile and copy otherwise; with `tree` add otherwise, too, which changes bits."""
    with pytest.MonkeyPatch.context() as patch:
        said = []

        def choose(owner: Any, name: str, *values: int) -> None:
            value = int(rng.choice(values))
            patch.setattr(owner, name, value)
            said.append(f"{name}={value}")

        choose(grid, "GRAIN", 1, 30, 1000)
        choose(phases, "ALONE", 0, 12)
        choose(phases, "SERIAL", 0, 4)
        choose(phases, "LARGE", 100, 1 << 21)
        if rng.random() < 0.6:
            choose(postpone, "LONG", 1, 1000, 1 << 21)
            choose(reduce, "FAR", 0, 1 << 22)
            choose(reduce, "PITCH", 0, 1024)
            choose(strips, "STRIP", 64, 1 << 13)
            choose(panels, "ROWS", 1, 8)
            choose(panels, "FEW", 1, 16)
            choose(panels, "FAR", 0, 1000)
            choose(panels, "STRIP", 512, 4096, 1 << 17)
            choose(panels, "WIDE_STRIP", 512, 1 << 22)
            choose(panels, "PAGE", 16, 4096)
            choose(panels, "CHUNK", 1, 16, 512)
            choose(panels, "NEAR_CHUNK", 1, 16, 96)
            choose(panels, "NEAREST", 1, 1 << 15)
            choose(panels, "AT_ONCE", 1, 4)
            choose(panels, "SUMS", 1 << 13, 1 << 16)
            if rng.random() < 0.5:
                patch.setattr(product, "tile", _overlapping(product.tile))
                said.append("overlapping tiles")
            choose(panels, "PACKED", 1, 1 << 13, 1 << 16)
        if tree:  # other tiles may lead to other layouts, along which sums are taken
            known = machines(translate.machine())
            machine = known[int(rng.integers(len(known)))]
            patch.setattr(translate, "machine", lambda: machine)
            said.append(str(machine))
            choose(rounds, "LONGEST", 16, 33, 100)
        yield " ".join(said)

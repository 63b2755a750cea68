"""Where each buffer lives: in an output, in place of an input, or somewhere in between."""

from __future__ import annotations

from collections.abc import Mapping

from wengert.compile.emit.arrays import Buffer, Strided, dense
from wengert.compile.kernels.check import Check
from wengert.compile.kernels.kernel import Kernel, Store
from wengert.compile.kernels.map import Map
from wengert.compile.lowering.lower import Program
from wengert.compile.lowering.offsets import Lifetime, assign_offsets, lifetimes
from wengert.compile.lowering.phases import schedule
from wengert.compile.lowering.takeover import take_over


def place_buffers(program: Program, aliases: Mapping[int, int]) -> None:
    """Decide where every buffer lives, and the size of the arena.

    Parameters
    ----------
    program : Program
        Its kernels are changed: copies that turn out to be needless are dropped, copies into
        outputs are added.
    aliases : mapping of int to int
        The outputs that take over the memory of an input.
    """
    _drop_copies(program)
    _place_outputs(program, aliases, _checks_first(program.kernels))
    lasting = {*aliases.values(), *(len(program.inputs) + output for output in program.lasting)}
    for kernel in program.kernels:
        kernel.lasting = any(x.buffer and x.buffer.slot in lasting for x in kernel.writes)
    used = [k for k in program.kernels if isinstance(k, Check) or any(x.size for x in k.writes)]
    program.phases = schedule(used)
    program.kernels[:] = [k for phase in program.phases for c in phase for _, k in c.kernels]
    take_over(program.phases)
    program.arena_bytes = assign_offsets(program)


def _checks_first(kernels: list[Kernel]) -> set[Buffer | None]:
    """Move checks, and what they depend on, to the front; return the buffers written until then.

    What lasts is written later, so that a call that fails leaves everything as it was.
    """
    read: set[Buffer | None] = set()
    written: set[Buffer | None] = set()
    early, late = [], []
    for kernel in reversed(kernels):
        reads, writes = {x.buffer for x in kernel.reads}, {x.buffer for x in kernel.writes}
        if isinstance(kernel, Check) or writes & (read | written) or reads & written:
            early.append(kernel)
            read |= reads - {None}
            written |= writes
        else:
            late.append(kernel)
    kernels[:] = [*reversed(early), *reversed(late)]
    return written


def _drop_copies(program: Program) -> None:
    """Let a copy of what nobody reads later be the thing itself."""
    table = lifetimes(program.kernels, program.results)
    kept = []
    for place, kernel in enumerate(program.kernels):
        if isinstance(kernel, Map) and _is_whole_copy(kernel):
            ((target_view, value),) = kernel.stores
            assert isinstance(value, Strided)
            source, target = value.buffer, target_view.buffer
            assert source is not None
            assert target is not None
            mine, other = table[source], table[target]
            if source.place == "arena" and mine.last == place == other.first:
                target.merge_into(source)
                table[source] = Lifetime(mine.first, other.last_read, other.last)
                continue
        kept.append(kernel)
    program.kernels[:] = kept


def _is_whole_copy(kernel: Map) -> bool:
    if len(kernel.stores) != 1:
        return False
    ((target, value),) = kernel.stores
    return (
        isinstance(value, Strided)
        and target.whole
        and value.whole
        and value.buffer is not target.buffer
    )


def _place_outputs(program: Program, aliases: Mapping[int, int], early: set[Buffer | None]) -> None:
    """Let results be made where they belong, or copy them there at the end.

    What lasts is not made in the buffers that are written `early`, before all checks are over.
    """
    table = lifetimes(program.kernels, program.results)
    taken: set[Buffer] = set()
    late: list[tuple[Strided, Strided]] = []
    for output, result in enumerate(program.results):
        buffer = result.buffer
        movable = buffer is not None and buffer.place == "arena" and buffer not in taken
        if output in aliases:
            target = program.inputs[aliases[output]]
            lasts = True
            fits = movable and _may_overwrite(program.kernels, table, target, result)
        else:
            slot = len(program.inputs) + output
            nbytes = result.size * result.dtype.itemsize
            target = dense(Buffer(nbytes, slot), result.shape, result.dtype)
            lasts = output in program.lasting
            fits = True
        if buffer is not None and buffer is target.buffer and result.whole:
            continue
        fits = fits and not (lasts and buffer in early)
        if fits and movable and result.whole and result.size:
            assert buffer is not None
            assert target.buffer is not None
            buffer.place, buffer.slot = "table", target.buffer.slot
            taken.add(buffer)
        elif result.size:
            late.append((target, result))
    _copy_results(program, late)


def _may_overwrite(
    kernels: list[Kernel], table: dict[Buffer, Lifetime], target: Strided, result: Strided
) -> bool:
    """Tell whether `result` can be made in the memory of the input `target`.

    It can if the input is not read after the kernel that makes the result, and that kernel reads
    each element of it, if at all, just before it writes the same place.
    """
    assert target.buffer is not None
    assert result.buffer is not None
    old = table.get(target.buffer)
    if old is None:
        return True
    made = table[result.buffer].first
    if old.last < made:
        return True
    if old.last > made:
        return False
    (view,) = (x for x in kernels[made].writes if x.buffer is result.buffer)
    return kernels[made].may_overwrite(target.buffer, view)


def _copy_results(program: Program, late: list[tuple[Strided, Strided]]) -> None:
    """Copy results to their targets; first save those that stand in memory to be overwritten."""
    overwritten = {target.buffer for target, _ in late}
    saved = []
    for target, result in late:
        source = result
        if result.buffer in overwritten:
            source = dense(Buffer(result.size * result.dtype.itemsize), result.shape, result.dtype)
            program.kernels.append(Map(source.shape, [Store(source, result)], ["copy"]))
        saved.append((target, source))
    for target, source in saved:
        program.kernels.append(Map(target.shape, [Store(target, source)], ["copy"]))

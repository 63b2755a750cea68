"""Intermediate arrays that are made in the memory of others, which nobody reads any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wengert.compile.emit.arrays import Buffer, Strided
from wengert.compile.kernels.kernel import Kernel
from wengert.compile.lowering.narrow import accesses, aligned
from wengert.compile.lowering.phases import Chain, Phase, Walk


class _Turn(NamedTuple):
    """A kernel, the phase and the sequence in which it runs, and how it goes along the cut."""

    kernel: Kernel
    phase: int
    chain: Chain
    walk: Walk | None


def take_over(phases: Sequence[Phase]) -> None:
    """Let kernels write where they read for the last time, as far as nobody else is in the way."""
    turns = [
        _Turn(kernel, number, chain, walk)
        for number, phase in enumerate(phases)
        for chain in phase
        for kernel, walk in chain.walks()
    ]
    users: dict[Buffer, list[_Turn]] = defaultdict(list)
    writers: dict[Buffer, list[_Turn]] = defaultdict(list)
    for turn in turns:
        for buffer in _buffers(turn.kernel.writes):
            writers[buffer].append(turn)
        for buffer in _buffers((*turn.kernel.reads, *turn.kernel.writes)):
            users[buffer].append(turn)
    for turn in turns:
        for target in turn.kernel.writes:
            made = target.buffer
            if made is None or made.place != "arena" or writers[made] != [turn]:
                continue
            for dying in _buffers(turn.kernel.under.leaves):
                if dying.nbytes >= made.nbytes and _may_take(turn, target, dying, users[dying]):
                    made.merge_into(dying)
                    writers[dying].append(turn)
                    users[dying] += users.pop(made)[1:]
                    break


def _buffers(views: Sequence[Strided]) -> Iterator[Buffer]:
    """Yield the buffers of the arena that views show, each once."""
    for buffer in dict.fromkeys(x.buffer for x in views):
        if buffer is not None and buffer.place == "arena":
            yield buffer


def _may_take(turn: _Turn, target: Strided, dying: Buffer, users: Sequence[_Turn]) -> bool:
    """Tell whether a kernel may write `target` to the memory of what it is the last to use."""
    kernel = turn.kernel
    return (
        users[-1] is turn
        and all(x.buffer is not dying for x in kernel.writes)
        and kernel.may_overwrite(dying, target)
        and all(_is_over(user, dying, turn, target) for user in users[:-1])
    )


def _is_over(user: _Turn, dying: Buffer, turn: _Turn, target: Strided) -> bool:
    """Tell whether all that `user` does with a buffer is done when `target` is written there.

    A chunk of a sequence waits for no other chunk: then both must touch the same elements in it.
    """
    if user.chain is not turn.chain:
        return user.phase < turn.phase
    mine, other = turn.walk, user.walk
    if mine is None or other is None:
        return True
    written = [a for a in accesses(turn.kernel, mine.axis) if a.view is target]
    touched = [a for a in accesses(user.kernel, other.axis) if a.view.buffer is dying]
    return all(aligned(a, b, other.span, mine.span) for a in touched for b in written)

"""What `wengert bench` measured, as a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from wengert.bench import probes
from wengert.bench.formats import duration, significant
from wengert.bench.harness import Peer
from wengert.bench.measure import (
    SUBJECT,
    FirstCall,
    Lengths,
    Measured,
    first_call,
    measured_in_rounds,
)
from wengert.bench.probes import HAND_OVER, PEAK
from wengert.bench.stats import summarise
from wengert.bench.workload import Workload
from wengert.data.errors import UserError, counted

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200
_HEADS = ("library", "time of a step", "samples/s", "GFLOP/s", "of peak", "first call", "memory")


class Line(NamedTuple):
    """One library's numbers for one network."""

    library: str
    step: str
    samples: str
    speed: str
    share: str
    first: str
    memory: str


def line(one: Measured, name: str, call: FirstCall) -> Line:
    """Return a row: times are medians over rounds with quartiles in brackets."""
    seconds = one.rounds.summary(name).median
    return Line(
        name,
        duration(one.rounds.summary(name)),
        f"{one.workload.batch / seconds:,.0f}",
        significant(one.workload.step_flops / seconds / 1e9),
        f"{100 * one.share_of_peak(name):.1f} %",
        f"{1e3 * call.cold:,.0f} ms, then {1e3 * call.cached:,.0f}",
        _memory(call.memory) if call.memory else "–",
    )


def _memory(memory: dict[str, int]) -> str:
    """Write arguments, temporaries and results in a unit that suits the largest."""
    parts = [memory[kind] for kind in ("arguments", "temporaries", "outputs")]
    scale, unit = next(
        ((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if max(parts) >= s), (1.0, "B")
    )
    digits = 0 if unit == "B" else 1
    return f"{' + '.join(f'{part / scale:.{digits}f}' for part in parts)} {unit}"


def comparison(one: Measured) -> list[str]:
    """Say how each other library's time compares with Wengert's, within rounds."""
    if SUBJECT not in one.peers:
        return []
    found = []
    for name in one.peers:
        if name != SUBJECT:
            ratio = one.rounds.ratio(name, SUBJECT).median
            faster = ratio if ratio >= 1 else 1 / ratio
            word = "less" if ratio >= 1 else "more"
            found.append(f"{SUBJECT} takes {significant(faster)} times {word} time than {name}.")
    return found


def conditions(measured: Sequence[Measured]) -> list[str]:
    """Say what the processor did meanwhile."""
    peaks = [
        rate / 1e9 for one in measured for rate in probes.rates(one.rounds, PEAK, one.amounts[PEAK])
    ]
    found = [f"Peak: multiply-adds in registers, {significant(summarise(peaks).median)} GFLOP/s."]
    delays = [
        1e9 / rate
        for one in measured
        if HAND_OVER in one.amounts
        for rate in probes.rates(one.rounds, HAND_OVER, one.amounts[HAND_OVER])
    ]
    if delays:
        found.append(f"Hand-over between two cores: {min(delays):.0f} to {max(delays):.0f} ns.")
    if not all(one.rounds.quiet for one in measured):
        found.append("Other programs used the processors meanwhile: the times are too long.")
    return found


def measure_and_print(
    workloads: Mapping[str, Workload],
    peers: Mapping[str, Peer],
    lengths: Lengths,
    *,
    quiet: bool = False,
) -> None:
    """Measure each workload and print its table; then say what the processor did meanwhile.

    Parameters
    ----------
    workloads : mapping
        What is measured, by name.
    peers : mapping
        From names in tables to what they run; all have the same number of threads.
    lengths : Lengths
        How long and how often.
    quiet : bool
        Whether to leave out what is written to standard error meanwhile.

    Raises
    ------
    UserError
        If Wengert itself cannot run a workload.
    """
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        if not quiet:
            sys.stderr.write(f"{sentence}\n")
            sys.stderr.flush()

    threads = next(iter(peers.values())).threads
    done = []
    for one in measured_in_rounds(peers, workloads, threads, lengths, note):
        if SUBJECT not in one.peers:
            raise UserError(next(text for text in reversed(notes) if text.startswith(SUBJECT)))
        calls = {name: first_call(peers[name], one.workload) for name in one.peers}
        title = f"{one.workload.title}, {counted(threads, 'thread')}"
        print_lines(title, [line(one, name, calls[name]) for name in one.peers])
        sys.stdout.write("".join(f"{sentence}\n" for sentence in comparison(one)))
        done.append(one)
    if not done:
        raise UserError(notes[0])
    sys.stdout.write("".join(f"{sentence}\n" for sentence in conditions(done)))


def print_lines(title: str, lines: Sequence[Line], console: Console | None = None) -> None:
    """Print one network's table.

    Parameters
    ----------
    title : str
        The network.
    lines : sequence of Line
        Its rows.
    console : rich.console.Console, optional
        Where to print; by default standard output.
    """
    from rich.console import Console
    from rich.table import Table

    # Wide enough for every column: a narrow terminal wraps lines, and loses no number.
    console = console or Console(highlight=False, markup=False, soft_wrap=True, width=_WIDE)
    table = Table(title=title, title_justify="left")
    for head in _HEADS:
        table.add_column(head, justify="left" if head == "library" else "right", no_wrap=True)
    for each in lines:
        table.add_row(*each)
    console.print(table)

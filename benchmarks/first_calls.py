"""What the first call of each workload costs: time to compile, and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import report
from benchmarks.tables import ABSENT
from wengert.bench.harness import Peer, PeerError
from wengert.bench.measure import SUBJECT, FirstCall, first_call
from wengert.bench.workload import Workload

JAX = "JAX jit"
FIRST_CALLS = "measure first calls in new processes, and memory, too"
REPEATS = 3
COMPILE = 0.5
"""Largest accepted ratio of Wengert's first call to JAX's."""

TIMES = """First calls, each in a new process on one thread: with an empty cache on the disk, then
in a second process that finds what the first one left there (JAX's is switched on for this).
Imports and the making of inputs are not counted; the shortest of three for Wengert and JAX."""

MEMORY = """Memory of a call by the library's own account: arguments (data, parameters and optimiser
state), temporaries and results that take over no argument's memory. The target is JAX's, plus one
copy of the weights. Else, by how much the process grew in its first call."""

Calls = Mapping[Workload, Mapping[str, FirstCall]]


def measure_first_calls(
    peers: Mapping[str, Peer], workloads: Mapping[str, Workload], note: Callable[[str], None]
) -> dict[Workload, dict[str, FirstCall]]:
    """Measure every peer's first call of every workload."""
    found: dict[Workload, dict[str, FirstCall]] = {}
    present = {name: peer for name, peer in peers.items() if not peer.absent}
    for workload in workloads.values():
        calls = found[workload] = {}
        for name, peer in present.items():
            try:
                repeats = REPEATS if name in (SUBJECT, JAX) else 1
                calls[name] = first_call(peer, workload, repeats)
            except PeerError as error:
                note(f"{name} skipped for {workload.title}: {error}")
        note(f"{workload.title}: {'; '.join(f'{n} {_seconds(c)}' for n, c in calls.items())}")
    return found


def first_call_tables(found: Calls) -> list[str]:
    """Write the tables of times and of memory, with their explanations."""
    peers = list(dict.fromkeys(name for calls in found.values() for name in calls))
    times = [
        [
            workload.title,
            *(_seconds(calls[name]) if name in calls else ABSENT for name in peers),
            _compile_verdict(calls),
        ]
        for workload, calls in found.items()
    ]
    sizes = [
        [
            workload.title,
            *(_size(calls[name]) if name in calls else ABSENT for name in peers),
            _memory_verdict(workload, calls),
        ]
        for workload, calls in found.items()
    ]
    compared = f"{SUBJECT} ÷ {JAX}"
    return [
        TIMES.replace("\n", " "),
        report.table(["network (batch)", *peers, compared], times),
        MEMORY.replace("\n", " "),
        report.table(["network (batch)", *peers, compared], sizes),
    ]


def _seconds(call: FirstCall) -> str:
    """Write the two times in milliseconds."""
    cold, cached = (report.significant(1e3 * value) for value in (call.cold, call.cached))
    return f"{cold} ms, then {cached}"


def _compile_verdict(calls: Mapping[str, FirstCall]) -> str:
    if SUBJECT not in calls or JAX not in calls:
        return ABSENT
    ratio = calls[SUBJECT].cold / calls[JAX].cold
    return report.significant(ratio) + report.verdict(ratio, COMPILE)


def _size(call: FirstCall) -> str:
    """Write what memory a call needs, in kilobytes."""
    if not call.memory:
        return f"grew by {_kilobytes(call.growth)} kB"
    parts = (call.memory[kind] for kind in ("arguments", "temporaries", "outputs"))
    return f"{' + '.join(map(_kilobytes, parts))} kB"


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.1f}"


def _memory_verdict(workload: Workload, calls: Mapping[str, FirstCall]) -> str:
    if SUBJECT not in calls or JAX not in calls:
        return ABSENT
    needed, allowed = (sum(calls[name].memory.values()) for name in (SUBJECT, JAX))
    ratio = needed / allowed
    goal = round((allowed + workload.weight_bytes) / allowed, 2)
    return report.significant(ratio) + report.verdict(ratio, goal)

"""Tables and sentences about workloads that were measured in rounds."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import report
from wengert.bench import probes
from wengert.bench.measure import Measured
from wengert.bench.probes import HAND_OVER, PEAK

ABSENT = "–"


def all_peers(measured: Sequence[Measured]) -> list[str]:
    """Return every peer that was measured for some workload, in order."""
    return list(dict.fromkeys(name for one in measured for name in one.peers))


def time_table(measured: Sequence[Measured]) -> str:
    """Write every peer's time of one call."""
    names = all_peers(measured)
    rows = [
        [
            one.workload.title,
            *(report.duration(one.rounds.summary(n)) if n in one.peers else ABSENT for n in names),
        ]
        for one in measured
    ]
    return report.table(["network (batch)", *names], rows)


def conditions(measured: Sequence[Measured], threads: int) -> str:
    """Say how fast the machine was meanwhile and how quiet it was."""
    again = sum(one.rounds.disturbed for one in measured)
    loud = [one.workload.title for one in measured if not one.rounds.quiet]
    peaks, delays = _probed(measured, PEAK), _probed(measured, HAND_OVER)
    counts = sorted(len(one.rounds.samples[PEAK]) for one in measured)
    span = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    lines = [f"{threads} thread{'s' if threads > 1 else ''}, {span} rounds each."]
    lines.append(f"Multiply-adds {min(peaks) / 1e9:.0f} to {max(peaks) / 1e9:.0f} GFLOP/s.")
    if delays:
        lines.append(f"Hand-over {1e9 / max(delays):.0f} to {1e9 / min(delays):.0f} ns.")
    lines.append(f"{again} rounds repeated because other processes used the processors.")
    if len(loud) == len(measured) > 1:
        lines.append("No workload was ever undisturbed: what was least disturbed is kept.")
    elif loud:
        lines.append(f"Never undisturbed, kept all the same: {', '.join(loud)}.")
    return " ".join(lines)


def _probed(measured: Sequence[Measured], name: str) -> list[float]:
    """Return a probe's amount per second in all rounds of all workloads."""
    return [
        rate
        for one in measured
        if name in one.amounts
        for rate in probes.rates(one.rounds, name, one.amounts[name])
    ]

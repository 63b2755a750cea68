"""Whole trainings on the digits: `wengert.train.fit` beside scikit-learn's `MLPClassifier`.

Run it as ``python -m benchmarks.fit_digits --markdown docs/measurements.md``.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import options, report
from wengert.bench.harness import caches_in, cores_for, pinned_environment, same_modules
from wengert.bench.stats import ratios, summarise

MODULE = "benchmarks.peers.digits"
ABSENT = "–"
REPEATS = 3
"""Trainings of a process after its first."""

TARGET = 5.0
"""How many times the time of `wengert.train.fit` that of `MLPClassifier` must be, at least."""

EXPLANATION = """One training: 1,257 rows, 64-256-10, relu, Adam, minibatches of 32, 40 epochs.
`MLPClassifier.fit` is given rows that are read, split and encoded. `wengert.train.fit` does that
itself, scores training and validation rows after each epoch, and keeps the weights of the best; by
default it has dropout, too, which scikit-learn has not. In each round, each runs in new processes,
in random order, on the same processors; with more than one, Wengert finds out, as it does by
default, whether to use them. *First* is a process's first training, without imports;
the compiled code is made, or found on the disk. *With imports* is the first training with the
imports, bytecode warm. *Again* is the median of the three after it; *of processors* is the time
that processors worked on it, which other programs disturb less. Medians over rounds with quartiles
in brackets, and the smallest; *×* is scikit-learn's time over that of `wengert.train.fit`, within
rounds."""


class Case(NamedTuple):
    """What a process trains.

    Attributes
    ----------
    system : str
        Who trains.
    dropout : float
        The share of dropout.
    cold : bool
        Whether no compiled code is on the disk.
    """

    system: str
    dropout: float = 0.0
    cold: bool = False


SUBJECTS = {"no dropout": 0.0, "as by default": 0.3}
PEER = Case("scikit-learn")
Times = dict[str, float]


def trained(case: Case, threads: int, folder: Path, count: int) -> dict[str, Any]:
    """Train in a new process; return what it printed."""
    processors = ",".join(map(str, cores_for(threads)))
    arguments = (case.system, case.dropout, count, processors)
    with tempfile.TemporaryDirectory() as empty:
        caches = caches_in(Path(empty) if case.cold else folder)
        variables = {"PYTHONPATH": same_modules()}
        if threads > 1:
            variables["WENGERT_THREADS"] = "auto"
        done = subprocess.run(
            [sys.executable, "-P", "-m", MODULE, *map(str, arguments)],
            env=pinned_environment(threads) | caches | variables,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{case.system}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def timed(case: Case, answer: dict[str, Any]) -> Times:
    """Return the times of one process by their names."""
    first, *others = answer["fits"]
    if case.cold:
        return {"first, nothing on the disk": first}
    found = {
        "first, code on the disk": first,
        "with imports": answer["imports"] + first,
        "again": statistics.median(others),
        "again, of processors": statistics.median(answer["worked"][1:]),
    }
    if case == PEER:
        found["first, nothing on the disk"] = first
    return found


def measure(chosen: Any, threads: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, Any]]:
    """Train in rounds; return the times of each subject and of the peer, and the accuracies."""
    cases = {name: Case("wengert", dropout) for name, dropout in SUBJECTS.items()}
    groups = {name: [case, case._replace(cold=True)] for name, case in cases.items()}
    if find_spec("sklearn"):
        groups[PEER.system] = [PEER]
    runs = [(name, case) for name, group in groups.items() for case in group]
    times: dict[str, dict[str, list[float]]] = {name: {} for name in groups}
    accuracies: dict[str, list[float]] = {name: [] for name in groups}
    order = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as kept:
        for case in cases.values():
            trained(case, threads, Path(kept), 1)
        for number in range(chosen.rounds):
            for name, case in order.sample(runs, len(runs)):
                answer = trained(case, threads, Path(kept), 1 if case.cold else 1 + REPEATS)
                accuracies[name] += answer["accuracies"]
                for kind, seconds in timed(case, answer).items():
                    times[name].setdefault(kind, []).append(seconds)
            report.say(f"threads {threads}: round {number + 1} of {chosen.rounds} done")
    return times, accuracies


def tables(times: dict[str, dict[str, list[float]]], accuracies: dict[str, Any]) -> list[str]:
    """Write the times, how they compare, and the accuracies."""
    peer = times.get(PEER.system)
    head = ["training", *times, *(f"× {name}" for name in SUBJECTS)]
    rows = []
    for kind in times[next(iter(SUBJECTS))]:
        cells = [report.duration(summarise(those[kind])) for those in times.values()]
        for name in SUBJECTS:
            found = ratios(peer[kind], times[name][kind]) if peer else None
            cells.append(report.ratio(found, TARGET, least=True) if found else ABSENT)
        rows.append([kind, *cells])
    reached = "; ".join(
        f"{name} {100 * statistics.fmean(those):.1f} %" for name, those in accuracies.items()
    )
    return [report.table(head, rows), f"Accuracy on the test rows, on average: {reached}."]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("Whole trainings on the digits.", rounds=5, timed=False)
    processors = len(cores_for(None)) or 1
    options.add_threads(made, [1, 2] if processors > 1 else [1])
    benchmark = options.parse("fit_digits", made, argv)
    parts = [EXPLANATION.replace("\n", " ")]
    data: dict[str, Any] = {}
    for threads in benchmark.options.threads:
        times, accuracies = measure(benchmark.options, threads)
        data[f"threads {threads}"] = {"seconds": times, "accuracies": accuracies}
        parts += [f"**{threads} thread{'s' if threads > 1 else ''}**", *tables(times, accuracies)]
    benchmark.publish("\n\n".join(parts), data)


if __name__ == "__main__":
    main()

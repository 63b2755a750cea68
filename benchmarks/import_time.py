"""Import time in a fresh process: Wengert beside NumPy, PyTorch, JAX and HIPS autograd.

Run it as ``python -m benchmarks.import_time --markdown docs/measurements.md``.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import options, report
from wengert.bench.harness import pinned_environment
from wengert.bench.stats import Summary, summarise

ROOT = Path(__file__).resolve().parents[1]
SUBJECT = "wengert"
MODULES = (SUBJECT, "numpy", "autograd", "jax", "torch")
TARGET_SECONDS = 0.25
WARM_UPS = 2
"""Unmeasured imports: the first compiles bytecode and fills the disk cache."""

CODE = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


class AbsentError(Exception):
    """A module that cannot be imported here; the message says why."""


def import_seconds(module: str) -> float:
    """Import a module in a new interpreter and return the seconds that the statement took.

    Raises
    ------
    AbsentError
        If the import fails.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(module=module)],
        cwd=ROOT,
        env=pinned_environment(1),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AbsentError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return float(done.stdout)


def importable(modules: Sequence[str]) -> list[str]:
    """Warm up each module; leave out those which cannot be imported, saying why."""
    found = []
    for module in modules:
        try:
            for _ in range(WARM_UPS):
                import_seconds(module)
        except AbsentError as absent:
            report.say(f"{module} skipped: {absent}")
            continue
        found.append(module)
    return found


def measure(modules: Sequence[str], rounds: int, seed: int) -> dict[str, list[float]]:
    """Import each module once per round, in random order."""
    order = random.Random(seed)
    seconds: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(rounds):
        for module in order.sample(list(modules), len(modules)):
            seconds[module].append(import_seconds(module))
    return seconds


def target(module: str, seconds: Summary) -> str:
    """Say whether the target is met, for the module that has one."""
    return report.verdict(seconds.median, TARGET_SECONDS if module == SUBJECT else None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("Import time in a fresh process.", rounds=9, timed=False)
    made.add_argument("--modules", nargs="+", choices=MODULES, default=list(MODULES))
    benchmark = options.parse("import_time", made, argv)
    chosen = benchmark.options
    seconds = measure(importable(chosen.modules), chosen.rounds, chosen.seed)
    summaries = {module: summarise(values) for module, values in seconds.items()}
    rows = [[f"`import {m}`", report.duration(s) + target(m, s)] for m, s in summaries.items()]
    body = (
        "Seconds that the import statement takes in a new interpreter, disk cache and bytecode "
        "warm; median over rounds with quartiles in brackets. Wengert's includes NumPy's.\n\n"
        + report.table(["statement", "time"], rows)
    )
    benchmark.publish(body, {"seconds": seconds})


if __name__ == "__main__":
    main()

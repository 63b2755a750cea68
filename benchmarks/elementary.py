"""Elementary functions: native code beside NumPy, PyTorch and JAX, on one thread.

Run it as ``python -m benchmarks.elementary --markdown docs/measurements.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import options, report
from benchmarks.peers.elementary import LENGTH
from wengert.bench.harness import Peer, PeerError, Rounds, Worker, race, started

MODULE = "benchmarks.peers.elementary"
FUNCTIONS = ["exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "pow"]
DTYPES = ("float32", "float64")
OTHERS = ("numpy", "torch", "jax")
ABSENT = {("numpy", "erf")}
"""What a system does not have."""

EXPLANATION = f"""{LENGTH} elements from 0.1 to 4, one thread, arrays that begin at lines of the
cache. *Native*, a compiled function that returns a new array: nanoseconds per element, median over
rounds with quartiles in brackets, and the fastest call. The others, NumPy and PyTorch into memory
that is there: their fastest call in units of native code's; above 1, native code is quicker."""


def measure(function: str, dtype: str, workers: dict[str, Worker], chosen: Any) -> Rounds:
    """Measure one function by all systems that have it, after comparing what they compute.

    Raises
    ------
    SystemExit
        If two systems disagree.
    """
    able: dict[str, Worker] = {}
    values: dict[str, list[float]] = {}
    for name, worker in workers.items():
        if (name, function) in ABSENT:
            continue
        worker.ask(do="prepare", case={"system": name, "function": function, "dtype": dtype})
        values[name] = worker.ask(do="check", steps=64)["values"]
        able[name] = worker
    for name, found in values.items():
        pairs = zip(found, values["native"], strict=True)
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in pairs):
            raise SystemExit(f"{name} and native code disagree about {function} of {dtype}.")
    return race(able, chosen.seconds, chosen.rounds, chosen.seed)


def row(function: str, dtype: str, rounds: Rounds) -> list[str]:
    """Return one line of the table."""
    times = [report.duration(rounds.summary("native", 1 / LENGTH))]
    for name in OTHERS:
        known = name in rounds.samples
        times.append(f"{rounds.fastest_ratio(name, 'native'):.2f}" if known else "–")
    return [function, dtype, *times]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("Elementary functions.", rounds=5)
    made.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=FUNCTIONS)
    benchmark = options.parse("elementary", made, argv)
    chosen = benchmark.options
    peers = {name: Peer(MODULE) for name in ("native", *OTHERS)}
    rows, samples = [], {}
    with started(peers, report.say) as workers:
        for name in OTHERS:
            try:
                case = {"system": name, "function": "exp", "dtype": "float32"}
                workers[name].ask(do="prepare", case=case)
            except PeerError as absent:
                report.say(f"{name} skipped: {absent}")
                workers.pop(name).close()
        for function in chosen.functions:
            for dtype in DTYPES:
                rounds = measure(function, dtype, workers, chosen)
                rows.append(row(function, dtype, rounds))
                samples[f"{function} {dtype}"] = rounds.samples
                report.say("  ".join(rows[-1]))
    head = ["function", "dtype", "native", *(f"{name} / native" for name in OTHERS)]
    benchmark.publish(f"{EXPLANATION}\n\n{report.table(head, rows)}", {"samples": samples})


if __name__ == "__main__":
    main()

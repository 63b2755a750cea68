"""One full eager training step of six networks, Wengert beside other libraries.

A step is `zero_grad`, forward, cross-entropy, backward and an SGD update without momentum, in
float32. Before anything is timed, all peers take the same few steps from the same weights and
must report the same losses.

Run it as ``python -m benchmarks.eager_step --threads 1 --markdown docs/measurements.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks import options, report
from benchmarks.nets import NETS
from benchmarks.tables import ABSENT, conditions, time_table
from wengert.bench import probes
from wengert.bench.harness import Peer
from wengert.bench.measure import SUBJECT, Measured, chosen_peers, measured_in_rounds
from wengert.bench.workload import Workload

EAGER = Peer("wengert.bench.peers.wengert_step", options={"eager": True})
SHORT = ("wengert", "torch", "autograd", "jax", "numpy")
AUTOGRAD = Peer("benchmarks.peers.hips_autograd", library="autograd")

EXPLANATION = """Times are medians over rounds with quartiles in brackets, and the fastest group of
calls. A ratio is taken within each round, then summarised: below 1 means that Wengert takes less
time; *fastest* is the ratio of the fastest calls. *JAX jit* compiles the whole step: an outlook,
not an eager peer. *NumPy by hand* is the same arithmetic with hand-written derivatives: what
NumPy's own calls cost. *Of peak* is Wengert's arithmetic in matrix products, relative to the
multiply-adds that the same cores did in the same rounds."""


def targets(workload: Workload) -> dict[str, float]:
    """Return the largest accepted ratio of Wengert's time to that of each peer that has one."""
    return {"HIPS autograd": 0.5, "PyTorch": 1.25 if workload == NETS["wide"] else 1.0}


def eager_peers(names: Sequence[str], threads: int) -> dict[str, Peer]:
    """Return the peers of these short names: Wengert eager, HIPS autograd, and the shared ones."""
    own = {"wengert": (SUBJECT, EAGER), "autograd": ("HIPS autograd", AUTOGRAD)}
    return chosen_peers(names, threads, own)


def _compared(one: Measured, name: str) -> str:
    """Write Wengert's ratio to one peer: within rounds, and of the fastest calls."""
    fastest = report.significant(one.rounds.fastest_ratio(SUBJECT, name))
    judged = report.ratio(one.rounds.ratio(SUBJECT, name), targets(one.workload).get(name))
    return f"{judged}; fastest {fastest}"


def ratio_table(measured: Sequence[Measured]) -> str:
    """Write Wengert's ratios to every peer, with the targets."""
    others = [name for name in measured[0].peers if name != SUBJECT]
    rows = []
    for one in measured:
        cells = [_compared(one, name) if name in one.peers else ABSENT for name in others]
        rows.append([one.workload.title, *cells, f"{100 * one.share_of_peak(SUBJECT):.0f} %"])
    return report.table(["network (batch)", *(f"÷ {name}" for name in others), "of peak"], rows)


def measure(chosen: argparse.Namespace, threads: int) -> list[Measured]:
    """Measure the networks asked for with one number of threads."""
    workloads = {name: NETS[name] for name in chosen.sizes}
    peers = eager_peers(chosen.peers, threads)
    with options.stopping_at_disagreement():
        return list(measured_in_rounds(peers, workloads, threads, chosen, report.say))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("One eager training step, Wengert beside other libraries.")
    options.add_threads(made, [1])
    made.add_argument("--sizes", nargs="+", choices=NETS, default=list(NETS), help="networks")
    made.add_argument("--peers", nargs="+", choices=SHORT, default=list(SHORT), help="libraries")
    benchmark = options.parse("eager_step", made, argv)
    chosen = benchmark.options
    gauged, numbers = probes.gauge(chosen, report.say)
    parts = [EXPLANATION.replace("\n", " "), gauged]
    data: dict[str, Any] = {"machine": numbers}
    for threads in chosen.threads:
        measured = measure(chosen, threads)
        parts.append(f"**{conditions(measured, threads)}**")
        if all(SUBJECT in one.peers for one in measured):
            parts.append(ratio_table(measured))
        parts.append(time_table(measured))
        data[f"threads {threads}"] = {one.workload.title: one.rounds.samples for one in measured}
    benchmark.publish("\n\n".join(parts), data)


if __name__ == "__main__":
    main()

"""One full eager training step of six networks, Wengert beside other libraries.

A step is `zero_grad`, forward, cross-entropy, backward and an SGD update without momentum, in
float32. Before anything is timed, all peers take the same few steps from the same weights and
must report the same losses.

Run it as ``python -m benchmarks.eager_step --threads 1 --markdown docs/measurements.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import options, probes, report
from benchmarks.harness import Peer, PeerError, Rounds, Worker, cores_for, race, started
from benchmarks.nets import NETS, Net
from benchmarks.probes import HAND_OVER, PEAK
from benchmarks.stats import disagreement

SUBJECT = "Wengert"
PEERS = {
    SUBJECT: "benchmarks.peers.wengert_eager",
    "PyTorch": "benchmarks.peers.pytorch",
    "HIPS autograd": "benchmarks.peers.hips_autograd",
    "JAX jit": "benchmarks.peers.jax_jit",
    "NumPy by hand": "benchmarks.peers.numpy_by_hand",
}
SHORT = dict(zip(("wengert", "torch", "autograd", "jax", "numpy"), PEERS, strict=True))
ABSENT = "absent"
CHECK_STEPS = 5
SAME_LOSS = 1e-4
"""Largest relative difference between two peers' losses over the first steps."""

EXPLANATION = """Times are medians over rounds with quartiles in brackets, and the fastest group of
calls. A ratio is taken within each round, then summarised: below 1 means that Wengert takes less
time; *fastest* is the ratio of the fastest calls. *JAX jit* compiles the whole step: an outlook,
not an eager peer. *NumPy by hand* is the same arithmetic with hand-written derivatives: what
NumPy's own calls cost. *Of peak* is Wengert's arithmetic in matrix products, relative to the
multiply-adds that the same cores did in the same rounds."""


@dataclass(frozen=True)
class Measured:
    """One network's rounds, and what one call of each probe does."""

    net: Net
    rounds: Rounds
    amounts: dict[str, float]

    @property
    def peers(self) -> list[str]:
        """Return the peers that were measured, without the probes of the machine."""
        return [name for name in self.rounds.samples if name not in (PEAK, HAND_OVER)]

    def targets(self) -> dict[str, float]:
        """Return the largest accepted ratio of the subject to each peer that has one."""
        return {"HIPS autograd": 0.5, "PyTorch": self.net.target_pytorch}

    def share_of_peak(self, name: str) -> float:
        """Return a peer's rate in matrix products relative to the peak."""
        peak = self.rounds.ratio(PEAK, name, self.net.step_flops / self.amounts[PEAK])
        return peak.median


def prepare(
    workers: Mapping[str, Worker],
    net: str,
    threads: int,
    note: Callable[[str], None],
) -> dict[str, Worker]:
    """Build one network in every worker and let the peers check each other.

    Parameters
    ----------
    workers : mapping
        The peers.
    net : str
        A name in `NETS`.
    threads : int
        Threads of every peer.
    note : Callable
        Receives a line for each peer that cannot run this network.

    Returns
    -------
    dict
        The workers that are ready.

    Raises
    ------
    SystemExit
        If two peers disagree: they would not be timed on the same work.
    """
    ready: dict[str, Worker] = {}
    losses: dict[str, list[float]] = {}
    for name, worker in workers.items():
        try:
            facts = worker.ask(do="prepare", case={"net": net, "threads": threads})
            losses[name] = worker.ask(do="check", steps=CHECK_STEPS)["values"]
        except PeerError as error:
            note(f"{name} skipped for {net}: {error}")
            continue
        if facts["dtype"] != "float32":
            raise SystemExit(f"{net}: {name} computes in {facts['dtype']}, not in float32.")
        ready[name] = worker
    require_agreement(net, losses)
    return ready


def require_agreement(net: str, losses: Mapping[str, Sequence[float]]) -> None:
    """Stop unless all peers report the same losses over their first steps.

    Raises
    ------
    SystemExit
        If losses differ, or hardly change, so that their agreement would show nothing.
    """
    names = list(losses)
    for name in names:
        apart = disagreement(losses[name], losses[names[0]])
        if not apart <= SAME_LOSS:  # written so that NaN stops too
            raise SystemExit(
                f"{net}: {name} and {names[0]} disagree by {apart:.1e} over {CHECK_STEPS} steps: "
                f"{list(losses[name])} and {list(losses[names[0]])}."
            )
        if abs(losses[name][-1] / losses[name][0] - 1) < 100 * SAME_LOSS:
            raise SystemExit(f"{net}: the loss hardly changes, the check shows nothing: {losses}.")


def _compared(one: Measured, name: str) -> str:
    """Write the subject's ratio to one peer: within rounds, and of the fastest calls."""
    fastest = report.significant(one.rounds.fastest_ratio(SUBJECT, name))
    judged = report.ratio(one.rounds.ratio(SUBJECT, name), one.targets().get(name))
    return f"{judged}; fastest {fastest}"


def ratio_table(measured: Sequence[Measured]) -> str:
    """Write the subject's ratios to every peer, with the targets."""
    others = [name for name in measured[0].peers if name != SUBJECT]
    rows = []
    for one in measured:
        cells = [_compared(one, name) if name in one.peers else ABSENT for name in others]
        rows.append([one.net.title, *cells, f"{100 * one.share_of_peak(SUBJECT):.0f} %"])
    return report.table(["network (batch)", *(f"÷ {name}" for name in others), "of peak"], rows)


def time_table(measured: Sequence[Measured]) -> str:
    """Write every peer's time of one step."""
    names = list(dict.fromkeys(name for one in measured for name in one.peers))
    rows = [
        [
            one.net.title,
            *(report.duration(one.rounds.summary(n)) if n in one.peers else ABSENT for n in names),
        ]
        for one in measured
    ]
    return report.table(["network (batch)", *names], rows)


def conditions(measured: Sequence[Measured], threads: int) -> str:
    """Say how fast the machine was meanwhile and how quiet it was."""
    again = sum(one.rounds.disturbed for one in measured)
    loud = [one.net.title for one in measured if not one.rounds.quiet]
    peaks, delays = _probed(measured, PEAK), _probed(measured, HAND_OVER)
    lines = [f"{threads} thread{'s' if threads > 1 else ''}."]
    lines.append(f"Multiply-adds {min(peaks) / 1e9:.0f} to {max(peaks) / 1e9:.0f} GFLOP/s.")
    if delays:
        lines.append(f"Hand-over {1e9 / max(delays):.0f} to {1e9 / min(delays):.0f} ns.")
    lines.append(f"{again} rounds repeated because other processes used the processors.")
    if loud:
        lines.append(f"Never undisturbed, kept all the same: {', '.join(loud)}.")
    return " ".join(lines)


def _probed(measured: Sequence[Measured], name: str) -> list[float]:
    """Return a probe's amount per second in all rounds of all networks."""
    return [
        rate
        for one in measured
        if name in one.amounts
        for rate in probes.rates(one.rounds, name, one.amounts[name])
    ]


def measure(chosen: argparse.Namespace, threads: int) -> list[Measured]:
    """Measure the networks asked for with one number of threads."""
    peers = {SHORT[name]: Peer(PEERS[SHORT[name]], threads) for name in chosen.peers}
    gauges = probes.probes(threads)
    measured = []
    with started(peers, report.say) as workers, started(gauges, report.say) as gauging:
        amounts = {name: probes.prepare(name, gauging[name], threads) for name in gauges}
        for name in chosen.sizes:
            ready = prepare(workers, name, threads, report.say)
            rounds = race(ready | gauging, chosen.seconds, chosen.rounds, chosen.seed)
            measured.append(Measured(NETS[name], rounds, amounts))
            times = [f"{peer} {report.duration(rounds.summary(peer))}" for peer in ready]
            report.say(f"{NETS[name].title}: {'; '.join(times)}")
    return measured


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("One eager training step, Wengert beside other libraries.")
    made.add_argument("--threads", type=int, nargs="+", default=[1], help="threads of every peer")
    made.add_argument("--sizes", nargs="+", choices=NETS, default=list(NETS), help="networks")
    made.add_argument("--peers", nargs="+", choices=SHORT, default=list(SHORT), help="libraries")
    benchmark = options.parse("eager_step", made, argv)
    chosen = benchmark.options
    try:
        cores_for(max(chosen.threads))
    except ValueError as error:
        made.error(str(error))
    gauged, numbers = probes.gauge(chosen, report.say)
    parts = [EXPLANATION.replace("\n", " "), gauged]
    data: dict[str, Any] = {"machine": numbers}
    for threads in chosen.threads:
        measured = measure(chosen, threads)
        parts.append(f"**{conditions(measured, threads)}**")
        if all(SUBJECT in one.peers for one in measured):
            parts.append(ratio_table(measured))
        parts.append(time_table(measured))
        data[f"threads {threads}"] = {one.net.title: one.rounds.samples for one in measured}
    benchmark.publish("\n\n".join(parts), data)


if __name__ == "__main__":
    main()

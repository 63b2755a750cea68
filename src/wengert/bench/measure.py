"""Measuring one workload: peers agree first, then take turns; the machine is gauged meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from wengert.bench import probes
from wengert.bench.formats import duration
from wengert.bench.harness import Peer, PeerError, Rounds, Worker, caches_in, race, started
from wengert.bench.probes import HAND_OVER, PEAK
from wengert.bench.stats import disagreement
from wengert.bench.workload import Workload

SUBJECT = "Wengert"
_FOLDER = "wengert.bench.peers"
PEERS = {
    "wengert": (SUBJECT, Peer(f"{_FOLDER}.wengert_step")),
    "wengert-lean": (
        f"{SUBJECT}, no .grad kept",
        Peer(f"{_FOLDER}.wengert_step", options={"lean": True}),
    ),
    "jax": ("JAX jit", Peer(f"{_FOLDER}.jax_jit", library="jax")),
    "torch": ("PyTorch", Peer(f"{_FOLDER}.pytorch", library="torch")),
    "torch.compile": (
        "torch.compile",
        Peer(f"{_FOLDER}.pytorch", library="torch", options={"compile": True}),
    ),
    "sklearn": ("scikit-learn", Peer(f"{_FOLDER}.scikit_learn", library="sklearn")),
    "numpy": ("NumPy by hand", Peer(f"{_FOLDER}.numpy_by_hand")),
}
"""For each short name, the name in tables, and what runs."""

PREPARE_SECONDS = 120.0
"""How long a peer may take to build its program and take the first steps."""

CHECK_STEPS = 5
SAME = 1e-4
"""Largest relative difference between two peers' losses over the first steps, or derivatives."""

NEAR = 120e-9
"""A hand-over in less time than this is one between cores near each other: virtual machines were
seen to change between 28 and 175 ns, and between 90 and 190."""


class DisagreementError(RuntimeError):
    """Two peers do not compute the same: they would not be timed on the same work."""


def chosen_peers(
    names: Iterable[str], threads: int, own: Mapping[str, tuple[str, Peer]] | None = None
) -> dict[str, Peer]:
    """Return the peers of these short names, under their names in tables.

    Parameters
    ----------
    names : iterable of str
        Keys of `PEERS` or of `own`.
    threads : int
        How many threads each gets.
    own : mapping, optional
        Further peers, and those that stand in for others.
    """
    known = {**PEERS, **(own or {})}
    return {title: replace(peer, threads=threads) for title, peer in (known[n] for n in names)}


@dataclass(frozen=True)
class Measured:
    """One workload's rounds, and what one call of each probe does."""

    workload: Workload
    rounds: Rounds
    amounts: dict[str, float]

    @property
    def peers(self) -> list[str]:
        """Return the peers that were measured, without the probes of the machine."""
        return [name for name in self.rounds.samples if name not in (PEAK, HAND_OVER)]

    def share_of_peak(self, name: str) -> float:
        """Return a peer's rate in products relative to the peak."""
        peak = self.rounds.ratio(PEAK, name, self.workload.step_flops / self.amounts[PEAK])
        return peak.median

    def fastest_share(self, name: str) -> float:
        """Return the same of a peer's fastest calls and the probe's."""
        amount = self.workload.step_flops / self.amounts[PEAK]
        return self.rounds.fastest_ratio(PEAK, name) * amount

    def groups(self) -> dict[str, Measured]:
        """Return the rounds with the cores near each other, and with the cores far."""
        if HAND_OVER not in self.amounts:
            return {"": self}
        # The fastest calls: another program in between says nothing of where the cores are.
        fastest = [sample["minimum"] for sample in self.rounds.samples[HAND_OVER]]
        near = [seconds / self.amounts[HAND_OVER] < NEAR for seconds in fastest]
        found = {"near": near, "far": [not one for one in near]}
        return {
            name: Measured(self.workload, self.rounds.only(keep), self.amounts)
            for name, keep in found.items()
            if any(keep)
        }


class Lengths(Protocol):
    """How long and how often to measure."""

    @property
    def seconds(self) -> float:
        """Length of one measurement."""

    @property
    def rounds(self) -> int:
        """How often everything is measured in turn."""

    @property
    def seed(self) -> int:
        """Seed of the order within a round."""


def measured_in_rounds(
    peers: Mapping[str, Peer],
    workloads: Mapping[str, Workload],
    threads: int,
    lengths: Lengths,
    note: Callable[[str], None],
) -> Iterator[Measured]:
    """Measure workloads one after the other, the machine in the same rounds; yield each.

    Parameters
    ----------
    peers : mapping
        From names in tables to what they run.
    workloads : mapping
        What is measured, by name.
    threads : int
        Threads of every peer.
    lengths : Lengths
        Seconds of one measurement, number of rounds, seed of the order within a round.
    note : Callable
        Receives a line for each peer that is skipped, and for each workload that is done.
    """
    gauges = probes.probes(threads)
    with started(peers, note) as workers, started(gauges, note) as gauging:
        amounts = {name: probes.prepare(name, gauging[name], threads) for name in gauges}
        for workload in workloads.values():
            ready = prepare(workers, workload, note)
            if not ready:
                note(f"{workload.title}: nothing is left to measure")
                continue
            rounds = race(ready | gauging, lengths.seconds, lengths.rounds, lengths.seed)
            times = [f"{peer} {duration(rounds.summary(peer))}" for peer in ready]
            note(f"{workload.title}: {'; '.join(times)}")
            yield Measured(workload, rounds, amounts)


def prepare(
    workers: Mapping[str, Worker],
    workload: Workload,
    note: Callable[[str], None],
) -> dict[str, Worker]:
    """Build one workload in every worker and let the peers check each other.

    Parameters
    ----------
    workers : mapping
        The peers.
    workload : Workload
        What to build.
    note : Callable
        Receives a line for each peer that cannot run it.

    Returns
    -------
    dict
        The workers that are ready.

    Raises
    ------
    DisagreementError
        If two peers disagree, or one does not compute in float32.
    """
    ready: dict[str, Worker] = {}
    values: dict[str, list[float]] = {}
    for name, worker in workers.items():
        case = workload.case(worker.peer.threads, **worker.peer.options)
        worker.revive()
        try:
            facts = worker.ask(do="prepare", case=case, within=PREPARE_SECONDS)
            found = worker.ask(do="check", steps=CHECK_STEPS, within=PREPARE_SECONDS)
        except PeerError as error:
            note(f"{name} skipped for {workload.title}: {error}")
            continue
        if facts["dtype"] != "float32":
            raise DisagreementError(
                f"{workload.title}: {name} computes in {facts['dtype']}, not in float32."
            )
        ready[name], values[name] = worker, found["values"]
    require_agreement(workload, values)
    return ready


def require_agreement(workload: Workload, values: Mapping[str, Sequence[float]]) -> None:
    """Stop unless all peers report the same losses of their first steps, or the same derivatives.

    With dropout each draws its own numbers: then the losses must be finite.

    Raises
    ------
    DisagreementError
        If they differ, or losses hardly change, so that their agreement would show nothing.
    """
    names = list(values)
    for name in names:
        reference = values[name] if workload.dropout else values[names[0]]
        apart = disagreement(values[name], reference)
        if not apart <= SAME:  # written so that NaN stops too
            raise DisagreementError(
                f"{workload.title}: {name} and {names[0]} disagree by {apart:.1e} over "
                f"{CHECK_STEPS} steps: {list(values[name])} and {list(values[names[0]])}."
            )
        first, last = values[name][0], values[name][-1]
        unchanged = abs(last - first) < 100 * SAME * abs(first)
        if workload.kind == "step" and len(names) > 1 and unchanged:
            raise DisagreementError(
                f"{workload.title}: the loss hardly changes, the check shows nothing: {values}."
            )


@dataclass(frozen=True)
class FirstCall:
    """What the first call costs in a new process, imports and inputs not counted.

    Attributes
    ----------
    cold, cached : float
        Seconds with an empty cache on the disk, and in a second process that finds what the first
        one left.
    growth : int
        Bytes by which the process grew meanwhile.
    memory : dict
        The peer's own account: ``arguments``, ``temporaries``, ``outputs``, in bytes.
    """

    cold: float
    cached: float
    growth: int
    memory: dict[str, int]


def first_call(peer: Peer, workload: Workload, repeats: int = 1) -> FirstCall:
    """Measure a peer's first call of a workload in two new processes, one after the other.

    Parameters
    ----------
    peer : Peer
        The library.
    workload : Workload
        What it does.
    repeats : int
        How often both are measured, each time with an empty cache; the shortest times count.

    Raises
    ------
    PeerError
        If the peer cannot run it.
    """
    colds, cacheds = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            environment = caches_in(Path(folder))
            cold, memory = _first(peer, workload, environment)
            cached, _ = _first(peer, workload, environment)
        colds.append(cold["seconds"])
        cacheds.append(cached["seconds"])
    return FirstCall(min(colds), min(cacheds), cold["growth"], memory)


def _first(
    peer: Peer, workload: Workload, environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Start a process and call once."""
    worker = Worker(peer, environment)
    try:
        worker.ask(do="prepare", case=workload.case(peer.threads, **peer.options))
        return worker.ask(do="first", within=PREPARE_SECONDS), worker.ask(do="memory")
    finally:
        worker.close()

"""What the machine itself can do meanwhile: its peak, and how far apart its cores are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.bench import formats
from wengert.bench.harness import Peer, Rounds, Worker, cores_for, race, started
from wengert.bench.stats import summarise

MODULE = "wengert.bench.peers.machine"
PEAK = "peak"
HAND_OVER = "hand-over"
"""One thread writes, another on a second processor sees it: some 30 ns where both share a cache,
several times as much where they do not; a virtual machine may change from one to the other."""


def probes(threads: int) -> dict[str, Peer]:
    """Return the probes to measure in the same rounds as peers with so many threads."""
    found = {PEAK: Peer(MODULE, threads)}
    if threads > 1:
        found[HAND_OVER] = Peer(MODULE, 2)
    return found


def prepare(name: str, worker: Worker, threads: int) -> float:
    """Ready one probe; return what one call does: floating-point operations, or hand-overs."""
    return float(worker.ask(do="prepare", case={"probe": name, "threads": threads})["amount"])


def rates(rounds: Rounds, name: str, amount: float) -> list[float]:
    """Return a probe's amount per second in each round."""
    return [amount / seconds for seconds in rounds.seconds(name)]


def gauge(chosen: Any, note: Callable[[str], None]) -> tuple[str, dict[str, list[float]]]:
    """Measure the probes alone, on one core and on all; return a sentence and the numbers."""
    everything = len(cores_for(None)) or 1
    peers = {"one core": Peer(MODULE, 1)}
    if everything > 1:
        peers |= {"all cores": Peer(MODULE, everything), HAND_OVER: Peer(MODULE, 2)}
    parts, numbers = [], {}
    with started(peers, note) as workers:
        amounts = {
            name: prepare(HAND_OVER if name == HAND_OVER else PEAK, worker, peers[name].threads)
            for name, worker in workers.items()
        }
        rounds = race(workers, chosen.seconds, chosen.rounds, chosen.seed)
    for name, amount in amounts.items():
        numbers[name] = rates(rounds, name, amount)
        if name == HAND_OVER:
            between = summarise([1e9 / rate for rate in numbers[name]])
            parts.append(f"hand-over between two cores {formats.spread(between)} ns")
        else:
            speed = summarise([rate / 1e9 for rate in numbers[name]])
            parts.append(f"{name} {formats.spread(speed)} GFLOP/s")
    disturbed = "" if rounds.quiet else " (others used the processors meanwhile)"
    return f"Multiply-adds in registers: {', '.join(parts)}{disturbed}.", numbers

"""Linear work: what a derivative costs in Wengert, in time and in operations.

Programs of growing size must keep their time per element, 𝓑 may have at most four times the
operations of 𝓖, and a value with its gradient may take at most four times the value alone.

Run it as ``python -m benchmarks.linear_work --markdown docs/measurements.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import options, report
from benchmarks.nets import NETS
from wengert.bench.harness import Peer, Rounds, Worker, race, started

MODULE = "benchmarks.peers.wengert_work"
GROWING = {
    "diamonds": ("chain of k diamonds (2^k paths)", (1_000, 2_000, 5_000, 10_000)),
    "elements": ("loop over x[i]", (1_000, 10_000, 100_000)),
    "scalars": ("scalar operations", (10_000, 100_000, 1_000_000)),
}
EXPLANATION = """One thread. Times are medians over rounds with quartiles in brackets, and the
fastest call; ratios are taken within each round, and *fastest* is that of the fastest calls.
*Disturbed*: other processes used the processor in most rounds."""

LINEAR = 1.5
"""Largest accepted growth of the time per element; quadratic work would show 10 or 100."""

ATTEMPTS = 2
"""A disturbed round is measured again less often than elsewhere: the largest take a minute."""

RATIO = 4.0
FLOPS = 1e5
"""The bound on value and gradient holds for programs with more arithmetic than this."""


def measure(cases: dict[str, dict[str, Any]], chosen: Any) -> tuple[Rounds, dict[str, Any]]:
    """Run each case in a process of its own; return the rounds and each case's facts.

    Raises
    ------
    SystemExit
        If Wengert cannot run, or a program's result is not the one known in advance.
    """
    peers = {name: Peer(MODULE) for name in cases}
    reasons: list[str] = []
    with started(peers, reasons.append) as workers:
        if reasons:
            raise SystemExit(reasons[0])
        facts = {name: _prepared(name, workers[name], case) for name, case in cases.items()}
        return race(workers, chosen.seconds, chosen.rounds, chosen.seed, ATTEMPTS), facts


def _prepared(name: str, worker: Worker, case: dict[str, Any]) -> dict[str, Any]:
    """Build one program and compare its result with the one known in advance."""
    facts = worker.ask(do="prepare", case=case)
    if "expected" in facts:
        values = worker.ask(do="check", steps=1)["values"]
        if values != facts["expected"]:
            raise SystemExit(f"{name}: expected {facts['expected']}, got {values}.")
    return facts


def _mark(rounds: Rounds) -> str:
    """Return a mark for what was never measured undisturbed."""
    return "" if rounds.quiet else " (disturbed)"


def growth(program: str, chosen: Any) -> tuple[list[list[str]], dict[str, Any]]:
    """Measure one program at all its sizes; return table rows and the numbers."""
    title, sizes = GROWING[program]
    cases = {str(size): {"program": program, "size": size} for size in sizes}
    rounds, _ = measure(cases, chosen)
    title += _mark(rounds)
    smallest = str(sizes[0])
    rows = []
    for size in sizes:
        per_element = rounds.summary(str(size), 1 / size)
        relative = rounds.ratio(str(size), smallest, sizes[0] / size)
        target = LINEAR if size == sizes[-1] else None
        total = report.duration(rounds.summary(str(size)))
        cells = [report.duration(per_element), report.ratio(relative, target)]
        rows.append([title, f"{size:,}", total, *cells])
        report.say(" | ".join(rows[-1]))
    return rows, rounds.samples


def derivative_cost(net: str, activation: str, chosen: Any) -> tuple[list[str], dict[str, Any]]:
    """Measure one network's value and gradient beside its unrecorded value."""
    case = {"net": net, "activation": activation}
    cases = {name: case | {"program": name} for name in ("forward", "value_and_grad")}
    rounds, facts = measure(cases, chosen)
    operations, backward = facts["forward"]["operations"], facts["forward"]["backward"]
    flops = NETS[net].forward_flops
    ratio = rounds.ratio("value_and_grad", "forward")
    judged = report.ratio(ratio, RATIO if flops > FLOPS else None)
    fastest = report.significant(rounds.fastest_ratio("value_and_grad", "forward"))
    cells = [
        f"{NETS[net].title} {activation}{_mark(rounds)}",
        report.significant(flops),
        f"{operations}",
        f"{backward}",
        report.significant(backward / operations) + report.verdict(backward / operations, RATIO),
        report.duration(rounds.summary("forward")),
        f"{judged}; fastest {fastest}",
    ]
    report.say(" | ".join(cells))
    return cells, rounds.samples | {"operations": operations, "backward": backward}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("What a derivative costs in time and in operations.", rounds=3)
    made.add_argument("--programs", nargs="*", choices=GROWING, default=list(GROWING))
    made.add_argument("--sizes", nargs="*", choices=NETS, default=list(NETS), help="networks")
    benchmark = options.parse("linear_work", made, argv)
    chosen = benchmark.options
    data: dict[str, Any] = {}
    growing: list[list[str]] = []
    for program in chosen.programs:
        rows, data[program] = growth(program, chosen)
        growing += rows
    networks = []
    for net in chosen.sizes:
        for activation in ("relu", "tanh"):
            cells, data[f"{net} {activation}"] = derivative_cost(net, activation, chosen)
            networks.append(cells)
    head = ["program", "size", "forward and backward", "per element", "relative to the smallest"]
    costs = [
        "network (batch)",
        "flops forward",
        "operations of 𝓖",
        "operations of 𝓑",
        "𝓑 ÷ 𝓖",
        "unrecorded value",
        "value and gradient ÷ value",
    ]
    body = [report.table(head, growing), report.table(costs, networks)]
    benchmark.publish("\n\n".join([EXPLANATION.replace("\n", " "), *body]), data)


if __name__ == "__main__":
    main()

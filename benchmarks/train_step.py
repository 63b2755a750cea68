"""One whole compiled training step, Wengert beside other libraries.

A step is what a user calls: data in, parameters and optimiser state updated, the loss returned, in
float32. Before anything is timed, all peers take the same few steps from the same weights and must
report the same losses. ``--workloads`` takes groups (sgd momentum adam tanh gelu other hvp) and
names.

Run it as ``python -m benchmarks.train_step --first-calls --markdown docs/measurements.md``; while
developing, ``python -m benchmarks.train_step --workloads sgd --peers wengert jax --rounds 3
--seconds 0.1`` takes less than a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from benchmarks import options, report
from benchmarks.first_calls import FIRST_CALLS, first_call_tables, measure_first_calls
from benchmarks.nets import GROUPS, NETS, WORKLOADS
from benchmarks.tables import ABSENT, all_peers, conditions, time_table
from wengert.bench import probes
from wengert.bench.harness import cores_for
from wengert.bench.measure import PEERS, SUBJECT, Measured, chosen_peers, measured_in_rounds
from wengert.bench.workload import Workload

EXPLANATION = """A call is a whole training step that returns the loss (*gradient*, *hvp*: the value
with its gradient, the product of the Hessian with a vector). *Wengert* leaves every `.grad` behind,
as the step of a user of PyTorch does; *no .grad kept* has `zero_grad()` at its end, so that none is
written, as JAX writes none. Times are medians over rounds with quartiles in brackets, and the
fastest group of calls. *×* is the other's time over Wengert's, taken within each round: above 1
means that Wengert takes less time; *fastest* is that of the fastest calls. *Of peak* is Wengert's
arithmetic in products relative to the multiply-adds that the same cores did in the same rounds.
Each library has as many processors as threads; how many a step uses is its own decision, as always.
*Near* and *far* rounds are told apart by the hand-over between the two cores, below or above 120
ns. –: not measured, or the library cannot express it."""

JAX = "JAX jit"


class Target(NamedTuple):
    """How many times faster than JAX a net must be, and its share of the peak on one thread."""

    near: float
    far: float
    one: float
    peak: float | None


TARGETS = {
    NETS["tiny"]: Target(20, 20, 20, None),
    NETS["digits"]: Target(4, 2.7, 3.5, 0.65),
    NETS["mnist"]: Target(1.5, 1.3, 1.25, 0.92),
    NETS["table"]: Target(1.6, 1.6, 1.3, 0.92),
    NETS["deep"]: Target(3.5, 2.2, 2.2, 0.85),
    NETS["wide"]: Target(1.15, 1.1, 1.15, 0.9),
}
ELSEWHERE = Target(1.2, 1.2, 1.2, None)
SLOW = "torch.compile"
USUAL = [name for name in PEERS if name != SLOW]
"""`torch.compile` takes half a minute for each workload."""

EAGER_PEERS = {"PyTorch", "scikit-learn"}


def target(workload: Workload, peer: str, group: str) -> float | None:
    """Return how many times faster than a peer Wengert must be: near, far, or on one thread."""
    if peer in EAGER_PEERS:
        return 15 if workload == NETS["digits"] else 2
    if peer != JAX:
        return None
    goal = TARGETS.get(workload, ELSEWHERE)
    return {"near": goal.near, "far": goal.far}.get(group, goal.one)


def speed_table(measured: Sequence[Measured], group: str, threads: int) -> str:
    """Write how many times faster than each peer Wengert is, with the targets."""
    others = [name for name in all_peers(measured) if name != SUBJECT]
    rows = []
    for one in measured:
        cells = [_compared(one, name, group) if name in one.peers else ABSENT for name in others]
        rows.append([one.workload.title, *cells, _of_peak(one, threads)])
    return report.table(["network (batch)", *(f"× {name}" for name in others), "of peak"], rows)


def _compared(one: Measured, name: str, group: str) -> str:
    """Write one peer's time relative to Wengert's, within rounds."""
    goal = target(one.workload, name, group)
    judged = report.ratio(one.rounds.ratio(name, SUBJECT), goal, least=True)
    return f"{judged}; fastest {report.significant(one.rounds.fastest_ratio(name, SUBJECT))}"


def _of_peak(one: Measured, threads: int) -> str:
    """Write Wengert's share of the peak; on one thread there is a target."""
    share = 100 * one.share_of_peak(SUBJECT)
    goal = TARGETS.get(one.workload, ELSEWHERE).peak if threads == 1 else None
    judged = report.verdict(share, goal and 100 * goal, least=True)
    return f"{share:.1f} %{judged}; fastest {100 * one.fastest_share(SUBJECT):.1f} %"


def grouped(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return near and far rounds apart; one group with an empty name where they are not told."""
    found: dict[str, list[Measured]] = {}
    for one in measured:
        for group, part in one.groups().items():
            found.setdefault(group, []).append(part)
    return dict(sorted(found.items(), reverse=True))


def sections(measured: Sequence[Measured], threads: int) -> list[str]:
    """Write the tables of one number of threads."""
    parts = []
    for group, those in grouped(measured).items():
        kind = f" Cores {group}." if group else ""
        parts.append(f"**{conditions(those, threads)}{kind}**")
        compared = [one for one in those if SUBJECT in one.peers]
        if compared:
            parts.append(speed_table(compared, group, threads))
        parts.append(time_table(those))
    return parts


def chosen_workloads(names: Sequence[str]) -> dict[str, Workload]:
    """Return the workloads of these names; the name of a group stands for all of it."""
    found: dict[str, Workload] = {}
    for name in names:
        found |= GROUPS.get(name) or {name: WORKLOADS[name]}
    return found


def _numbers(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return all numbers of the rounds, for JSON."""
    return {
        one.workload.title: {
            "workload": asdict(one.workload),
            "flops": one.workload.step_flops,
            "amounts": one.amounts,
            "rounds": one.rounds.samples,
        }
        for one in measured
    }


def measure(
    chosen: Any, workloads: Mapping[str, Workload], threads: int
) -> tuple[list[str], dict[str, Any]]:
    """Measure with one number of threads; return tables and all numbers."""
    peers = chosen_peers(chosen.peers, threads)
    with options.stopping_at_disagreement():
        measured = list(measured_in_rounds(peers, workloads, threads, chosen, report.say))
    return sections(measured, threads), _numbers(measured)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    made = options.parser("One compiled training step, Wengert beside other libraries.")
    processors = len(cores_for(None)) or 1
    options.add_threads(made, [1, 2] if processors > 1 else [1])
    names = [*GROUPS, *WORKLOADS]
    made.add_argument("--workloads", nargs="+", choices=names, default=list(GROUPS), metavar="NAME")
    made.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        default=USUAL,
        help=f"of {', '.join(PEERS)}; usually all but {SLOW}",
        metavar="NAME",
    )
    made.add_argument("--first-calls", action="store_true", help=FIRST_CALLS)
    benchmark = options.parse("train_step", made, argv)
    chosen = benchmark.options
    workloads = chosen_workloads(chosen.workloads)
    gauged, numbers = probes.gauge(chosen, report.say)
    parts = [EXPLANATION.replace("\n", " "), gauged]
    data: dict[str, Any] = {"machine": numbers}
    for threads in chosen.threads:
        tables, data[f"threads {threads}"] = measure(chosen, workloads, threads)
        parts += tables
    if chosen.first_calls:
        found = measure_first_calls(chosen_peers(chosen.peers, 1), workloads, report.say)
        parts += first_call_tables(found)
        data["first calls"] = [
            {"workload": asdict(workload), "peer": peer, **asdict(call)}
            for workload, calls in found.items()
            for peer, call in calls.items()
        ]
    benchmark.publish("\n\n".join(parts), data)


if __name__ == "__main__":
    main()

"""``wengert plan``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from wengert.cli.options import network_options

if TYPE_CHECKING:
    from wengert.bench.memory import MemoryUse

_EPILOG = """
\b
Examples:
  wengert plan
  wengert plan digits mnist wide
  wengert plan --net 784-256-128-10 --batch 128 --activation tanh
  wengert plan mnist --optimizer adam --details

\b
weights   the parameters
state     what the optimiser keeps: a number for sgd, once the weights for momentum, twice for adam
batch     one minibatch and its targets
arena     all intermediate values, in one piece of memory whose size is known beforehand
scratch   what each thread needs for itself besides, for copies of large factors of products
total     all that a call on one thread needs

With --optimizer only that one is shown. Nothing is run: the sizes follow from the compiled code,
and are what will be allocated.
"""


@click.command(epilog=_EPILOG, short_help="Show the memory a network needs, before it runs.")
@network_options
@click.option("--details", is_flag=True, help="Show the kernels and arrays of a training step.")
def plan(
    networks: tuple[str, ...],
    net: str | None,
    batch: int | None,
    details: bool,
    **differences: Any,
) -> None:
    """Show how much memory NETWORKS, or --net, need to predict and to train.

    Without either, two small networks are shown. Their names are those of `wengert bench`.
    """
    from wengert.bench.choices import choose_workloads
    from wengert.bench.memory import prediction_memory, training_memory
    from wengert.bench.workload import OPTIMIZERS
    from wengert.compile.plan import aligned

    for workload in choose_workloads(networks, net, batch, **differences).values():
        chosen = differences["optimizer"]
        rows = [_row("prediction", prediction_memory(workload))]
        for optimizer in OPTIMIZERS if chosen is None else (chosen,):
            use = training_memory(replace(workload, optimizer=optimizer))
            rows.append(_row(f"training, {optimizer}", use))
        click.echo(replace(workload, optimizer="sgd").title)
        heads = ("", "weights", "state", "batch", "arena", "scratch", "total", "kernels", "Mflop")
        click.echo("\n".join(aligned([heads, *rows])))
        if details:
            click.echo(f"\n{use.plan}")


def _row(name: str, use: MemoryUse) -> tuple[str, ...]:
    from wengert.compile.plan import in_units

    temporary = use.plan.arena_bytes, use.plan.scratch_bytes
    sizes = (use.parameters, use.state, use.batch, *temporary, use.total)
    counts = str(len(use.plan.kernels)), f"{use.plan.flops / 1e6:.3g}"
    return (name, *map(in_units, sizes), *counts)

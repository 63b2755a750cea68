"""``wengert bench``."""

from __future__ import annotations

from typing import Any

import click

from wengert.cli.options import network_options

_EPILOG = """
\b
Examples:
  wengert bench
  wengert bench tiny digits wide
  wengert bench --net 784-256-128-10 --batch 128 --optimizer adam --activation tanh
  wengert bench mnist --threads 2 --against jax,torch,sklearn,numpy

\b
Networks with a name, and rows of their minibatches:
  tiny 2-2-2 (1), digits 64-128-10 (32), mnist 784-256-128-10 (128),
  table 32-256-256-256-10 (256), deep: 20 layers of 64 (64), wide 1024-1024-1024-10 (256)

A step is forward, cross-entropy, backward and the optimiser's update, in float32. Each library
runs in a process of its own, bound to the same processors, and they take turns, round after
round: what slows a whole round slows all of them. They must report the same losses first.

\b
time of a step  median over rounds [quartiles], and the shortest
GFLOP/s         arithmetic of the matrix products; of peak: relative to what the same cores
                did in multiply-adds in the same rounds
first call      in a new process, then in a second one that finds the first one's cache
memory          arguments + temporaries (Wengert: arena and scratch) + results
"""


@click.command(epilog=_EPILOG, short_help="Measure the training step of a network.")
@network_options
@click.option("--threads", type=int, default=1, metavar="N", help="Of each library.  [default: 1]")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME,…",
    help="Other libraries, if installed: jax, torch, torch.compile, sklearn, numpy (by hand).",
)
@click.option("--rounds", type=int, default=5, metavar="N", help="Turns of each.  [default: 5]")
@click.option("--seconds", type=float, default=0.2, help="Length of a turn.  [default: 0.2]")
@click.option("--quiet", is_flag=True, help="Show the tables only.")
def bench(  # noqa: PLR0913, PLR0917  (one argument per option)
    networks: tuple[str, ...],
    net: str | None,
    batch: int | None,
    threads: int,
    against: tuple[str, ...],
    rounds: int,
    seconds: float,
    quiet: bool,
    **differences: Any,
) -> None:
    """Measure the compiled training step of NETWORKS, or of --net, on this machine.

    Without either, two small networks are measured.
    """
    from wengert.bench.choices import Lengths, check_threads, choose_peers, choose_workloads
    from wengert.bench.harness import PeerError
    from wengert.bench.measure import DisagreementError, chosen_peers
    from wengert.bench.table import measure_and_print
    from wengert.data.errors import UserError

    workloads = choose_workloads(networks, net, batch, **differences)
    check_threads(threads)
    peers = chosen_peers(choose_peers(against), threads)
    try:
        measure_and_print(workloads, peers, Lengths(seconds, rounds), quiet=quiet)
    except (DisagreementError, PeerError) as error:
        raise UserError(str(error)) from None

"""Command-line options that all benchmarks share, and what becomes of their results."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from wengert.bench.harness import cores_for
from wengert.bench.measure import DisagreementError

PACKAGES = ("wengert", "numpy", "llvmlite", "torch", "autograd", "jax", "scikit-learn")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's name (its module and its section in the docs) and its parsed options."""

    name: str
    options: argparse.Namespace

    @property
    def command(self) -> str:
        """The command that measured this."""
        return shlex.join(["python", "-m", f"benchmarks.{self.name}", *sys.argv[1:]])

    def publish(self, body: str, data: dict[str, Any]) -> None:
        """Show the result; write it into the Markdown page and the JSON file asked for."""
        text = f"{report.provenance(self.command, PACKAGES)}\n\n{body}"
        report.say(f"\n{text}")
        if self.options.markdown:
            report.paste(self.options.markdown, self.name, text)
        if self.options.json:
            content = {"command": self.command, "machine": report.machine_line(PACKAGES)} | data
            self.options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def parser(description: str, rounds: int = 7, timed: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark; a benchmark adds its own.

    Parameters
    ----------
    description : str
        What the benchmark measures.
    rounds : int
        The default number of rounds.
    timed : bool
        Whether a measurement repeats its work for some time, rather than doing it once.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=_positive, default=rounds, help="interleaved rounds")
    if timed:
        made.add_argument("--seconds", type=float, default=0.2, help="length of a measurement")
    made.add_argument("--seed", type=int, default=0, help="seed of the order within a round")
    made.add_argument("--markdown", type=Path, help="page whose section is replaced")
    made.add_argument("--json", type=Path, help="file for all numbers")
    return made


def add_threads(made: argparse.ArgumentParser, default: Sequence[int]) -> None:
    """Add the option of how many threads every peer gets."""
    made.add_argument("--threads", type=_threads, nargs="+", default=default, help="of every peer")


@contextmanager
def stopping_at_disagreement() -> Iterator[None]:
    """End the program with a sentence where two peers do not compute the same."""
    try:
        yield
    except DisagreementError as error:
        raise SystemExit(str(error)) from None


def parse(name: str, made: argparse.ArgumentParser, argv: Sequence[str] | None) -> Benchmark:
    """Parse the command line."""
    return Benchmark(name, made.parse_args(argv))


def _positive(text: str) -> int:
    """Read a whole number of at least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def _threads(text: str) -> int:
    """Read a number of threads for which there are processors."""
    value = _positive(text)
    try:
        cores_for(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value

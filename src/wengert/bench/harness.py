"""Peers in processes of their own, one awake at a time, measured in interleaved rounds."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wengert.bench.stats import Summary, ratios, summarise

REPLY_SECONDS = 600.0
"""How long a worker may take over one request."""

QUIET = 0.05
"""The largest share of its processors' time that others may have had during a measurement."""


class PeerError(RuntimeError):
    """A peer cannot run: its library is absent, or its work raised an error."""


def cores_for(threads: int | None) -> list[int]:
    """Choose the processors that every peer is bound to: the last ones this process may use.

    None stands for all of them; on systems without binding the list is empty. The first processor
    is spared where possible: it tends to serve interrupts.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    if threads is None:
        return allowed
    if threads > len(allowed):
        raise ValueError(f"--threads {threads}: only {len(allowed)} processors may be used here.")
    return allowed[-threads:]


def pinned_environment(threads: int) -> dict[str, str]:
    """Return the environment shared by all peers: each thread pool has `threads` threads.

    Wengert may use as many; like the others, it decides itself when it is worth while. Modules are
    found compiled, as those of an installed package are.
    """
    count = str(threads)
    pools = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS", "NUMBA")
    environment = os.environ | {f"{pool}_NUM_THREADS": count for pool in pools}
    multi = "true" if threads > 1 else "false"
    environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={multi}"
    environment |= {
        "WENGERT_THREADS": "auto" if threads > 1 else "1",
        "NPROC": count,
        "JAX_PLATFORMS": "cpu",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    return environment


def same_modules() -> str:
    """Return a ``PYTHONPATH`` by which another interpreter finds the same modules as this one."""
    return os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)


def caches_in(folder: Path) -> dict[str, str]:
    """Return the variables by which each library keeps compiled code in a folder."""
    return {
        "WENGERT_CACHE_DIR": str(folder / "wengert"),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"),
    }


@dataclass(frozen=True)
class Peer:
    """What a worker process runs.

    Attributes
    ----------
    module : str
        A module with ``prepare(case)``.
    threads : int
        How many threads and processors it has.
    library : str, optional
        The package that must be installed.
    options : dict
        What is added to each case.
    """

    module: str
    threads: int = 1
    library: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def absent(self) -> str | None:
        """Say what is not installed, or None."""
        if self.library is None or find_spec(self.library) is not None:
            return None
        return f"{self.library} is not installed"


class Worker:
    """One peer's process, bound to as many processors as it has threads.

    Parameters
    ----------
    peer : Peer
        What it runs.
    environment : mapping, optional
        Further variables of its environment.
    """

    def __init__(self, peer: Peer, environment: Mapping[str, str] | None = None) -> None:
        self.peer = peer
        self._environment = {
            **pinned_environment(peer.threads),
            "PYTHONPATH": same_modules(),
            **(environment or {}),
        }
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the worker
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        cores = ",".join(map(str, cores_for(self.peer.threads)))
        # -P: a module in the current folder must not stand in for a library.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "wengert.bench.worker", self.peer.module, cores],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def revive(self) -> None:
        """Start the process again if it has ended."""
        if self._process.poll() is not None:
            self._process.communicate()
            self._process = self._start()

    def ask(self, *, within: float = REPLY_SECONDS, **request: Any) -> dict[str, Any]:
        """Wake the process, let it answer one request, put it back to sleep.

        Parameters
        ----------
        within : float
            How many seconds it may take.
        request : object
            What is asked; see `wengert.bench.worker.Server`.

        Raises
        ------
        PeerError
            If the peer's code raised, its process ended, or it took too long.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._signal("SIGCONT")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise PeerError(self._last_words()) from None
        if not select.select([stdout], [], [], within)[0]:
            self._process.kill()
            self._process.wait()
            raise PeerError(f"{self.peer.module}: no answer to {request['do']!r} in {within:g} s")
        line = stdout.readline()
        if not line:
            raise PeerError(self._last_words())
        # A library's idle threads may spin for a while: stopped, they cannot disturb the next peer.
        self._signal("SIGSTOP")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _signal(self, name: str) -> None:
        """Send a signal, on systems that have it."""
        if hasattr(signal, name):
            self._process.send_signal(getattr(signal, name))

    def _last_words(self) -> str:
        """Return the last line that the ended process wrote to its standard error."""
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return f"{self.peer.module} ended with code {code}: {lines[-1] if lines else 'no message'}"


@contextmanager
def started(
    peers: Mapping[str, Peer],
    note: Callable[[str], None],
) -> Iterator[dict[str, Worker]]:
    """Start one worker per peer; at the end, end them all.

    Compiled code that earlier versions left on the disk is not found: the cache is an empty folder.

    Parameters
    ----------
    peers : mapping
        From each peer's name to what it runs.
    note : Callable
        Receives one line for each peer that is skipped.
    """
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, peer in peers.items():
                if peer.absent:
                    note(f"{name} skipped: {peer.absent}")
                    continue
                workers[name] = Worker(peer, caches_in(Path(folder)))
                try:
                    workers[name].ask(do="load")
                except PeerError as error:
                    note(f"{name} skipped: {error}")
                    workers.pop(name).close()
            yield workers
        finally:
            for worker in workers.values():
                worker.close()


@dataclass(frozen=True)
class Rounds:
    """Times of several peers over the same rounds.

    Attributes
    ----------
    samples : dict
        For each peer, one reply per round: ``median``, ``minimum``, ``calls``, ``foreign``.
    disturbed : int
        Rounds measured again because other processes used the processors meanwhile.
    quiet : bool
        Whether enough undisturbed rounds were found; if not, disturbed ones are kept.
    """

    samples: dict[str, list[dict[str, float]]]
    disturbed: int
    quiet: bool

    def seconds(self, name: str) -> list[float]:
        """Return one peer's median time of each round."""
        return [sample["median"] for sample in self.samples[name]]

    def only(self, keep: Sequence[bool]) -> Rounds:
        """Return the rounds for which `keep` is true."""
        samples = {
            name: [one for one, kept in zip(values, keep, strict=True) if kept]
            for name, values in self.samples.items()
        }
        return Rounds(samples, self.disturbed, self.quiet)

    def summary(self, name: str, scale: float = 1.0) -> Summary:
        """Return one peer's time over rounds; the minimum is over single groups of calls.

        Parameters
        ----------
        name : str
            The peer.
        scale : float
            Multiplies every time, to give it per element.
        """
        fastest = min(sample["minimum"] for sample in self.samples[name])
        return summarise([scale * value for value in self.seconds(name)], scale * fastest)

    def ratio(self, numerator: str, denominator: str, scale: float = 1.0) -> Summary:
        """Return the ratio of two peers, taken within each round, times `scale`."""
        above = [scale * value for value in self.seconds(numerator)]
        return ratios(above, self.seconds(denominator))

    def fastest_ratio(self, numerator: str, denominator: str) -> float:
        """Return the ratio of two peers' fastest calls, over all rounds."""
        return self.summary(numerator).minimum / self.summary(denominator).minimum


def race(
    workers: Mapping[str, Worker],
    seconds: float,
    rounds: int,
    seed: int = 0,
    attempts: int = 3,
) -> Rounds:
    """Measure all workers in rounds; within a round each is measured once, in random order.

    A round in which other processes used a worker's processors is measured again: the
    criterion knows nothing of the times measured.

    Parameters
    ----------
    workers : mapping
        Prepared workers.
    seconds : float
        Length of one measurement.
    rounds : int
        Undisturbed rounds wanted.
    seed : int
        Seed of the order.
    attempts : int
        At most so many times the rounds asked for are measured.
    """
    order = random.Random(seed)
    measured: list[dict[str, dict[str, float]]] = []
    for _ in range(attempts * rounds):
        names = list(workers)
        order.shuffle(names)
        measured.append({name: workers[name].ask(do="time", seconds=seconds) for name in names})
        if len(quiet_rounds(measured)) == rounds:
            break
    kept = quiet_rounds(measured)
    quiet = len(kept) == rounds
    if not quiet:
        kept = sorted(measured, key=_foreign)[:rounds]
    samples = {name: [one[name] for one in kept] for name in workers}
    return Rounds(samples, len(measured) - rounds, quiet)


def quiet_rounds(
    measured: Sequence[dict[str, dict[str, float]]],
) -> list[dict[str, dict[str, float]]]:
    """Return the rounds in which nobody else noticeably used a worker's processors."""
    return [one for one in measured if _foreign(one) <= QUIET]


def _foreign(one: Mapping[str, Mapping[str, float]]) -> float:
    """Return the largest share of processor time that others had in one round."""
    return max((sample["foreign"] for sample in one.values()), default=0.0)

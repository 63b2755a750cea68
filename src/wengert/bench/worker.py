"""A worker process: reads requests from its standard input, one JSON object per line.

Run by `wengert.bench.harness` as ``python -m wengert.bench.worker MODULE CORES``; MODULE has a
function ``prepare(case)`` returning a `wengert.bench.task.Task`, CORES is a list such as ``0,1``
(empty: not pinned). Between requests the process is blocked on the pipe.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wengert.bench.peers import Unsupported
from wengert.bench.task import Task

BATCH_SECONDS = 1e-3
"""Calls are timed in groups of about this length, so that reading the clock costs nothing."""

_TICK = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


_DEATH_SIGNAL = 1
"""Linux's number of the setting which signal a process gets when its parent ends."""


def end_with_parent() -> None:
    """End this process with the one that started it, also if that is killed while this one sleeps.

    On Linux; elsewhere a parent that is killed leaves its sleeping workers behind.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def pin(cores: str) -> None:
    """Bind this process to the given cores, where the system can."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])


class Surroundings:
    """Watches how much time other processes, or a virtual machine's host, have on our processors.

    Read from Linux's tick counters; on other systems it sees nothing.
    """

    def __init__(self) -> None:
        found = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        self._names = {f"cpu{core}" for core in found}
        self._start = time.perf_counter()
        self._foreign = self._foreign_seconds()

    def share(self) -> float:
        """Return the share of our processors' time that others had since the start.

        One tick per processor is let pass: time is counted in whole ticks.
        """
        foreign = self._foreign_seconds() - self._foreign - len(self._names) * _TICK
        processors = max(1, len(self._names))
        return max(0.0, foreign) / processors / (time.perf_counter() - self._start)

    def _foreign_seconds(self) -> float:
        """Return the time that these processors spent on others, since some fixed moment."""
        try:
            lines = Path("/proc/stat").read_text().splitlines()
        except OSError:
            return 0.0
        ticks = 0
        for line in lines:
            name, *counts = line.split()
            if name in self._names:
                user, nice, system, _idle, _iowait, *rest = map(int, counts[:8])
                ticks += user + nice + system + sum(rest)
        return ticks * _TICK - time.process_time()


def time_calls(run: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Call `run` for about `seconds` and return seconds per call.

    Parameters
    ----------
    run : Callable
        The work.
    seconds : float
        Length of the measurement. A tenth of it is warm-up, at least one call; work that takes
        longer than the whole measurement is done once and timed at once.

    Returns
    -------
    dict
        ``median`` and ``minimum`` over groups of calls, in seconds per call; ``calls``; and
        ``foreign``, the share of these cores' time that went to others.
    """
    surroundings = Surroundings()
    samples = [_seconds_per_call(run, 1)]
    group = 1
    if samples[0] < seconds:
        group = _group_size(run, seconds)
        surroundings, samples = Surroundings(), []
        end = time.perf_counter() + seconds
        while not samples or time.perf_counter() < end:
            samples.append(_seconds_per_call(run, group))
    return {
        "median": statistics.median(samples),
        "minimum": min(samples),
        "calls": group * len(samples),
        "foreign": surroundings.share(),
    }


def _group_size(run: Callable[[], Any], seconds: float) -> int:
    """Warm up; return how many calls to time at once."""
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < 0.1 * seconds:
        run()
        calls += 1
    return max(1, round(BATCH_SECONDS * calls / (time.perf_counter() - start)))


def _seconds_per_call(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def first_call(run: Callable[[], Any]) -> dict[str, Any]:
    """Call `run` once; return the seconds it took and by how many bytes the process grew."""
    before, start = _largest_size(), time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "growth": _largest_size() - before}


def _largest_size() -> int:
    """Return the largest memory this process has had so far, in bytes; 0 where unknown."""
    try:
        import resource
    except ImportError:  # the system is not one of POSIX's
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Server:
    """Answers requests: a JSON object with ``do`` and what that needs.

    ``load`` imports the peer's module; ``prepare`` builds the task of a ``case`` and returns its
    facts; ``check`` returns numbers that peers share after so many ``steps``; ``first`` runs the
    task once; ``time`` runs it for some ``seconds``; ``memory`` returns what it needs.
    """

    def __init__(self, module: str) -> None:
        self._prepare: Callable[[dict[str, Any]], Task] = importlib.import_module(module).prepare
        self._task: Task | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks and return the reply."""
        if request["do"] == "load":
            return {}
        if request["do"] == "prepare":
            self._task = None  # frees the last task's memory before the next is built
            self._task = self._prepare(request["case"])
            return self._task.facts
        if self._task is None:
            raise RuntimeError(f"{request['do']}: no task yet; send 'prepare' first")
        if request["do"] == "check":
            return {"values": self._task.check(request["steps"]) if self._task.check else []}
        if request["do"] == "first":
            return first_call(self._task.run)
        if request["do"] == "memory":
            return self._task.memory() if self._task.memory else {}
        return time_calls(self._task.run, request["seconds"])


def main() -> None:
    """Serve until the pipe closes."""
    end_with_parent()
    pin(sys.argv[2])
    # Replies get the real standard output to themselves: a library that prints must not break in.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    server: Server | None = None
    for line in sys.stdin:
        try:
            server = server or Server(sys.argv[1])
            reply = server.answer(json.loads(line))
        except Unsupported as error:
            reply = {"error": str(error)}
        except Exception as error:  # whatever went wrong is the reply; the parent decides
            said = str(error).strip().partition("\n")[0]  # some explain themselves over pages
            reply = {"error": f"{type(error).__name__}: {said}"}
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()

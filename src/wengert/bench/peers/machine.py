"""The machine itself as a peer: its peak in multiply-adds, and how far apart its cores are."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from wengert.bench.native import CHAINS, multiply_add_loop, ping_pong_loop, vector_lanes
from wengert.bench.task import Task

ITERATIONS = 2_000_000
TURNS = 20_000


def prepare(case: dict[str, Any]) -> Task:
    """Build the probe named in the case: ``peak`` on some threads, or ``hand-over`` on two."""
    facts: dict[str, Any] = {"lanes": vector_lanes()}
    if case["probe"] == "hand-over":
        return Task(_ping_pong(), facts=facts | {"amount": 2 * TURNS})
    threads: int = case["threads"]
    flops = 2 * threads * ITERATIONS * CHAINS * vector_lanes()
    return Task(_peak(threads), facts=facts | {"amount": flops})


def _peak(threads: int) -> Callable[[], None]:
    """Return the multiply-add loop on some threads at once."""
    kernel, pool = multiply_add_loop(), ThreadPoolExecutor(threads)
    return lambda: list(pool.map(kernel, [ITERATIONS] * threads)).clear()


def _ping_pong() -> Callable[[], None]:
    """Return a ping-pong between two threads, each bound to one of this process's processors."""
    kernel, pool = ping_pong_loop(), ThreadPoolExecutor(2)
    counter = ctypes.c_int64()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

    def side(number: int) -> None:
        if cores:
            os.sched_setaffinity(0, [cores[number]])
        kernel(ctypes.addressof(counter), number, TURNS)

    def run() -> None:
        counter.value = 0
        list(pool.map(side, (0, 1)))

    return run

"""One elementary function of one array, by each of the systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.bench.task import Task

LENGTH = 8192
"""Elements: many enough to hide what a call costs, few enough that new arrays get old memory."""

_LINE = 64
"""Bytes of a line of the cache, where every array begins."""


def prepare(case: dict[str, Any]) -> Task:
    """Build one function for one system; its check returns the first results."""
    rng = np.random.default_rng(0)
    x, y = (_aligned(rng.uniform(0.1, 4, LENGTH).astype(case["dtype"])) for _ in range(2))
    xs = (x, y) if case["function"] == "pow" else (x,)
    run, result = _SYSTEMS[case["system"]](case["function"], xs)

    def check(steps: int) -> list[float]:
        run()
        return [float(v) for v in np.asarray(result())[:steps]]

    return Task(run, check)


def _aligned(x: Any) -> Any:
    room = np.empty(x.nbytes + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    made = room[start : start + x.nbytes].view(x.dtype)
    made[:] = x
    return made


def _native(name: str, xs: tuple[Any, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import wengert as wg

    compiled, given = wg.compile(getattr(wg, name), threads=1), [wg.tensor(x) for x in xs]
    return lambda: compiled(*given), lambda: compiled(*given).numpy()


def _numpy(name: str, xs: tuple[Any, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    made = _aligned(np.empty_like(xs[0]))
    if name == "sigmoid":
        return lambda: np.divide(1, 1 + np.exp(-xs[0]), out=made), lambda: made
    function = getattr(np, name)
    return lambda: function(*xs, out=made), lambda: made


def _torch(name: str, xs: tuple[Any, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch

    torch.set_num_threads(1)
    given = [torch.from_numpy(x) for x in xs]
    made = torch.empty_like(given[0])
    function = getattr(torch, name)
    return lambda: function(*given, out=made), lambda: made


def _jax(name: str, xs: tuple[Any, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import jax

    jax.config.update("jax_enable_x64", True)
    home = jax.nn if name == "sigmoid" else jax.scipy.special if name == "erf" else jax.numpy
    function = jax.jit(getattr(home, name))
    given = [jax.numpy.asarray(x) for x in xs]
    return lambda: function(*given).block_until_ready(), lambda: function(*given)


_SYSTEMS = {"native": _native, "numpy": _numpy, "torch": _torch, "jax": _jax}

"""Keeping NumPy's matrix library to one thread where a second one only costs.

The products of a small network take microseconds. OpenBLAS cuts them in two all the same, and its
threads wait for each other by spinning: on a machine with other work to do, a training of 4 s took
50 s. One thread also gives the same bits whatever the number of cores.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

SMALL_PRODUCT = 100_000_000  # floating-point operations: about a millisecond on one core
_LIBRARIES = ("../numpy.libs/*openblas*", ".dylibs/*openblas*")
_ENDINGS = ("64_", "", "_64_")


@contextlib.contextmanager
def one_thread(largest_product: int) -> Iterator[None]:
    """Use one thread of OpenBLAS inside the block, if all products there are small.

    Parameters
    ----------
    largest_product : int
        The floating-point operations of the largest matrix product inside the block.

    Yields
    ------
    None
        Nothing changes where products are large, or NumPy uses another library than the OpenBLAS
        that it ships with.
    """
    functions = _thread_functions() if largest_product <= SMALL_PRODUCT else None
    if functions is None:
        yield
        return
    get, put = functions
    before = get()
    put(1)
    try:
        yield
    finally:
        put(before)


def _thread_functions() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Return OpenBLAS's functions that get and set its number of threads."""
    folder = Path(np.__file__).parent
    for file in (each for pattern in _LIBRARIES for each in sorted(folder.glob(pattern))):
        try:
            library = ctypes.CDLL(str(file))
        except OSError:
            continue
        for ending in _ENDINGS:
            get = getattr(library, f"scipy_openblas_get_num_threads{ending}", None)
            put = getattr(library, f"scipy_openblas_set_num_threads{ending}", None)
            if get is not None and put is not None:
                return get, put
    return None

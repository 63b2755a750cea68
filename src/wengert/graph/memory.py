"""What the allocator does with the memory of arrays that are freed; see docs/design/006."""

from __future__ import annotations

import numpy as np

_KEPT = 1 << 24
"""Bytes of an array up to which its memory is kept when it is freed."""


def keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays up to 16 MiB.

    What is free at the top of its heap goes back from 32 MiB on; what is free below a block still
    in use stays until that one is freed.

    The GNU C library gives large blocks back to the system at once, whose next use then fetches
    them page by page. It stops doing so for blocks up to the size of the largest one that it has
    seen freed (mallopt(3), M_MMAP_THRESHOLD), so one is allocated and freed, never touched. Other
    allocators are not impressed.
    """
    np.empty(_KEPT, np.uint8)

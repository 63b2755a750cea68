"""Child processes do not begin while a function is compiled."""

from __future__ import annotations

import os
from threading import RLock

COMPILING = RLock()
"""Held by a thread that compiles: forks wait for it.

It would be gone in the child process, where nobody released the locks that it held: of modules that
are imported when they are wanted, and of LLVM.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=COMPILING.acquire,
        after_in_parent=COMPILING.release,
        after_in_child=COMPILING.release,
    )

"""Which line of the user's program made an operation.

Walking the stack and decoding a line number costs more than the rest of the bookkeeping of an
operation, so recording keeps the pair (code object, instruction offset) and decodes it when asked.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import TypeAlias

Source: TypeAlias = tuple[CodeType, int]

_PACKAGE = __file__.rpartition("graph")[0]
_outside: dict[str, bool] = {}
"""Whether a file is the user's: looking a name up is quicker than comparing its start."""


def caller() -> Source | None:
    """Return the innermost stack frame outside the package, or None if there is none.

    It is called by `bind`, which is called by the function of an operation: these are skipped
    unseen, since each frame that is looked at becomes an object, which is most of what this costs.
    """
    frame: FrameType | None
    try:
        frame = sys._getframe(3)
    except ValueError:  # a script calls `bind` itself
        frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        outside = _outside.get(code.co_filename)
        if outside is None:
            outside = not code.co_filename.startswith(_PACKAGE)
            _outside[code.co_filename] = outside
        if outside:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def stacklevel() -> int:
    """Return the level by which `warnings.warn`, called next, names the line of the user."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


@lru_cache(maxsize=256)
def line_number(source: Source) -> int:
    """Return the line that `source` stands on.

    Equal code of two files is one key here: it stands on the same line of both.
    """
    code, offset = source
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def describe(source: Source | None) -> str:
    """Return ``file.py:12``, or an empty string where the line is unknown."""
    if source is None:
        return ""
    from pathlib import Path

    return f"{Path(source[0].co_filename).name}:{line_number(source)}"

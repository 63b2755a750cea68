"""Which line of the user's program made an operation.

Walking the stack and decoding a line number costs more than the rest of the bookkeeping of an
operation, so recording keeps the pair (code object, instruction offset) and decodes it when asked.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import TypeAlias

Source: TypeAlias = tuple[CodeType, int]

_PACKAGE = __file__.rpartition("graph")[0]
_inside: set[str] = set()
"""The files of the package met so far: looking a name up is quicker than comparing its start."""


def caller() -> Source | None:
    """Return the innermost stack frame outside the package, or None if there is none.

    It is called by `bind`, which is called by a function of the package: these are skipped unseen.
    """
    frame = sys._getframe(2)
    while True:
        file = frame.f_code.co_filename
        if file not in _inside:
            if not file.startswith(_PACKAGE):
                return frame.f_code, frame.f_lasti
            _inside.add(file)
        outer = frame.f_back
        if outer is None:
            return None
        frame = outer


def line_number(source: Source) -> int:
    """Return the line that `source` stands on."""
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

"""What was measured, as text: formats, Markdown tables, sections of a page, the machine."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from wengert.bench.formats import duration, significant, spread
from wengert.bench.stats import Summary

__all__ = [
    "duration",
    "machine_line",
    "paste",
    "processor",
    "provenance",
    "ratio",
    "replace_section",
    "say",
    "significant",
    "spread",
    "table",
    "verdict",
]


def say(line: str) -> None:
    """Write one line to the terminal, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def ratio(value: Summary, target: float | None = None, *, least: bool = False) -> str:
    """Write a ratio: median, quartiles in brackets, and whether the median meets a target.

    Examples
    --------
    >>> ratio(Summary(0.4, 0.38, 0.45, 0.35, 7), target=0.5)
    '**0.400** [0.380, 0.450], target ≤ 0.5: met'
    """
    median, quartiles = spread(value).split(" ", 1)
    return f"**{median}** {quartiles}{verdict(value.median, target, least=least)}"


def verdict(value: float, target: float | None, *, least: bool = False) -> str:
    """Say whether a number meets its target, if it has one: at most that, or at least.

    Examples
    --------
    >>> verdict(0.6, 0.5), verdict(0.6, 0.5, least=True)
    (', target ≤ 0.5: missed', ', target ≥ 0.5: met')
    """
    if target is None:
        return ""
    met = value >= target if least else value <= target
    return f", target {'≥' if least else '≤'} {target:g}: {'met' if met else 'missed'}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table.

    Examples
    --------
    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"table: {len(head)} columns, got a row of {len(row)}: {row}.")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def replace_section(page: str, name: str, body: str) -> str:
    """Put a section's text between its markers; append the markers where the page has none.

    Parameters
    ----------
    page : str
        The whole page.
    name : str
        The section; its markers are ``<!-- bench:NAME -->`` and ``<!-- /bench -->``.
    body : str
        The new text.

    Raises
    ------
    ValueError
        If the page opens the section and never closes it.
    """
    opening, closing = f"<!-- bench:{name} -->", "<!-- /bench -->"
    section = f"{opening}\n{body.strip()}\n{closing}"
    if opening not in page:
        return f"{page.rstrip()}\n\n{section}\n".lstrip()
    before, _, rest = page.partition(opening)
    _, found, after = rest.partition(closing)
    if not found:
        raise ValueError(f"replace_section: no '{closing}' after '{opening}'. Add it to the page.")
    return before + section + after


def paste(path: Path, name: str, body: str) -> None:
    """Write a section into a page on disk, which need not exist yet."""
    page = path.read_text(encoding="utf-8") if path.exists() else "# Measurements\n"
    path.write_text(replace_section(page, name, body), encoding="utf-8")


def processor() -> str:
    """Return the processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def machine_line(packages: Sequence[str]) -> str:
    """Describe processor, cores, system and the versions of the named packages."""
    versions = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()}; {', '.join(versions)}."


def provenance(command: str, packages: Sequence[str]) -> str:
    """Say with which command, on which machine and when the numbers were measured."""
    today = datetime.now(UTC).date().isoformat()
    return f"`{command}`\n\n{machine_line(packages)} Measured on {today}."

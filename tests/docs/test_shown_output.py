"""What pages show as output is what their code prints.

A block of text that follows a block of Python directly is its output. Numbers of lines in printed
graphs may differ, so that a page can be edited.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
PLACE = re.compile(r"(\w+\.md):\d+")


@dataclass(frozen=True)
class Shown:
    """A block of Python of a page: its first line, its code, and the output shown, if any."""

    line: int
    code: str
    output: str | None


def blocks(page):
    text = page.read_text(encoding="utf-8")
    return [
        Shown(text.count("\n", 0, found.start()) + 2, found[1], found[2])
        for found in BLOCK.finditer(text)
    ]


def plain(output):
    return PLACE.sub(r"\1:0", output).rstrip()


def outputs(page, monkeypatch):
    """Run the Python of a page; return what each block prints, with the place of the block."""
    module = types.ModuleType(f"shown_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    found = []
    for block in blocks(page):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = "\n" * (block.line - 1) + block.code
            exec(compile(code, str(page), "exec", dont_inherit=True), module.__dict__)
        found.append((block, printed.getvalue()))
    return found


def check(page, monkeypatch):
    for block, printed in outputs(page, monkeypatch):
        where = f"{page.name}:{block.line}"
        if block.output is None:
            assert not printed, f"{where} prints, but the page does not show it:\n{printed}"
        else:
            assert plain(block.output) == plain(printed), f"{where} prints:\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_output_is_as_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(page, monkeypatch)


def test_pages_show_output():
    assert sum(block.output is not None for page in PAGES for block in blocks(page)) > 3


@pytest.mark.parametrize(
    "text",
    ["```python\nprint(1)\n```\n\n```text\n2\n```\n", "```python\nprint(1)\n```\nand more\n"],
    ids=["other", "none"],
)
def test_other_output_is_noticed(text, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md:2 prints"):
        check(page, monkeypatch)

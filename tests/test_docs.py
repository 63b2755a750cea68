"""The Python of README.md and of the pages in docs/ runs.

The blocks of one page share one namespace, in their order. A block that opens with
"```python no-run" is compiled only.
"""

from __future__ import annotations

import re
import sys
import traceback
import types
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"\s*(?:[-*+]\s+|\d+\.\s+)?(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)")
LOOKALIKES = {"py", "py3", "pycon", "python3", "ipython"}


class PageError(Exception):
    """A page's code does not compile or run: which page, which line, why."""


@dataclass(frozen=True)
class Block:
    """The code between two fences, and the number of its first line in the page."""

    line: int
    code: str
    runs: bool


def python_blocks(page):
    """Return the blocks of Python of a page."""
    blocks = []
    marks, info, lines = None, [], []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.fullmatch(line)
        if marks is None:
            if fence:
                marks, info, lines = fence["marks"], fence["info"].split(), []
        elif fence and fence["marks"].startswith(marks) and not fence["info"].strip():
            if is_python(info, f"{name_of(page)}:{number - len(lines) - 1}"):
                code = dedent("\n".join(lines))
                blocks.append(Block(number - len(lines), code, "no-run" not in info))
            marks = None
        else:
            lines.append(line)
    if marks is not None:
        raise PageError(f"{name_of(page)}: the last block is not closed.")
    return blocks


def is_python(info, place):
    """Say whether a fence opens a block of Python; refuse what only looks so to a reader."""
    if info[:1] == ["python"] and info[1:] in ([], ["no-run"]):
        return True
    if info and (info[0] == "python" or info[0] in LOOKALIKES):
        raise PageError(f"{place}: write `python` or `python no-run`, not `{' '.join(info)}`.")
    return False


def name_of(page):
    return page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name


def line_of(error, page):
    """Return the page's line at which an error arose."""
    if isinstance(error, SyntaxError) and error.filename == str(page):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return [frame.lineno for frame in frames if frame.filename == str(page)][-1]


def run_page(page, monkeypatch):
    """Compile all Python of a page, and run what is not marked no-run."""
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in python_blocks(page):
        padded = "\n" * (block.line - 1) + block.code
        try:
            compiled = compile(padded, str(page), "exec", dont_inherit=True)
            if block.runs:
                exec(compiled, module.__dict__)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            raise PageError(f"{name_of(page)}:{line_of(error, page)}: {said}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(name_of(page)))
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, monkeypatch)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Write a page and run it."""

    def write_and_run(text):
        page = tmp_path / "page.md"
        page.write_text(dedent(text), encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        run_page(page, monkeypatch)

    return write_and_run


def test_blocks_share_a_namespace_and_files_land_in_the_current_folder(run, tmp_path):
    run("""
        ```python
        said = "one"
        ```
        ```sh
        this is no Python
        ```
        - ```python
          from pathlib import Path
          Path("written").write_text(said + ", two")
          ```
    """)
    assert (tmp_path / "written").read_text() == "one, two"


def test_failing_line_is_named(run):
    text = "# Page\n\n```python\ndef f(x):\n    return 1 / x\n```\nand\n```python\n\nf(0)\n```\n"
    with pytest.raises(PageError, match=r"^page\.md:5: ZeroDivisionError: division by zero$"):
        run(text)


def test_exit_is_a_failure(run):
    with pytest.raises(PageError, match=r"^page\.md:2: SystemExit: 0$"):
        run("```python\nraise SystemExit(0)\n```\n")


def test_no_run_is_compiled_but_not_run(run):
    run("```python no-run\nraise RuntimeError\n```\n")
    with pytest.raises(PageError, match=r"^page\.md:2: SyntaxError: "):
        run("```python no-run\ndef f(:\n```\n")


@pytest.mark.parametrize("info", ["python norun", "py", "pycon"])
def test_block_that_would_silently_not_run_is_refused(run, info):
    with pytest.raises(PageError, match=rf"^page\.md:2: write `python` .*, not `{info}`\.$"):
        run(f"\n```{info}\nx = 1\n```\n")


def test_open_block_is_refused(run):
    with pytest.raises(PageError, match=r"^page\.md: the last block is not closed\.$"):
        run("```python\nx = 1\n")


def test_fence_within_a_longer_fence_is_text(run):
    run("````md\n```python\nraise RuntimeError\n```\n````\n")

"""The house style that no linter checks: sizes, examples, what the text may not name."""

from __future__ import annotations

import ast
import inspect
import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wengert

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

FILE_LINES = 500
FUNCTION_LINES = 60

# Public names that are clear without an example, each with the reason.
WITHOUT_EXAMPLE = {
    "DTypeError": "an error, met rather than used",
    "GraphFreedError": "an error, met rather than used",
    "InvalidGraphError": "an error, met rather than used",
    "MutationError": "an error, met rather than used",
    "RecompilationWarning": "a warning, met rather than used",
    "ShapeError": "an error, met rather than used",
    "TracerError": "an error, met rather than used",
}

PLACES = re.compile(r"(?<![\w.~$}])/(?P<top>home|opt|root|tmp|Users|work)/")
REGISTRIES = re.compile(r"(?i)\b(?:pypi|pythonhosted|anaconda|download\.pytorch)\.org\b|\bfile://")
NOT_OURS = {
    *(".git", ".venv", "__pycache__", "build", "dist", "runs"),
    *(".hypothesis", ".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
}
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?: ; [^\\]+)?(?P<hashed> \\)?")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


# --- Sizes ----------------------------------------------------------------------------------------


def long_functions(source, most=FUNCTION_LINES):
    """Return (line, name, length) of the functions longer than `most` lines, docstrings aside."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                length -= node.body[0].end_lineno - node.body[0].lineno + 1
            if length > most:
                found.append((node.lineno, node.name, length))
    return found


def test_files_are_short():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    long = [f"{name_of(path)}: {count}" for path, count in lengths.items() if count > FILE_LINES]
    assert not long, f"Files of more than {FILE_LINES} lines: {', '.join(long)}."


def test_functions_are_short():
    long = [
        f"{name_of(path)}:{line}: {name} has {length} lines"
        for path in SOURCES
        for line, name, length in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert not long, f"Functions of more than {FUNCTION_LINES} lines:\n" + "\n".join(long)


def test_docstring_does_not_count_towards_the_length():
    source = 'class A:\n  def f(self):\n    """Say.\n\n    More.\n    """\n    x = 1\n'
    assert long_functions(source, most=2) == []
    assert long_functions(source, most=1) == [(2, "f", 2)]


# --- Public names ---------------------------------------------------------------------------------


def public_names():
    """Return what `wengert` exports of its own functions and classes, by name."""
    exported = {name: getattr(wengert, name) for name in wengert.__all__}
    return {
        name: value
        for name, value in exported.items()
        if callable(value) and (getattr(value, "__module__", None) or "").startswith("wengert")
    }


def has_example(value):
    return ">>> " in (inspect.getdoc(value) or "")


def test_every_public_name_has_an_example():
    public = public_names()
    assert public
    lacking = {name for name, value in public.items() if not has_example(value)}
    assert sorted(lacking - WITHOUT_EXAMPLE.keys()) == []


def test_no_exception_from_the_rule_is_out_of_date():
    lacking = {name for name, value in public_names().items() if not has_example(value)}
    assert sorted(WITHOUT_EXAMPLE.keys() - lacking) == []


def test_version_is_stated_alike():
    assert wengert.__version__ == PROJECT["project"]["version"]


# --- What the text may not name -------------------------------------------------------------------


def texts():
    """Yield (path, text) of the repository's own text files."""
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = sorted(set(subfolders) - NOT_OURS)
        for name in files:
            path = Path(folder, name)
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # not text


def strays(text, allowed=()):
    """Return the absolute folders and the registries that a text names, with their lines."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        places = [m[0] for m in PLACES.finditer(line) if m["top"] not in allowed]
        registries = [m[0] for m in REGISTRIES.finditer(line)]
        found += [(number, what) for what in places + registries]
    return found


def test_text_names_no_place_of_one_machine():
    found = []
    for path, text in texts():
        allowed = {"tmp"} if path.is_relative_to(ROOT / "tests") else ()
        found += [f"{name_of(path)}:{line}: {what}" for line, what in strays(text, allowed)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("top", ["home", "opt", "root", "tmp", "Users", "work"])
def test_places_are_found(top):
    path = "/".join(["", top, "someone"])
    assert strays(f"a\nsee {path}") == [(2, f"/{top}/")]
    assert strays(f"see {path}", allowed={top}) == []
    assert strays(f"https://example.org{path} and ./x{path}") == []


def test_registries_are_found():
    host = ".".join(["pythonhosted", "org"])
    assert strays(f"https://files.{host}/x") == [(1, host)]


# --- Locked dependencies --------------------------------------------------------------------------


def pins(name):
    """Return {package: version} of a file in requirements/, and check each line's form."""
    found = {}
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        if pin := PIN.fullmatch(line):
            found[canonicalize_name(pin["name"])] = pin["version"]
            assert name == "torch.txt" or pin["hashed"], f"{name}: {line} has no hash."
        else:
            assert line.lstrip().startswith("#") or HASH.fullmatch(line), f"{name}: {line!r}"
    return found


@pytest.mark.parametrize("name", ["build", "train", "test", "peers"])
def test_lock_fulfils_what_the_project_declares(name):
    groups = PROJECT["dependency-groups"] | {"train": PROJECT["project"]["dependencies"]}
    locked = pins(f"{name}.txt")
    for requirement in map(Requirement, groups[name]):
        version = locked.get(canonicalize_name(requirement.name), "none")
        assert requirement.specifier.contains(version), f"{requirement}, and locked is {version}."


def test_locks_agree_with_each_other():
    together: dict[str, set[str]] = {}
    for name in ["build", "train", "test", "peers", "torch"]:
        for package, version in pins(f"{name}.txt").items():
            together.setdefault(package, set()).add(version)
    assert {name: found for name, found in together.items() if len(found) > 1} == {}

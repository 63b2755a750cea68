"""A folder for machine code, and a count of how often code is generated."""

from __future__ import annotations

import pytest

from wengert.compile.emit import llvm


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder that is in use and does not exist yet."""
    path = tmp_path / "code"
    monkeypatch.setenv("WENGERT_CACHE", "1")
    monkeypatch.setenv("WENGERT_CACHE_DIR", str(path))
    return path


@pytest.fixture
def generated(monkeypatch):
    """Return a list that grows by each generation of code."""
    made = []
    plain = llvm.MachineCode.__init__

    def counted(self, assembly):
        made.append(assembly)
        plain(self, assembly)

    monkeypatch.setattr(llvm.MachineCode, "__init__", counted)
    return made

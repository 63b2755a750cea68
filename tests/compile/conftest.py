"""A folder for machine code, a count of how often code is generated, lesser processors."""

from __future__ import annotations

import pytest
from llvmlite import binding

from wengert.compile.emit import llvm


@pytest.fixture(scope="session", autouse=True)
def _verified():
    """Let LLVM check all assembly, which the compiler does not: it would take time."""
    parse = binding.parse_assembly

    def verified(*args):
        module = parse(*args)
        module.verify()
        return module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binding, "parse_assembly", verified)
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder that is in use and does not exist yet."""
    path = tmp_path / "code"
    monkeypatch.setenv("WENGERT_CACHE", "1")
    monkeypatch.setenv("WENGERT_CACHE_DIR", str(path))
    return path


LESSER = llvm.processors()


@pytest.fixture(scope="module", params=["", *LESSER])
def every_processor(request):
    """Generate code for this processor, and for each lesser one that it can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WENGERT_CPU", request.param)
        yield


@pytest.fixture(
    scope="module", params=["", *(pytest.param(cpu, marks=pytest.mark.slow) for cpu in LESSER)]
)
def any_processor(request):
    """Generate code for this processor; in slow tests, for each lesser one that it can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WENGERT_CPU", request.param)
        yield


@pytest.fixture
def generated(monkeypatch):
    """Return a list that grows by each generation of code."""
    made = []
    plain = llvm.object_code

    def counted(*assembly):
        made.append(assembly)
        return plain(*assembly)

    monkeypatch.setattr(llvm, "object_code", counted)
    return made

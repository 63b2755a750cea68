"""Which processor code is generated for."""

from __future__ import annotations

import pytest

from wengert.compile.emit import llvm
from wengert.compile.emit.machine import Machine


def test_lesser_processors_have_shorter_vectors(monkeypatch):
    shapes = {"x86-64": Machine(16, 16, False, False), "x86-64-v3": Machine(32, 16, True, False)}
    for name in llvm.processors():
        monkeypatch.setenv("WENGERT_CPU", name)
        assert llvm.machine() == shapes[name]
        assert not llvm.attributes()


def test_a_processor_that_this_one_cannot_stand_for_is_refused(monkeypatch):
    monkeypatch.setenv("WENGERT_CPU", "z80")
    with pytest.raises(ValueError, match=r"WENGERT_CPU=z80: this processor can stand for .* only"):
        llvm.machine()

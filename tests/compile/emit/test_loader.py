"""Loading object code without LLVM: it runs as LLVM's does, or is left to LLVM."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wengert.compile.emit import llvm, loader, symbols

pytestmark = pytest.mark.skipif(not loader.possible(), reason="not Linux on x86-64")

ASSEMBLY = """
@table = internal constant [3 x ptr] [ptr @double, ptr @power, ptr @waits]
declare double @pow(double, double)
declare i32 @wengert_yield()
define internal double @double(double %x) nounwind {
  %y = fmul double %x, 0x3FF8000000000000
  ret double %y
}
define internal double @power(double %x) nounwind {
  %y = call double @pow(double %x, double 2.5)
  ret double %y
}
define internal double @waits(double %x) nounwind {
  %status = call i32 @wengert_yield()
  %y = sitofp i32 %status to double
  ret double %y
}
define double @entry(i64 %which, double %x) nounwind {
  %place = getelementptr ptr, ptr @table, i64 %which
  %function = load ptr, ptr %place
  %y = call double %function(double %x)
  ret double %y
}
"""


VALUES = [3.25 * 1.5, 3.25**2.5, 0.0]


@pytest.fixture(scope="module")
def generated():
    return llvm.object_code(ASSEMBLY)


def values(code):
    entry = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_double)(
        code.address("entry")
    )
    return [entry(which, 3.25) for which in range(3)]


def test_it_runs_as_llvm_loads_it(generated):
    loaded = loader.from_objects(generated)
    assert isinstance(loaded, loader.Loaded)
    assert values(loaded) == values(llvm.MachineCode(generated)) == VALUES


CALLER = """
declare double @entry(i64, double)
define double @twice(double %x) nounwind {
  %y = call double @entry(i64 0, double %x)
  %z = call double @entry(i64 0, double %y)
  ret double %z
}
"""


@pytest.mark.parametrize("without_llvm", [True, False])
def test_one_part_may_call_another(monkeypatch, without_llvm):
    monkeypatch.setattr(loader, "possible", lambda: without_llvm)
    code = loader.from_objects(llvm.object_code(ASSEMBLY, CALLER))
    twice = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("twice"))
    assert twice(3.0) == 3.0 * 1.5 * 1.5
    assert isinstance(code, loader.Loaded) is without_llvm


def test_the_code_cannot_be_written(generated):
    loaded = loader.Loaded(*generated)
    start = f"{loaded._base:x}-"
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    (rights,) = (line.split()[1] for line in maps if line.startswith(start))
    assert rights == "r-xp"


def changed(object_code, place, value):
    return object_code[:place] + value + object_code[place + len(value) :]


def relocation_place(object_code):
    """Return where the kind of the first relocation is written."""
    start, size, count, _ = loader._SECTIONS.unpack_from(object_code)
    sections = [
        loader._Section(*loader._SECTION.unpack_from(object_code, start + i * size))
        for i in range(count)
    ]
    return next(s.offset for s in sections if s.kind == loader._RELOCATIONS) + 8


def test_what_is_unusual_is_refused(generated):
    (code,) = generated
    for place, value in (
        (0, b"\x7fELG"),
        (18, struct.pack("<H", 183)),
        (relocation_place(code), struct.pack("<I", 9)),
    ):
        with pytest.raises(loader.UnusualError):
            loader.Loaded(changed(code, place, value))


def test_what_cannot_be_loaded_so_is_left_to_llvm(generated, monkeypatch):
    def refuse(address, size):
        raise OSError

    monkeypatch.setattr(loader, "_let_run", refuse)
    code = loader.from_objects(generated)
    assert isinstance(code, llvm.MachineCode)
    assert values(code) == VALUES


def test_unknown_functions_are_noticed():
    with pytest.raises(AttributeError):
        symbols.address_of("wengert_has_no_such_function")


def test_another_processor_or_library_has_another_identity(monkeypatch, tmp_path):
    found = {loader._identity()}
    monkeypatch.setattr(loader, "_PROCESSOR", (*loader._PROCESSOR[:-1], "cache size"))
    found.add(loader._identity())
    monkeypatch.setattr(loader, "_PROCESSOR", ("what no processor has",))
    assert loader._identity() is None
    monkeypatch.setattr(loader, "find_spec", lambda name: None)
    assert loader._identity() is None
    assert len(found - {None}) == 2


HIT = """
import sys
import wengert as wg
f = wg.compile(lambda x: wg.sum(wg.tanh(x) * 3))
print([f(wg.ones(40)).item() for _ in range(3)], "llvmlite" in sys.modules)
"""


def test_code_that_is_found_needs_no_llvm(tmp_path):
    environment = os.environ | {
        "WENGERT_CACHE": "1",
        "WENGERT_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    first, second = (
        subprocess.run(
            [sys.executable, "-W", "error", "-c", HIT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    )
    assert first.split()[-1] == "True"
    assert second.split()[-1] == "False"
    assert first.split()[:-1] == second.split()[:-1]
    assert np.isclose(float(first.split()[0].strip("[,")), 120 * np.tanh(1))

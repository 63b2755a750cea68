"""What `import wengert` loads, what it leaves for later, and that loading later changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wengert as wg

ROOT = Path(__file__).parents[1]
SOURCE = Path(wg.__file__).parents[1]

# Loaded when used, with all that is inside them.
LATER = {
    *("click", "llvmlite", "optree", "rich", "safetensors", "scipy"),
    *("numpy.random", "pathlib", "string", "zlib"),
    *(f"wengert.{name}" for name in ("cli", "data", "interop", "nn", "optim", "train")),
    "wengert.compile",
    "wengert.passes",
}
# The part of the compiler that `wg.compile(function)` needs before the first call.
AT_ONCE = {
    "wengert.compile",
    *(
        f"wengert.compile.{name}"
        for name in ("forks", "function", "settings", "trace", "trace.arguments", "turns")
    ),
}


def modules():
    """Return the name of every module of the package."""
    paths = [path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")]
    names = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    return sorted(name for name in names if not name.endswith("__main__"))  # runs the program


def python(code, *arguments, **variables):
    """Run code in a fresh interpreter, warnings being errors, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# --- What is loaded -------------------------------------------------------------------------------

LOADED = """
import sys, numpy
before = set(sys.modules)
import wengert
print(*sys.modules.keys() - before)
"""


def test_import_leaves_heavy_parts_for_later():
    loaded = set(python(LOADED).split())
    assert "wengert.tensor.tensor" in loaded
    roots = {name: [name.rsplit(".", n)[0] for n in range(name.count(".") + 1)] for name in loaded}
    early = {name for name, above in roots.items() if LATER.intersection(above)}
    assert sorted(early - AT_ONCE) == []


def test_import_prints_nothing_and_starts_no_thread():
    assert python("import wengert") == ""
    assert python("import threading, wengert; print(threading.active_count())") == "1\n"


# `import wengert` always comes first; each module is then imported in a copy of that process.
IMPORT_EACH = """
import importlib, os, sys, wengert

for name in sys.argv[1:]:
    if os.fork() == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        os._exit(0)
    os.wait()
"""


def test_each_module_can_be_imported_first():
    assert python(IMPORT_EACH, *modules()) == ""


# --- The parts that are loaded later --------------------------------------------------------------

PARTS = """
import sys, types
import wengert as wg

missing = set(wg.__all__) - set(dir(wg))
assert not missing, missing
assert "wengert.nn" not in sys.modules, "completion has loaded what it offers"
values = {name: getattr(wg, name) for name in wg.__all__}
parts = {name for name, value in values.items() if isinstance(value, types.ModuleType)}
print(*sorted(parts))
assert all(vars(wg)[name] is values[name] for name in wg.__all__), "looked up anew at each use"
"""


def test_every_public_name_is_listed_and_can_be_had():
    assert python(PARTS) == "data interop nn optim train\n"


def test_parts_can_be_had_in_each_way():
    assert python("import wengert as wg; wg.nn.Linear(1, 1), wg.optim.SGD") == ""
    assert python("from wengert import nn, train; nn.Linear(1, 1), train.fit") == ""
    assert python("import wengert.nn.functional, wengert.optim; wengert.optim.SGD") == ""
    assert python("from wengert import *; nn.Linear(1, 1), optim.SGD") == ""


def test_absent_name_is_an_attribute_error():
    code = "import wengert as wg\ntry: wg.absent\nexcept AttributeError as error: print(error)"
    assert python(code) == "module 'wengert' has no attribute 'absent'\n"


@pytest.mark.slow
def test_type_checker_knows_the_parts_and_finds_what_is_absent(tmp_path):
    user = tmp_path / "user.py"
    user.write_text("import wengert as wg\nwg.nn.Linear(1, 1)\nwg.absent\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(user)],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = re.findall(r"user.py:(\d+): error: (.*)", done.stdout)
    assert errors == [("3", 'Module has no attribute "absent"  [attr-defined]')]


COMPILER = """
import wengert as wg
import wengert.compile
import wengert.compile.native.executable

print(wg.compile(lambda x: x + 1)(1.0))
"""


def test_compile_stays_the_function_when_its_package_is_imported():
    assert python(COMPILER) == "2.0\n"


# --- Loading later changes nothing ----------------------------------------------------------------

# Every module is loaded inside a trace. What comes afterwards must be as if it had not been.
INSIDE_A_TRACE = """
import importlib, sys, threading, warnings
import wengert as wg
from wengert.graph.dtypes import default_float
from wengert.graph.mode import THREAD, Mode
from wengert.graph.tracing import Trace
from wengert.graph.variable import next_serial
from wengert.tensor.random import default_generator

def state():
    mode = [getattr(THREAD.now, name) for name in Mode.__slots__]
    process = [Trace.started, default_float(), threading.active_count(), list(warnings.filters)]
    return mode, process, default_generator.state._variable

Trace.witness = []
with Trace("a function", lifts=True) as trace:
    before, serial = state(), next_serial()
    for name in sys.argv[1:]:
        importlib.import_module(name)
    assert next_serial() == serial + 1, "an operation was bound"
    assert state() == before, (before, state())
assert not (trace.cell_inputs or trace.hyper_inputs or trace.guards or trace.writes), vars(trace)
assert Trace.witness == []
"""


def test_loading_inside_a_trace_changes_nothing():
    assert python(INSIDE_A_TRACE, *modules()) == ""


FIRST_DRAW = """
import sys
import wengert as wg

assert "numpy.random" not in sys.modules
draw = wg.compile(lambda: wg.rand(3)) if sys.argv[1] == "compiled" else lambda: wg.rand(3)
print(draw().tolist(), draw().tolist(), wg.Generator(1).state.tolist())
"""


def test_first_draw_is_the_same_wherever_it_is_made():
    assert python(FIRST_DRAW, "compiled") == python(FIRST_DRAW, "eager")


MANY_THREADS = """
import threading
import wengert as wg

start = threading.Barrier(8)
had = []

def first_use():
    start.wait()
    double = wg.compile(lambda x: x * 2)
    had.append((wg.nn.Linear, wg.rand(2, generator=wg.Generator(3)).tolist(), double(1.0)))

threads = [threading.Thread(target=first_use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(had), all(one == had[0] for one in had))
"""


def test_first_use_by_many_threads_at_once():
    assert python(MANY_THREADS) == "8 True\n"


# --- Where the package lies -----------------------------------------------------------------------

LINE = """
import wengert as wg
print(wg.__file__)
try:
    wg.ones(2) + wg.ones(3)
except wg.ShapeError as error:
    print(error)
"""


def test_line_is_the_users_when_the_package_is_reached_through_a_link(tmp_path):
    (tmp_path / "wengert").symlink_to(SOURCE / "wengert", target_is_directory=True)
    file, message = python(LINE, PYTHONPATH=str(tmp_path)).splitlines()
    assert Path(file) == tmp_path / "wengert" / "__init__.py"
    assert message.endswith("(<string>:5).")


def test_key_of_the_default_seed_is_that_of_numpy():
    key = np.random.SeedSequence(0).generate_state(2, np.uint64).tolist()
    assert wg.Generator(0).state.tolist() == [*key, 0]

"""Code for processors with NEON, which are not at hand: what LLVM makes of it, instruction by
instruction.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
from llvmlite import binding

from tests.compile.programs import F, graph_of, samples_graph
from tests.compile.test_training_steps import Training, adam
from tests.ops.running import load_registry, samples_of
from wengert.compile.emit.machine import Machine
from wengert.compile.lowering.pipeline import prepare
from wengert.compile.native.codegen import generate
from wengert.passes.pipeline import optimise

NEON = Machine(16, 32, True, False)
TRIPLE = "aarch64-unknown-linux-gnu"
PRIMITIVES = list(load_registry().values())
RUNTIME = {"memset", "memcpy", "memmove", "wengert_yield", "wengert_clock"}


@lru_cache(maxsize=1)
def target():
    """Return LLVM's generator of code for AArch64, or None if this LLVM has none."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        found = binding.Target.from_triple(TRIPLE)
    except RuntimeError:
        return None
    return found.create_target_machine(cpu="generic", opt=1, codemodel="small")


pytestmark = pytest.mark.skipif(target() is None, reason="this LLVM has no AArch64")


def instructed(text):
    """Return the instructions for a module."""
    assert "llvm.x86" not in text
    parsed = binding.parse_assembly(text)
    parsed.triple, parsed.data_layout = TRIPLE, str(target().target_data)
    parsed.verify()
    return target().emit_assembly(parsed)


def assembly(graph, aliases=None):
    """Return the instructions for `graph`, and the library's functions that they call."""
    program = prepare(optimise(graph), aliases or {}, NEON)
    pointers = len(graph.inputs) + len(graph.outputs)
    module, _ = generate(program.phases, pointers, NEON, "", ("llvm.aarch64.hint", "i32 1"))
    made = "\n".join(map(instructed, (module.text(), module.hasty_text())))
    called = set(re.findall(r"^\tbl?\t([a-z_]\w*)$", made, re.MULTILINE))
    own = set(re.findall(r"^([a-z_]\w*):", made, re.MULTILINE))
    assert called - own <= RUNTIME | set(module.external), called - own
    return made


def instructions(made):
    """Count instructions by name and the shape of their first operand, such as ``fmla.4s``."""
    found = re.findall(r"^\t([a-z][\w.]*)\t+(?:[a-z]\d+\.(\w+))?", made, re.MULTILINE)
    return Counter(f"{name}.{shape}" if shape else name for name, shape in found)


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=lambda p: p.name)
@pytest.mark.parametrize(
    "dtype",
    [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)],
    ids=["float32", "float64"],
)
def test_every_primitive(primitive, dtype):
    graph, _ = samples_graph(primitive, samples_of(primitive, dtype))
    made = assembly(graph)
    assert not {"bl\tfma", "bl\tfmaf"} & set(made.splitlines())


@pytest.mark.parametrize(("dtype", "shape"), [(np.float32, "4s"), (np.float64, "2d")])
def test_products_are_vectors_of_fused_multiply_adds(dtype, shape):
    x, y = np.ones((48, 40), dtype), np.ones((40, 64), dtype)
    found = instructions(assembly(graph_of(F.matmul, x, y)))
    assert found[f"fmla.{shape}"] >= 16
    assert not found[f"fmul.{shape}"]
    assert not found["fmadd"]


@pytest.mark.parametrize(
    "function", [F.tanh, F.exp, F.erf, F.log1p, F.sin], ids=lambda f: f.__name__
)
def test_elementary_functions_are_vectors(function):
    found = instructions(assembly(graph_of(function, np.ones(4096, np.float32))))
    vectors = found["fmla.4s"] + found["fmla.2d"] + found["fmls.4s"] + found["fmls.2d"]
    assert vectors > 3
    assert found["fmadd"] + found["fmsub"] <= vectors


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_training_step(dtype):
    training = Training(F.tanh, "cross_entropy", adam, dtype)
    found = instructions(assembly(training.graph, training.aliases))
    shape = "4s" if dtype is np.float32 else "2d"
    assert found[f"fmla.{shape}"] > 50
    assert found[f"fsqrt.{shape}"]
    assert not any(name.startswith("fmla.8") for name in found)

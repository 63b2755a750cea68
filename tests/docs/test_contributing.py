"""The op that CONTRIBUTING.md adds in one file passes what every op must pass."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import compiled, in_units, reference, samples_graph
from tests.ops import test_against_peers
from tests.ops.checks import CHECKS, check_infer, check_record, check_single_precision
from tests.ops.peer_cases import ROWS
from tests.ops.running import samples_of
from tests.ops.smoothness import check_smoothness, elementwise_params
from wengert.graph.primitive import registry
from wengert.ops.derivatives import Elementwise
from wengert.tensor.functions import lift

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The file of the example, imported; its primitive is taken out of the registry at the end."""
    (code,) = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    path = tmp_path / "inverse.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("inverse", path)
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "inverse", loaded)
    monkeypatch.delitem(registry, "asin", raising=False)  # should Wengert have it by now
    try:
        spec.loader.exec_module(loaded)
        yield loaded
    finally:
        registry.pop("asin", None)


def check_samples(primitive):
    for sample in samples_of(primitive, np.float64):
        for check in CHECKS:
            check(primitive, sample)


def test_it_passes_what_every_op_must_pass(module):
    primitive = module.asin_p
    check_record(primitive)
    check_samples(primitive)
    for sample in samples_of(primitive, np.float32):
        check_infer(primitive, sample)
        check_single_precision(primitive, sample)
    for params in elementwise_params(primitive, samples_of(primitive, np.float64)):
        check_smoothness(primitive, params, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_its_native_code_is_as_exact_as_its_record_says(module, dtype):
    graph, inputs = samples_graph(module.asin_p, samples_of(module.asin_p, dtype))
    pairs = zip(compiled(graph, inputs), reference(graph, inputs), strict=True)
    assert max(in_units(a, w).max(initial=0) for a, w in pairs) <= module.asin_p.lower.units


@pytest.mark.peers
def test_it_has_a_second_opinion_without_a_row(module):
    assert module.asin_p.name not in ROWS
    test_against_peers.test_primitive_agrees_with_the_peer("asin")


def test_every_transform_knows_it(module):
    asin, x = lift(module.asin), wg.tensor(np.array([-0.5, 0.0, 0.8]))
    slope = 1 / np.sqrt(1 - x.numpy() ** 2)
    curvature = x.numpy() * slope**3
    ones = wg.ones(3, dtype=wg.float64)
    assert np.allclose(wg.vmap(wg.grad(asin))(x).numpy(), slope, rtol=1e-15)
    assert np.allclose(wg.jvp(asin, (x,), (ones,))[1].numpy(), slope, rtol=1e-15)
    assert np.allclose(wg.hvp(lambda x: wg.sum(asin(x)), x, ones).numpy(), curvature, rtol=1e-14)
    both = wg.compile(wg.value_and_grad(lambda x: wg.sum(wg.checkpoint(asin)(x))))
    assert np.allclose(both(x)[1].numpy(), slope, rtol=1e-15)
    assert "asin(x)" in str(wg.trace(asin)(x))


def test_derivative_that_loses_digits_is_refused(module):
    """As the page says of the second derivative."""
    worse = Elementwise(lambda y, x: 1 / module.sqrt((1 - x) * (1 + x)))
    primitive = replace(module.asin_p, derivative=worse)
    with pytest.raises(AssertionError, match=r"asin: .* over "):
        check_samples(primitive)


def test_files_that_it_names_exist():
    for name in re.findall(r"`((?:src|tests|docs)/[\w/]+\.py)`", PAGE.read_text("utf-8")):
        assert (ROOT / name).exists(), name

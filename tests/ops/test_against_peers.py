"""Every primitive against PyTorch in float64: value, both modes, second order."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.ops import peer_rows_arrays, peer_rows_composites, peer_rows_elementwise
from tests.ops.differences import flat
from tests.ops.peer_cases import ROWS, Case, Draw, Row, emit, laid_out, torch
from tests.ops.running import (
    assert_close,
    forward,
    load_registry,
    norm,
    random_like,
    reverse,
    samples_of,
    trace,
    values,
    variables,
)
from wengert.graph.primitive import Sample, registry
from wengert.graph.variable import Variable

EXACT = 1e-10
ROUNDING = 1e-14  # of a second derivative that is zero, where terms cancel


def tupled(y: Any) -> tuple[Any, ...]:
    return tuple(y) if isinstance(y, tuple | list) else (y,)


WITHOUT_PEER = {"custom": "its derivative is what the user says"}
"""The primitives that nobody else's function is compared with, and why."""


def row_of(name: str) -> Row | None:
    """Return the row of a primitive: written for it, or made from PyTorch's function of its name.

    The second has the samples of the record for its inputs.
    """
    if name in ROWS:
        return ROWS[name]
    primitive = registry[name]
    samples = samples_of(primitive, np.float64)
    peer = importlib.import_module("torch")
    theirs = getattr(peer, name, getattr(peer.special, name, None))
    if theirs is None or primitive.several or any(s.params for s in samples):
        return None

    def draw_case(draw: Draw) -> Case:
        chosen = draw(st.sampled_from(samples))
        inputs = tuple(laid_out(draw, x) for x in chosen.inputs)
        return Case(inputs, emit(name), theirs, chosen.differentiable)

    return draw_case


def test_rows_are_of_primitives() -> None:
    assert peer_rows_arrays.ROWS is peer_rows_elementwise.ROWS is ROWS
    assert set(ROWS) <= set(load_registry())


@pytest.mark.peers
def test_every_primitive_has_a_second_opinion() -> None:
    pytest.importorskip("torch", reason="PyTorch is the oracle of this test")
    alone = {name for name in load_registry() if row_of(name) is None}
    assert alone == set(WITHOUT_PEER), (
        "give the primitive a row in tests/ops/peer_rows_*.py, or say in WITHOUT_PEER why not"
    )


class Ours:
    """Our function of the inputs that vary, with the other inputs held."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def all(self, xs: tuple[Variable, ...]) -> tuple[Variable, ...]:
        return tupled(self.case.ours(*xs))

    def __call__(self, xs: tuple[Variable, ...]) -> tuple[Variable, ...]:
        chosen = dict(zip(self.case.vary, xs, strict=True))
        full = [chosen.get(i, Variable(x)) for i, x in enumerate(self.case.inputs)]
        return tuple(y for y in self.all(tuple(full)) if y.dtype.kind == "f")


class Theirs:
    """The peer's function, at tensors of its own."""

    def __init__(self, case: Case) -> None:
        self.inputs = [torch.tensor(x.copy()) for x in case.inputs]
        self.varied = [self.inputs[i].requires_grad_() for i in case.vary]
        self.all = tupled(case.theirs(*self.inputs))
        self.outputs = [y for y in self.all if y.dtype.is_floating_point]

    def reverse(self, y_bars: list[Any]) -> tuple[Any, ...]:
        options = {"create_graph": True, "materialize_grads": True}
        return torch.autograd.grad(self.outputs, self.varied, y_bars, **options)

    def forward(self, x_dots: list[Any]) -> tuple[Any, ...]:
        """Return the tangents, as the derivative of the cotangents by their seed."""
        seeds = [torch.zeros_like(y).requires_grad_() for y in self.outputs]
        return _again(self.reverse(seeds), seeds, x_dots)

    def second(self, y_bars: list[Any], x_dots: list[Any]) -> tuple[Any, ...]:
        return _again(self.reverse(y_bars), self.varied, x_dots)


def _again(results: tuple[Any, ...], by: list[Any], seeds: list[Any]) -> tuple[Any, ...]:
    pairs = [(r, s) for r, s in zip(results, seeds, strict=True) if r.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(x) for x in by)
    options = {"allow_unused": True, "materialize_grads": True}
    return torch.autograd.grad([r for r, _ in pairs], by, [s for _, s in pairs], **options)


def arrays(tensors: Any) -> list[np.ndarray]:
    return [t.numpy(force=True) for t in tensors]


def check_values(name: str, case: Case) -> None:
    ours = values(Ours(case).all(variables(case.inputs)))
    theirs = tupled(case.theirs(*case.inputs)) if case.numpy else arrays(Theirs(case).all)
    assert len(ours) == len(theirs)
    for y, t in zip(ours, theirs, strict=True):
        assert (y.shape, y.dtype) == (t.shape, t.dtype)
        if y.dtype.kind == "f":
            assert_close(f"{name}: value", [y], [t], EXACT)
        else:
            np.testing.assert_array_equal(y, t)


def check_derivatives(name: str, case: Case, seed: int) -> None:
    if not case.vary:
        return
    f, peer, rng = Ours(case), Theirs(case), np.random.default_rng(seed)
    sample = Sample(case.inputs, {}, case.vary)
    varied = [sample.inputs[i] for i in sample.differentiable]
    xs = variables(varied)
    y_bars, x_dots = random_like(rng, arrays(peer.outputs)), random_like(rng, varied)
    seeds, dots = [torch.tensor(a) for a in y_bars], [torch.tensor(a) for a in x_dots]
    tangents = values(forward(f, xs, variables(x_dots)))
    assert_close(f"{name}: forward mode", tangents, arrays(peer.forward(dots)), EXACT)
    ours = values(reverse(f, xs, variables(y_bars)))
    assert_close(f"{name}: reverse mode", ours, arrays(peer.reverse(seeds)), EXACT)
    second = forward(lambda vs: reverse(f, vs, variables(y_bars)), xs, variables(x_dots))
    wanted = arrays(peer.second(seeds, dots))
    if norm([flat(values(second)) - flat(wanted)]) > ROUNDING * norm(ours) * norm(x_dots):
        assert_close(f"{name}: second order", values(second), wanted, EXACT)


many = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)


@pytest.mark.peers
@pytest.mark.parametrize("name", sorted(load_registry()))
@many
@given(data=st.data())
def test_primitive_agrees_with_the_peer(name: str, data: Any) -> None:
    pytest.importorskip("torch", reason="PyTorch is the oracle of this test")
    row = row_of(name)
    if row is None:
        pytest.skip(WITHOUT_PEER[name])
    case = row(data.draw)
    graph = trace(Ours(case).all, case.inputs)
    tried = {op.primitive.name for op in graph.operations}
    assert name in tried, f"the row of {name} tries {tried}"
    check_values(name, case)
    check_derivatives(name, case, data.draw(st.integers(0, 2**32 - 1)))


@pytest.mark.peers
@pytest.mark.parametrize("name", sorted(peer_rows_composites.COMPOSITES))
@many
@given(data=st.data())
def test_composite_agrees_with_the_peer(name: str, data: Any) -> None:
    pytest.importorskip("torch", reason="PyTorch is the oracle of this test")
    case = peer_rows_composites.COMPOSITES[name](data.draw)
    check_values(name, case)
    check_derivatives(name, case, data.draw(st.integers(0, 2**32 - 1)))

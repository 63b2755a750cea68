"""The plan of a compiled function: exact, and legible."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

import wengert as wg
from tests.compile.programs import F, graph_of
from tests.compile.test_random_graphs import programs
from wengert.compile.native.executable import compile_graph
from wengert.compile.plan import in_units, make_plan


@settings(max_examples=40, deadline=None, derandomize=True)
@given(programs())
def test_the_arena_is_what_is_allocated(program):
    graph, _, aliases = program
    plan = make_plan(graph, aliases)
    executable = compile_graph(graph, aliases)
    assert plan.arena_bytes == executable.arena_bytes == executable._arena.nbytes
    assert plan.scratch_bytes * executable.threads == executable._scratch.nbytes
    for buffer in plan.buffers:
        lender = None if buffer.output is None else graph.outputs[buffer.output].aval.nbytes
        room = plan.arena_bytes if lender is None else lender
        assert buffer.offset + buffer.nbytes <= room
        assert 0 <= buffer.first <= buffer.last < len(plan.kernels)


def test_counts_of_a_product_with_its_epilogue():
    x, w, b = np.ones((7, 5)), np.ones((6, 5)), np.ones(6)
    plan = make_plan(graph_of(lambda x, w, b: (F.relu(F.linear(x, w, b)),), x, w, b), {})
    product = plan.kernels[-1]
    assert product.kind == "product"
    assert math.prod(product.shape) == 7 * 6
    assert [name.split(" ")[0] for name in product.operations] == ["linear", "relu"]
    assert product.flops == 2 * 7 * 5 * 6 + 2 * 7 * 6
    assert product.bytes_written == 7 * 6 * 8
    assert plan.input_bytes == x.nbytes + w.nbytes + b.nbytes
    assert plan.output_bytes == 7 * 6 * 8
    assert plan.scratch_bytes == 0
    assert plan.peak_bytes == plan.arena_bytes + plan.input_bytes + plan.output_bytes
    assert plan.flops == sum(kernel.flops for kernel in plan.kernels)


@pytest.mark.parametrize(
    ("function", "shapes", "pairs"),
    [
        (F.matmul, [(4, 7, 5), (4, 5, 6)], 4 * 7 * 6 * 5),
        (lambda x, y: F.contract("abcd,ecd->abe", x, y), [(8, 9, 2, 5), (6, 2, 5)], 8 * 9 * 6 * 10),
    ],
    ids=["a batch of products", "a sum over two axes"],
)
def test_each_term_of_a_product_is_a_multiplication_and_an_addition(function, shapes, pairs):
    graph = graph_of(function, *map(np.ones, shapes))
    plan = make_plan(graph, {})
    assert sum(k.flops for k in plan.kernels if k.kind == "product") == 2 * pairs


def test_outputs_in_place_of_inputs_need_no_memory():
    x = np.ones(100)
    assert make_plan(graph_of(lambda x: (x * 2.0,), x), {0: 0}).output_bytes == 0


def test_the_plan_of_a_training_step_names_what_was_fused_and_where():
    model = wg.nn.Linear(4, 2)
    optimizer = wg.optim.SGD(model.parameters(), lr=0.1)

    @wg.compile
    def step(x):
        loss = wg.sum(model(x) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    before = model.weight.tolist()
    plan = step.plan(wg.ones((3, 4)))
    assert model.weight.tolist() == before
    updates = [k for k in plan.kernels if any(o.startswith("sub") for o in k.operations)]
    assert updates
    assert all("test_plan.py:" in operation for k in plan.kernels for operation in k.operations)
    text = str(plan)
    assert text.startswith(f"step: {len(plan.kernels)} kernels, ")
    assert "arena" in text
    assert "calls: none outside" in text


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (61440, "61.4 kB")]
)
def test_sizes_in_units(nbytes, text):
    assert in_units(nbytes) == text

"""System B: Algorithms 6.1 and 6.2 over Wengert's graphs, their cost, and the complications."""

from __future__ import annotations

import math

import b_general_backprop as b
import numpy as np
import pytest
from _count import backward_operations, kept_bytes

import wengert as wg

UNARY = [wg.sin, wg.cos, wg.tanh, wg.exp]


def random_expression(seed, operations=14):
    """Return a function of two numbers, made at random of the operations of `PARTIALS`."""

    def function(x, y):
        rng = np.random.default_rng(seed)
        made = [x, y]
        for _ in range(operations):
            first, second = (made[i] for i in rng.integers(len(made), size=2))
            kind = rng.integers(6)
            if kind < 3:
                made.append([first + second, first - second, first * second][kind])
            elif kind == 3:
                made.append(first / (second * second + 2.0))
            else:
                made.append(UNARY[rng.integers(3)](first))
        return sum(made[2:], made[0])

    return function


def expression_slopes(x, y):
    """Return ∂/∂x and ∂/∂y of the example's expression, worked out on paper."""
    t = math.tanh((math.sin(x * y) + math.exp(x)) / y)
    inner_x = math.cos(x * y) + math.exp(x) / y
    inner_y = (x * math.cos(x * y)) / y - (math.sin(x * y) + math.exp(x)) / y**2
    return (1 - t * t) * inner_x * x * y + t * y, (1 - t * t) * inner_y * x * y + t * x


def test_algorithms_give_the_value_and_the_derivatives():
    graph = b.graph_of(b.expression, 0.5, 2.0)
    u = b.algorithm_6_1(graph, [0.5, 2.0])
    grad_table, _ = b.algorithm_6_2(graph, u)
    assert u[graph.outputs[0]] == pytest.approx(b.expression(wg.tensor(0.5), 2.0).item(), rel=1e-6)
    expected = expression_slopes(0.5, 2.0)
    assert [grad_table[v] for v in graph.inputs] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_algorithm_6_2_is_what_backward_gives(seed):
    at = [0.7, -0.4]
    graph = b.graph_of(random_expression(seed), *at)
    u = b.algorithm_6_1(graph, at)
    grad_table, _ = b.algorithm_6_2(graph, u)
    found = graph.backward()(*map(np.asarray, at))
    for v, bar in zip(graph.inputs, found, strict=True):
        assert grad_table[v] == pytest.approx(float(bar), rel=1e-12, abs=1e-12)
        by_paths, _, _ = b.equation_6_55(graph, u, v)
        assert by_paths == pytest.approx(float(bar), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_grad_table_holds_each_node_once_in_reverse_order(seed):
    graph = b.graph_of(random_expression(seed), 0.7, -0.4)
    grad_table, edges = b.algorithm_6_2(graph, b.algorithm_6_1(graph, [0.7, -0.4]))
    nodes = [*graph.inputs, *(graph.results(op)[0] for op in graph.operations)]
    assert list(grad_table) == nodes[::-1]
    constants = set(graph.free)
    assert edges == sum(x not in constants for op in graph.operations for x in op.inputs)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_chain_of_diamonds_has_exponentially_many_paths(count):
    graph = b.graph_of(lambda x: b.diamonds(x, count), 0.3)
    u = b.algorithm_6_1(graph, [0.3])
    by_paths, paths, products = b.equation_6_55(graph, u, graph.inputs[0])
    grad_table, edges = b.algorithm_6_2(graph, u)
    assert paths == 2**count
    assert products == 4 * (2**count - 1)
    assert edges == 4 * count
    assert by_paths == pytest.approx(grad_table[graph.inputs[0]], abs=1e-12)


def test_work_for_a_chain_of_diamonds_is_linear():
    sizes = []
    for count in (100, 200, 400):
        graph = b.graph_of(lambda x, count=count: b.diamonds(x, count), 0.3)
        backward = graph.backward()
        sizes.append((len(graph.operations), len(backward_operations(backward))))
        u = b.algorithm_6_1(graph, [0.3])
        grad_table, edges = b.algorithm_6_2(graph, u)
        assert edges == 4 * count
        (found,) = backward(np.asarray(0.3))
        assert float(found) == pytest.approx(grad_table[graph.inputs[0]], abs=1e-12)
    assert sizes == [(3 * count, sizes[0][1] * count // 100) for count in (100, 200, 400)]
    assert sizes[0][1] <= 4 * sizes[0][0]


def test_only_what_is_asked_is_computed():
    last, middle, first, weights, everything = (
        b.asked(*names.split()) for names in ("W3", "W2", "W1", "W1 W2 W3", "W1 W2 W3 x")
    )
    assert last < middle < first < weights < everything
    # Each layer above adds what leads through it; its own gradient is one product more.
    assert middle - last == first - middle
    assert weights == first + 2
    assert everything == weights + 1


def test_nothing_of_the_first_layer_is_touched_for_the_last():
    arrays = [wg.zeros(shape) for shape in ((5, 4), (4, 4), (4, 2), (8, 5), (8, 2))]
    graph = wg.trace(b.net)(*arrays)
    origins = {op.origin for op in backward_operations(graph.backward("W3"))}
    tanh = {op for op in graph.operations if op.primitive.name == "tanh"}
    assert len(tanh) == 2
    assert not tanh & origins


def test_store_or_recompute():
    ways = b.store_or_recompute(size=100)
    computed, kept, gradients = zip(*ways.values(), strict=True)
    assert list(ways) == ["stored", "checkpointed", "equation 6.53"]
    assert computed == (3, 5, 6)
    assert kept == (2 * 100 * 8, 0, 0)
    w = np.linspace(-1, 1, 100)
    expected = np.cos(np.sin(np.sin(w))) * np.cos(np.sin(w)) * np.cos(w)
    for gradient in gradients:
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-12)
    np.testing.assert_array_equal(gradients[0].numpy(), gradients[1].numpy())


def test_stored_intermediates_are_the_arguments_of_the_slopes():
    graph = wg.trace(wg.value_and_grad(lambda w: wg.sum(b.f3(w))))(wg.zeros(10))
    assert kept_bytes(graph) == 2 * 10 * 4


def test_operation_with_two_outputs():
    maxima, indices, gradient, count = b.several_outputs()
    assert count == 1
    assert maxima.tolist() == [9.0, 8.0]
    assert indices.tolist() == [1, 0]
    assert gradient.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_gradients_are_summed_into_one_buffer():
    few, many = b.accumulation_bytes(10), b.accumulation_bytes(100)
    assert many < 5
    assert abs(many - few) < 0.5


def test_gradient_has_the_dtype_of_its_variable():
    found = b.data_types()
    assert found["float32"] == "gradient in float32"
    assert found["float64"] == "gradient in float64"
    assert "has no derivative" in found["int64"]


def test_undefined_gradients_are_told():
    rows = {name: (chosen, hits) for name, chosen, hits in b.undefined_gradients()}
    assert {name: chosen for name, (chosen, _) in rows.items() if "log" not in name} == {
        "relu at 0": "0",
        "abs at 0": "0",
        "max of 2 2 1": "0.5 0.5 0",
        "sqrt at 0": "inf",
        "tanh at 0": "1",
    }
    kinds = {name: [hit.split(" ")[0] for hit in hits] for name, (_, hits) in rows.items()}
    assert kinds == {
        "relu at 0": ["kink"],
        "abs at 0": ["kink"],
        "max of 2 2 1": ["kink"],
        "sqrt at 0": ["pole"],
        "log at −1": ["domain"],
        "tanh at 0": [],
    }


def test_points_are_found_inside_a_larger_function():
    def function(x, y):
        return wg.sum(wg.relu(x * y) * wg.max_with_index(x, axis=0)[0])

    x = np.array([1.0, 2.0, 3.0])
    assert b.undefined_points(function, x, np.array([1.0, -1.0, 2.0])) == []
    (hit,) = b.undefined_points(function, x, np.array([0.0, -1.0, 0.0]))
    assert hit.startswith("kink of relu at 2 elements (test_b_general_backprop.py:")

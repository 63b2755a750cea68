"""The arena, results in their places, and memory that outputs take over from inputs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.compile.programs import (
    F,
    assert_apart,
    compiled,
    graph_of,
    reference,
    run,
    same_bits,
    shared_finely,
)
from wengert.compile.emit.layout import ALIGNMENT
from wengert.compile.emit.llvm import machine
from wengert.compile.lowering import memory
from wengert.compile.lowering.pipeline import prepare
from wengert.compile.native.executable import compile_graph
from wengert.graph.graph import Graph
from wengert.graph.variable import Variable

RNG = np.random.default_rng(3)


def draw(*shape):
    return RNG.standard_normal(shape)


def check(function, *inputs, **aliases):
    graph = graph_of(function, *inputs)
    wanted = reference(graph, inputs)
    for threads in (1, 2):
        same_bits(compiled(graph, inputs, threads, **aliases), wanted)


def test_two_inputs_change_places():
    check(lambda a, b: (b, a), draw(5, 7), draw(5, 7), o0=0, o1=1)


def test_three_inputs_change_places():
    inputs = draw(40), draw(40), draw(40)
    for order in itertools.permutations(range(3)):
        check(lambda *xs, o=order: tuple(xs[i] for i in o), *inputs, o0=0, o1=1, o2=2)


def test_inputs_change_places_after_a_computation():
    check(lambda a, b: (b * 2, a * 3), draw(50), draw(50), o0=0, o1=1)
    check(lambda a, b: (a + b, a - b), draw(50), draw(50), o0=0, o1=1)
    check(lambda a, b: (a + b, a - b), draw(50), draw(50), o0=1, o1=0)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: a,
        lambda a: F.permute_dims(a, (1, 0)),
        lambda a: F.flip(a, 0),
        lambda a: a + F.permute_dims(a, (1, 0)),
        lambda a: a - F.max(a, axis=0),
        lambda a: a * F.getitem(a, (0, 0)),
        lambda a: (a * a, a * 2),
        lambda a: (a * a, F.permute_dims(a, (1, 0))),
        lambda a: (a * a, a * a),
        lambda a: F.absolute(a * a + a),
        lambda a: F.setitem(a, (1,), 5.0),
        lambda a: F.take(a, np.array([5, 0, 1, 2, 3, 4]), axis=0),
        lambda a: F.concat([F.getitem(a, (slice(3, None),)), F.getitem(a, (slice(None, 3),))]),
        lambda a: F.reshape(F.permute_dims(F.reshape(a, (2, 18)), (1, 0)), (6, 6)),
    ],
)
def test_an_input_is_read_before_it_is_overwritten(function):
    check(function, draw(6, 6), o0=0)


def test_a_product_is_not_made_in_the_memory_of_a_factor():
    a = draw(40, 40)
    graph = graph_of(F.matmul, a, a)
    for found, wanted in zip(compiled(graph, [a, a], o0=0), reference(graph, [a, a]), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-13)


def test_the_update_of_a_parameter_is_made_in_its_memory():
    w, g = draw(100, 100), draw(100, 100)
    graph = graph_of(lambda w, g: (w - g * 0.1,), w, g)
    executable = compile_graph(graph, {0: 0})
    assert executable.arena_bytes == 0
    same_bits(run(executable, graph, [w, g]), reference(graph, [w, g]))


def test_an_alias_across_dtypes_or_shapes_is_refused():
    graph = graph_of(lambda a: (F.sum(a),), draw(3))
    with pytest.raises(ValueError, match=r"output 0 \(f64\[\]\) cannot take over .* input 0"):
        compile_graph(graph, {0: 0})
    with pytest.raises(ValueError, match="output 0 cannot take over input 4"):
        compile_graph(graph, {0: 4})
    twice = graph_of(lambda a: (a * 2, a * 3), draw(3))
    with pytest.raises(ValueError, match="two outputs cannot take over the memory of one input"):
        compile_graph(twice, {0: 0, 1: 0})


def test_outputs_that_are_inputs_constants_views_or_repeated():
    constant, number = Variable(draw(2, 3)), Variable(np.array(7.0))
    x = draw(2, 3)

    def f(x):
        y = x + 1.0
        return x, constant, number, y, y, F.permute_dims(y, (1, 0)), F.reshape(y, (6,)), x

    check(f, x)


def test_a_graph_without_operations():
    check(lambda x: (x,), draw(4))
    check(lambda x: (x,), draw(4), o0=0)


def test_arrays_without_axes_and_without_elements():
    check(lambda a, b: (a * b, F.sum(b), a + 1.0), np.array(2.0), draw(0, 3))
    check(lambda a: (F.matmul(a, F.permute_dims(a, (1, 0))),), draw(4, 0))
    check(lambda a: (a * 2.0,), np.array(2.0), o0=0)
    check(lambda a: (a * 2.0,), draw(0), o0=0)


def test_a_long_chain_needs_little_memory():
    def chain(x):
        for _ in range(50):
            x = F.tanh(x) * 0.5
        return x

    x = draw(1000)
    graph = graph_of(chain, x)
    executable = compile_graph(graph, {})
    assert executable.arena_bytes <= 3 * x.nbytes
    found = run(executable, graph, [x])
    np.testing.assert_allclose(found[0], reference(graph, [x])[0], rtol=1e-13)


def test_a_copy_of_what_dies_costs_nothing():
    def f(x):
        for i in range(20):
            x = F.setitem(x, (i,), 1.0)
        return x

    x = draw(1000)
    graph = graph_of(f, x)
    assert compile_graph(graph, {}).arena_bytes <= x.nbytes
    same_bits(compiled(graph, [x]), reference(graph, [x]))


def normalised(x):
    for _ in range(4):
        x = x - F.mean(x, axis=1, keepdims=True)
        x = x / F.sqrt(F.mean(x * x, axis=1, keepdims=True))
    return F.sum(F.absolute(x), axis=0), F.sum(F.absolute(x), axis=1)


def activated(x, *weights):
    for w in weights:
        z = F.matmul(x, w)
        x = F.tanh(z) * z
    return F.sum(x, axis=0), F.sum(x, axis=1)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [(normalised, [draw(64, 48)]), (activated, [draw(64, 48), *(draw(48, 48) for _ in range(3))])],
    ids=["maps", "products"],
)
def test_what_dies_is_overwritten_place_by_place(function, inputs, monkeypatch):
    graph = graph_of(function, *inputs)
    once = compile_graph(graph, {}).arena_bytes
    wanted = compiled(graph, inputs)
    for found, value in zip(wanted, reference(graph, inputs), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10)
    shared_finely(monkeypatch)
    for threads in (1, 2, 3):
        same_bits(compiled(graph, inputs, threads), wanted)
    monkeypatch.setattr(memory, "take_over", lambda phases: None)
    assert once <= compile_graph(graph, {}).arena_bytes - inputs[0].nbytes


def _mixed_graph():
    x, y = draw(30, 20), draw(20, 30)

    def f(x, y):
        z = F.matmul(x, y)
        rows = F.logsumexp(z, axis=1, keepdims=True)
        best, _ = F.max_with_index(z, axis=0)
        spread = F.tanh(z - rows) * best
        return F.sum(spread * z), F.matmul(F.permute_dims(spread, (1, 0)), x), best

    return graph_of(f, x, y), [x, y]


def test_buffers_that_live_at_one_time_do_not_overlap():
    graph, _ = _mixed_graph()
    program = prepare(graph, {}, machine())
    arrays = {x.buffer for k in program.kernels for x in k.writes if x.buffer.place == "arena"}
    assert len(arrays) > 3
    assert assert_apart(program) > 0
    assert all(b.offset % ALIGNMENT == 0 for b in arrays)
    assert program.arena_bytes < sum(b.nbytes for b in arrays)


def test_reused_memory_gives_the_results_of_the_reference():
    graph, inputs = _mixed_graph()
    for found, wanted in zip(compiled(graph, inputs), reference(graph, inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13 * np.abs(wanted).max())


def test_a_graph_with_no_outputs():
    x = draw(3)
    graph = graph_of(lambda x: (x,), x)
    empty = Graph(graph.inputs, ())
    compile_graph(empty, {})([x], [])

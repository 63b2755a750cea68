"""Fusion: kernels that move into others, and those that must stay where they are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, reference, same_bits
from wengert.compile.emit.llvm import machine
from wengert.compile.kernels.map import Map
from wengert.compile.kernels.product import Product
from wengert.compile.kernels.reduce import Reduce
from wengert.compile.lowering.fuse import DEAREST, drop_unread, fuse, inline, merge
from wengert.compile.lowering.lower import lower_graph
from wengert.compile.lowering.pipeline import prepare

RNG = np.random.default_rng(5)


def draw(*shape):
    return RNG.standard_normal(shape)


def kernels_of(function, *inputs, rewrite=None, aliases=None):
    """Return the kinds of the kernels of a function, after a pass or all of them."""
    program = lower_graph(graph_of(function, *inputs), machine())
    if rewrite is None:
        fuse(program, aliases or {})
    else:
        rewrite(program)
    return [type(kernel) for kernel in program.kernels], program


def check(function, *inputs, exact=True):
    graph = graph_of(function, *inputs)
    found, wanted = compiled(graph, inputs), reference(graph, inputs)
    if exact:
        same_bits(found, wanted)
    else:
        for a, w in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, w, rtol=1e-12, atol=1e-12)


def test_a_chain_becomes_one_kernel():
    def chain(x):
        for _ in range(20):
            x = F.absolute(x) * 1.25 - 0.5
        return x

    kinds, program = kernels_of(chain, draw(7, 9), rewrite=inline)
    assert kinds == [Map]
    assert len(program.kernels[0].stores) == 1
    check(chain, draw(7, 9))


def test_a_chain_is_seen_through_views():
    def f(x):
        y = F.permute_dims(F.reshape(x * 2.0, (6, 4)), (1, 0))
        return F.flip(F.getitem(y, (slice(None, None, 2),)), 1) + 1.0

    kinds, _ = kernels_of(f, draw(3, 8), rewrite=inline)
    assert kinds == [Map]
    check(f, draw(3, 8))


def test_what_cannot_be_seen_place_by_place_stays():
    def f(x):
        return F.take(x * x * x, np.array([3, 0, 3]), axis=0)

    kinds, _ = kernels_of(f, draw(5, 4), rewrite=inline)
    assert kinds == [Map, Map]
    check(f, draw(5, 4))


def test_dear_values_with_two_readers_are_not_made_twice():
    def f(x):
        y = F.exp(F.sin(x) * F.cos(x))
        return F.sum(y, axis=0), F.max(y, axis=1)

    kinds, _ = kernels_of(f, draw(6, 5), rewrite=inline)
    assert kinds.count(Map) == 1
    assert kinds.count(Reduce) == 2


def test_dear_values_are_not_made_for_every_row():
    def f(x, y):
        return F.exp(F.sin(x)) * y

    kinds, _ = kernels_of(f, draw(5), draw(100, 5), rewrite=inline)
    assert kinds == [Map, Map]
    check(f, draw(5), draw(100, 5), exact=False)


def test_numbers_are_made_where_they_are_used():
    kinds, _ = kernels_of(lambda r, x: (r * 2.0) * x, np.array(3.0), draw(50), rewrite=inline)
    assert kinds == [Map]


def test_an_epilogue_moves_into_a_product():
    def f(x, w, b):
        return F.relu(F.linear(x, w, b))

    inputs = draw(9, 5), draw(8, 5), draw(8)
    kinds, program = kernels_of(f, *inputs)
    assert kinds == [Product]
    assert len(program.kernels[0].stores) == 1
    check(f, *inputs, exact=False)


def test_an_epilogue_keeps_what_others_read():
    def f(x, w):
        h = F.matmul(x, w)
        return F.tanh(h), F.sum(h, axis=0)

    kinds, program = kernels_of(f, draw(9, 5), draw(5, 8))
    assert kinds == [Product, Reduce]
    assert len(program.kernels[0].stores) == 2
    check(f, draw(9, 5), draw(5, 8), exact=False)


def test_an_epilogue_is_seen_through_a_transposition():
    def f(x, w, y):
        return F.permute_dims(F.matmul(x, w), (1, 0)) * y

    inputs = draw(9, 5), draw(5, 8), draw(8, 9)
    kinds, _ = kernels_of(f, *inputs)
    assert kinds == [Product]
    check(f, *inputs, exact=False)


def test_what_needs_more_than_its_own_place_is_no_epilogue():
    def f(x, w):
        h = F.matmul(x, w)
        return h * F.flip(h, 0)

    kinds, _ = kernels_of(f, draw(9, 5), draw(5, 8))
    assert kinds == [Product, Map]
    check(f, draw(9, 5), draw(5, 8), exact=False)


def test_an_epilogue_waits_for_what_is_made_later():
    def f(x, w, v):
        early = F.matmul(x, w)
        late = F.matmul(x, v)
        return early * late

    kinds, program = kernels_of(f, draw(9, 5), draw(5, 8), draw(5, 8))
    assert kinds == [Product, Product]
    assert [len(k.stores) for k in program.kernels] == [1, 1]
    assert "mul" in " ".join(program.kernels[1].labels)
    check(f, draw(9, 5), draw(5, 8), draw(5, 8), exact=False)


def test_what_is_made_of_a_sum_moves_into_the_reduction():
    def f(x):
        return F.sqrt(F.sum(x * x, axis=1)) + 1.0

    kinds, _ = kernels_of(f, draw(9, 5))
    assert kinds == [Reduce]
    check(f, draw(9, 5), exact=False)


def test_an_update_in_place_is_not_moved_before_the_last_reader():
    def f(w, x):
        g = F.matmul(F.permute_dims(x, (1, 0)), x)
        return w - g, F.matmul(x, w)

    w, x = draw(6, 6), draw(9, 6)
    kinds, _ = kernels_of(f, w, x, aliases={0: 0})
    assert kinds == [Product, Map, Product]
    kinds, _ = kernels_of(f, w, x)
    assert kinds == [Product, Product]
    for found, wanted in zip(
        compiled(graph_of(f, w, x), [w, x], o0=0), reference(graph_of(f, w, x), [w, x]), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_arrays_that_are_written_in_parts_are_left_alone():
    def f(x, y):
        return F.concat([x * 2.0, y]) + 1.0

    program = lower_graph(graph_of(f, draw(3, 4), draw(2, 4)), machine())
    inline(program)
    merge(program, {})
    assert len(program.kernels) == 3
    check(f, draw(3, 4), draw(2, 4))


def test_what_nobody_reads_is_dropped():
    program = lower_graph(graph_of(lambda x: (x * 2.0, F.exp(x)), draw(4)), machine())
    program.results = program.results[:1]
    drop_unread(program)
    assert len(program.kernels) == 1


def test_long_chains_of_dear_functions_are_cut():
    """A loop over few of them is quicker than one over all, and LLVM much quicker to make it."""

    def chain(x):
        for _ in range(40):
            x = F.tanh(x) + 1.0
        return (x,)

    kinds, program = kernels_of(chain, draw(1000))
    assert set(kinds) == {Map}
    assert len(kinds) <= 10
    assert all(kernel.under.cost <= DEAREST for kernel in program.kernels)
    check(chain, draw(1000), exact=False)


@pytest.mark.parametrize("count", [10, 5000])
def test_long_chains_take_no_deep_recursion(count):
    def chain(x):
        for _ in range(count):
            x = x + 1.0
        return x

    check(chain, draw(3))


def test_kernels_are_printed_on_request(monkeypatch, capfd):
    monkeypatch.setenv("WENGERT_PRINT_PASSES", "lower,fuse,place")
    x, w, b = draw(9, 5), draw(8, 5), draw(8)
    prepare(graph_of(lambda x, w, b: (F.relu(F.linear(x, w, b)),), x, w, b), {}, machine())
    before, after, placed = capfd.readouterr().err.strip().split("\n\n")
    assert before.startswith("after lower: graph, 3 kernels")
    assert after.startswith("after fuse: graph, 1 kernels")
    assert "product t3[9×8; 8,1] = linear" in after
    assert "arena of" in placed


def test_numbers_are_computed_before_the_products_whose_epilogues_need_them():
    def f(x, w, t):
        y = F.matmul(x, w)
        return y * F.exp(F.sin(F.cos(t)) * 2.0)

    inputs = draw(9, 5), draw(5, 8), np.array(0.5)
    kinds, _ = kernels_of(f, *inputs)
    assert kinds == [Map, Product]
    check(f, *inputs, exact=False)


def test_an_array_that_needs_the_product_is_not_moved_before_it():
    def f(x, w):
        y = F.matmul(x, w)
        return y * F.getitem(y, (0, 0))

    kinds, _ = kernels_of(f, draw(9, 5), draw(5, 8))
    assert kinds == [Product, Map]
    check(f, draw(9, 5), draw(5, 8), exact=False)

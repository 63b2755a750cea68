"""Random bits in native code are those of NumPy's Philox, word by word."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import F, compiled, graph_of, reference, same_bits, shared_finely
from wengert.compile.emit.llvm import machine
from wengert.compile.kernels.each import Each
from wengert.compile.lowering.pipeline import prepare


def philox(key, counter, count, dtype):
    """Return what NumPy's own generator gives from a key and a counter of blocks."""
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=counter)
    words = generator.random_raw(count)
    return words if dtype == np.uint64 else words.view("<u4")[:count]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 7, 8, 9, 1000, 20_000])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64], ids=["uint32", "uint64"])
@pytest.mark.parametrize("counter", [0, 12345, 2**64 - 3])
def test_the_words_of_philox(count, dtype, counter):
    state = np.array([0x0123456789ABCDEF, 0xFEDCBA9876543210, counter], np.uint64)
    graph = graph_of(lambda s: F.random_bits(s, (count,), dtype), state)
    bits, after = compiled(graph, [state], threads=2)
    np.testing.assert_array_equal(bits, philox(state[:2], counter, count, dtype))
    blocks = -(-count * np.dtype(dtype).itemsize // 32)
    np.testing.assert_array_equal(after, [*state[:2], np.uint64((counter + blocks) % 2**64)])


def test_a_state_for_each_lane(monkeypatch):
    states = np.arange(12, dtype=np.uint64).reshape(2, 2, 3)
    graph = graph_of(lambda s: F.random_bits(s, (5, 3), np.uint32), states)
    whole, _ = compiled(graph, [states])
    for lane in np.ndindex(2, 2):
        wanted = philox(states[lane][:2], int(states[lane][2]), 15, np.uint32)
        np.testing.assert_array_equal(whole[lane].ravel(), wanted)
    shared_finely(monkeypatch)
    same_bits(compiled(graph, [states], threads=2)[:1], [whole])


@pytest.mark.parametrize("shape", [(16, 8), (17, 24), (20, 3, 16), (2, 64), (64, 7), (16, 0)])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64], ids=["uint32", "uint64"])
@pytest.mark.parametrize("lanes", [(), (3,)])
def test_rows_of_whole_blocks_hold_the_same_words(shape, dtype, lanes, monkeypatch):
    states = np.arange(3 * int(np.prod(lanes)), dtype=np.uint64).reshape(*lanes, 3)
    graph = graph_of(lambda s: F.random_bits(s, shape, dtype), states)
    whole, after = compiled(graph, [states])
    for lane in np.ndindex(lanes):
        key, counter = states[lane][:2], int(states[lane][2])
        wanted = philox(key, counter, int(np.prod(shape)), dtype)
        np.testing.assert_array_equal(whole[lane].ravel(), wanted)
    shared_finely(monkeypatch)
    same_bits(compiled(graph, [states], threads=2), [whole, after])


def test_numbers_are_laid_out_as_what_they_meet():
    state = np.array([1, 2, 3], np.uint64)
    rng = np.random.default_rng(0)
    x, w, v = (rng.normal(size=n).astype(np.float32) for n in ((32, 64), (256, 64), (10, 256)))

    def thinned(state, x, w, v):
        full = F.relu(F.linear(x, w))
        u, _ = F.uniform(state, full.shape, np.float32)
        return F.linear(F.where(F.less(u, 0.5), full, 0.0), v)

    graph = graph_of(thinned, state, x, w, v)
    program = prepare(graph, {}, machine())
    (drawn,) = (kernel for kernel in program.kernels if isinstance(kernel, Each))
    (bits,) = drawn.writes
    (reader,) = (kernel for kernel in program.kernels if bits in kernel.reads)
    arrays = [seen for seen in reader.views if seen.buffer is not None]
    assert [seen.shape[seen.strides.index(1)] for seen in arrays] == [32] * 3
    (mine,), (wanted,) = (run(graph, [state, x, w, v]) for run in (compiled, reference))
    np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", [wg.optim.SGD, wg.optim.Adam])
def test_a_step_with_dropout_draws_what_the_eager_one_draws(optimizer):
    x, y = np.ones((32, 8), np.float32), np.arange(32) % 4

    def trained(compiles):
        wg.manual_seed(0)
        layers = wg.nn.Linear(8, 64), wg.nn.ReLU(), wg.nn.Dropout(0.4), wg.nn.Linear(64, 4)
        net = wg.nn.Sequential(*layers)
        descent = optimizer(net.parameters(), lr=0.01)

        def step(x, y):
            loss = wg.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            descent.step()
            descent.zero_grad()
            return loss

        step = wg.compile(step) if compiles else step
        return [step(wg.tensor(x), wg.tensor(y)).item() for _ in range(5)]

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-4)

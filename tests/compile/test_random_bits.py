"""Random bits in native code are those of NumPy's Philox, word by word."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compile.programs import F, compiled, graph_of, same_bits, shared_finely


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

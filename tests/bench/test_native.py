"""The two loops in machine code."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import pytest

from wengert.bench.native import CHAINS, multiply_add_loop, ping_pong_loop, vector_lanes


@pytest.mark.parametrize("iterations", [1, 2, 100])
def test_the_chains_compute_what_they_should(iterations):
    # From c, n steps of x/2 + 1 give 2 + (c - 2) / 2^n.
    expected = sum(2 + (chain - 2) / 2**iterations for chain in range(CHAINS))
    assert multiply_add_loop()(iterations) == pytest.approx(expected, rel=1e-6)


def test_vectors_hold_a_power_of_two():
    assert vector_lanes() in {4, 8, 16}


def test_both_sides_take_all_their_turns():
    kernel, counter, turns = ping_pong_loop(), ctypes.c_int64(), 5
    with ThreadPoolExecutor(2) as pool:
        for side in (0, 1):
            pool.submit(kernel, ctypes.addressof(counter), side, turns)
    assert counter.value == 2 * turns

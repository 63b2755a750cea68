"""One thread of the matrix library for small products, and as before afterwards."""

from __future__ import annotations

import pytest

from wengert.train import threads
from wengert.train.network import Architecture
from wengert.train.threads import SMALL_PRODUCT, one_thread


@pytest.fixture
def library(monkeypatch):
    """A matrix library that remembers its number of threads."""
    state = [4]
    functions = (lambda: state[0], lambda count: state.__setitem__(0, count))
    monkeypatch.setattr(threads, "_thread_functions", lambda: functions)
    return state


def test_small_products_use_one_thread_for_a_while(library):
    with one_thread(SMALL_PRODUCT):
        assert library == [1]
    assert library == [4]


def test_an_error_restores_the_threads(library):
    with pytest.raises(KeyboardInterrupt), one_thread(1):
        raise KeyboardInterrupt
    assert library == [4]


def test_large_products_keep_their_threads(library):
    with one_thread(SMALL_PRODUCT + 1):
        assert library == [4]


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(threads, "_LIBRARIES", ("no/such/*library",))
    with one_thread(1):
        pass


@pytest.mark.peers
def test_threadpoolctl_sees_one_thread():
    pools = pytest.importorskip("threadpoolctl").threadpool_info

    def counts():
        return [pool["num_threads"] for pool in pools() if pool["internal_api"] == "openblas"]

    before = counts()
    with one_thread(1):
        assert counts()[:1] in ([1], [])
    assert counts() == before


def test_the_largest_product_of_a_network():
    network = Architecture(64, 10, (256, 32), "relu", 0.0)
    assert network.largest_product(rows=32) == 2 * 32 * 64 * 256
    assert Architecture(3, 2, (), "relu", 0.0).largest_product(rows=1) == 12

"""Fixtures of this folder."""

from __future__ import annotations

import gc
import weakref

import pytest

import wengert as wg
from wengert.graph.primitive import registry


@pytest.fixture
def without_collector():
    """Let reference counting alone free memory."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def _same_random_numbers():
    wg.manual_seed(0)


@pytest.fixture
def spy():
    """Return a function that watches a primitive: a weak reference to the result of each call."""
    kept = {}

    def watch(name):
        primitive, results = registry[name], []
        kept[primitive] = evaluate = primitive.evaluate

        def watched(*args, **params):
            result = evaluate(*args, **params)
            results.append(weakref.ref(result))
            return result

        object.__setattr__(primitive, "evaluate", watched)
        return results

    yield watch
    for primitive, evaluate in kept.items():
        object.__setattr__(primitive, "evaluate", evaluate)

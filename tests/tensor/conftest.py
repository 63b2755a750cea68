"""Fixtures of this folder."""

from __future__ import annotations

import gc

import pytest

import wengert as wg


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

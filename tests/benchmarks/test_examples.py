"""The examples in the docstrings of the benchmarks."""

import doctest

import pytest

from benchmarks import report, stats


@pytest.mark.parametrize("module", [report, stats])
def test_docstrings_show_what_happens(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0

"""The examples in the docstrings of the benchmarks."""

import doctest

from benchmarks import report


def test_docstrings_show_what_happens():
    failed, tried = doctest.testmod(report)
    assert tried > 0
    assert failed == 0

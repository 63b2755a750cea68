"""The messages of code that is kept on disk name the lines of the program at hand."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.compile.programs import F, results_of
from wengert.graph.errors import DTypeError


def take_here(x, i):
    return F.take(x, i)


def take_twice(x, i):
    first = F.take(x, i)
    return first + F.take(x + 1.0, i + 3)


def test_a_failure_names_the_line_at_hand_not_the_one_compiled_first(folder, generated):
    x, bad = np.arange(5.0), np.array([9])

    def there(x, i):
        return F.take(x, i)

    for function in (take_here, there, take_here):
        line = function.__code__.co_firstlineno + 1
        with pytest.raises(IndexError, match=rf"axis 0 of length 5 \(test_lines.py:{line}\)\.$"):
            results_of(function, x, bad)
    assert len(generated) == 1


def test_of_two_operations_that_can_fail_the_right_one_is_named(folder, generated):
    x = np.arange(5.0)
    line = take_twice.__code__.co_firstlineno
    for _ in range(2):
        for index, place in ((-6, 1), (4, 2)):
            with pytest.raises(IndexError, match=rf"\(test_lines.py:{line + place}\)"):
                results_of(take_twice, x, np.array([index]))
    assert len(generated) == 1


def test_operations_of_one_line_do_not_pass_for_operations_of_two(folder, generated):
    def in_a_loop(x, i):
        total = 0.0
        for step in (0, 3):
            total = F.take(x, i + step) + total
        return total

    def apart(x, i):
        first = F.take(x, i + 0) + 0.0
        return F.take(x, i + 3) + first

    x = np.arange(5.0)
    for function, place in ((in_a_loop, 3), (apart, 2), (in_a_loop, 3)):
        line = function.__code__.co_firstlineno + place
        with pytest.raises(IndexError, match=rf"\(test_lines.py:{line}\)"):
            results_of(function, x, np.array([4]))
    assert len(generated) == 2


def test_lines_inside_a_checkpoint_are_named(folder, generated):
    @wg.compile
    def inside(x, i):
        return wg.checkpoint(lambda x: wg.take(x, i))(x)

    line = inside.function.__code__.co_firstlineno + 2
    for _ in range(2):
        inside._entries.clear()
        with pytest.raises(IndexError, match=rf"\(test_lines.py:{line}\)"):
            inside(wg.ones(3), wg.tensor([7]))
    assert len(generated) == 1


def test_errors_of_other_kinds_come_back(folder, generated):
    i = np.arange(1, 4)
    for _ in range(2):
        with pytest.raises(DTypeError, match="integers to a negative power are not integers"):
            results_of(F.power, i, -i)
    assert len(generated) == 1

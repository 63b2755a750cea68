"""The learning curve: valid XML, readable text, points in their places."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from wengert.train.curve import curve_svg, ticks
from wengert.train.metrics import Epoch, Score

SVG = "{http://www.w3.org/2000/svg}"


def history(losses, scores=None):
    scores = scores or [0.5] * len(losses)
    return [
        Epoch(number, Score(9, loss, score), Score(9, loss / 2, score))
        for number, (loss, score) in enumerate(zip(losses, scores, strict=True), start=1)
    ]


def draw(*arguments, best=1, title="t", loss="cross-entropy", score="accuracy"):
    return ET.fromstring(curve_svg(history(*arguments), best, title, loss, score))


def texts(picture):
    return [element.text for element in picture.iter(f"{SVG}text")]


def lines(picture):
    return [
        [tuple(map(float, point.split(","))) for point in element.get("points").split()]
        for element in picture.iter(f"{SVG}polyline")
    ]


def test_lines_go_through_their_values():
    picture = draw([2.0, 1.0, 0.0])
    train, validation = lines(picture)[:2]
    axis = [element for element in picture.iter(f"{SVG}line") if element.get("class") == "axis"]
    left, right = float(axis[3].get("x1")), float(axis[3].get("x2"))
    bottom = float(axis[3].get("y1"))
    assert [x for x, _ in train] == pytest.approx([left, (left + right) / 2, right])
    heights = [bottom - y for _, y in train]
    assert heights[2] == 0
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert [bottom - y for _, y in validation] == pytest.approx([h / 2 for h in heights], abs=0.1)


def test_text_is_text_and_says_what_is_shown():
    words = texts(draw([2.0, 1.0], best=2, title="mine & <yours>"))
    assert words[0] == "mine & <yours>"
    for word in ("training rows", "validation rows", "epoch 2: the weights kept", "cross-entropy"):
        assert word in words
    assert "accuracy in %" in words
    assert words.count("epoch") == 2


def test_r2_is_no_percentage_and_is_cut_off_far_below_zero():
    words = texts(draw([2.0, 1.0, 0.5], [-40.0, 0.0, 0.9], score="R²"))
    assert "R²" in words
    assert "-1" in words
    assert not any(re.fullmatch(r"-\d\d+", word) for word in words)


@pytest.mark.parametrize("losses", [[0.7], [0.7, 0.7], [1e-9, 2e-9], [3e5] * 200])
def test_odd_histories_are_drawn_inside_the_picture(losses):
    picture = draw(losses)
    height = float(picture.get("height"))
    for line in lines(picture):
        assert all(0 <= y <= height for _, y in line)
    dots = list(picture.iter(f"{SVG}circle"))
    assert len(dots) == (4 if len(losses) == 1 else 0)


def test_scores_that_are_not_numbers_are_left_out():
    picture = draw([2.0, 1.0, 0.5], [math.nan, 0.2, 0.4], score="R²")
    assert [len(line) for line in lines(picture)] == [3, 3, 2, 2]


def test_the_picture_follows_the_readers_colour_scheme():
    assert "@media (prefers-color-scheme: dark)" in curve_svg(history([1.0]), 1, "t", "l", "s")


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 2.3), (0.0, 100.0), (-1.0, 1.0), (0.97, 0.98), (0.0, 3e-7), (5.0, 4e6)]
)
def test_ticks_are_few_even_and_cover_the_range(low, high):
    found = ticks(low, high, 5)
    assert found[0] <= low
    assert found[-1] >= high * (1 - 1e-12)
    assert 3 <= len(found) <= 8
    steps = [after - before for before, after in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps))

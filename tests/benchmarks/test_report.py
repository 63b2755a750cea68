"""Formats, tables and sections of a page."""

import pytest

from benchmarks import report
from wengert.bench.stats import Summary


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00123, "0.00123"),
        (0.1, "0.100"),
        (1.0, "1.00"),
        (99.96, "100.0"),
        (1e6, "1000000"),
    ],
)
def test_three_significant_digits(value, text):
    assert report.significant(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.5, "2.50 s [2.50, 2.50] min 2.50"),
        (2.5e-3, "2.50 ms [2.50, 2.50] min 2.50"),
        (2.5e-6, "2.50 µs [2.50, 2.50] min 2.50"),
        (2.5e-10, "0.250 ns [0.250, 0.250] min 0.250"),
    ],
)
def test_durations_choose_their_unit(seconds, text):
    assert report.duration(Summary(seconds, seconds, seconds, seconds, 3)) == text


@pytest.mark.parametrize(
    ("target", "ending"),
    [(None, "]"), (0.5, "target ≤ 0.5: met"), (0.3, "target ≤ 0.3: missed")],
)
def test_ratio_says_whether_the_median_meets_the_target(target, ending):
    assert report.ratio(Summary(0.4, 0.3, 0.6, 0.2, 5), target).endswith(ending)


@pytest.mark.parametrize(
    ("target", "ending"),
    [(None, "]"), (0.5, "target ≥ 0.5: missed"), (0.3, "target ≥ 0.3: met")],
)
def test_ratio_says_whether_the_median_reaches_the_target(target, ending):
    value = Summary(0.4, 0.3, 0.6, 0.2, 5)
    assert report.ratio(value, target, least=True).endswith(ending)


def test_a_ragged_table_is_refused():
    with pytest.raises(ValueError, match="2 columns, got a row of 1"):
        report.table(["a", "b"], [["1"]])


PAGE = """# Page

<!-- bench:one -->
old
<!-- /bench -->

Text.

<!-- bench:two -->
2
<!-- /bench -->
"""


def test_only_the_named_section_is_replaced():
    assert report.replace_section(PAGE, "one", "new\n") == PAGE.replace("old", "new")


def test_an_absent_section_is_appended():
    assert report.replace_section("# Page\n", "x", "body") == (
        "# Page\n\n<!-- bench:x -->\nbody\n<!-- /bench -->\n"
    )


def test_replacing_twice_changes_nothing_more():
    once = report.replace_section(PAGE, "three", "text")
    assert report.replace_section(once, "three", "text") == once


def test_a_section_without_an_end_is_refused():
    with pytest.raises(ValueError, match="no '<!-- /bench -->' after '<!-- bench:one -->'"):
        report.replace_section("<!-- bench:one -->\nold", "one", "new")


def test_paste_creates_the_page(tmp_path):
    page = tmp_path / "page.md"
    report.paste(page, "x", "body")
    assert page.read_text(encoding="utf-8") == (
        "# Measurements\n\n<!-- bench:x -->\nbody\n<!-- /bench -->\n"
    )


def test_the_machine_line_leaves_absent_packages_out():
    line = report.machine_line(["numpy", "no-such-package"])
    assert "numpy " in line
    assert "no-such-package" not in line

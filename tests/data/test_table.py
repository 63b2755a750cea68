"""Reading CSV files: separators, encodings, line numbers, and every way a file can be wrong."""

from __future__ import annotations

import pytest

from wengert.data.errors import UserError
from wengert.data.table import read_table


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_cells_are_stripped_and_lines_are_those_of_the_file(write):
    table = read_table(write('a, b\n 1 ,x\n\n2,"y\nz"\n3,w\n'))
    assert table.names == ("a", "b")
    assert table.column("a") == ("1", "2", "3")
    assert table.column("b") == ("x", "y\nz", "w")
    assert table.lines == (2, 4, 6)
    assert table.notes == ()


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_the_data(write):
    table = read_table(write(b"\xef\xbb\xbfa,b\r\n1,2\r\n"))
    assert table.names == ("a", "b")
    assert table.columns == (("1",), ("2",))


@pytest.mark.parametrize(
    ("separator", "word"), [(",", None), (";", "semicolons"), ("\t", "tabs")], ids="cst"
)
def test_separator_is_found_and_said_if_it_is_no_comma(write, separator, word):
    rows = [["size", "kind"], ["1.5", "a"], ["2", "b"]]
    table = read_table(write("\n".join(separator.join(row) for row in rows)))
    assert table.columns == (("1.5", "2"), ("a", "b"))
    assert table.notes == ((f"Cells are separated by {word}.",) if word else ())


def test_a_separator_inside_quotes_does_not_count(write):
    table = read_table(write('"a;b;c",d\n1,2\n'))
    assert table.names == ("a;b;c", "d")


def test_rows_decide_between_two_separators_that_cut_the_header_alike(write):
    table = read_table(write("a,b;c\n1;2\n3;4\n"))
    assert table.names == ("a,b", "c")


def test_two_separators_that_fit_equally_are_refused(write):
    with pytest.raises(UserError, match=r"not clear whether comma or semicolon separates"):
        read_table(write("a,b;c\n1,2;3\n"))


def test_decimal_comma_is_read_and_said(write):
    table = read_table(write("a;b\n1,5;x\n2;y\n"))
    assert [table.number(cell) for cell in table.column("a")] == [1.5, 2.0]
    assert "Numbers are written with a decimal comma." in table.notes


def test_no_decimal_comma_where_points_are_used(write):
    table = read_table(write("a;b\n1,500;2.5\n"))
    assert table.decimal == "."
    assert table.number("1,500") is None


@pytest.mark.parametrize("cell", ["1_000", "", "x", "1.2.3", "0x10", "--1"])
def test_what_is_no_number(write, cell):
    assert read_table(write("a\n1\n")).number(cell) is None


@pytest.mark.parametrize(("cell", "value"), [("-1e3", -1000.0), ("+.5", 0.5), ("7", 7.0)])
def test_what_is_a_number(write, cell, value):
    assert read_table(write("a\n1\n")).number(cell) == value


def test_unnamed_columns_are_left_out_and_said(write):
    table = read_table(write(",a,\n0,5,\n"))
    assert table.names == ("a",)
    assert table.columns == (("5",),)
    assert table.notes == ("Left out: 2 columns without a name.",)


def test_a_row_of_empty_cells_is_a_row(write):
    assert read_table(write("a,b\n,\n1,2\n")).column("a") == ("", "1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"data\.csv is empty\."),
        (" \n\n", r"data\.csv is empty\."),
        ("a,b\n", r"data\.csv has a header but no rows\."),
        ("a,b\n1,2\n1,2,3\n", r"data\.csv, line 3: 3 cells, but the header has 2\."),
        ('a,b\n"1\n1",2\n1\n', r"data\.csv, line 4: 1 cell, but the header has 2\."),
        ("a,b,a\n1,2,3\n", r"data\.csv: more than one column is called 'a'\."),
        (",\n1,2\n", r"the first line must hold the column names\."),
        (b"a,b\n1,\xe9\n", r"data\.csv, line 2: byte 0xe9 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), r"data\.csv is UTF-16 text"),
        (b"a,b\n\x00,2\n", r"data\.csv is not a text file"),
        ('a,b\n1,2\n"x,2\n', r"data\.csv, line 3: not valid CSV"),
        ('a,b\n"x"y,2\n', r"data\.csv, line 2: not valid CSV"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(write, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_table(write(content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*nothing\.csv\."):
        read_table(tmp_path / "nothing.csv")


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(UserError, match=r"is a directory; give a CSV file\."):
        read_table(tmp_path)


def test_a_name_that_no_file_can_have():
    with pytest.raises(UserError, match=r"is not a file name\."):
        read_table("a\0b")


def test_a_name_that_is_too_long():
    with pytest.raises(UserError, match=r"cannot be read: "):
        read_table("x" * 10_000)

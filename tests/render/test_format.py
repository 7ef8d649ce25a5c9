import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilknock.render import format as text


@pytest.mark.parametrize(
    ("outside", "shown"),
    [
        ("plain", "plain"),
        ("naïve-日本", "naïve-日本"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udc80", "\\udc80"),
    ],
)
def test_printable_escapes_what_moves_the_cursor_or_hides(outside, shown):
    assert text.printable(outside) == shown


@given(st.text())
def test_printable_is_printable(outside):
    assert text.printable(outside).isprintable()


@given(st.text(), st.integers(min_value=3, max_value=50))
def test_shortened_text_fits_and_keeps_its_side(long, width):
    end, start = text.keep_end(long, width), text.keep_start(long, width)
    assert text.display_width(end) <= width
    assert text.display_width(start) <= width
    if text.display_width(long) > width:
        assert end.startswith("...")
        assert start.endswith("...")
        assert long.endswith(end[3:])
        assert long.startswith(start[:-3])
    else:
        assert start == end == long


@pytest.mark.parametrize(
    ("shown", "columns"),
    [("plain", 5), ("naïve", 5), ("nai\u0308ve", 5), ("日本", 4), ("ไทย\u0e31", 3), ("", 0)],
)
def test_wide_characters_take_two_columns_and_combining_marks_none(shown, columns):
    assert text.display_width(shown) == columns


def test_wide_text_is_cut_by_its_columns():
    assert text.keep_start("日本語のテスト", 10) == "日本語..."
    assert text.keep_end("日本語のテスト", 10) == "...テスト"
    assert text.fit_test("日本/語.py::テスト[1]", 17) == "語.py::テスト[1]"


def test_a_path_is_shown_relative_to_this_folder_while_it_is_there(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert text.shown_path(str(folder / "a.json")) == "a.json"
    folder.rmdir()
    assert text.shown_path(str(folder / "a.json")) == str(folder / "a.json")


def test_keep_end_of_nothing():
    assert text.keep_end("abcdef", 3) == "..."


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "tests/unit/test_a.py::TestIt::test_x[a/b::c]"),
        (33, "test_a.py::TestIt::test_x[a/b::c]"),
        (32, "..._a.py::TestIt::test_x[a/b::c]"),
        (10, "...a/b::c]"),
    ],
)
def test_an_id_loses_its_folders_first_and_never_its_end(width, shown):
    assert text.fit_test("tests/unit/test_a.py::TestIt::test_x[a/b::c]", width) == shown


LONG = f"tests/unit/test_a.py::TestIt::test_x[{'0123456789' * 4}-end]"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, "...tIt::test_x[0123456789012345678901234567890123456789-end]"),
        (40, "...test_x[...8901234567890123456789-end]"),
        (20, "...test_x[...89-end]"),
        (19, "...90123456789-end]"),
    ],
)
def test_an_id_with_long_parameters_keeps_its_function_and_their_end(width, shown):
    assert text.fit_test(LONG, width) == shown

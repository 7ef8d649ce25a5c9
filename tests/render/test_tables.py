"""One table renderer for every table, as text and as Markdown."""

import pytest

from pytest_gilknock.render.format import keep_start
from pytest_gilknock.render.lines import Line, write_lines
from pytest_gilknock.render.markdown import code
from pytest_gilknock.render.tables import MIN_WIDTH, Column, cut_test, markdown_table, text_table

NUMBERS = Column("wait", ["1 ms", "20.5 ms"])
NAMES = Column("test", ["a" * 30, "b" * 10], right=False, cut=cut_test)
PLACES = Column(
    "blame", ["c" * 25, "-"], right=False, cut=lambda row, cell, width: keep_start(cell, width)
)


def test_numbers_stand_right_and_names_left() -> None:
    assert text_table([NUMBERS, NAMES]) == [
        "   wait  test",
        f"   1 ms  {'a' * 30}",
        f"20.5 ms  {'b' * 10}",
    ]


@pytest.mark.parametrize("width", [29, 35, 39, 60])
def test_the_last_column_is_cut_to_fit(width: int) -> None:
    lines = text_table([NUMBERS, NAMES], width)
    assert max(map(len, lines)) == min(width, 39)
    assert lines[1].endswith("aaa")
    assert ("..." in lines[1]) is (width < 39)


def test_a_column_is_never_cut_to_nothing() -> None:
    assert [len(line) for line in text_table([NUMBERS, NAMES], 1)] == [
        len("20.5 ms  test"),
        len("20.5 ms  ") + MIN_WIDTH,
        len("20.5 ms  ") + 10,
    ]


@pytest.mark.parametrize("width", [40, 50, 60, 66, 80])
def test_two_columns_share_what_is_left(width: int) -> None:
    lines = text_table([NUMBERS, PLACES, NAMES], width)
    assert max(map(len, lines)) == min(width, 66)
    assert len({line.index("test") for line in lines[:1]} | {lines[2].index("b" * 3)}) == 1


def test_wide_characters_keep_the_columns_aligned() -> None:
    long = f"テスト[{'日本語' * 3}]"
    names = Column("test", [long, "abc"], right=False, cut=cut_test)
    after = Column("wait", ["1 ms", "2 ms"])
    assert text_table([names, after]) == [
        f"test{' ' * 24}wait",
        f"{long}  1 ms",
        f"abc{' ' * 25}2 ms",
    ]
    assert text_table([names, after], 30)[1:] == [
        f"テスト[...{'日本語' * 2}]  1 ms",
        f"abc{' ' * 22}2 ms",
    ]


def test_markdown_has_the_same_columns() -> None:
    empty = Column("", ["", "x"])
    assert list(markdown_table([NUMBERS, empty, NAMES._replace(cells=["a", "b"])])) == [
        "| wait | | test |",
        "|-:|-:|-|",
        "| 1 ms | | a |",
        "| 20.5 ms | x | b |",
    ]


def test_no_cell_or_head_breaks_a_markdown_table() -> None:
    cells = ["a|b", "*c*", ""]
    table = [Column("x|y", cells), Column("code", cells, markdown=code), Column("", cells)]
    assert list(markdown_table(table)) == [
        "| x\\|y | code | |",
        "|-:|-:|-:|",
        "| a\\|b | `a\\|b` | a\\|b |",
        "| \\*c\\* | `*c*` | \\*c\\* |",
        "| | | |",
    ]


def test_lines_are_printed_with_their_markup() -> None:
    written: list[tuple[str, dict[str, bool]]] = []

    class Terminal:
        def write_line(self, line: str, **markup: bool) -> None:
            written.append((line, markup))

    write_lines(Terminal(), [Line("a"), Line("b", red=True, bold=True)])
    assert written == [
        ("a", {"red": False, "yellow": False, "bold": False}),
        ("b", {"red": True, "yellow": False, "bold": True}),
    ]

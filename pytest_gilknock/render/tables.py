"""Tables: of aligned text, which fit a width where they can, and in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pytest_gilknock.render.format import display_width, fit_test
from pytest_gilknock.render.markdown import prose

MIN_WIDTH = 20
"""The least that is left of a column that is cut."""

_GAP = 2


class Column(NamedTuple):
    """A column of plain text.

    ``cut`` makes a cell, given its row and its text, fit a width; None: it may not. ``markdown``
    makes Markdown of a cell that is not empty.
    """

    head: str
    cells: Sequence[str]
    right: bool = True
    cut: Callable[[int, str, int], str] | None = None
    markdown: Callable[[str], str] = prose

    @property
    def width(self) -> int:
        """The width of the widest cell, or of the head."""
        return max(map(display_width, (self.head, *self.cells)))

    def fitted(self, width: int) -> Column:
        """Return the column with its cells cut to ``width``."""
        if self.cut is None or self.width <= width:
            return self
        cells = [self.cut(row, cell, width) for row, cell in enumerate(self.cells)]
        return self._replace(cells=cells)


def cut_test(row: int, cell: str, width: int) -> str:
    """Cut the id of a test."""
    return fit_test(cell, width)


def table_width(columns: Sequence[Column]) -> int:
    """Return the width that a table takes with nothing cut."""
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def text_table(columns: Sequence[Column], width: int | None = None) -> list[str]:
    """Return the lines of a table, its heads first.

    At most two columns can be cut; they share what ``width`` leaves for them, the first one no more
    than two thirds of it where both need more.
    """
    columns = list(columns)
    cut = [place for place, column in enumerate(columns) if column.cut is not None]
    if width is not None and cut:
        room = width - _GAP * (len(columns) - 1)
        room -= sum(column.width for place, column in enumerate(columns) if place not in cut)
        *first, last = cut
        for place in first:
            share = max(2 * room // 3, room - columns[last].width)
            columns[place] = columns[place].fitted(share)
            room -= columns[place].width
        columns[last] = columns[last].fitted(room if first else max(MIN_WIDTH, room))
    rows = zip(*((column.head, *column.cells) for column in columns), strict=True)
    return [_line(row, columns) for row in rows]


def _line(row: tuple[str, ...], columns: Sequence[Column]) -> str:
    cells = []
    for cell, column in zip(row, columns, strict=True):
        pad = " " * (column.width - display_width(cell))
        cells.append(pad + cell if column.right else cell + pad)
    return (" " * _GAP).join(cells).rstrip()


def markdown_table(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a table, each cell as its column has it in Markdown; nothing is cut."""
    yield _markdown_row([prose(column.head) for column in columns])
    yield "|" + "|".join("-:" if column.right else "-" for column in columns) + "|"
    for cells in zip(*map(_markdown_cells, columns), strict=True):
        yield _markdown_row(cells)


def _markdown_cells(column: Column) -> list[str]:
    return [column.markdown(cell) if cell else "" for cell in column.cells]


def _markdown_row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"

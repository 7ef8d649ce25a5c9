"""Markdown as GitHub and GitLab have it, from text that may come from outside. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilknock.render.tables import Column


def code(words: str) -> str:
    """Return ``words`` as a code span that neither backticks nor a table cell's end can break."""
    words = re.sub(r"\\(?=\|)", r"\\ ", words).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") or not words else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def prose(words: str) -> str:
    """Return ``words`` so that Markdown shows them as they are."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", words)


def markdown_table(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a table, each cell as its column has it in Markdown; nothing is cut."""
    yield _row([prose(column.head) for column in columns])
    yield "|" + "|".join("-:" if column.right else "-" for column in columns) + "|"
    for cells in zip(*map(_cells, columns), strict=True):
        yield _row(cells)


def _cells(column: Column) -> list[str]:
    return [column.markdown(cell) if cell else "" for cell in column.cells]


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"

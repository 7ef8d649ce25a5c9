"""Lines of the terminal's report with their markup. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Line(NamedTuple):
    """One line; the markup is that of pytest's terminal writer."""

    text: str
    red: bool = False
    yellow: bool = False
    bold: bool = False


class Terminal(Protocol):
    """What prints lines, as pytest's terminal reporter does."""

    def write_line(self, line: str, **markup: bool) -> None: ...


def write_lines(terminal: Terminal, lines: Iterable[Line]) -> None:
    """Print lines with their markup."""
    for text, red, yellow, bold in lines:
        terminal.write_line(text, red=red, yellow=yellow, bold=bold)

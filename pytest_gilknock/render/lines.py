"""Lines of the terminal's report with their markup. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from pytest_gilknock.model import units


class Line(NamedTuple):
    """One line; the markup is that of pytest's terminal writer."""

    text: str
    red: bool = False
    yellow: bool = False
    bold: bool = False


def heading(*, without_gil: bool) -> str:
    """Return what heads a report of a run, by what was measured in it."""
    return "Waits without the GIL" if without_gil else "GIL contention"


def rows_left_out(number: int) -> Iterator[Line]:
    """Yield how many rows of a table ``--gil-top`` leaves out, if it does."""
    if number:
        yield Line(f"({units.count(number, 'more row')} left out. Use --gil-top=0 to show all.)")


class Terminal(Protocol):
    """What prints lines, as pytest's terminal reporter does."""

    def write_line(self, line: str, **markup: bool) -> None: ...


def write_lines(terminal: Terminal, lines: Iterable[Line]) -> None:
    """Print lines with their markup."""
    for text, red, yellow, bold in lines:
        terminal.write_line(text, red=red, yellow=yellow, bold=bold)

"""How names from outside are printed, and how text is cut to a width. Pure.

A width is in columns of a terminal. What is added to a text is plain ASCII.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from itertools import accumulate, takewhile

_NAME_WIDTH = 32
_LEAST_OF_PARAMETERS = 10


def printable(text: str) -> str:
    """Return ``text`` with every character escaped that could move a cursor or hide another one."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def error_text(error: Exception) -> str:
    """Return ``MemoryError``, or ``KeyError: 'wait'``, printable."""
    return printable(": ".join(filter(None, [type(error).__name__, str(error)])))


def display_width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes.

    Chinese characters, for example, take two, and marks that combine with the one before them none.
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def keep_end(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns; what is cut off stands at its start."""
    if display_width(text) <= width:
        return text
    return "..." + text[len(text) - _fitting(reversed(text), width - 3) :]


def keep_start(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` columns; what is cut off stands at its end."""
    if display_width(text) <= width:
        return text
    return text[: _fitting(text, width - 3)] + "..."


def short_name(name: str) -> str:
    """Return the name of a thread or a type as it stands in a line beside other things."""
    return keep_start(printable(name), _NAME_WIDTH)


def _fitting(chars: Iterable[str], width: int) -> int:
    """Return how many of these characters, from the first on, take ``width`` columns or less."""
    ends = accumulate(map(_columns, chars))
    return sum(1 for _ in takewhile(lambda end: end <= width, ends))


def fit_test(nodeid: str, width: int) -> str:
    """Return a test's id in at most ``width`` columns: its folders go first, then its start.

    Where long parameters would leave nothing of its function's name, their start goes before that.
    """
    if display_width(nodeid) <= width:
        return nodeid
    test, bracket, parameters = nodeid.partition("[")
    file = test.partition("::")[0]
    test = test[file.rfind("/") + 1 :]
    function = test.rpartition("::")[2]
    room = width - min(display_width(test), display_width(f"...{function}")) - len(bracket)
    if bracket and _LEAST_OF_PARAMETERS <= room < display_width(parameters):
        parameters = keep_end(parameters, room)
        return keep_end(test, width - 1 - display_width(parameters)) + bracket + parameters
    return keep_end(test + bracket + parameters, width)


def shown_path(path: str) -> str:
    """Return a path, relative to this folder where it is below it, printable."""
    below = os.path.join(current_folder(), "")
    return printable(path.removeprefix(below))


def current_folder() -> str:
    """Return the folder that paths are shown relative to; "" where somebody has removed it."""
    try:
        return os.getcwd()
    except OSError:
        return ""

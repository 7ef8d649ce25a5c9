"""How names from outside are printed, and how text is cut to a width. Plain ASCII. Pure."""

from __future__ import annotations

import os


def printable(text: str) -> str:
    """Return ``text`` with every character escaped that could move a cursor or hide another one."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def keep_end(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` characters; what is cut off stands at its start."""
    return text if len(text) <= width else "..." + text[len(text) - max(width - 3, 0) :]


def keep_start(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` characters; what is cut off stands at its end."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def fit_test(nodeid: str, width: int) -> str:
    """Return a test's id in at most ``width`` characters: its folders go first, then its start."""
    if len(nodeid) > width:
        file = nodeid.partition("[")[0].partition("::")[0]
        nodeid = nodeid[file.rfind("/") + 1 :]
    return keep_end(nodeid, width)


def shown_path(path: str) -> str:
    """Return a path, relative to this folder where it is below it, printable."""
    below = os.path.join(os.getcwd(), "")
    return printable(path.removeprefix(below))

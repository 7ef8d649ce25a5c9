"""How a place in the code is printed: ``store.py:14 archive > zlib.compress``. Pure.

``root`` is the directory that paths are printed relative to.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import takewhile

from pytest_gilknock.model.stack import COLLECTING, PYTEST, Frame, Place, Stack, shorten
from pytest_gilknock.render.format import display_width, keep_end, keep_start, printable

NO_FRAME = "(no Python frame)"
WIDE = 1_000
"""Room for any line: nothing is shortened."""

_ROOM_FOR_A_LINE = 20
"""Columns that a place has before it says what else runs there beside a collection of garbage."""


@lru_cache(maxsize=4096)
def frame_text(frame: Frame, root: str) -> str:
    """Return ``file:line function``, or the name of a special frame."""
    if not frame.file:
        return printable(frame.function)
    return printable(f"{shorten(frame.file, root)}:{frame.line} {function_text(frame)}")


def function_text(frame: Frame) -> str:
    """Return ``outer.inner`` for ``outer.<locals>.inner``."""
    return frame.function.replace(".<locals>", "")


def place_text(place: Place, root: str) -> str:
    """Return ``file:line function > what it calls``, with how much else it calls."""
    shown = NO_FRAME if place.frame is None else frame_text(place.frame, root)
    return shown if place.inside is None else f"{shown} > {printable(place.inside)}{_more(place)}"


def _more(place: Place) -> str:
    return f" and {place.more} more" if place.more else ""


def fit_place(place: Place, root: str, width: int) -> str:
    """Return a place in at most ``width`` columns, from some 20 up; the line number stays.

    What it calls goes first, then folders, then the names of the functions around its own, then the
    end of that, then the start of the file's. That garbage is collected there stays: it is not what
    the line says.
    """
    text = place_text(place, root)
    if display_width(text) <= width or place.frame is None:
        return keep_start(text, width)
    if place.inside == COLLECTING:
        collecting = f" > {COLLECTING}"
        with_others = collecting + _more(place)
        if width - len(with_others) >= _ROOM_FOR_A_LINE:
            collecting = with_others
        return fit_place(place.line, root, width - len(collecting)) + collecting
    frame = place.frame
    path = shorten(frame.file, root)
    name = _file_name(frame)
    for file, inside, more in (
        (path, place.inside, 0),
        (path, None, 0),
        (name, place.inside, place.more),
        (name, place.inside, 0),
        (name, None, 0),
    ):
        short = place_text(Place(frame._replace(file=file), inside, more), "")
        if display_width(short) <= width:
            return short
    where = keep_end(printable(f"{name}:{frame.line}"), width)
    room = width - display_width(where) - 1
    function = printable(function_text(frame))
    while "." in function and display_width(function) > room:
        function = function.partition(".")[2]
    return f"{where} {keep_start(function, room)}" if room > 5 else where


def _file_name(frame: Frame) -> str:
    """Return a file's name, with its folder's where every package has a file of that name."""
    parts = frame.file.replace("\\", "/").split("/")
    return "/".join(parts[-2 if parts[-1] in ("__init__.py", "__main__.py") else -1 :])


def shortest_text(place: Place) -> str:
    """Return ``store.py:14 archive``."""
    frame, inside = place.frame, place.inside if place.inside == COLLECTING else None
    named = None if frame is None else frame._replace(file=_file_name(frame))
    return place_text(Place(named, inside), "")


def frames_shown(stack: Stack) -> Stack:
    """Return the frames of a stack; pytest's own around the test become one."""
    outer = [*takewhile(lambda frame: not frame.own, reversed(stack))]
    pytests = max((at for at, frame in enumerate(outer, 1) if frame.of_pytest), default=0)
    return (*stack[: len(stack) - pytests], PYTEST) if pytests else stack

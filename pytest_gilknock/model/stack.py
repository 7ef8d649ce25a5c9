"""Stacks of Python frames, and which of their frames a reader wants to see. Pure.

The innermost frame of a thread that runs ``json.dumps`` stands in ``json/encoder.py``: true, and of
no use to somebody who looks for a line to change. So a stack has a *place*: its first frame, from
the inside, that belongs neither to the standard library nor to an installed package. A stack that
has none, such as that of a test that is installed with its package, has its first frame of an
installed package, so that it is called by the library that waits and not by ``threading``. Where
that is pytest, it stands around the test, and no line of it means anything to the reader.
"""

from __future__ import annotations

import re
import sysconfig
from functools import lru_cache
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_gilknock.model.wire import RawStack

_SEPARATORS = re.compile(r"[\\/]")
_INSTALLED = ("site-packages", "dist-packages")
# `lib/python3.12/` of any interpreter: a file of readings may come from another machine.
_STANDARD_LIBRARY = re.compile(r".*[\\/]lib(?:64)?[\\/]python\d+\.\d+t?[\\/](.+)", re.IGNORECASE)
_OWN_STANDARD_LIBRARY = tuple({sysconfig.get_path(name) + "/" for name in ("stdlib", "platstdlib")})
# An installed program's code has a file; these are made by the interpreter or by `exec`, but for
# doctests, which are the program's.
_NO_FILE = re.compile(r"<(?!doctest ).*>")
# The script of an installed command, such as `.venv/bin/pytest`, which every test is called from.
_COMMAND = re.compile(r"(?:.*[\\/])?(?:bin|Scripts)[\\/](?:[^.\\/]+|py\.test)(?:\.exe)?")
# What a comprehension runs in is, to a reader, a part of the function that it stands in.
_INNER_SCOPES = re.compile(r"(?<=.)(\.(<locals>|<(gen|list|set|dict)(expr|comp)>))+$")
_PYTESTS = ("_pytest", "pluggy", "xdist")
_THIS_PACKAGE = __file__[: -len("model/stack.py")]


COLLECTING = "<GC>"
"""The function of the special frame that is innermost while garbage is being collected."""


class Frame(NamedTuple):
    """Where one function of a stack stands."""

    file: str
    """The file's path as the code object has it; empty for the special frames ``<GC>`` (garbage is
    being collected) and ``<more>`` (the stack is deeper than it was read)."""

    line: int
    """Line number, 1 for the first; 0 for a special frame."""

    function: str
    """The function's qualified name (its plain name up to Python 3.10)."""

    callee: str | None = None
    """The native function it is calling, such as ``zlib.compress``; None where not known."""

    @property
    def own(self) -> bool:
        """Whether it is the program's: neither of the standard library nor of a package."""
        return bool(self.file) and _is_own(self.file)

    @property
    def installed(self) -> bool:
        """Whether it is of an installed package, other than this one."""
        return bool(self.file) and _is_installed(self.file)

    @property
    def of_pytest(self) -> bool:
        """Whether it is pytest's own, or pytest-xdist's."""
        return not {*_PYTESTS}.isdisjoint(_SEPARATORS.split(self.file))


PYTEST = Frame("", 0, "(pytest)")
"""Stands for all frames of pytest in a stack that has none of the program."""

Stack = tuple[Frame, ...]
"""Frames, innermost first; empty for a thread that runs no Python code."""


Names = dict[int, str | None]
"""Names of threads by native id; some are learned only after a stack was seen."""


def names_of(threads: Iterable[tuple[int, str | None]]) -> Names:
    """Return the names of threads, of which there are the native id and the name.

    The kernel uses the id of a thread that has ended again: there is no name for an id that threads
    of different names had.
    """
    names: Names = {}
    for native_id, name in threads:
        names[native_id] = name if names.get(native_id, name) == name else None
    return names


class Place(NamedTuple):
    """What a stack is called in a row: its first own frame, and what that one waits for inside."""

    frame: Frame | None
    """The first frame, from the inside, that is the program's; without one the first of an
    installed package (``(pytest)`` if that is pytest), and without that the innermost; None for
    an empty stack. Its function is the one that a comprehension stands in."""

    inside: str | None
    """What runs at the inner end: a native function, ``<GC>``, or the innermost function if that is
    another frame; None where it is the frame itself."""

    more: int = 0
    """How much else was seen there, at the inner ends of other stacks."""

    @property
    def line(self) -> Place:
        """The place whatever runs inside: what places are summed up by."""
        return self if self.frame is None else Place(self.frame, None)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-ready data; without a frame the file is empty and the line 0."""
        file, line, function, _ = self.frame or Frame("", 0, "")
        return {"file": file, "line": line, "function": function, "inside": self.inside}


def stack_of(raw: RawStack) -> Stack:
    """Return the frames of a stack as it travels; what came as JSON has lists for tuples."""
    return tuple(starmap(_frame, raw))


_frame = lru_cache(maxsize=4096)(Frame)


def place_of(stack: Stack) -> Place:
    """Return the place of a stack."""
    python = [frame for frame in stack if frame.file]
    special = next((frame.function for frame in stack[:1] if not frame.file), None)
    if not python:
        return Place(None, special)
    innermost = python[0]
    installed = next((frame for frame in python if frame.installed), innermost)
    shown = next((frame for frame in python if frame.own), installed)
    around_test = innermost.of_pytest or innermost.file.startswith(_THIS_PACKAGE)
    if shown.of_pytest and not shown.own:
        shown = PYTEST
    inside = special or innermost.callee
    if inside is None and shown is not innermost and not (shown is PYTEST and around_test):
        inside = _inner_name(innermost)
    function = _INNER_SCOPES.sub("", shown.function)
    return Place(shown._replace(function=function, callee=None), inside)


def common_place(line: Place, insides: Mapping[str | None, float]) -> Place:
    """Return what places of one ``line`` are called together: by the heaviest of what ran inside.

    ``insides`` has the weight of each; None stands for the line itself. Beside a collection of
    garbage the line counts as something else: to collect is not what it says.
    """
    heaviest = max(insides, key=lambda inside: insides[inside], default=line.inside)
    if line.frame is None or heaviest is None:
        return line
    others = insides.keys() - {heaviest}
    return Place(line.frame, heaviest, len(others if heaviest == COLLECTING else others - {None}))


def _inner_name(frame: Frame) -> str:
    """``json.encoder.JSONEncoder.encode``, shortened to module and function."""
    module = re.sub(r"([\\/]__init__)?\.py$", "", frame.file)
    return f"{_SEPARATORS.split(module)[-1]}.{frame.function}"


def shorten(file: str, root: str) -> str:
    """Return a path as it is printed.

    It begins at ``site-packages``, or is relative to ``root`` or to the folder of the standard
    library; else it is whole.
    """
    parts = _SEPARATORS.split(file)
    for folder in _INSTALLED:
        if folder in parts:
            return "/".join(parts[len(parts) - 1 - parts[::-1].index(folder) :])
    if root and file.startswith(_with_separator(root)):
        return file[len(_with_separator(root)) :]
    inside = _STANDARD_LIBRARY.match(file)
    return inside[1] if inside else file


def _with_separator(folder: str) -> str:
    return folder if folder.endswith(("/", "\\")) else folder + ("\\" if "\\" in folder else "/")


@lru_cache(maxsize=4096)
def _is_own(file: str) -> bool:
    if _NO_FILE.fullmatch(file) or file.startswith((_THIS_PACKAGE, *_OWN_STANDARD_LIBRARY)):
        return False
    if _lies_installed(file) or _COMMAND.fullmatch(file):
        return False
    return _STANDARD_LIBRARY.match(file) is None


@lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    return not file.startswith(_THIS_PACKAGE) and _lies_installed(file)


def _lies_installed(file: str) -> bool:
    return not {*_INSTALLED}.isdisjoint(_SEPARATORS.split(file))


OWN_THREAD = "gilknock's own thread"
"""Who knocks, in the words of reports: their readers need not know what a knock is."""

OTHER_THREADS = "other threads"
"""What threads are called that a reading does not tell apart: of many at one place those with the
smallest parts (``name_as_object`` in src/blame.c)."""

NOT_ASKED = f"{OWN_THREAD} did not ask for the GIL meanwhile"
"""Why a number is missing that comes from knocks."""


def thread_label(name: str | None, native_id: int) -> str:
    """Return what a thread is called in reports; the id 0 stands for an unknown one."""
    return name or (f"thread {native_id}" if native_id else "an unknown thread")

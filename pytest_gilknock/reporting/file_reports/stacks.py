"""Stacks as flame graphs are drawn from: flamegraph.pl, inferno, https://speedscope.app. Pure.

The "collapsed" format of https://github.com/brendangregg/FlameGraph: a line for each stack, its
frames outermost first with ``;`` between them, a space, and its weight as an integer. A frame is
``function (file:line)``, as py-spy and others write it. The weight is in microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.stack import Frame, Stack, shorten
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.place_text import function_text
from pytest_gilknock.reporting.file_report import FileReport

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.reporting.results import Results

HOLDERS = "holders"
"""Below this frame is where threads held the GIL while threads of the program waited for it."""

HOLDERS_KNOCKED = "holders_while_knocks_waited"
"""Below this frame is where threads held it while knocks waited."""

VICTIMS = "victims"
"""Below this frame is where threads waited."""

NO_FRAME = "(no_Python_frame)"


class StacksReport(FileReport):
    """Where threads held the GIL while others waited, and where they waited, over all tests."""

    format = "stacks"

    def __init__(self) -> None:
        self._omitted = 0.0
        self._methods: set[str] = set()

    def write(self, results: Results) -> Iterator[str]:
        self._omitted = 0.0
        self._methods = set()
        waited: defaultdict[tuple[str, Stack], float] = defaultdict(float)
        for test in results.everything():
            reading = test.reading
            self._methods.add(reading.method)
            self._omitted += reading.blame_omitted[1]
            for root, stack, seconds in _parts(reading):
                waited[root, stack] += seconds
        yield from _lines(waited.items(), results.root)

    def caveats(self, results: Results) -> Iterator[str]:
        if self._methods == {"disabled"}:
            yield "There are no stacks of holders and victims: the GIL is off"
        if self._omitted:
            omitted = units.seconds(self._omitted)
            yield f"The stacks lack {omitted} of waiting: a reading keeps its worst places only"


def _parts(reading: GilReading) -> Iterator[tuple[str, Stack, float]]:
    for blame in reading.blame:
        for part in blame.stacks:
            yield HOLDERS, part.frames, part.waited
            yield HOLDERS_KNOCKED, part.frames, part.knock_waited
    for victim in reading.victims:
        for part in victim.stacks:
            yield VICTIMS, part.frames, part.waited


def _lines(waited: Iterable[tuple[tuple[str, Stack], float]], root: str) -> Iterator[str]:
    """Yield a line for each stack, sorted; the same names may come from different stacks."""
    sums: defaultdict[str, float] = defaultdict(float)
    for (top, stack), seconds in waited:
        sums[";".join((top, *_frames(stack, root)))] += seconds
    for line, seconds in sorted(sums.items()):
        microseconds = round(seconds * 1e6)
        if microseconds:
            yield f"{line} {microseconds}\n"


def _frames(stack: Stack, root: str) -> Iterator[str]:
    """Yield the names of a stack's frames, outermost first."""
    if not stack:
        yield NO_FRAME
    for frame in reversed(stack):
        yield _frame(frame, root)
        if frame.callee:
            yield _harmless(frame.callee)


def _frame(frame: Frame, root: str) -> str:
    name = _harmless(function_text(frame))
    if not frame.file:
        return name
    return f"{name} ({_harmless(shorten(frame.file, root))}:{frame.line})"


def _harmless(name: str) -> str:
    """Return a name without what the format gives a meaning: semicolons, spaces, line ends."""
    return printable(name).replace(";", ",").replace(" ", "_")

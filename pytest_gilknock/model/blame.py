"""Who held the GIL while others waited, who waited, and who kept it though asked. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap, takewhile
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pytest_gilknock.model.stack import (
    OTHER_THREADS,
    Frame,
    Names,
    Place,
    Stack,
    common_place,
    place_of,
    stack_of,
    thread_label,
)

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.wire import RawBlame, RawHold, RawStack, RawVictim

LEAST_SHARE = 0.01
"""A place below this share of the wait is counted, not listed."""

LEAST_LOOKS = 3
"""A place that fewer looks fell on is counted, not listed: its time is a guess."""

_LEAST_PREFIX = 4
"""Threads are called by what their names begin with if that has so many letters."""


_NUMBER = re.compile(r"\d+(?=$| \()")
"""The number in ``pool_3`` and ``Thread-3 (target)``."""


def group_label(labels: Iterable[str]) -> str:
    """Return what several threads are called: ``pool_* (5)``, or the first and how many others.

    Those that are not told apart come last, and are not counted.
    """
    known: list[str] = []
    rest: list[str] = []
    for label in labels:
        (rest if label == OTHER_THREADS else known).append(label)
    if not known:
        return OTHER_THREADS
    *parts, last = [*_group_parts(known), *["others"] * bool(rest)]
    return f"{', '.join(parts)} and {last}" if parts else last


def _group_parts(labels: list[str]) -> tuple[str, ...]:
    first, *others = labels
    if not others:
        return (first,)
    if set(others) == {first}:
        return (f"{first} ({len(labels)})",)
    columns = zip(*labels, strict=False)
    shared = "".join(letters[0] for letters in takewhile(lambda one: len(set(one)) == 1, columns))
    if len(shared) >= _LEAST_PREFIX:
        return (f"{shared}* ({len(labels)})",)
    return first, f"{len(others)} more"


def pools_of(labels: Iterable[str]) -> list[list[str]]:
    """Return threads in groups: those whose names differ in their number at most are one."""
    pools: dict[str, list[str]] = {}
    for label in labels:
        number = _NUMBER.search(label)
        is_named = number is not None and number.start() >= _LEAST_PREFIX
        pools.setdefault(_NUMBER.sub("", label) if is_named else label, []).append(label)
    return list(pools.values())


class ThreadPart(NamedTuple):
    """A thread's part in a place."""

    native_id: int
    """The kernel's id of the thread; 0 where unknown."""

    name: str | None
    """The name of its :class:`threading.Thread`; None where it could not be learned. Of many
    threads at one place those with the smallest parts are one, called ``"other threads"``."""

    waited: float
    """Time (s) that threads waited for it, or that it waited itself."""

    knock_waited: float = 0.0
    """Time (s) that knocks waited for it."""

    @property
    def label(self) -> str:
        """The thread's name, or its native id where it has none."""
        return thread_label(self.name, self.native_id)


class StackPart(NamedTuple):
    """A stack's part in a place."""

    frames: Stack
    """Its frames, innermost first."""

    waited: float
    """Time (s) that threads waited while the holder stood there, or that they waited there."""

    knock_waited: float = 0.0
    """Time (s) that knocks waited while the holder stood there."""


class _AtPlace:
    """What rows of blame, victims and holds have in common."""

    __slots__ = ()
    place: Place
    threads: tuple[ThreadPart, ...]
    stacks: tuple[StackPart, ...]

    @property
    def frame(self) -> Frame | None:
        """The frame the row is named by; None for a thread without any Python frame."""
        return self.place.frame

    @property
    def file(self) -> str:
        """The path of that frame's file; empty without a frame."""
        return self.place.frame.file if self.place.frame else ""

    @property
    def line(self) -> int:
        """The line it stands on, 1 for the first; 0 without a frame."""
        return self.place.frame.line if self.place.frame else 0

    @property
    def function(self) -> str:
        """The name of its function; empty without a frame."""
        return self.place.frame.function if self.place.frame else ""

    @property
    def where(self) -> dict[str, object]:
        """The frame the row is named by, its threads and its stacks, JSON-ready."""
        return {
            **self.place.as_dict(),
            "threads": [thread._asdict() for thread in self.threads],
            "stacks": [stack._asdict() for stack in self.stacks],
        }

    @property
    def thread_label(self) -> str:
        """What its threads are called together, the one with the largest part first."""
        return group_label(thread.label for thread in self.threads)


@dataclass(frozen=True, slots=True)
class Blame(_AtPlace):
    """A place whose threads held the GIL while others waited for it."""

    place: Place
    """The first frame outside the standard library and installed packages, and what it calls."""

    waited: float
    """Time (s) that threads of the program waited because of it, a part of ``wait``."""

    looks: int
    """How many looks found the holder there while threads waited. Below three, ``waited`` is a
    rough guess. With ``blame_method`` ``"released"``: how often the GIL was let go there."""

    knock_waited: float
    """Time (s) that knocks waited because of it; never a part of ``wait``."""

    knock_looks: int
    """How many looks found the holder there while a knock waited."""

    threads: tuple[ThreadPart, ...]
    """The threads that held it, the one most waited for first."""

    stacks: tuple[StackPart, ...]
    """The whole stacks, frames innermost first, the one most waited for first."""

    def as_dict(self) -> dict[str, object]:
        """Return the row as JSON-ready data; a frame is ``[file, line, function, callee]``."""
        return {
            "waited": self.waited,
            "looks": self.looks,
            "knock_waited": self.knock_waited,
            "knock_looks": self.knock_looks,
            **self.where,
        }


@dataclass(frozen=True, slots=True)
class Victim(_AtPlace):
    """A place whose threads waited for the GIL."""

    place: Place
    """The first frame outside the standard library and installed packages, and what it calls."""

    waited: float
    """Time (s) they waited there, summed over threads."""

    longest: float
    """The longest single wait there (s)."""

    waits: int
    """How many waits were seen there; of many short ones only a part is."""

    threads: tuple[ThreadPart, ...]
    """The threads that waited, the one that waited longest first."""

    stacks: tuple[StackPart, ...]
    """The whole stacks, frames innermost first, the one most waited in first."""

    def as_dict(self) -> dict[str, object]:
        """Return the row as JSON-ready data; a frame is ``[file, line, function, callee]``."""
        return {
            "waited": self.waited,
            "longest": self.longest,
            "waits": self.waits,
            **self.where,
        }


@dataclass(frozen=True, slots=True)
class Hold(_AtPlace):
    """A place at which threads kept the GIL although they were asked to let it go.

    A thread that waits for a whole switch interval asks the holder to let the GIL go. Bytecode does
    at once; a native function that does not release the GIL keeps it. A hold counts if it went on
    for more than 1 ms after that.
    """

    place: Place
    """The first frame outside the standard library and installed packages, and what it calls, as
    the thread stood soon after it was asked."""

    held: float
    """Time (s) of these holds, from taking the GIL to letting it go, all together."""

    longest: float
    """The longest of them (s)."""

    count: int
    """How many there were."""

    threads: tuple[ThreadPart, ...]
    """The threads that kept it, the one that did longest first."""

    stacks: tuple[StackPart, ...]
    """The whole stacks, frames innermost first, the one held in longest first."""

    def as_dict(self) -> dict[str, object]:
        """Return the row as JSON-ready data; a frame is ``[file, line, function, callee]``."""
        where = self.where
        where["threads"] = [
            {"native_id": part.native_id, "name": part.name, "held": part.waited}
            for part in self.threads
        ]
        where["stacks"] = [{"frames": part.frames, "held": part.waited} for part in self.stacks]
        return {"held": self.held, "longest": self.longest, "count": self.count, **where}


class _BlameRow(NamedTuple):
    """The parts of a ``RawBlame``."""

    stack: RawStack
    native_id: int
    name: str | None
    waited: float
    looks: int
    knock_waited: float
    knock_looks: int


class _TimedRow(NamedTuple):
    """The parts of a ``RawVictim``, or of a ``RawHold``, whose ``waited`` is how long it held."""

    stack: RawStack
    native_id: int
    name: str | None
    waited: float
    longest: float
    number: int

    @property
    def knock_waited(self) -> float:
        """No part of it is due to knocks."""
        return 0.0


Row = TypeVar("Row", _BlameRow, _TimedRow)


def blame_of(rows: Iterable[RawBlame], names: Names) -> tuple[Blame, ...]:
    """Group rows of blame by their lines; the one most waited for first."""
    found = [
        Blame(
            place,
            waited=sum(row.waited for row in part),
            looks=sum(row.looks for row in part),
            knock_waited=sum(row.knock_waited for row in part),
            knock_looks=sum(row.knock_looks for row in part),
            threads=_threads(part, names),
            stacks=_stacks(part),
        )
        for place, part in _by_line(
            starmap(_BlameRow, rows), lambda row: row.waited or row.knock_waited
        )
    ]
    return tuple(sorted(found, key=lambda blame: (-blame.waited, -blame.knock_waited)))


def victims_of(rows: Iterable[RawVictim], names: Names) -> tuple[Victim, ...]:
    """Group victims by their lines; the one where most was waited first."""
    found = [
        Victim(
            place,
            waited=sum(row.waited for row in part),
            longest=max(row.longest for row in part),
            waits=sum(row.number for row in part),
            threads=_threads(part, names),
            stacks=_stacks(part),
        )
        for place, part in _by_line(starmap(_TimedRow, rows), lambda row: row.waited)
    ]
    return tuple(sorted(found, key=lambda victim: -victim.waited))


def holds_of(rows: Iterable[RawHold], names: Names) -> tuple[Hold, ...]:
    """Group holds by place; the place of the longest one first."""
    found = [
        Hold(
            place,
            held=sum(row.waited for row in part),
            longest=max(row.longest for row in part),
            count=sum(row.number for row in part),
            threads=_threads(part, names),
            stacks=_stacks(part),
        )
        for place, part in _by_place(starmap(_TimedRow, rows)).items()
    ]
    return tuple(sorted(found, key=lambda hold: -hold.longest))


def listed(blame: Iterable[Blame], wait: float | None) -> list[Blame]:
    """Return the rows worth a line: three looks or more, and 1 % of the wait.

    Where threads of the program hardly waited, or the sums are not exact, the knocks' looks count.
    Where no row has as much, it is the worst one.
    """
    rows = list(blame)
    by_threads = [
        row
        for row in rows
        if row.looks >= LEAST_LOOKS and wait is not None and row.waited >= LEAST_SHARE * wait > 0.0
    ]
    if by_threads:
        return by_threads
    knocks = sum(row.knock_waited for row in rows)
    found = [
        row
        for row in rows
        if row.knock_looks >= LEAST_LOOKS and row.knock_waited >= LEAST_SHARE * knocks > 0.0
    ]
    return sorted(found, key=lambda row: -row.knock_waited) or rows[:1]


def worst_places(reading: GilReading) -> Sequence[Blame | Victim]:
    """Return what is blamed, the worst first.

    Where the GIL is off, that is for what is waited for in its place.
    """
    if reading.method == "disabled":
        return reading.locks.blamed
    return listed(reading.blame, reading.wait)


def _by_place(rows: Iterable[Row]) -> dict[Place, list[Row]]:
    found: dict[Place, list[Row]] = {}
    for row in rows:
        found.setdefault(place_of(stack_of(row.stack)), []).append(row)
    return found


def _by_line(
    rows: Iterable[Row], weight: Callable[[Row], float]
) -> Iterator[tuple[Place, list[Row]]]:
    """Yield the rows of each line, with the place that they are called together."""
    lines: dict[Place, dict[str | None, list[Row]]] = {}
    for place, part in _by_place(rows).items():
        lines.setdefault(place.line, {})[place.inside] = part
    for line, insides in lines.items():
        weights = {inside: sum(map(weight, part)) for inside, part in insides.items()}
        yield common_place(line, weights), [row for part in insides.values() for row in part]


def _threads(rows: Iterable[Row], names: Names) -> tuple[ThreadPart, ...]:
    sums: dict[tuple[int, str | None], ThreadPart] = {}
    for row in rows:
        thread = row.native_id, row.name or names.get(row.native_id)
        before = sums.get(thread, ThreadPart(*thread, 0.0))
        sums[thread] = before._replace(
            waited=before.waited + row.waited, knock_waited=before.knock_waited + row.knock_waited
        )
    return tuple(sorted(sums.values(), key=lambda part: (-part.waited, -part.knock_waited)))


def _stacks(rows: Iterable[Row]) -> tuple[StackPart, ...]:
    sums: dict[Stack, StackPart] = {}
    for row in rows:
        frames = stack_of(row.stack)
        before = sums.get(frames, StackPart(frames, 0.0))
        sums[frames] = StackPart(
            frames, before.waited + row.waited, before.knock_waited + row.knock_waited
        )
    return tuple(sorted(sums.values(), key=lambda part: (-part.waited, -part.knock_waited)))

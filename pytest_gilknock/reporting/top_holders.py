"""Places that kept others waiting, that waited, and that kept the GIL although it was asked for.

They are summed over the tests of a run. Pure.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_gilknock.model.blame import LEAST_LOOKS, LEAST_SHARE, group_label
from pytest_gilknock.model.stack import NOT_ASKED, Place, common_place, place_of, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_gilknock.model.wire import RawReading, RawStack

MOST_PLACES = 2_000
"""How many places are kept; beyond, the half with the least is forgotten, and counted."""


@dataclass(slots=True)
class _Total:
    """What the rows of one place add up to."""

    nodeids: set[str] = field(default_factory=set, kw_only=True)
    """The ids of the tests that have any; of a test several phases may be measured."""

    threads: set[str] = field(default_factory=set, kw_only=True)
    """Labels of its threads."""

    @property
    def tests(self) -> int:
        """In how many tests."""
        return len(self.nodeids)

    @property
    def thread_label(self) -> str:
        """What its threads are called together."""
        return group_label(sorted(self.threads))

    @property
    def tests_and_threads(self) -> dict[str, object]:
        """These two, JSON-ready."""
        return {"tests": self.tests, "threads": sorted(self.threads)}


@dataclass(slots=True)
class TopPlace(_Total):
    """What one line adds up to."""

    line: Place
    insides: dict[str | None, float] = field(default_factory=dict)
    """What ran inside it, and the time (s) waited for that; None stands for the line itself."""

    waited: float = 0.0
    """Time (s) that was waited for it, or in it, summed over threads and tests."""

    looks: int = 0
    """How many looks found a holder there; of a victim, how many waits were seen there."""

    @property
    def place(self) -> Place:
        """Where it is, and what ran inside most."""
        return common_place(self.line, self.insides)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-ready data."""
        sums = {"waited": self.waited, "looks": self.looks}
        return {**self.place.as_dict(), **sums, **self.tests_and_threads}


@dataclass(slots=True)
class TopHold(_Total):
    """What the holds at one place add up to that went on although the GIL was asked for."""

    place: Place
    longest: float = 0.0
    """The longest of them (s)."""

    count: int = 0
    held: float = 0.0
    """All of them together (s)."""

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-ready data."""
        sums = {"longest": self.longest, "count": self.count, "held": self.held}
        return {**self.place.as_dict(), **sums, **self.tests_and_threads}


@dataclass(slots=True)
class Placeless:
    """What waits without a holder's place add up to."""

    what: str
    waited: float = 0.0
    """Time (s), summed over threads and tests."""

    nodeids: set[str] = field(default_factory=set)
    """The ids of the tests in which there was some."""

    @property
    def tests(self) -> int:
        """In how many tests there was some."""
        return len(self.nodeids)

    def add(self, nodeid: str, waited: float | None) -> None:
        """Add one measured phase of a test; None where it is not measured."""
        if waited:
            self.waited += waited
            self.nodeids.add(nodeid)


T = TypeVar("T", bound=_Total)


class _Totals(Generic[T]):
    """Totals by place; keeps a bounded number of them however many there are.

    ``make`` returns one without any row, ``size`` what the largest are kept and shown by.
    """

    def __init__(self, make: Callable[[Place], T], size: Callable[[T], float]) -> None:
        self._make = make
        self._size = size
        self._totals: dict[Place, T] = {}

    def __len__(self) -> int:
        return len(self._totals)

    def most(self, number: int) -> list[T]:
        """Return the largest, at most ``number`` of them; 0 for all."""
        return heapq.nlargest(number or len(self), self._totals.values(), key=self._size)

    def at(self, place: Place, thread: str | None, nodeid: str) -> T:
        """Return the total to which a row of a test is to be added.

        ``thread`` is the name of the row's thread.
        """
        total = self._totals.get(place)
        if total is None:
            total = self._totals[place] = self._make(place)
        total.nodeids.add(nodeid)
        total.threads.add(thread or "unnamed threads")
        return total

    def forget_half(self) -> list[T]:
        """Forget the smaller half where there are too many, and return what it was."""
        if len(self) <= MOST_PLACES:
            return []
        kept = {id(total) for total in self.most(MOST_PLACES // 2)}
        before = self._totals
        self._totals = {place: one for place, one in before.items() if id(one) in kept}
        return [one for one in before.values() if id(one) not in kept]


class TopPlaces:
    """Sums over lines that kept others waiting, or that waited."""

    def __init__(self) -> None:
        self.forgotten = 0
        """How many places had too little to be kept."""
        self._totals = _Totals(TopPlace, lambda total: total.waited)

    def add(self, nodeid: str, parts: Iterable[tuple[RawStack, str | None, float, int]]) -> None:
        """Add one phase of a test: (stack, thread name, waited, looks) of each row."""
        for stack, name, waited, looks in parts:
            if waited <= 0.0:
                continue
            place = place_of(stack_of(stack))
            total = self._totals.at(place.line, name, nodeid)
            total.insides[place.inside] = total.insides.get(place.inside, 0.0) + waited
            total.waited += waited
            total.looks += looks
        self.forgotten += len(self._totals.forget_half())

    def most(self, number: int) -> list[TopPlace]:
        """Return the places most waited for, at most ``number`` of them; 0 for all."""
        return self._totals.most(number)

    def listed(self, number: int, wait: float) -> tuple[list[TopPlace], int]:
        """Return the places worth a line, at most ``number`` (0: all), and how many are left.

        Such a place has 1 % of ``wait`` (s), and was seen three times or more.
        """
        worth = [
            total
            for total in self.most(number)
            if total.looks >= LEAST_LOOKS and total.waited >= LEAST_SHARE * wait
        ]
        return worth, len(self._totals) + self.forgotten - len(worth)


class TopHolds:
    """Sums over the places of such holds."""

    def __init__(self) -> None:
        self.audited = 0
        """In how many measured phases of tests holds were audited."""
        self.unseen = 0
        """How many holds have no place here: nobody saw it, or it was not kept."""
        self.why_not: str | None = None
        """Why holds were not audited in some test."""
        self._totals = _Totals(TopHold, lambda total: total.longest)

    def add(self, nodeid: str, raw: RawReading) -> None:
        """Add the reading of one measured phase of a test."""
        if raw["max_hold"] is None:
            self.why_not = self.why_not or raw["reason"] or raw["blame_reason"] or NOT_ASKED
            return
        self.audited += 1
        self.unseen += raw["holds_unseen"]
        for stack, _, name, held, longest, count in raw["holds"]:
            total = self._totals.at(place_of(stack_of(stack)), name, nodeid)
            total.longest = max(total.longest, longest)
            total.count += count
            total.held += held
        self.unseen += sum(total.count for total in self._totals.forget_half())

    def most(self, number: int) -> list[TopHold]:
        """Return the places of the longest holds, at most ``number`` of them; 0 for all."""
        return self._totals.most(number)


class TopHolders:
    """Who held the GIL while others waited, and who waited, over all tests added."""

    def __init__(self) -> None:
        self.holders = TopPlaces()
        self.victims = TopPlaces()
        self.holds = TopHolds()
        self.wait = 0.0
        """Time (s) threads waited in these tests."""
        self.hand_over = Placeless("(hand-over: nobody held it)")
        self.unlooked = Placeless("(nobody looked)")
        self.omitted = Placeless("(places for which there was no room)")

    def placeless(self) -> list[Placeless]:
        """Return what has no holder's place, and is 1 % of the wait."""
        return [
            part
            for part in self._all_placeless
            if part.waited and part.waited >= LEAST_SHARE * self.wait
        ]

    def waited_elsewhere(self, listed: Iterable[TopPlace]) -> float:
        """Return the time (s) that was waited for holders at other places than those ``listed``."""
        without_place = sum(part.waited for part in self._all_placeless)
        return max(0.0, self.wait - without_place - sum(place.waited for place in listed))

    @property
    def _all_placeless(self) -> tuple[Placeless, ...]:
        return self.hand_over, self.unlooked, self.omitted

    def add(self, nodeid: str, raw: RawReading) -> None:
        """Add the reading of one measured phase of a test."""
        self.wait += raw["wait"] or 0.0
        self.hand_over.add(nodeid, raw["hand_over"])
        self.unlooked.add(nodeid, raw["unlooked"])
        self.omitted.add(nodeid, raw["blame_omitted"][1])
        self.holds.add(nodeid, raw)
        self.holders.add(
            nodeid,
            ((stack, name, waited, looks) for stack, _, name, waited, looks, *_ in raw["blame"]),
        )
        self.victims.add(
            nodeid,
            ((stack, name, waited, waits) for stack, _, name, waited, _, waits in raw["victims"]),
        )

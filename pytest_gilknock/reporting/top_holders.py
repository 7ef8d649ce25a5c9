"""Places that kept others waiting, that waited, and that kept the GIL although it was asked for.

They are summed over the tests of a run. Pure.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_gilknock.model.blame import LEAST_LOOKS, LEAST_SHARE, group_label
from pytest_gilknock.model.stack import Place, common_place, place_of, stack_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilknock.model.wire import RawHold, RawReading, RawStack

MOST_PLACES = 2_000
"""How many places are kept; beyond, the half that is waited for least is forgotten, and counted."""


@dataclass(slots=True)
class TopPlace:
    """What one line adds up to."""

    line: Place
    insides: dict[str | None, float] = field(default_factory=dict)
    """What ran inside it, and the time (s) waited for that; None stands for the line itself."""

    waited: float = 0.0
    """Time (s) that was waited for it, or in it, summed over threads and tests."""

    looks: int = 0
    """How many looks found a holder there; of a victim, how many waits were seen there."""

    tests: int = 0
    """In how many measured phases of tests."""

    threads: set[str] = field(default_factory=set)
    """Labels of its threads."""

    @property
    def place(self) -> Place:
        """Where it is, and what ran inside most."""
        return common_place(self.line, self.insides)

    @property
    def thread_label(self) -> str:
        """What its threads are called together."""
        return group_label(sorted(self.threads))

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-ready data."""
        return {
            **self.place.as_dict(),
            "waited": self.waited,
            "looks": self.looks,
            "tests": self.tests,
            "threads": sorted(self.threads),
        }


class TopPlaces:
    """Sums over places; takes bounded memory however many there are."""

    def __init__(self) -> None:
        self.forgotten = 0
        """How many places had too little to be kept."""
        self._places: dict[Place, TopPlace] = {}

    def add(self, parts: Iterable[tuple[RawStack, int, str | None, float, int]]) -> None:
        """Add one test: (stack, native thread id, thread name, waited, looks) of each row."""
        seen: set[Place] = set()
        for stack, _, name, waited, looks in parts:
            if waited <= 0.0:
                continue
            place = place_of(stack_of(stack))
            total = self._places.setdefault(place.line, TopPlace(place.line))
            total.insides[place.inside] = total.insides.get(place.inside, 0.0) + waited
            total.waited += waited
            total.looks += looks
            total.tests += place.line not in seen
            total.threads.add(name or "unnamed threads")
            seen.add(place.line)
        if len(self._places) > MOST_PLACES:
            self._forget_half()

    def _forget_half(self) -> None:
        kept = self.most(MOST_PLACES // 2)
        self.forgotten += len(self._places) - len(kept)
        self._places = {total.line: total for total in kept}

    def most(self, number: int) -> list[TopPlace]:
        """Return the places most waited for, at most ``number`` of them; 0 for all."""
        return heapq.nlargest(
            number or len(self._places), self._places.values(), key=lambda total: total.waited
        )

    def listed(self, number: int, wait: float) -> tuple[list[TopPlace], int]:
        """Return the places worth a line, at most ``number`` (0: all), and how many are left.

        Such a place has 1 % of ``wait`` (s), and was seen three times or more.
        """
        worth = [
            total
            for total in self.most(number)
            if total.looks >= LEAST_LOOKS and total.waited >= LEAST_SHARE * wait
        ]
        return worth, len(self._places) + self.forgotten - len(worth)


@dataclass(slots=True)
class TopHold:
    """What the holds at one place add up to that went on although the GIL was asked for."""

    place: Place
    longest: float = 0.0
    """The longest of them (s)."""

    count: int = 0
    held: float = 0.0
    """All of them together (s)."""

    tests: int = 0
    """In how many measured phases of tests."""

    threads: set[str] = field(default_factory=set)
    """Labels of its threads."""

    @property
    def thread_label(self) -> str:
        """What its threads are called together."""
        return group_label(sorted(self.threads))

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-ready data."""
        return {
            **self.place.as_dict(),
            "longest": self.longest,
            "count": self.count,
            "held": self.held,
            "tests": self.tests,
            "threads": sorted(self.threads),
        }


class TopHolds:
    """Sums over the places of such holds; takes bounded memory however many there are."""

    def __init__(self) -> None:
        self.audited = 0
        """In how many measured phases of tests holds were audited."""
        self.unseen = 0
        """How many holds have no place here: nobody saw it, or it was not kept."""
        self.why_not: str | None = None
        """Why holds were not audited in some test."""
        self._places: dict[Place, TopHold] = {}

    def add(self, raw: RawReading) -> None:
        """Add the reading of one measured phase of a test."""
        if raw["max_hold"] is None:
            self.why_not = (
                self.why_not or raw["reason"] or raw["blame_reason"] or "no knocks could be made"
            )
            return
        self.audited += 1
        self.unseen += raw["holds_unseen"]
        seen: set[Place] = set()
        for row in raw["holds"]:
            place = place_of(stack_of(row[0]))
            self._add_row(self._places.setdefault(place, TopHold(place)), row)
            self._places[place].tests += place not in seen
            seen.add(place)
        if len(self._places) > MOST_PLACES:
            kept = self.most(MOST_PLACES // 2)
            self.unseen += sum(total.count for total in self._places.values())
            self.unseen -= sum(total.count for total in kept)
            self._places = {total.place: total for total in kept}

    @staticmethod
    def _add_row(total: TopHold, row: RawHold) -> None:
        _, _, name, held, longest, count = row
        total.longest = max(total.longest, longest)
        total.count += count
        total.held += held
        total.threads.add(name or "unnamed threads")

    def most(self, number: int) -> list[TopHold]:
        """Return the places of the longest holds, at most ``number`` of them; 0 for all."""
        return heapq.nlargest(
            number or len(self._places), self._places.values(), key=lambda total: total.longest
        )


class TopHolders:
    """Who held the GIL while others waited, and who waited, over all tests added."""

    def __init__(self) -> None:
        self.holders = TopPlaces()
        self.victims = TopPlaces()
        self.holds = TopHolds()
        self.wait = 0.0
        """Time (s) threads waited in these tests."""

    def add(self, raw: RawReading) -> None:
        """Add the reading of one measured phase of a test."""
        self.wait += raw["wait"] or 0.0
        self.holds.add(raw)
        if raw["blame"]:
            self.holders.add(row[:5] for row in raw["blame"])
        if raw["victims"]:
            self.victims.add((*row[:4], row[5]) for row in raw["victims"])

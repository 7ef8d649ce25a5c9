"""What happened to the GIL in a window, one hold and one wait after the other. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_gilknock.model.stack import thread_label

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import RawTrace

DEFAULT_EVENTS = 1_000_000
"""How many events a trace keeps; older ones make room. Each takes 24 bytes."""

_EVENT = struct.Struct("=QQQ")
# enum event_kind of src/native/event_ring.h
_WAIT, _FORCED, _BY_KNOCKER, _LENT, _UNFINISHED = 1, 2, 4, 8, 16


class TraceThread(NamedTuple):
    """A thread of a trace."""

    serial: int
    """Its number in the process, which no other thread gets, even one with its native id."""

    native_id: int
    """The kernel's thread id, as :func:`threading.get_native_id` returns it; 0 where unknown."""

    name: str | None
    """The name of its :class:`threading.Thread`; None where it could not be learned."""

    @property
    def label(self) -> str:
        """The thread's name, or its native id where it has none."""
        return thread_label(self.name, self.native_id)


class TraceEvent(NamedTuple):
    """One hold of the GIL, or one wait for it, as far as it lies in the window.

    The knocks' own holds and waits are among them, and count in no reading.
    """

    kind: Literal["hold", "wait"]
    """What it is."""

    thread: TraceThread | None
    """Whose it is; None for a knock."""

    start: float
    """When it began, in seconds after the window opened; 0 if that was before."""

    duration: float
    """How long it was (s)."""

    forced: bool
    """A hold that ended on request, at the switch interval, or a wait that began so."""

    lent: bool
    """A hold in which a knock had the GIL for a moment, without which the thread would have kept
    it; that moment counts as held, as everywhere."""

    unfinished: bool
    """Whether it went on as the window closed."""

    @property
    def end(self) -> float:
        """When it ended, in seconds after the window opened."""
        return self.start + self.duration


class Interval(NamedTuple):
    """An event as it is recorded: moments in ticks, and flags."""

    start: int
    end: int
    serial: int
    flags: int

    @property
    def is_wait(self) -> bool:
        """Whether it is a wait and not a hold."""
        return bool(self.flags & _WAIT)

    @property
    def is_by_knocker(self) -> bool:
        """Whether it is the knocker's, and counts in no reading."""
        return bool(self.flags & _BY_KNOCKER)

    @property
    def is_lent(self) -> bool:
        """Whether a knock had the GIL in this part of a hold."""
        return bool(self.flags & _LENT)

    @property
    def is_forced(self) -> bool:
        """Whether it is a wait that began with a release on request."""
        return bool(self.flags & _FORCED)

    @property
    def is_unfinished(self) -> bool:
        """Whether it went on at the end."""
        return bool(self.flags & _UNFINISHED)


class Trace:
    """Every hold of the GIL and every wait for it in a window, oldest end first.

    ``dropped`` is how many older events made room for these; then the first part of the window is
    missing.
    """

    __slots__ = ("_raw", "_threads")

    def __init__(self, raw: RawTrace) -> None:
        self._raw = raw
        self._threads = {thread[0]: TraceThread(*thread) for thread in raw["threads"]}

    @property
    def dropped(self) -> int:
        """How many older events made room."""
        return self._raw["dropped"]

    @property
    def recorded_from(self) -> int:
        """From which moment (ticks) on every event is there: all of the window, unless some were
        dropped."""
        first = next(self.intervals(), None)
        return first.end if first is not None and self.dropped else self._raw["opened"]

    @property
    def duration(self) -> float:
        """For how long the window was open, in seconds."""
        return self._seconds(self._raw["ended"] - self._raw["opened"])

    @property
    def threads(self) -> tuple[TraceThread, ...]:
        """The threads that are known, the oldest first."""
        return tuple(self._threads.values())

    def __len__(self) -> int:
        return len(self._raw["events"]) // _EVENT.size

    def __iter__(self) -> Iterator[TraceEvent]:
        opened = self._raw["opened"]
        forced_out = self.forced_out()
        for interval in self.intervals():
            start = max(interval.start, opened)
            yield TraceEvent(
                kind="wait" if interval.is_wait else "hold",
                thread=None if interval.is_by_knocker else self.thread(interval.serial),
                start=self._seconds(start - opened),
                duration=self._seconds(max(0, interval.end - start)),
                forced=interval.is_forced or ends_forced(interval, forced_out),
                lent=interval.is_lent,
                unfinished=interval.is_unfinished,
            )

    def intervals(self) -> Iterator[Interval]:
        """Yield the events as recorded; the first ones may have begun before the window opened."""
        for start, end, serial_and_flags in _EVENT.iter_unpack(self._raw["events"]):
            yield Interval(start, end, serial_and_flags >> 8, serial_and_flags & 255)

    def forced_out(self) -> set[tuple[int, int]]:
        """Return (serial, moment in ticks) of each release on request."""
        return {
            (interval.serial, interval.start)
            for interval in self.intervals()
            if interval.is_forced or interval.is_lent
        }

    def thread(self, serial: int) -> TraceThread:
        """Return the thread with that serial."""
        return self._threads.get(serial) or TraceThread(serial, 0, None)

    def _seconds(self, ticks: int) -> float:
        return ticks * self._raw["clock"][2] * 1e-9


def ends_forced(interval: Interval, forced_out: set[tuple[int, int]]) -> bool:
    """Return whether it is a hold that ended on request; see :meth:`Trace.forced_out`."""
    return not interval.is_wait and (interval.serial, interval.end) in forced_out

"""Runs a load inside an instrument's window and tells the truth of that window. Times are
seconds.

The coordinator (the thread that calls :func:`run_native` or :func:`run_python`) opens the
window, lets the threads loose, sleeps without the GIL, takes it back and closes the window. Its
own holding and waiting are part of the truth.

A truth is not sharper than its stamps, and says so: ``held_slack`` and ``wait_slack`` are how
far the value may be off.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from loads import native

if TYPE_CHECKING:
    from loads._loads import Stamps

T = TypeVar("T")
Interval = tuple[int, int]

TICK_NS = 20_000
"""How long a thread of Python stays in one C call."""
GAP_NS = 2_000
"""More than this between two calls: the thread was not running."""

JOIN_LIMIT = 60.0
"""Seconds after which a thread of a load that has been told to stop is taken for stuck."""


@dataclass(frozen=True)
class HoldRelease:
    """Threads that hold the GIL for ``hold`` and do without it for ``free``, over and over."""

    threads: int
    hold: float
    free: float
    sleeps: bool = False
    random: bool = False


@dataclass(frozen=True)
class ThreadTruth:
    """One thread's part."""

    native_id: int
    held: float
    wait: float
    takes: int


@dataclass(frozen=True)
class Truth:
    """What a load knows of the window from ``begin``'s return to the call of ``end``.

    Throughout ``begin`` and ``end`` the coordinator holds the GIL. A window whose own ``wall``
    is known is therefore longer than this one by time held and nothing else:
    :meth:`contention`.
    """

    wall: float
    begin: float
    """What the call of ``begin`` took; the next, that of ``end``."""
    end: float
    held: float
    held_slack: float
    wait: float
    wait_slack: float
    takes: int
    threads: tuple[ThreadTruth, ...]

    def contention(self, wall: float | None = None) -> float:
        """Share of the instrument's window of ``wall`` seconds, else of this one, that was held."""
        edges = 0.0 if wall is None else wall - self.wall
        return (self.held + edges) / (self.wall + edges)

    @property
    def wall_most(self) -> float:
        """From the call of ``begin`` to the return of ``end``: no window can be longer."""
        return self.begin + self.wall + self.end

    @property
    def contention_slack(self) -> float:
        """How far :meth:`contention` may be off."""
        return self.held_slack / self.wall


class _Account(NamedTuple):
    """What the load generator returns for each thread: ns; ``wants`` is a stamp, or 0."""

    native_id: int
    held: int
    waited: int
    takes: int
    handing_over: int
    letting_go: int
    made_to_switch: int
    wants: int

    def until(self, closed: int) -> ThreadTruth:
        """The thread's part, a wait in progress counted up to ``closed``."""
        pending = closed - self.wants if self.wants else 0
        waited = self.waited + pending
        return ThreadTruth(self.native_id, self.held / 1e9, waited / 1e9, self.takes)


@contextmanager
def _running(threads: list[threading.Thread]) -> Iterator[None]:
    native.reset()
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(JOIN_LIMIT)
        if thread.is_alive():
            raise TimeoutError(f"{thread.name} has not ended {JOIN_LIMIT:.0f} s after its load")


def run_native(
    load: HoldRelease, duration: float, begin: Callable[[], object], end: Callable[[], T]
) -> tuple[T, Truth]:
    """Run ``load`` for ``duration`` between ``begin`` and ``end``; return what ``end`` did, and
    the truth.

    The wait is all the time inside the taking calls. Half of what taking and releasing cost
    when nobody is in the way counts as held. The slack is all the time for which the stamps
    leave open who had the GIL; for the wait, also the time for which the switch to another
    thread kept threads that had let go from going on.
    """
    hold, free = (round(t * 1e9) for t in (load.hold, load.free))
    threads = [
        threading.Thread(
            target=native.hold_release,
            args=(hold, free, load.sleeps, load.random, seed),
            name=f"load-{seed}",
        )
        for seed in range(load.threads)
    ]
    with _running(threads):
        seen, stamps, costs, accounts = native.run(load.threads, round(duration * 1e9), begin, end)
    before, opened, _, took, closed, after = stamps
    books = [_Account(*account) for account in accounts]
    parts = tuple(book.until(closed) for book in books)
    takes = sum(part.takes for part in parts)
    calls = takes * sum(costs) / 1e9 / 2
    handing_over = sum(book.handing_over for book in books) / 1e9
    letting_go = sum(book.letting_go for book in books) / 1e9
    made_to_switch = sum(book.made_to_switch for book in books) / 1e9
    return seen, Truth(
        wall=(closed - opened) / 1e9,
        begin=(opened - before) / 1e9,
        end=(after - closed) / 1e9,
        held=(closed - took) / 1e9 + sum(part.held for part in parts) + calls,
        held_slack=max(calls, handing_over + letting_go - calls),
        wait=sum(part.wait for part in parts),
        wait_slack=handing_over + made_to_switch,
        takes=takes,
        threads=parts,
    )


class _Ticker:
    """A thread that loops in bytecode and notes when it was not running."""

    def __init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="load-python")
        self.gaps: list[Interval] = []
        self.end = 0

    def _run(self) -> None:
        tick, gaps = native.tick, self.gaps
        gaps.append(native.enter())
        while tick(TICK_NS, GAP_NS, gaps):
            pass
        self.end = monotonic_ns()

    def running(self, opened: int, closed: int) -> list[Interval]:
        """When it ran, within the window; between two gaps it did."""
        starts = [after for _, after in self.gaps]
        ends = [before for before, _ in self.gaps[1:]] + [self.end]
        return _clip(zip(starts, ends, strict=True), opened, closed)


def _clip(intervals: Iterator[Interval], opened: int, closed: int) -> list[Interval]:
    clipped = ((max(a, opened), min(b, closed)) for a, b in intervals)
    return [(a, b) for a, b in clipped if a < b]


def _shared(intervals: list[Interval], start: int, end: int) -> int:
    """How much of the given interval lies in ``intervals``, which are in order and apart."""
    total = 0
    at = bisect_left(intervals, start, key=lambda interval: interval[1])
    while at < len(intervals) and intervals[at][0] < end:
        total += min(intervals[at][1], end) - max(intervals[at][0], start)
        at += 1
    return total


def run_python(
    threads: int, duration: float, begin: Callable[[], object], end: Callable[[], T]
) -> tuple[T, Truth]:
    """Run that many threads of Python for ``duration`` between ``begin`` and ``end``.

    Each loops in bytecode over a C call that keeps the GIL for :data:`TICK_NS` and notes when
    it began and ended: whenever the operating system stops a thread that has the GIL, it does
    so within a call, all but certainly. A gap between two calls in which another thread ran is
    a wait, any other counts as held.

    What remains of the window is the hand-over: from the last stamp of the thread that lets go
    to the first of the one that takes. The GIL is free then, until the other has been woken,
    but for some hundred nanoseconds at each end. Nobody's stamps can prove it: the truth counts
    it as free, and as the slack.
    """
    tickers = [_Ticker() for _ in range(threads)]
    with _running([ticker.thread for ticker in tickers]):
        seen, stamps, _, accounts = native.run(threads, round(duration * 1e9), begin, end)
    return seen, _truth_of_tickers(tickers, stamps, waited=_Account(*accounts[0]).waited)


def _truth_of_tickers(tickers: list[_Ticker], stamps: Stamps, waited: int) -> Truth:
    before, opened, let_go, took, closed, after = stamps
    coordinator: list[Interval] = [(opened, let_go), (took, closed)]
    running = [ticker.running(opened, closed) for ticker in tickers]
    held = let_go - opened + closed - took + sum(b - a for of in running for a, b in of)
    wait, proven, waits = waited, waited, 1
    for ticker, mine in zip(tickers, running, strict=True):
        others = [coordinator, *(other for other in running if other is not mine)]
        for gap in _clip(iter(ticker.gaps), opened, closed):
            taken = sum(_shared(other, *gap) for other in others)
            if taken:
                wait += gap[1] - gap[0]
                proven += taken
                waits += 1
            else:
                held += gap[1] - gap[0]
    wall = (closed - opened) / 1e9
    return Truth(
        wall=wall,
        begin=(opened - before) / 1e9,
        end=(after - closed) / 1e9,
        held=held / 1e9,
        held_slack=wall - held / 1e9,
        wait=wait / 1e9,
        wait_slack=(wait - proven) / 1e9,
        takes=waits,
        threads=(),
    )

"""The convoy effect: short work of one thread waits a switch interval behind another's. Pure.

David Beazley, "Understanding the Python GIL" (PyCon 2010): a thread that does short I/O lets go of
the GIL each time, and a thread that computes takes it. To get it back, the first has to wait until
the other is made to drop it, after ``sys.getswitchinterval()``, for work of some microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading, ThreadReading

FEWEST_WAITS = 10
"""Waits of a thread below which nothing is said of it."""

SHORT_HOLD = 0.1
"""Switch intervals: threads of a convoy hold the GIL for less at a time, on average."""

LONG_HOLD = 0.5
"""Switch intervals: threads that a convoy waits for hold it for longer at a time."""

WORTH_TELLING = 0.1
"""Share of the window: threads that wait for less are not said to be held up."""

LARGEST_WAIT = 1 / 3
"""Share of a thread's wait: where one wait is more of it, a native call kept it waiting."""


class Convoy(NamedTuple):
    """Threads that wait about a switch interval for work far shorter, and who they wait for.

    ``waits`` is how many waits they had, ``wait`` their sum (s), ``holds`` how often they held the
    GIL, ``held`` the sum of that (s).
    """

    threads: tuple[ThreadReading, ...]
    computing: tuple[ThreadReading, ...]
    switch_interval: float
    waits: int
    wait: float
    holds: int
    held: float

    @property
    def mean_wait(self) -> float:
        """How long a wait was, on average (s)."""
        return self.wait / self.waits

    @property
    def mean_hold(self) -> float:
        """For how long they held the GIL at a time, on average (s)."""
        return self.held / self.holds


def convoy_of(reading: GilReading) -> Convoy | None:
    """Return the convoy in an exact reading; ``None`` where there is none."""
    interval = reading.switch_interval
    computing = tuple(
        thread
        for thread in reading.threads
        if thread.held >= WORTH_TELLING * reading.wall / 2
        and thread.held >= LONG_HOLD * interval * max(1, thread.acquisitions)
    )
    if not computing or interval <= 0.0:
        return None
    threads = tuple(
        thread for thread in reading.threads if _is_held_up(thread, reading, len(computing))
    )
    if not threads:
        return None
    return Convoy(
        threads,
        computing,
        interval,
        sum(thread.contended for thread in threads),
        sum(thread.wait for thread in threads),
        sum(thread.acquisitions for thread in threads),
        sum(thread.held for thread in threads),
    )


def _is_held_up(thread: ThreadReading, reading: GilReading, computing: int) -> bool:
    """Return whether a thread with short work in between waits about a switch interval each time.

    Or one for each thread that computes, and somewhat more, as each has to wake up first.
    """
    interval = reading.switch_interval
    if thread.contended < FEWEST_WAITS or thread.wait < WORTH_TELLING * reading.wall:
        return False
    if not thread.acquisitions:  # no measurement has that, but a file may
        return False
    if thread.max_wait > LARGEST_WAIT * thread.wait:
        return False
    elsewhere = max(0.0, reading.wall - thread.held - thread.wait) / thread.acquisitions
    return (
        thread.held / thread.acquisitions <= SHORT_HOLD * interval
        and elsewhere <= interval
        and 0.5 <= thread.wait / thread.contended / interval <= 2.5 * computing
    )

"""Plain data that may travel to another process; times in seconds.

It is what the C core returns for a window, what a test report carries, and a process' totals.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, TypeVar

Method = Literal["exact", "sampled", "disabled"]
LockKind = Literal["objects", "stop_the_world", "interpreter", "program"]
BlameMethod = Literal["looked", "released", "none"]
Kind = Literal["contention", "max_wait", "max_hold", "max_lock_wait", "max_stop_the_world"]

# (native thread id, name or None, held, wait, acquisitions, contended, max_wait)
RawThread = tuple[int, str | None, float, float, int, int, float]
# (file, line, qualified function, the native function that it is calling or None). Some have no
# file and line 0: "<GC>" is innermost while garbage is collected, "<more>" is outermost where the
# stack is deeper than it was read.
RawFrame = tuple[str, int, str, str | None]
# Innermost first; empty where a thread ran no Python code.
RawStack = tuple[RawFrame, ...]
# (stack, native thread id, thread name or None, waited, looks, knock_waited, knock_looks): where a
# thread held the GIL while others waited. `waited` is a part of the reading's `wait`,
# `knock_waited` of its `knock_wait`; the looks are how many samples stand behind each.
RawBlame = tuple[RawStack, int, str | None, float, int, float, int]
# (stack, native thread id, thread name or None, waited, longest, waits seen): where a thread waited
RawVictim = tuple[RawStack, int, str | None, float, float, int]
# (stack, native thread id, thread name or None, held, longest, holds): where a thread kept the GIL
# although it was asked to let it go; the times are those of whole holds
RawHold = tuple[RawStack, int, str | None, float, float, int]
# (waited, began, whether it was a knock, native thread id, thread name or None, its stack, the
# holder's stack, native thread id of the holder or 0, thread name of the holder or None); `began`
# is counted from the opening of the window, 0 if it was before.
RawLongestWait = tuple[float, float, bool, int, str | None, RawStack, RawStack, int, str | None]
# (count, p50, p90, p99, max)
RawLatency = tuple[int, float, float, float, float]

# (processors, idle, others, throttled or None, stalled or None)
RawMachine = tuple[float, float, float, float | None, float | None]

# (count, waited, longest)
RawLockWaits = tuple[int, float, float]


class RawLocks(TypedDict):
    """Waits that are no waits for the GIL. The keys of ``kinds`` are "objects", "stop_the_world",
    "interpreter", "program" and "unproven"; see model/locks.py.
    """

    kinds: dict[str, RawLockWaits]
    types: list[tuple[str | None, RawLockWaits]]  # of "objects", by the type's name
    threads: list[tuple[int, str | None, dict[str, RawLockWaits]]]  # native thread id, name or None
    threads_omitted: int  # ended ones that made room for others; they are in `kinds`
    # By kind, of those that were waited for. Where threads waited, and where others let go what
    # they waited for; both empty where nobody looks, drawn by their length (src/native/parking.c).
    victims: dict[str, list[RawVictim]]
    blame: dict[str, list[RawVictim]]
    # What of the waits they have no room for, of all kinds; None where that is not known.
    victims_omitted: float | None
    blame_omitted: float | None
    longest: dict[str, RawLongestWait | None]  # its holder: who let go
    latency: dict[str, RawLatency | None]  # of waits, and of those that go on so far
    spins: int | None  # how often a thread tried again without sleeping; None where not seen
    places_reason: str | None  # why nobody looks; None if threads do


class RawReading(TypedDict):
    method: Method
    reason: str | None  # why not exact; None when exact
    gil_enabled: bool
    switch_interval: float
    wall: float
    held: float | None  # this and the next three: None unless exact
    wait: float | None
    acquisitions: int | None
    contended: int | None
    max_wait: float | None  # None when nothing could have seen a wait
    knocks: int
    knocks_waited: int
    knock_latency: RawLatency | None  # None without a knock
    wait_latency: RawLatency | None  # None without a contended acquisition
    # [(least, count)], ascending: waits from `least` (1 us times a power of two) to twice that,
    # where there are any; None unless exact
    wait_histogram: list[tuple[float, int]] | None
    locks: RawLocks | str  # the text says why they were not measured
    threads: list[RawThread]  # empty unless exact
    threads_omitted: int  # ended ones that made room for others; they are in the sums
    blame: list[RawBlame]  # most waited first
    blame_omitted: tuple[int, float, float]  # (rows, waited, knock_waited) for which it has no room
    blame_method: BlameMethod  # seen while it held; as it let the GIL go; not at all
    blame_reason: str | None  # why not looked; None when it is
    # Exact: wait = sum of waited, the omitted included, + hand_over + unlooked.
    hand_over: float | None  # wait while no thread of the program held the GIL; None unless exact
    unlooked: float | None  # wait whose holder was not seen; None unless exact
    unlooked_reason: str | None  # why not, where more than chance is known
    victims: list[RawVictim]  # most waited first; empty unless exact
    knock_wait: float  # summed over knocks
    longest_wait: RawLongestWait | None  # None without any wait
    run_delay: float | None  # runnable but not running, summed over threads; None where unknown
    machine: RawMachine | None  # as run_delay
    max_hold: float | None  # None where holds were not audited; 0.0 where none was kept
    holds: list[RawHold]  # the longest first; empty unless audited
    holds_unseen: int  # holds that are not in `holds`, as their place is not known or has no room


# (serial, native thread id, name or None)
RawTraceThread = tuple[int, int, str | None]


class RawTrace(TypedDict):
    """The holds and waits of a window. Moments are ticks of the core's clock.

    ``events`` has three numbers of 64 bits for each, in the machine's byte order: from, until, and
    the thread's serial with the kind (src/native/event_ring.h) in its lowest byte. Oldest first by
    the end, those that the window's end cut off last.
    """

    events: bytes
    threads: list[RawTraceThread]
    dropped: int  # older events that made room
    opened: int
    ended: int
    clock: tuple[int, int, float]  # a moment, the same in ns of the monotonic clock, ns per tick


# (what ran, seconds, name of the thread that had the GIL or None, its ident or 0, the stacks of all
# threads as faulthandler writes them, or "")
RawStall = tuple[str, float, str | None, int, str]


# (kind, bound, source, name or glob of the threads it is for, kind of locks; None for all)
PlainLimit = tuple[Kind, float, str, str | None, LockKind | None]


class _Judged(TypedDict, total=False):
    limits: list[PlainLimit]
    verdicts: list[tuple[PlainLimit, bool, str]]
    gil_turned_on: bool


class PhaseRecord(_Judged):
    """What a test report carries from where it was measured to where it is printed: plain data."""

    phase: str
    raw: RawReading


# (why a phase could not be measured, whether it has limits)
Unmeasured = tuple[str, bool]

# (test id, phase or "" for all of the test, from, until); moments as in RawTrace
RawSpan = tuple[str, str, int, int]


class ProcessTrace(TypedDict):
    """What happened to the GIL of a process while its tests ran."""

    process: str  # "pytest", or the name of an xdist worker
    pid: int
    raw: RawTrace | None
    reason: str | None  # why there is none
    clock: tuple[int, int, float]  # as RawTrace has it
    threads: list[RawThread]  # of the same window
    spans: list[RawSpan]


class RunExtras(TypedDict, total=False):
    """What else a measuring process reports at its end, if it was asked for."""

    trace: ProcessTrace

    stalls: list[RawStall]
    stalls_omitted: int  # more stalls than were kept


class RunTotals(RunExtras):
    """What a process measured as a whole: one window over all of its tests, and costs (s).

    ``gil_turned_on`` says that it came to have a GIL before its first test, by an import.
    """

    raw: RawReading
    windows_cost: float
    knocks_held: float
    gil_turned_on: bool


# Attributes of a test report.
RECORD = "gilknock"  # a PhaseRecord; None where the phase was too short for one, or unmeasured
UNMEASURED = "gilknock_unmeasured"  # Unmeasured, where the phase could not be measured
FORKED = "gilknock_forked"  # True where a process forked for this test alone measured it
BREACH = "gilknock_breach"  # True where the test fails by a limit or a gate
BLAMED = "gilknock_blamed"  # beside it: [file, line] of the program's own that is most to blame

OUTCOMES = ("passed", "failed", "skipped")
"""Of tests that are over; plugins that run a test again have words of their own for what was."""


Plain = TypeVar("Plain")


def encodable(data: Plain) -> Plain:
    """Return ``data`` with each lone surrogate of its texts escaped: they can be encoded as UTF-8.

    A path has some where its bytes are no UTF-8, and a name of compiled code may have any. execnet,
    by which a worker of pytest-xdist sends its readings, refuses such a text.
    """
    if "\\ud" not in repr(data):  # which escapes every lone surrogate
        return data
    escaped: Plain = _escaped(data)
    return escaped


def _escaped(data: Any) -> Any:
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(data, dict):
        return {key: _escaped(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(map(_escaped, data))
    return data

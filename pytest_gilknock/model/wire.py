"""Plain data, which may travel to another process: what the C core returns for a window, and what
is told of a test and of a run. Times in seconds.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Method = Literal["exact", "sampled", "disabled"]
Kind = Literal["contention", "max_wait"]

# (native thread id, name or None, held, wait, acquisitions, contended, max_wait)
RawThread = tuple[int, str | None, float, float, int, int, float]
# (file, line, function, native thread id, thread name or None, waited, knocks)
RawBlame = tuple[str, int, str, int, str | None, float, int]
# (count, p50, p90, p99, max)
RawLatency = tuple[int, float, float, float, float]


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
    threads: list[RawThread]  # empty unless exact
    blame: list[RawBlame]
    run_delay: float | None  # runnable but not running, summed over threads; None where unknown


# (kind, bound, source)
PlainLimit = tuple[Kind, float, str]


class _Judged(TypedDict, total=False):
    limits: list[PlainLimit]
    verdicts: list[tuple[PlainLimit, bool, str]]
    gil_turned_on: bool


class Measured(_Judged):
    """What a test report carries from where it was measured to where it is printed: plain data."""

    phase: str
    raw: RawReading


class RunTotals(TypedDict):
    """What a measuring process tells at its end: one window over all tests, and costs (s).

    ``gil_turned_on`` says that it came to have a GIL before its first test, by an import; ``short``
    how many tests it measured that were too short to tell of.
    """

    raw: RawReading
    windows_cost: float
    knocks_held: float
    gil_turned_on: bool
    short: int

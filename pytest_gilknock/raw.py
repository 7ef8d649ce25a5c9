"""The plain data that the C core returns for a window; times in seconds."""

from __future__ import annotations

from typing import Literal, TypedDict

Method = Literal["exact", "sampled", "disabled"]

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

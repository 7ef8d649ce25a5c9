"""Traces with scripted events: a tick is a nanosecond, every process begins at 1000."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import ProcessTrace, RawSpan, RawTraceThread

WAIT, FORCED, BY_KNOCKER, LENT, UNFINISHED = 1, 2, 4, 8, 16
MAIN, WORKER, KNOCKER = 1, 2, 3
THREADS: list[RawTraceThread] = [(MAIN, 11, "MainThread"), (WORKER, 12, None)]

Event = tuple[int, int, int, int]  # from, until, serial, flags


def trace(
    events: list[Event],
    spans: list[RawSpan] | None = None,
    *,
    process: str = "pytest",
    dropped: int = 0,
    monotonic: int = 0,
) -> ProcessTrace:
    """What a process whose tests ran in these spans tells of these events."""
    packed = b"".join(struct.pack("=QQQ", a, b, serial << 8 | f) for a, b, serial, f in events)
    clock = (1000, monotonic, 1.0)
    return {
        "process": process,
        "pid": 4711,
        "raw": {
            "events": packed,
            "threads": THREADS,
            "dropped": dropped,
            "opened": 1000,
            "ended": 100_000,
            "clock": clock,
        },
        "reason": None,
        "clock": clock,
        "threads": [(11, "MainThread", 1e-6, 2e-6, 3, 1, 2e-6)],
        "spans": spans or [],
    }

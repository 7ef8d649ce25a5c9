"""Readings with scripted numbers, for everything that judges or shows readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_gilknock.model.reading import GilReading

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import (
        PhaseRecord,
        RawBlame,
        RawLocks,
        RawReading,
        RawVictim,
        RunTotals,
    )

UNMEASURED: dict[str, Any] = {
    "held": None,
    "wait": None,
    "max_wait": None,
    "acquisitions": None,
    "contended": None,
    "wait_latency": None,
    "wait_histogram": None,
    "threads": [],
    "threads_omitted": 0,
    "hand_over": None,
    "unlooked": None,
    "unlooked_reason": None,
    "victims": [],
}


def blamed(
    file: str,
    line: int,
    function: str,
    native_id: int,
    thread: str | None,
    waited: float,
    looks: int,
) -> RawBlame:
    """A row of blame for a stack of one frame."""
    return ((file, line, function, None),), native_id, thread, waited, looks, 0.0, 0


def lock_place(
    file: str, line: int, function: str, native_id: int, thread: str | None, waited: float
) -> RawVictim:
    """Where a thread waited for a lock, or let one go: a stack of one frame, seen 25 times."""
    return ((file, line, function, None),), native_id, thread, waited, 0.03, 25


def locks(**changes: Any) -> RawLocks:
    """Locks of a window in which two threads used one dict, and one of them was stopped."""
    zero = (0, 0.0, 0.0)
    kinds = {
        "objects": (40, 0.2, 0.03),
        "stop_the_world": (3, 0.06, 0.04),
        "interpreter": (1, 0.001, 0.001),
        "program": (5, 0.5, 0.2),
        "unproven": zero,
    }
    second = {**kinds, "objects": zero, "interpreter": zero, "program": zero}
    first = {**kinds, "stop_the_world": zero}
    reading: dict[str, Any] = {
        "kinds": kinds,
        "types": [("list", (10, 0.05, 0.01)), ("dict", (30, 0.15, 0.03))],
        "threads": [(11, "MainThread", first), (12, "worker", second)],
        "threads_omitted": 0,
        "victims": {"objects": [lock_place("/src/app/cache.py", 12, "put", 11, "MainThread", 0.2)]},
        "blame": {"objects": [lock_place("/src/app/cache.py", 15, "get", 12, "worker", 0.2)]},
        "victims_omitted": 0.0,
        "blame_omitted": 0.0,
        "longest": {
            "objects": (
                *(0.03, 0.5, False, 11, "MainThread"),
                (("/src/app/cache.py", 12, "put", None),),
                (("/src/app/cache.py", 15, "get", None),),
                *(12, "worker"),
            )
        },
        "latency": {"objects": (40, 0.004, 0.01, 0.02, 0.03)},
        "spins": 1600,
        "places_reason": None,
    }
    assert not changes.keys() - reading.keys()
    return {**reading, **changes}  # type: ignore[typeddict-item]


def raw(**changes: Any) -> RawReading:
    """An exact reading of 1 s in which two threads fought for the GIL."""
    reading: dict[str, Any] = {
        "method": "exact",
        "reason": None,
        "gil_enabled": True,
        "switch_interval": 0.005,
        "wall": 1.0,
        "held": 0.5,
        "wait": 0.25,
        "acquisitions": 100,
        "contended": 50,
        "max_wait": 0.0052,
        "knocks": 50,
        "knocks_waited": 25,
        "knock_latency": (50, 0.001, 0.004, 0.005, 0.0051),
        "wait_latency": (50, 0.004, 0.005, 0.0051, 0.0052),
        "wait_histogram": [(0.000512, 10), (0.004096, 40)],
        "threads": [
            (11, "MainThread", 0.1, 0.2, 50, 25, 0.0052),
            (12, "worker", 0.4, 0.05, 50, 25, 0.0041),
        ],
        "threads_omitted": 0,
        "blame": [blamed("/src/app/pool.py", 31, "burn", 12, "worker", 0.1, 25)],
        "blame_omitted": (0, 0.0, 0.0),
        "blame_method": "looked",
        "blame_reason": None,
        "hand_over": 0.01,
        "unlooked": 0.14,
        "unlooked_reason": None,
        "victims": [((("/src/app/loop.py", 7, "run", None),), 11, "MainThread", 0.2, 0.0052, 25)],
        "knock_wait": 0.05,
        "longest_wait": None,
        "run_delay": 0.0,
        "machine": (2.0, 1.25, 0.0, 0.0, None),
        "locks": "not asked for",
        "max_hold": None,
        "holds": [],
        "holds_unseen": 0,
    }
    assert not changes.keys() - reading.keys()
    return {**reading, **changes}  # type: ignore[typeddict-item]


AUDITED: dict[str, Any] = {
    "max_hold": 0.03,
    "holds": [((("/src/app/native.py", 5, "call", "zlib.crc32"),), 12, "worker", 0.08, 0.03, 4)],
}
"""What an audit adds to an exact reading: four holds at one place."""


def sampled(
    knocks: int, waited: int, max_wait: float | None = 0.0051, **changes: Any
) -> RawReading:
    """A reading of knocks alone."""
    unmeasured = {**UNMEASURED, "max_wait": max_wait}
    return raw(
        **{
            **unmeasured,
            "method": "sampled",
            "reason": "the self-test failed",
            "knocks": knocks,
            "knocks_waited": waited,
            **changes,
        }
    )


def disabled(**changes: Any) -> RawReading:
    """A reading with the GIL off."""
    return raw(
        **{
            **UNMEASURED,
            "method": "disabled",
            "reason": "the GIL is disabled",
            "gil_enabled": False,
            "knocks": 0,
            "knocks_waited": 0,
            "knock_latency": None,
            "blame": [],
            "blame_method": "none",
            "blame_reason": "the GIL is disabled",
            "knock_wait": 0.0,
            "locks": "locks park since Python 3.13 only",
            **changes,
        }
    )


def reading(**changes: Any) -> GilReading:
    """As :func:`raw`, as users get it."""
    return GilReading.from_raw(raw(**changes))


def measured(raw_reading: RawReading, **changes: Any) -> PhaseRecord:
    """What a test report carries."""
    return {"phase": "call", "raw": raw_reading, **changes}  # type: ignore[typeddict-item]


def breach(raw_reading: RawReading) -> PhaseRecord:
    """A test that failed by a limit of 1 ms on its longest wait."""
    limit = ("max_wait", 0.001, "--gil-max-wait", None, None)
    return measured(raw_reading, limits=[limit], verdicts=[(limit, True, "max wait 5 ms")])


def totals(raw_reading: RawReading, *, gil_turned_on: bool = False) -> RunTotals:
    """What one measuring process tells at its end."""
    return {
        "raw": raw_reading,
        "windows_cost": 0.021,
        "knocks_held": 0.0012,
        "gil_turned_on": gil_turned_on,
    }

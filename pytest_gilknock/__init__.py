"""Measure GIL contention exactly: per block with :func:`measure`, per test with the pytest plugin.

Names are imported when they are first used: an installed plugin that no run uses costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilknock.api import Gilknock, GilNotMeasuredWarning, assert_releases_gil, measure
    from pytest_gilknock.knockknock import KnockKnock
    from pytest_gilknock.model.blame import Blame, Hold, StackPart, ThreadPart, Victim
    from pytest_gilknock.model.locks import LockReading, LockWaits, ThreadLockWaits, TypeWaits
    from pytest_gilknock.model.longest_wait import LongestWait
    from pytest_gilknock.model.machine import MachineLoad
    from pytest_gilknock.model.reading import GilReading, ThreadReading
    from pytest_gilknock.model.stack import Frame, Place
    from pytest_gilknock.model.statistics import Latency
    from pytest_gilknock.model.trace import Trace, TraceEvent, TraceThread

__all__ = [
    "Blame",
    "Frame",
    "GilNotMeasuredWarning",
    "GilReading",
    "Gilknock",
    "Hold",
    "KnockKnock",
    "Latency",
    "LockReading",
    "LockWaits",
    "LongestWait",
    "MachineLoad",
    "Place",
    "StackPart",
    "ThreadLockWaits",
    "ThreadPart",
    "ThreadReading",
    "Trace",
    "TraceEvent",
    "TraceThread",
    "TypeWaits",
    "Victim",
    "assert_releases_gil",
    "measure",
]

_MODULES = {
    "KnockKnock": "knockknock",
    "GilNotMeasuredWarning": "api",
    "Gilknock": "api",
    "assert_releases_gil": "api",
    "measure": "api",
    "Blame": "model.blame",
    "Frame": "model.stack",
    "Place": "model.stack",
    "LongestWait": "model.longest_wait",
    "StackPart": "model.blame",
    "ThreadPart": "model.blame",
    "Victim": "model.blame",
    "Hold": "model.blame",
    "GilReading": "model.reading",
    "LockReading": "model.locks",
    "LockWaits": "model.locks",
    "ThreadLockWaits": "model.locks",
    "TypeWaits": "model.locks",
    "MachineLoad": "model.machine",
    "Latency": "model.statistics",
    "ThreadReading": "model.reading",
    "Trace": "model.trace",
    "TraceEvent": "model.trace",
    "TraceThread": "model.trace",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

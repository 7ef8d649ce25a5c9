"""How often the GIL is knocked on, for a part of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_gilknock import _core


@contextmanager
def knock_interval(seconds: float | None) -> Iterator[None]:
    """Have this mean time between two knocks, 0 for none and ``None`` for the usual one."""
    before = _core.set_knock_interval(seconds)
    try:
        yield
    finally:
        _core.set_knock_interval(before)

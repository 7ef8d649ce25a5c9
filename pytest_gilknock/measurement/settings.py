"""What is asked for of the measurement, checked, in one frozen result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_gilknock.model.limits import Limit, parse_lock_wait, parse_wait
from pytest_gilknock.model.trace import DEFAULT_EVENTS
from pytest_gilknock.model.units import parse_duration, parse_share
from pytest_gilknock.options import METHODS, each, one_of

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import AskedMethod
    from pytest_gilknock.model.wire import Kind
    from pytest_gilknock.options import Asked


class MeasurementSettings(NamedTuple):
    """How to measure. Times in seconds; None for what is left as it is.

    ``limits`` are those of every test without a marker of their kind.
    """

    method: AskedMethod = "auto"
    limits: tuple[Limit, ...] = ()
    knock_interval: float | None = None
    switch_interval: float | None = None
    stall_timeout: float = 1.0
    trace_events: int = DEFAULT_EVENTS
    forbid: str | None = None
    """Where the user forbade the GIL."""
    locks: bool | None = None
    """Whether waits for locks are measured; None: where the GIL is off."""
    audit: bool = False
    """Whether holds are audited in every test."""


def no_audit(place: str) -> pytest.UsageError:
    """Return the error for an audit of holds that ``place`` asks for where nobody knocks."""
    return pytest.UsageError(
        f"{place}: holds are audited by knocks, and gil_knock_interval is 'off'; set a time such as"
        " '50ms', or leave it out"
    )


def read(asked: Asked) -> MeasurementSettings:
    """Return how to measure; raises pytest.UsageError for a value that cannot be used."""
    limits = (
        *_limits(asked, "gil_max_contention", "contention", _of_all(parse_share)),
        *_limits(asked, "gil_max_wait", "max_wait", parse_wait),
        *_limits(asked, "gil_max_hold", "max_hold", _of_all(parse_duration)),
        *_limits(asked, "gil_max_lock_wait", "max_lock_wait", parse_lock_wait),
        *_limits(asked, "gil_max_stop_the_world", "max_stop_the_world", _of_all(parse_duration)),
    )
    knock_interval = asked.value(
        "gil_knock_interval", _or_off(_between("100us", "10s"), "off"), None
    )
    audit = asked.value("gil_audit", bool, False)
    if knock_interval == 0.0 and (audit or "gil_max_hold" in asked):
        raise no_audit(asked.place("gil_audit" if audit else "gil_max_hold"))
    return MeasurementSettings(
        method=asked.value("gil_method", one_of(METHODS), "auto"),
        limits=limits,
        knock_interval=knock_interval,
        switch_interval=asked.value("gil_switch_interval", _between("1us", "1min"), None),
        stall_timeout=asked.value(
            "gil_stall_timeout", _or_off(_between("10ms", "60min"), "0"), 1.0
        ),
        trace_events=asked.value("gil_trace_events", _parse_events, DEFAULT_EVENTS),
        forbid=asked.place("gil_forbid") if asked.value("gil_forbid", bool, False) else None,
        locks=asked.value("gil_locks", bool, False) or None,
        audit=audit,
    )


def _limits(
    asked: Asked, name: str, kind: Kind, parse: Callable[[Any], tuple[float, Any]]
) -> Iterator[Limit]:
    """Yield the limits of an option: one for each thread, or kind of locks, that it names, the last
    one given."""
    bounds: list[tuple[float, Any]] = asked.value(name, each(parse), [])
    for part, bound in {part: bound for bound, part in bounds}.items():
        if kind == "max_lock_wait":
            yield Limit(kind, bound, asked.place(name), lock_kind=part)
        else:
            yield Limit(kind, bound, asked.place(name), thread=part)


def _of_all(parse: Callable[[Any], float]) -> Callable[[Any], tuple[float, None]]:
    """Return a parser of a bound that is for all threads and all locks."""
    return lambda value: (parse(value), None)


def _parse_events(value: Any) -> int:
    written = str(value).replace("_", "")
    if not (written.isascii() and written.isdigit() and 0 < len(written) < 10 and int(written)):
        raise ValueError(f"{value!r} is not a number of events from 1 to 999999999")
    return int(written)


def _or_off(parse: Callable[[Any], float], off: str) -> Callable[[Any], float]:
    """Return a parser that takes the word ``off`` for 0 seconds."""

    def parse_or_off(value: Any) -> float:
        if str(value) == off:
            return 0.0
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or {off!r}") from None

    return parse_or_off


def _between(low: str, high: str) -> Callable[[Any], float]:
    """Return a parser of times (s) from ``low`` to ``high``."""

    def parse(value: Any) -> float:
        number = parse_duration(value)
        if not parse_duration(low) <= number <= parse_duration(high):
            raise ValueError(f"{value!r} is not a time from {low} to {high}")
        return number

    return parse

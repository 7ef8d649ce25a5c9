"""What is asked for of the measurement, checked, in one frozen result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_gilknock.model.limits import Limit
from pytest_gilknock.model.trace import DEFAULT_EVENTS
from pytest_gilknock.model.units import parse_duration, parse_share
from pytest_gilknock.options import METHODS, one_of

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


def read(asked: Asked) -> MeasurementSettings:
    """Raises pytest.UsageError for a value that cannot be used."""
    limits = (
        _limit(asked, "gil_max_contention", "contention", parse_share),
        _limit(asked, "gil_max_wait", "max_wait", parse_duration),
    )
    return MeasurementSettings(
        method=cast("AskedMethod", asked.value("gil_method", one_of(METHODS), "auto")),
        limits=tuple(limit for limit in limits if limit is not None),
        knock_interval=asked.value(
            "gil_knock_interval", _or_off(_between("100us", "10s"), "off"), None
        ),
        switch_interval=asked.value("gil_switch_interval", _between("1us", "1min"), None),
        stall_timeout=asked.value(
            "gil_stall_timeout", _or_off(_between("10ms", "60min"), "0"), 1.0
        ),
        trace_events=asked.value("gil_trace_events", _parse_events, DEFAULT_EVENTS),
    )


def _limit(asked: Asked, name: str, kind: Kind, parse: Callable[[Any], float]) -> Limit | None:
    bound: float | None = asked.value(name, parse, None)
    return None if bound is None else Limit(kind, bound, asked.place(name))


def _parse_events(value: Any) -> int:
    written = str(value).replace("_", "")
    if not (written.isascii() and written.isdigit() and 0 < len(written) < 10 and int(written)):
        raise ValueError(f"{value!r} is not a number of events from 1 to 999999999")
    return int(written)


def _or_off(parse: Callable[[Any], float], *off: str) -> Callable[[Any], float]:
    """Return a parser that takes these values for 0 seconds."""

    def parse_or_off(value: Any) -> float:
        if str(value) in off:
            return 0.0
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or {' or '.join(map(repr, off))}") from None

    return parse_or_off


def _between(low: str, high: str) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        number = parse_duration(value)
        if not parse_duration(low) <= number <= parse_duration(high):
            raise ValueError(f"{value!r} is not a time from {low} to {high}")
        return number

    return parse

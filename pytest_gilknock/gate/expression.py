"""The gate: by how much a metric may grow, and how that is written. Pure, no pytest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pytest_gilknock.model.limits import parse_duration
from pytest_gilknock.render import format as text

Metric = Literal["contention", "wait", "max_wait", "contended"]

METRICS: tuple[Metric, ...] = ("contention", "wait", "max_wait", "contended")

FLOOR: dict[Metric, float] = {
    "contention": 0.01,
    "wait": 1e-3,
    "max_wait": 1e-3,
    "contended": 10,
}
"""What a metric may grow by when only a relative part is given.

Without it every test with a baseline of zero would fail such a gate at its first microsecond.
"""

FORM = (
    "METRIC:PART or METRIC:PART&PART with a METRIC of contention, wait, max_wait or contended; one "
    "PART absolute (contention: a share such as 0.05; wait, max_wait: a time with its unit such as "
    "20ms; contended: a count such as 100), one relative such as 25%"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on a metric's growth over the baseline; worse only if every part is exceeded.

    ``absolute`` is in the metric's own unit (a share, seconds, a count), ``relative`` a share of
    the baseline's value.
    """

    metric: Metric
    absolute: float | None
    relative: float | None

    def allowance(self, before: float) -> float:
        """Return by how much the metric may grow from ``before``."""
        absolute = FLOOR[self.metric] if self.absolute is None else self.absolute
        return max(absolute, (self.relative or 0.0) * before)

    def __str__(self) -> str:
        """``wait:20ms&25%``, as it may have been written."""
        parts = []
        if self.absolute is not None:
            parts.append(_ABSOLUTE[self.metric].show(self.absolute))
        if self.relative is not None:
            parts.append(f"{100 * self.relative:g}%")
        return f"{self.metric}:{'&'.join(parts)}"


@dataclass(frozen=True, slots=True)
class _Absolute:
    form: str
    parse: Callable[[str], float]
    show: Callable[[float], str]


def _parse_number(written: str) -> float:
    if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", written, re.ASCII):
        raise ValueError
    if (number := float(written)) == math.inf:
        raise ValueError
    return number


def _parse_share(written: str) -> float:
    if (share := _parse_number(written)) > 1.0:
        raise ValueError
    return share


def _parse_time(written: str) -> float:
    if written[-1:].isdigit():
        raise ValueError
    return parse_duration(written)


def _parse_count(written: str) -> float:
    if not (written.isascii() and written.isdigit() and len(written) <= 18):
        raise ValueError
    return float(written)


def _show_time(value: float) -> str:
    return text.exact_seconds(value).replace(" ", "")


_SHARE = _Absolute("a share from 0 to 1 such as 0.05", _parse_share, "{:g}".format)
_TIME = _Absolute("a time with its unit such as 20ms", _parse_time, _show_time)
_COUNT = _Absolute("a count such as 100", _parse_count, "{:.0f}".format)

_ABSOLUTE: dict[Metric, _Absolute] = {
    "contention": _SHARE,
    "wait": _TIME,
    "max_wait": _TIME,
    "contended": _COUNT,
}


def parse_gate(written: str) -> Gate:
    """Read ``METRIC:EXPR``. Raises ValueError with the value, the reason and the accepted form."""
    name, colon, expression = written.partition(":")
    metric = next((metric for metric in METRICS if metric == name.strip()), None)
    if metric is None:
        raise ValueError(f"{written!r} has no METRIC this gate knows; write {FORM}")
    if not colon:
        raise ValueError(f"{written!r} has no PART; write {FORM}")
    found: dict[str, float] = {}
    for part in expression.split("&"):
        kind, value = _parse_part(metric, part.strip(), written)
        if kind in found:
            raise ValueError(f"{written!r} has two {kind} parts; write {FORM}")
        found[kind] = value
    return Gate(metric, found.get("absolute"), found.get("relative"))


def _parse_part(metric: Metric, part: str, written: str) -> tuple[str, float]:
    absolute = _ABSOLUTE[metric]
    try:
        if part.endswith("%"):
            return "relative", _parse_number(part[:-1].rstrip()) / 100.0
        return "absolute", absolute.parse(part)
    except ValueError:
        raise ValueError(
            f"{written!r}: {part!r} is neither {absolute.form} nor a percentage such as 25%"
        ) from None


def parse_gates(all_written: Iterable[str]) -> tuple[Gate, ...]:
    """Read the values of a repeated option. Raises ValueError, also for a metric given twice."""
    gates: dict[Metric, Gate] = {}
    for written in all_written:
        gate = parse_gate(written)
        if gate.metric in gates:
            raise ValueError(f"{written!r} is a second gate for {gate.metric}; give one for each")
        gates[gate.metric] = gate
    return tuple(gates.values())

"""The gate: by how much a metric may grow, and how that is written. Pure, no pytest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.units import Unit, parse_plain_number


def _listed(names: Iterable[str], last: str) -> str:
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def _form() -> str:
    by_unit: dict[str, list[str]] = {}
    forms: dict[str, str] = {}
    for metric in METRICS.values():
        by_unit.setdefault(metric.unit.name, []).append(metric.name)
        forms[metric.unit.name] = metric.unit.form
    absolute = "; ".join(f"{', '.join(names)}: {forms[unit]}" for unit, names in by_unit.items())
    return (
        f"METRIC:PART or METRIC:PART&PART with a METRIC of {_listed(METRICS, 'or')}; one PART"
        f" absolute ({absolute}), one relative such as 25%"
    )


FORM = _form()
"""How a gate is written, for error messages."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on a metric's growth over the baseline; worse only if every part is exceeded.

    ``absolute`` is in the metric's own unit (a share, seconds, a count), ``relative`` a share of
    the baseline's value.
    """

    metric: str
    absolute: float | None
    relative: float | None

    def allowance(self, before: float) -> float:
        """Return by how much the metric may grow from ``before``."""
        absolute = METRICS[self.metric].floor if self.absolute is None else self.absolute
        return max(absolute, (self.relative or 0.0) * before)

    def __str__(self) -> str:
        """``wait:20ms&25%``, as it may have been written."""
        parts = []
        if self.absolute is not None:
            parts.append(METRICS[self.metric].unit.written(self.absolute))
        if self.relative is not None:
            parts.append(f"{100 * self.relative:g}%")
        return f"{self.metric}:{'&'.join(parts)}"


def parse_gate(written: str) -> Gate:
    """Read ``METRIC:EXPR``. Raises ValueError with the value, the reason and the accepted form."""
    name, colon, expression = written.partition(":")
    metric = METRICS.get(name.strip())
    if metric is None:
        raise ValueError(f"{written!r} has no METRIC this gate knows; write {FORM}")
    if not colon:
        raise ValueError(f"{written!r} has no PART; write {FORM}")
    found: dict[str, float] = {}
    for part in expression.split("&"):
        kind, value = _parse_part(metric.unit, part.strip(), written)
        if kind in found:
            raise ValueError(f"{written!r} has two {kind} parts; write {FORM}")
        found[kind] = value
    return Gate(metric.name, found.get("absolute"), found.get("relative"))


def _parse_part(unit: Unit, part: str, written: str) -> tuple[str, float]:
    try:
        if part.endswith("%"):
            return "relative", parse_plain_number(part[:-1].rstrip()) / 100.0
        return "absolute", unit.parse(part)
    except ValueError:
        raise ValueError(
            f"{written!r}: {part!r} is neither {unit.form} nor a percentage such as 25%"
        ) from None


def parse_gates(all_written: Iterable[str]) -> tuple[Gate, ...]:
    """Read the values of a repeated option. Raises ValueError, also for a metric given twice."""
    gates: dict[str, Gate] = {}
    for written in all_written:
        gate = parse_gate(written)
        if gate.metric in gates:
            raise ValueError(f"{written!r} is a second gate for {gate.metric}; give one for each")
        gates[gate.metric] = gate
    return tuple(gates.values())

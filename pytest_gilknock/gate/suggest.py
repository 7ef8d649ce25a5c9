"""Gates that saved runs of unchanged code would have kept, as tight as they allow. Pure.

Each saved run is compared with the others, as if it were the one to judge. For a metric, a gate has
a relative part from :data:`RELATIVE_PARTS`, and the smallest absolute part of the series 1, 2, 5
with which none of them is over it, with :data:`MARGIN` to spare. Of these, the gate is suggested
that allows the tests the least growth on average.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median_high
from typing import NamedTuple

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.expression import Gate
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.statistics import NOISE_RUNS
from pytest_gilknock.render.format import printable

RELATIVE_PARTS = (0.1, 0.25, 0.4, 0.6, 1.0)

MARGIN = 1.25
"""A few runs do not show all of the noise: a gate allows so many times what they show."""


class Suggestion(NamedTuple):
    """A gate, and the test whose noise decides its absolute part; None if no test is noisy."""

    gate: Gate
    noisiest: str | None
    growth: float
    """How far that test's worst run lies beyond the median of its others, in the metric's unit."""


def suggest(entries: Mapping[str, Sequence[BaselineEntry]]) -> list[Suggestion]:
    """Return a gate for each metric that reports show or an option asks for, if runs measured it.

    ``entries``: what each test did in the saved runs. Raises ValueError for fewer runs than three.
    """
    most = max(map(len, entries.values()), default=0)
    if most < NOISE_RUNS:
        raise ValueError(
            f"a suggestion needs {NOISE_RUNS} saved runs or more, to see what moves by itself;"
            f" there {'is' if most == 1 else 'are'} {most}"
        )
    metrics = [metric for metric in METRICS.values() if metric.shown or metric.asked_for]
    found = (_suggest(metric, entries) for metric in metrics)
    return [suggestion for suggestion in found if suggestion is not None]


class _Growth(NamedTuple):
    """How far the worst run of a test lies beyond the median of its others."""

    nodeid: str
    before: float
    amount: float


def _suggest(metric: Metric, entries: Mapping[str, Sequence[BaselineEntry]]) -> Suggestion | None:
    growths = list(_growths(metric, entries))
    if not growths:
        return None
    best: tuple[float, Suggestion] | None = None
    for relative in RELATIVE_PARTS:
        beyond = [one for one in growths if MARGIN * one.amount > relative * one.before]
        worst = max(beyond, key=lambda one: one.amount, default=None)
        amount = worst.amount if worst is not None else 0.0
        gate = Gate(metric.name, _rounded_up(MARGIN * amount, metric), relative)
        allowed = fmean(gate.allowance(one.before) for one in growths)
        if best is None or allowed < best[0]:
            best = allowed, Suggestion(gate, worst.nodeid if worst else None, amount)
    assert best is not None
    return best[1]


def _growths(metric: Metric, entries: Mapping[str, Sequence[BaselineEntry]]) -> Iterator[_Growth]:
    sign = 1.0 if metric.worse == "higher" else -1.0
    for nodeid, runs in entries.items():
        values = sorted(
            sign * value for run in runs if (value := run.metrics[metric.name]) is not None
        )
        if len(values) >= NOISE_RUNS:
            usual = median_high(values[:-1])
            yield _Growth(nodeid, abs(usual), values[-1] - usual)


def _rounded_up(amount: float, metric: Metric) -> float:
    """Return the next number of 1, 2, 5, 10, ... times the metric's floor, at least that.

    But no more than the metric's highest value: a gate takes none above it.
    """
    steps = max(amount / metric.floor, 1.0)
    power = 10.0 ** math.floor(math.log10(steps))
    digit = next(digit for digit in (1, 2, 5, 10) if digit * power >= steps * (1 - 1e-9))
    return min(float(f"{digit * power * metric.floor:.6g}"), metric.most)


def as_text(suggestions: Sequence[Suggestion], names: Sequence[str]) -> str:
    """Return the gates as options to copy, each with what decided it."""
    lines = [f"Gates that {len(names)} saved runs keep:"]
    options = [f"  --gil-compare-fail='{suggestion.gate}'" for suggestion in suggestions]
    width = max(map(len, options), default=0)
    for option, suggestion in zip(options, suggestions, strict=True):
        lines.append(f"{option:{width}}  {_reason(suggestion)}")
    if not suggestions:
        lines.append("  none: no test has a metric in three of them")
    return "\n".join(lines) + "\n"


def _reason(suggestion: Suggestion) -> str:
    if suggestion.noisiest is None:
        return "no test is noisy"
    metric = METRICS[suggestion.gate.metric]
    growth = metric.unit.printed(suggestion.growth)
    return f"{printable(suggestion.noisiest)} was once {growth} beyond the median of its other runs"


def as_json(suggestions: Sequence[Suggestion], names: Sequence[str]) -> str:
    """Return the gates for programs; amounts are in the metric's unit."""
    document = {
        "schema": 1,
        "kind": "pytest-gilknock suggestion",
        "runs": list(names),
        "gates": [
            {
                "gate": str(suggestion.gate),
                "metric": suggestion.gate.metric,
                "noisiest": suggestion.noisiest,
                "growth": suggestion.growth,
            }
            for suggestion in suggestions
        ],
    }
    return json.dumps(document, indent=1) + "\n"

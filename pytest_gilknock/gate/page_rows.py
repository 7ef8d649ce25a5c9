"""A comparison as the page shows it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_gilknock.gate.text import caveats, notes, percentage
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.render.format import printable
from pytest_gilknock.reporting.changes import ChangeRow, Changes

if TYPE_CHECKING:
    from pytest_gilknock.gate.compare import Change
    from pytest_gilknock.gate.runs import Comparison

MOST_STEADY = 2_000
"""Rows of metrics that did not change; those that changed are all there."""


def changes_of(comparison: Comparison) -> Changes:
    """Return the rows and the verdicts of a comparison."""
    notable = comparison.notable
    steady = [change for change in comparison.changes if change.verdict == "steady"]
    return Changes(
        notes=list(notes(comparison)),
        caveats=list(caveats(comparison)),
        rows=[_row(change) for change in (*notable, *steady[:MOST_STEADY])],
        left_out=len(steady[MOST_STEADY:]),
    )


def _row(change: Change) -> ChangeRow:
    metric = METRICS[change.metric]
    printed = metric.unit.printed
    return ChangeRow(
        test=printable(change.nodeid),
        verdict=change.verdict,
        metric=metric.title,
        before=(change.before, printed(change.before)),
        after=(change.after, printed(change.after)),
        change=(change.difference, metric.signed(change.difference)),
        relative=(_factor(change), percentage(change)),
        blame=printable(change.blame or ""),
    )


def _factor(change: Change) -> float:
    """Return the relative change, to sort by; a rise from 0 is above all others."""
    if change.before:
        return change.difference / change.before
    return math.copysign(1e9, change.difference) if change.difference else 0.0

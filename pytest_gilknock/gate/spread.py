"""The values of a metric in the saved runs: the usual one, and how far they lie apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_high, median_low
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.gate.others import excess_share
from pytest_gilknock.model.metrics import Metric, Others
from pytest_gilknock.model.statistics import NOISE_RUNS, outlier_distance

if TYPE_CHECKING:
    from pytest_gilknock.baseline.model import BaselineEntry


class Spread(NamedTuple):
    """The values of a metric in the saved runs, without what is due to others in single ones."""

    best: float
    worst: float
    runs: int
    usual: float
    """Their median; of an even number of runs the worse of the two in the middle."""
    measured: float
    """The worst value as it was measured."""
    noise: float
    """How far from the usual a value may lie by chance; 0 where there are too few runs."""


def spread_of(metric: Metric, entries: Sequence[BaselineEntry], attempts: int) -> Spread | None:
    """Return the spread of a metric in saved runs; None where it was measured in none of them.

    ``attempts``: how often a test over its gate is run at most; the majority decides.
    """
    measured = [
        (value, metric.delay(value, entry, Others.likely(excess_share(entries, entry))))
        for entry in entries
        if (value := entry.metrics[metric.name]) is not None
    ]
    if not measured:
        return None
    values = [value - delay for value, delay in measured]
    best, worst = _ends(metric, values)
    return Spread(
        best=best,
        worst=worst,
        runs=len(values),
        usual=(median_high if metric.worse == "higher" else median_low)(values),
        measured=_ends(metric, [value for value, _ in measured])[1],
        noise=outlier_distance(values, attempts) if len(values) >= NOISE_RUNS else 0.0,
    )


def _ends(metric: Metric, values: Sequence[float]) -> tuple[float, float]:
    """Return the best and the worst of values."""
    low, high = min(values), max(values)
    return (low, high) if metric.worse == "higher" else (high, low)

"""How far a value is surely from the usual one. Pure.

What others on the machine may have added to it, and what few knocks leave open, is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.gate.others import excess_share
from pytest_gilknock.model.metrics import Metric, Others

if TYPE_CHECKING:
    from pytest_gilknock.baseline.model import BaselineEntry
    from pytest_gilknock.gate.spread import Spread

BISECTIONS = 50
"""Of an interval no longer than its beginning: to the last digits of a float."""


class Certainty(NamedTuple):
    """How far a value is surely worse, and better, than usual; negative where it is not."""

    growth: float
    gain: float
    to_worst: float
    """How far from the usual value the worst saved run is."""
    to_best: float
    """How far from it the best saved run is."""
    delay: float
    """How much of the value is due to others that used the processors, at most."""
    fails_from: Callable[[float], float]
    """Takes by how much a value may grow; returns the value beyond which it surely grew by more, if
    the machine is as busy as it was, or the metric's ``most`` if there is none."""


def certainty_of(
    metric: Metric,
    value: float,
    spread: Spread,
    before: Sequence[BaselineEntry],
    after: BaselineEntry,
) -> Certainty:
    """Return what is sure of a value of ``after``, beside the spread of the entries ``before``."""
    if metric.is_of_knocks(after):
        return _by_knocks(metric, spread, before, after)
    others = Others.at_most(excess_share(before, after))
    delay = metric.delay(value, after, others)
    beyond = metric.worse_by(value, spread.usual)
    return Certainty(
        growth=beyond - delay,
        gain=-beyond,
        to_worst=abs(spread.worst - spread.usual),
        to_best=abs(spread.best - spread.usual),
        delay=delay,
        fails_from=lambda allowed: _without_delay(metric, after, others, spread.usual + allowed),
    )


def _without_delay(metric: Metric, after: BaselineEntry, others: Others, wanted: float) -> float:
    """Return the value that is ``wanted`` without what others may have caused of it.

    They cause more of a larger value, but never all that it grows by: bisection finds it.
    """

    def is_more(value: float) -> bool:
        return value - metric.delay(value, after, others) > wanted

    if others.share == 0.0:
        return wanted
    low = high = wanted
    while high < metric.most and not is_more(high):
        low, high = high, min(2.0 * high + metric.floor, metric.most)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if is_more(middle) else (middle, high)
    return high


def _by_knocks(
    metric: Metric, spread: Spread, before: Sequence[BaselineEntry], after: BaselineEntry
) -> Certainty:
    """Compare the confidence intervals of sampled contentions, that before being of all runs."""
    best, worst = _confidence(before)

    def growth(waited: int) -> float:
        return _confidence([replace(after, knocks_waited=waited)])[0] - worst

    def fails_from(allowed: float) -> float:
        passing, failing = 0, after.knocks + 1
        while failing - passing > 1:
            middle = (passing + failing) // 2
            if growth(middle) > allowed:
                failing = middle
            else:
                passing = middle
        if passing == after.knocks:
            return metric.most
        return max(passing / after.knocks, spread.usual + allowed)

    return Certainty(
        growth=growth(after.knocks_waited),
        gain=best - _confidence([after])[1],
        to_worst=0.0,
        to_best=0.0,
        delay=0.0,
        fails_from=fails_from,
    )


def _confidence(entries: Iterable[BaselineEntry]) -> tuple[float, float]:
    """Return the lowest and highest share that sampled entries leave likely."""
    intervals = [entry.knock_interval for entry in entries]
    return min(low for low, _ in intervals), max(high for _, high in intervals)

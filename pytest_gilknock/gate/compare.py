"""A test beside saved runs: what a metric was, what it is now, and whether that counts. Pure.

**The rule.** Several saved runs of the same name make a spread, with its *usual* value: their
median, of an even number the worse of the two in the middle. A test is worse in a metric when what
is measured now exceeds the usual value by more than the gate's allowance (the larger of its
absolute part and its relative part of the usual value) and exceeds every saved run; better when it
falls as far below. The median and not the worst run is what it grows from, because one run that
happened to wait long would hide a regression from then on. With one saved run the spread is that
run alone. A contention counts only if the GIL was held longer by the metric's slack, too.
With three saved runs or more, a value counts only if it is an outlier among them, too.

**Others on the machine.** A test waits longer while other programs use the processors. If they take
a larger share of them now than in the median saved run, the most that the difference may have added
to the value is not counted as growth. If they took a larger share in one saved run than in the
median one, what that added is subtracted from the value of that run.

Only like is judged against like: entries by another method, and metrics that one side did not
measure, are listed and not judged. A sampled contention is a share of few knocks, so its 95 %
confidence intervals are compared instead of the shares themselves. A change that is over a gate,
but not surely, is inconclusive: it has a row, and fails no test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median, median_high, median_low
from typing import Literal, NamedTuple

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.expression import Gate
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS, Metric, Others
from pytest_gilknock.model.statistics import NOISE_RUNS, outlier_distance, wilson_interval

ChangeVerdict = Literal["over the gate", "inconclusive", "worse", "better", "steady"]
"""Inconclusive: over the gate, but no further than a busy machine or too few knocks account for."""

RANK: dict[ChangeVerdict, int] = {
    "over the gate": 0,
    "inconclusive": 1,
    "worse": 2,
    "better": 3,
    "steady": 4,
}


BISECTIONS = 50
"""Of an interval no longer than its beginning: to the last digits of a float."""


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


class Change(NamedTuple):
    """One metric of one test, before and now, in the metric's own unit."""

    nodeid: str
    metric: str
    spread: Spread
    after: float
    verdict: ChangeVerdict
    gate: Gate | None
    allowed: float
    delay: float
    """How much of ``after`` is due to others that used the processors, and counts as no growth."""
    fails_from: float | None
    """The value beyond which the test fails by the gate, if the machine is as busy as it was; None
    without a gate."""
    amount: float
    """By how much it surely grew or fell: less than ``difference`` where that may be chance."""
    caveat: str = ""
    """What may account for it, where it is inconclusive."""
    blame: str | None = None
    """Where the GIL was held while others waited longest, in ``after``."""

    @property
    def before(self) -> float:
        """The value that ``after`` is judged against."""
        return self.spread.usual

    @property
    def difference(self) -> float:
        """How far ``after`` is from ``before``; negative where it is lower."""
        return self.after - self.before

    @property
    def severity(self) -> float:
        """The amount as a multiple of what is allowed, which ranks changes of any metric.

        What is allowed counts as no less than the metric's floor: zero would make all alike.
        """
        return self.amount / max(self.allowed, METRICS[self.metric].floor)

    @property
    def needed(self) -> float | None:
        """By how much more than usual the metric had to be to fail the test; None without a gate,
        and where no value fails it.
        """
        if self.fails_from is None or self.fails_from >= METRICS[self.metric].most:
            return None
        return self.fails_from - self.spread.usual

    @property
    def hides_twice(self) -> bool:
        """Whether a value twice the usual one would pass because the saved runs are so noisy."""
        usual = self.spread.usual
        if self.gate is None or 2.0 * usual >= METRICS[self.metric].most:
            return False
        return self.allowed >= usual >= 2.0 * self.gate.allowance(usual)

    @property
    def breached(self) -> bool:
        """Whether this fails the test."""
        return self.verdict == "over the gate"


class Incomparable(NamedTuple):
    """A metric of a test that has nothing to be compared with, and why."""

    nodeid: str
    metric: str
    reason: str
    gated: bool


def compare_test(
    nodeid: str,
    before: Sequence[BaselineEntry],
    after: BaselineEntry,
    gates: Sequence[Gate],
    *,
    attempts: int = 1,
) -> tuple[list[Change], list[Incomparable]]:
    """Compare a test's entry with those of the saved runs, in every metric gated or shown.

    ``before`` has one entry or more. ``attempts``: how often a test over its gate is run at
    most; the majority decides.
    """
    gate_of = {gate.metric: gate for gate in gates}
    changes: list[Change] = []
    incomparable: list[Incomparable] = []
    for metric in METRICS.values():
        gate = gate_of.get(metric.name)
        if gate is None and not metric.shown:
            continue
        outcome = _compare_metric(nodeid, metric, before, after, gate, attempts)
        if isinstance(outcome, Change):
            changes.append(outcome)
        else:
            incomparable.append(Incomparable(nodeid, metric.name, outcome, gate is not None))
    return changes, incomparable


def gil_was_turned_on(before: Sequence[BaselineEntry], after: BaselineEntry) -> bool:
    """Return whether a test ran without the GIL in all saved runs, and with it now."""
    return after.method != "disabled" and ran_without_gil(before)


def ran_without_gil(before: Sequence[BaselineEntry]) -> bool:
    """Return whether a test began without the GIL in all saved runs."""
    return all(entry.method == "disabled" for entry in before)


def _compare_metric(
    nodeid: str,
    metric: Metric,
    before: Sequence[BaselineEntry],
    after: BaselineEntry,
    gate: Gate | None,
    attempts: int,
) -> Change | str:
    alike = [entry for entry in before if entry.method == after.method]
    if not alike:
        return f"{before[-1].method} before, {after.method} now"
    if after.method == "disabled" and not metric.without_gil:
        return "the GIL is disabled"
    spread = _spread(metric, alike, attempts)
    now = after.metrics[metric.name]
    if now is None or spread is None:
        return f"not measured {'now' if now is None else 'before'}"
    others = Others.at_most(_excess_share(alike, after))
    delay = metric.delay(now, after, others)
    sign = 1.0 if metric.worse == "higher" else -1.0
    beyond = sign * (now - spread.usual)
    by_knocks = metric.knocked and after.method == "sampled"
    if by_knocks:
        sure = _sure_of_knocks(alike, after)
    else:
        sure = _Sure(
            growth=beyond - delay,
            gain=-beyond,
            to_worst=abs(spread.worst - spread.usual),
            to_best=abs(spread.best - spread.usual),
        )
    absolute, relative = metric.noticeable
    slack = metric.slack / after.wall if after.wall else 0.0
    floor = max(slack, spread.noise)
    to_notice = max(absolute, relative * spread.usual, floor)
    allowed = max(gate.allowance(spread.usual), floor) if gate is not None else to_notice
    allowed = max(allowed, sure.to_worst)
    verdict = _verdict(sure, beyond, to_notice, allowed if gate is not None else None)
    if gate is None:
        fails_from = None
    elif by_knocks:
        surely = _fails_from_knocks(metric, alike, after, allowed)
        fails_from = max(surely, spread.usual + allowed)
    else:
        fails_from = _fails_from(metric, after, others, spread.usual + allowed)
    return Change(
        nodeid=nodeid,
        metric=metric.name,
        spread=spread,
        after=now,
        verdict=verdict,
        gate=gate,
        allowed=allowed,
        delay=delay,
        fails_from=fails_from,
        amount=max(sure.growth, 0.0) or max(sure.gain, 0.0),
        caveat=_caveat(metric, after) if verdict == "inconclusive" else "",
        blame=after.blame,
    )


def _fails_from(metric: Metric, after: BaselineEntry, others: Others, allowed: float) -> float:
    """Return the value that is ``allowed`` without what others may have caused of it.

    They cause more of a larger value, but never all that it grows by: bisection finds it.
    """

    def is_more(value: float) -> bool:
        return value - metric.delay(value, after, others) > allowed

    if others.share == 0.0:
        return allowed
    low = high = allowed
    while high < metric.most and not is_more(high):
        low, high = high, min(2.0 * high + metric.floor, metric.most)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if is_more(middle) else (middle, high)
    return high


def _fails_from_knocks(
    metric: Metric, before: Sequence[BaselineEntry], after: BaselineEntry, allowed: float
) -> float:
    """Return the largest share of as many knocks that passes; ``metric.most`` if any does."""
    passing, failing = 0, after.knocks + 1
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if _sure_of_knocks(before, replace(after, knocks_waited=middle)).growth > allowed:
            failing = middle
        else:
            passing = middle
    return passing / after.knocks if passing < after.knocks else metric.most


class _Sure(NamedTuple):
    """How far a value is surely worse, and better, than usual; negative where it is not.

    ``to_worst`` and ``to_best``: how far from the usual value the saved runs reach themselves.
    """

    growth: float
    gain: float
    to_worst: float
    to_best: float


def _sure_of_knocks(before: Sequence[BaselineEntry], after: BaselineEntry) -> _Sure:
    """Return how far the confidence intervals of sampled contentions are apart."""
    (low, high), (best, worst) = _confidence([after]), _confidence(before)
    return _Sure(low - worst, best - high, 0.0, 0.0)  # the interval before is of all runs


def _verdict(sure: _Sure, beyond: float, to_notice: float, allowed: float | None) -> ChangeVerdict:
    """``beyond``: how far a value is worse than usual as measured; ``allowed`` by a gate."""
    if allowed is not None and sure.growth > allowed:
        return "over the gate"
    if allowed is not None and beyond > allowed:
        return "inconclusive"
    if sure.growth > max(to_notice, sure.to_worst):
        return "worse"
    if sure.gain > max(to_notice, sure.to_best):
        return "better"
    return "steady"


def _spread(metric: Metric, entries: Sequence[BaselineEntry], attempts: int) -> Spread | None:
    """Return the spread of a metric in saved runs; None where it was measured in none of them."""
    measured = [
        (value, metric.delay(value, entry, Others.likely(_excess_share(entries, entry))))
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


def _caveat(metric: Metric, after: BaselineEntry) -> str:
    """Return what may account for a change that is over its gate, but not surely."""
    if metric.knocked and after.method == "sampled":
        return f"{units.count(after.knocks, 'knock')} only"
    words = []
    if after.others and after.processors and after.wall:
        used = f"{after.others / after.wall:.1f} of {after.processors:g} processors"
        words.append(f"other programs used {used}")
    if after.throttled:
        words.append(f"a quota held it up for {units.seconds(after.throttled)}")
    return " and ".join(words) or "others used the processors"


def _excess_share(before: Sequence[BaselineEntry], after: BaselineEntry) -> float:
    """Return the share of processor time that others took beyond what they took of the saved runs.

    These cancel out: a process that gets half of the time it is ready to use, where it got two
    thirds before, is slowed down as by others that take a quarter.
    """
    usual = median(entry.lost_share for entry in before)
    share = min(after.lost_share, _missed_share(before, after))
    excess = 1.0 - (1.0 - share) / (1.0 - usual) if usual < 1.0 else 0.0
    return max(0.0, excess)


def _missed_share(before: Sequence[BaselineEntry], after: BaselineEntry) -> float:
    """Return the share of the processor time used in the saved runs that was not had now.

    Threads that take turns at the GIL keep about one processor at work. As long as they get it, a
    program that takes another one does not slow them down, though they stand ready now and then.
    1 where this is not known.
    """
    wanted = [entry.ready / entry.wall for entry in before if entry.used is not None and entry.wall]
    if not wanted or after.used is None or not after.wall:
        return 1.0
    had = after.used / after.wall
    return max(0.0, 1.0 - had / median(wanted)) if median(wanted) else 0.0


def _confidence(entries: Iterable[BaselineEntry]) -> tuple[float, float]:
    """Return the lowest and highest share that sampled entries leave likely."""
    intervals = [
        wilson_interval(min(entry.knocks_waited, entry.knocks), entry.knocks)
        if entry.knocks
        else (0.0, 1.0)
        for entry in entries
    ]
    return min(low for low, _ in intervals), max(high for _, high in intervals)

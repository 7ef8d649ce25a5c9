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

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.certainty import Certainty, certainty_of
from pytest_gilknock.gate.expression import Gate
from pytest_gilknock.gate.spread import Spread, spread_of
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.stack import OWN_THREAD

ChangeVerdict = Literal["over the gate", "inconclusive", "worse", "better", "steady"]
"""Inconclusive: over the gate, but no further than a busy machine or too few knocks account for."""

RANK: dict[ChangeVerdict, int] = {
    "over the gate": 0,
    "inconclusive": 1,
    "worse": 2,
    "better": 3,
    "steady": 4,
}


Cause = Literal["noise in the saved runs", "a short test", "others on the machine", "few knocks"]
"""Why a test has to grow by more than its gate allows to fail."""

NOTABLE_PART = 0.01
"""What raises an amount by less than this share of it is no cause."""


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
    allowed_more_for: Cause | None = None
    """Why more is allowed than by the gate alone; None where it is not."""
    needs_more_for: Cause | None = None
    """Why it has to grow by even more to fail its test; None where it has not."""

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
    def causes(self) -> list[Cause]:
        """Why it has to grow by more than its gate allows to fail its test."""
        causes = self.allowed_more_for, self.needs_more_for
        return [cause for cause in causes if cause is not None]

    @property
    def allowed_by_gate(self) -> float:
        """By how much the gate alone lets it grow; 0 without a gate."""
        return 0.0 if self.gate is None else self.gate.allowance(self.spread.usual)

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
    spread = spread_of(metric, alike, attempts)
    now = after.metrics[metric.name]
    if now is None:
        return "not measured now"
    if spread is None:
        how = f"; save runs with {metric.asked_for}" if metric.asked_for else ""
        return f"not measured before{how}"
    sure = certainty_of(metric, now, spread, alike, after)
    beyond = metric.worse_by(now, spread.usual)
    absolute, relative = metric.noticeable
    slack = metric.slack / after.wall if after.wall else 0.0
    floor = max(slack, spread.noise)
    to_notice = max(absolute, relative * spread.usual, floor)
    allowed = max(gate.allowance(spread.usual), floor) if gate is not None else to_notice
    allowed = max(allowed, sure.to_worst)
    verdict = _verdict(sure, beyond, to_notice, allowed if gate is not None else None)
    fails_from = sure.fails_from(allowed) if gate is not None else None
    more_for: Cause | None = None
    even_more_for: Cause | None = None
    little = NOTABLE_PART * max(allowed, metric.floor)
    if gate is not None and allowed - gate.allowance(spread.usual) > little:
        is_noise = allowed in (spread.noise, sure.to_worst)
        more_for = "noise in the saved runs" if is_noise else "a short test"
    if fails_from is not None and fails_from - spread.usual - allowed > little:
        few = metric.is_of_knocks(after)
        even_more_for = "few knocks" if few else "others on the machine"
    return Change(
        nodeid=nodeid,
        metric=metric.name,
        spread=spread,
        after=now,
        verdict=verdict,
        gate=gate,
        allowed=allowed,
        delay=sure.delay,
        fails_from=fails_from,
        amount=max(sure.growth, 0.0) or max(sure.gain, 0.0),
        caveat=_caveat(metric, after) if verdict == "inconclusive" else "",
        blame=after.blame,
        allowed_more_for=more_for,
        needs_more_for=even_more_for,
    )


def _verdict(
    sure: Certainty, beyond: float, to_notice: float, allowed: float | None
) -> ChangeVerdict:
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


def _caveat(metric: Metric, after: BaselineEntry) -> str:
    """Return what may account for a change that is over its gate, but not surely."""
    if metric.is_of_knocks(after):
        return f"{OWN_THREAD} asked for the GIL {units.count(after.knocks, 'time')} only"
    words = []
    if after.others and after.processors and after.wall:
        used = f"{after.others / after.wall:.1f} of {after.processors:g} processors"
        words.append(f"other programs used {used}")
    if after.throttled:
        words.append(f"a quota held it up for {units.seconds(after.throttled)}")
    return " and ".join(words) or "others used the processors"

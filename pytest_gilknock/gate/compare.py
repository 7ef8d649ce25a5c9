"""Runs compared: what a metric was before, what it is now, and whether that counts. Pure.

**The rule.** Several saved runs of the same name make a spread. A test is worse in a metric when
what is measured now exceeds the *worst* of these runs by more than the gate's allowance (the larger
of its absolute part and its relative part of that worst value), better when it falls as far below
the best of them. With one saved run the spread is that run alone. A change inside is noise, and
counts as none. A contention counts only if the GIL was held longer by the metric's slack, too. What
may be due to a busy machine, as far as the operating system knows, is not counted as growth.

Only like is judged against like: entries by another method, and metrics that one side did not
measure, are listed and not judged. A sampled contention is a share of few knocks, so its 95 %
confidence intervals are compared instead of the shares themselves. A change that is over a gate,
but not surely, is inconclusive: it has a row, and fails no test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal, NamedTuple

from pytest_gilknock.baseline.model import Baseline, BaselineEntry
from pytest_gilknock.gate.expression import Gate
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.statistics import wilson_interval

ChangeVerdict = Literal["over the gate", "inconclusive", "worse", "better", "steady"]
"""Unsure: over the gate, but by no more than a busy machine or too few knocks may account for."""

RANK: dict[ChangeVerdict, int] = {
    "over the gate": 0,
    "inconclusive": 1,
    "worse": 2,
    "better": 3,
    "steady": 4,
}


@dataclass(frozen=True, slots=True)
class BaselineRuns:
    """The saved runs a run is compared with: their names, and each test's entries in them."""

    names: tuple[str, ...]
    entries: Mapping[str, tuple[BaselineEntry, ...]]

    @classmethod
    def of(cls, runs: Sequence[tuple[str, Baseline]]) -> BaselineRuns:
        """Gather runs, each with the name it is shown by."""
        entries: dict[str, list[BaselineEntry]] = {}
        for _, baseline in runs:
            for nodeid, entry in baseline.tests.items():
                entries.setdefault(nodeid, []).append(entry)
        return cls(
            names=tuple(name for name, _ in runs),
            entries={nodeid: tuple(found) for nodeid, found in entries.items()},
        )

    def dumps(self) -> str:
        """Return this as a text, for a worker process, which may run on another machine."""
        entries = {
            nodeid: [astuple(one) for one in found] for nodeid, found in self.entries.items()
        }
        return json.dumps([self.names, entries], separators=(",", ":"))

    @classmethod
    def loads(cls, dumped: str) -> BaselineRuns:
        """Read what :meth:`dumps` returned."""
        names, entries = json.loads(dumped)
        return cls(
            names=tuple(names),
            entries={
                nodeid: tuple(BaselineEntry(*one) for one in found)
                for nodeid, found in entries.items()
            },
        )


class Spread(NamedTuple):
    """The values of a metric in the saved runs."""

    best: float
    worst: float
    runs: int


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
    """How much of ``after`` may be the scheduler's, and is not counted as growth."""
    amount: float
    """By how much it surely grew or fell: less than ``difference`` where that may be chance."""

    @property
    def before(self) -> float:
        """The end of the spread that ``after`` is judged against."""
        higher_is_worse = METRICS[self.metric].worse == "higher"
        better = self.after < self.spread.best if higher_is_worse else self.after > self.spread.best
        return self.spread.best if better else self.spread.worst

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
    nodeid: str, before: Sequence[BaselineEntry], after: BaselineEntry, gates: Sequence[Gate]
) -> tuple[list[Change], list[Incomparable]]:
    """Compare a test's entry with those of the saved runs, in every metric gated or shown.

    ``before`` has one entry or more.
    """
    gate_of = {gate.metric: gate for gate in gates}
    changes: list[Change] = []
    incomparable: list[Incomparable] = []
    for metric in METRICS.values():
        gate = gate_of.get(metric.name)
        if gate is None and not metric.shown:
            continue
        outcome = _compare_metric(nodeid, metric, before, after, gate)
        if isinstance(outcome, Change):
            changes.append(outcome)
        else:
            incomparable.append(Incomparable(nodeid, metric.name, outcome, gate is not None))
    return changes, incomparable


def _compare_metric(
    nodeid: str,
    metric: Metric,
    before: Sequence[BaselineEntry],
    after: BaselineEntry,
    gate: Gate | None,
) -> Change | str:
    alike = [entry for entry in before if entry.method == after.method]
    if not alike:
        return f"{before[-1].method} before, {after.method} now"
    values = [value for entry in alike if (value := entry.metrics[metric.name]) is not None]
    now = after.metrics[metric.name]
    if after.method == "disabled":
        return "the GIL is disabled"
    if now is None or not values:
        return f"not measured {'now' if now is None else 'before'}"
    delay = metric.delay(now, after)
    if metric.worse == "higher":
        spread = Spread(min(values), max(values), len(values))
        beyond = now - spread.worst
        growth, gain = beyond - delay, spread.best - now
    else:
        spread = Spread(max(values), min(values), len(values))
        beyond = spread.worst - now
        growth, gain = beyond - delay, now - spread.best
    if metric.knocked and after.method == "sampled":
        (low, high), (best, worst) = _confidence([after]), _confidence(alike)
        growth, gain = low - worst, best - high

    noticeable = Gate(metric.name, *metric.noticeable)
    floor = metric.slack / after.wall if after.wall else 0.0
    to_notice = max(noticeable.allowance(spread.worst), floor)
    allowed = to_notice if gate is None else max(gate.allowance(spread.worst), floor)
    growth, gain = max(growth, 0.0), max(gain, 0.0)
    verdict: ChangeVerdict = "steady"
    if gate is not None and growth > allowed:
        verdict = "over the gate"
    elif gate is not None and beyond > allowed:
        verdict = "inconclusive"
    elif growth > to_notice:
        verdict = "worse"
    elif gain > max(noticeable.allowance(spread.best), floor):
        verdict = "better"
    return Change(nodeid, metric.name, spread, now, verdict, gate, allowed, delay, growth or gain)


def _confidence(entries: Iterable[BaselineEntry]) -> tuple[float, float]:
    """Return the lowest and highest share that sampled entries leave likely."""
    intervals = [
        wilson_interval(min(entry.knocks_waited, entry.knocks), entry.knocks)
        if entry.knocks
        else (0.0, 1.0)
        for entry in entries
    ]
    return min(low for low, _ in intervals), max(high for _, high in intervals)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside its baseline. ``changes`` are worst first, the other lists sorted by node id."""

    before: tuple[str, ...]
    after: str
    gates: tuple[Gate, ...]
    changes: tuple[Change, ...]
    incomparable: tuple[Incomparable, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def breaches(self) -> tuple[Change, ...]:
        """What is over its gate."""
        return tuple(change for change in self.changes if change.breached)

    @property
    def notable(self) -> tuple[Change, ...]:
        """What is worth a row."""
        return tuple(change for change in self.changes if change.verdict != "steady")


def compare_runs(
    before: BaselineRuns,
    after: Mapping[str, BaselineEntry],
    gates: Sequence[Gate],
    *,
    name: str,
    warnings: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Comparison:
    """Compare every test of a run, called ``name`` where it is shown."""
    changes: list[Change] = []
    incomparable: list[Incomparable] = []
    for nodeid in sorted(after.keys() & before.entries.keys()):
        some, others = compare_test(nodeid, before.entries[nodeid], after[nodeid], gates)
        changes += some
        incomparable += others
    changes.sort(key=lambda change: (RANK[change.verdict], -change.severity, change.nodeid))
    return Comparison(
        before=before.names,
        after=name,
        gates=tuple(gates),
        changes=tuple(changes),
        incomparable=tuple(incomparable),
        new=tuple(sorted(after.keys() - before.entries.keys())),
        gone=tuple(sorted(before.entries.keys() - after.keys())),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )

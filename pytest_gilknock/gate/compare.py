"""Runs compared: what a metric was before, what it is now, and whether that counts. Pure.

**The rule.** Several saved runs of the same name make a spread. A test is worse in a metric when
what is measured now exceeds the *worst* of these runs by more than the gate's allowance (the larger
of its absolute part and its relative part of that worst value), better when it falls as far below
the best of them. With one saved run the spread is that run alone. A change inside is noise, and
counts as none. A contention counts only if the GIL was held :data:`HELD_SLACK` longer. What may be
due to a busy machine, as far as the operating system tells it, is not counted as growth.

Only like is judged against like: entries by another method, and metrics that one side did not
measure, are told and not judged. A sampled contention is a share of few knocks, so its 95 %
confidence intervals are compared instead of the shares themselves. A change that is over a gate,
but not surely, is unsure: it is told, and fails no test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal, NamedTuple

from pytest_gilknock.baseline.model import Baseline, Entry
from pytest_gilknock.gate.expression import FLOOR, METRICS, Gate, Metric
from pytest_gilknock.model.limits import wilson_interval

NOTICEABLE: dict[Metric, Gate] = {
    "contention": Gate("contention", 0.05, 0.1),
    "wait": Gate("wait", 5e-3, 0.25),
    "max_wait": Gate("max_wait", 5e-3, 0.5),
    "contended": Gate("contended", 100, 0.5),
}
"""What is worth a row of the table where no gate says otherwise."""

HELD_SLACK = 5e-3
"""Seconds (the usual switch interval) by which the GIL may be held longer at any contention.

In a short test the share hangs on how the threads happen to start: without this slack every test of
a few milliseconds would be over a contention gate now and then.
"""

DEFAULT_METRICS: tuple[Metric, ...] = ("contention", "wait", "max_wait")

Verdict = Literal["over the gate", "unsure", "worse", "better", "steady"]
"""Unsure: over the gate, but by no more than a busy machine or too few knocks may account for."""

RANK: dict[Verdict, int] = {
    "over the gate": 0,
    "unsure": 1,
    "worse": 2,
    "better": 3,
    "steady": 4,
}


@dataclass(frozen=True, slots=True)
class Before:
    """The saved runs a run is compared with: their names, and each test's entries in them."""

    names: tuple[str, ...]
    entries: Mapping[str, tuple[Entry, ...]]

    @classmethod
    def of(cls, runs: Sequence[tuple[str, Baseline]]) -> Before:
        """Gather runs, each with the name it is shown by."""
        entries: dict[str, list[Entry]] = {}
        for _, baseline in runs:
            for nodeid, entry in baseline.tests.items():
                entries.setdefault(nodeid, []).append(entry)
        return cls(
            names=tuple(name for name, _ in runs),
            entries={nodeid: tuple(found) for nodeid, found in entries.items()},
        )

    def dumps(self) -> str:
        """Return this as a text, to hand to a worker process on whatever machine."""
        entries = {
            nodeid: [astuple(one) for one in found] for nodeid, found in self.entries.items()
        }
        return json.dumps([self.names, entries], separators=(",", ":"))

    @classmethod
    def loads(cls, dumped: str) -> Before:
        """Read what :meth:`dumps` returned."""
        names, entries = json.loads(dumped)
        return cls(
            names=tuple(names),
            entries={
                nodeid: tuple(Entry(*one) for one in found) for nodeid, found in entries.items()
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
    metric: Metric
    spread: Spread
    after: float
    verdict: Verdict
    gate: Gate | None
    allowed: float
    delay: float
    """How much of ``after`` may be the scheduler's, and is not counted as growth."""
    amount: float
    """By how much it surely grew or fell: less than ``difference`` where that may be chance."""

    @property
    def before(self) -> float:
        """The end of the spread that ``after`` is judged against."""
        return self.spread.best if self.after < self.spread.best else self.spread.worst

    @property
    def difference(self) -> float:
        """How far ``after`` is from ``before``; negative when better."""
        return self.after - self.before

    @property
    def extent(self) -> float:
        """The amount as a multiple of what is allowed, which ranks changes of any metric.

        What is allowed counts as no less than the metric's floor: zero would make all alike.
        """
        return self.amount / max(self.allowed, FLOOR[self.metric])

    @property
    def breached(self) -> bool:
        """Whether this fails the test."""
        return self.verdict == "over the gate"


class Unjudged(NamedTuple):
    """A metric of a test that has nothing to be compared with, and why."""

    nodeid: str
    metric: Metric
    reason: str
    gated: bool


def compare_test(
    nodeid: str, before: Sequence[Entry], after: Entry, gates: Sequence[Gate]
) -> tuple[list[Change], list[Unjudged]]:
    """Compare a test's entry with those of the saved runs, in every metric gated or shown.

    ``before`` has one entry or more.
    """
    gate_of = {gate.metric: gate for gate in gates}
    changes: list[Change] = []
    unjudged: list[Unjudged] = []
    for metric in METRICS:
        gate = gate_of.get(metric)
        if gate is None and metric not in DEFAULT_METRICS:
            continue
        outcome = _compare_metric(nodeid, metric, before, after, gate)
        if isinstance(outcome, Change):
            changes.append(outcome)
        else:
            unjudged.append(Unjudged(nodeid, metric, outcome, gate is not None))
    return changes, unjudged


def _compare_metric(
    nodeid: str, metric: Metric, before: Sequence[Entry], after: Entry, gate: Gate | None
) -> Change | str:
    alike = [entry for entry in before if entry.method == after.method]
    if not alike:
        return f"{before[-1].method} before, {after.method} now"
    values = [value for entry in alike if (value := getattr(entry, metric)) is not None]
    now = getattr(after, metric)
    if after.method == "disabled":
        return "the GIL is disabled"
    if now is None or not values:
        return f"not measured {'now' if now is None else 'before'}"
    spread = Spread(min(values), max(values), len(values))
    delay = _delay(metric, after)
    low, high, best, worst = now - delay, now, spread.best, spread.worst
    if metric == "contention" and after.method == "sampled":
        low, high = _confidence([after])
        best, worst = _confidence(alike)

    floor = HELD_SLACK / after.wall if metric == "contention" and after.wall else 0.0
    noticeable = max(NOTICEABLE[metric].allowance(spread.worst), floor)
    allowed = noticeable if gate is None else max(gate.allowance(spread.worst), floor)
    growth, gain = max(low - worst, 0.0), max(best - high, 0.0)
    verdict: Verdict = "steady"
    if gate is not None and growth > allowed:
        verdict = "over the gate"
    elif gate is not None and now - spread.worst > allowed:
        verdict = "unsure"
    elif growth > noticeable:
        verdict = "worse"
    elif gain > max(NOTICEABLE[metric].allowance(spread.best), floor):
        verdict = "better"
    return Change(nodeid, metric, spread, now, verdict, gate, allowed, delay, growth or gain)


def _delay(metric: Metric, after: Entry) -> float:
    """Return how much of a metric may be the scheduler's doing, in the metric's unit.

    Whatever time a thread was ready and had no processor may lie in a wait, its own or that for its
    GIL. Only the delays that fall on the GIL's holder, one thread of all, may lie in what was held.
    """
    run_delay = after.run_delay or 0.0
    if metric == "wait":
        return min(run_delay, after.wait or 0.0)
    if metric == "max_wait":
        return min(run_delay, after.max_wait or 0.0)
    if metric == "contended" or after.method == "sampled" or not (after.contention and run_delay):
        return 0.0
    held = after.contention * after.wall
    of_holder = min(run_delay / max(after.threads, 1), held)
    if of_holder >= after.wall:
        return 0.0  # held throughout, by whomever and however delayed
    return after.contention - (held - of_holder) / (after.wall - of_holder)


def _confidence(entries: Iterable[Entry]) -> tuple[float, float]:
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
    unjudged: tuple[Unjudged, ...]
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
    before: Before,
    after: Mapping[str, Entry],
    gates: Sequence[Gate],
    *,
    name: str,
    warnings: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Comparison:
    """Compare every test of a run, called ``name`` where it is shown."""
    changes: list[Change] = []
    unjudged: list[Unjudged] = []
    for nodeid in sorted(after.keys() & before.entries.keys()):
        some, others = compare_test(nodeid, before.entries[nodeid], after[nodeid], gates)
        changes += some
        unjudged += others
    changes.sort(key=lambda change: (RANK[change.verdict], -change.extent, change.nodeid))
    return Comparison(
        before=before.names,
        after=name,
        gates=tuple(gates),
        changes=tuple(changes),
        unjudged=tuple(unjudged),
        new=tuple(sorted(after.keys() - before.entries.keys())),
        gone=tuple(sorted(before.entries.keys() - after.keys())),
        warnings=tuple(warnings),
        notes=tuple(notes),
    )

"""A comparison in sentences. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.render.format import printable

if TYPE_CHECKING:
    from pytest_gilknock.gate.compare import Change, ChangeVerdict
    from pytest_gilknock.gate.runs import Comparison

FACTOR_FROM = 10
"""Ratios from this value up print as ``12x``."""

_SHOWN_NAMES = 3


def subject_of(change: Change, method: str) -> str:
    """Return what a change is in: contention for the GIL, or for what stands in its place.

    ``method`` is the one that the test was measured by.
    """
    of_gil = method != "disabled" and not METRICS[change.metric].is_of_locks
    return "GIL contention" if of_gil else "Contention"


def percentage(change: Change) -> str:
    """Return the relative change; empty without a change, ``from 0`` where there is no ratio."""
    if not change.difference:
        return ""
    if not change.before:
        return "from 0"
    factor = change.after / change.before
    return f"{factor:.0f}x" if factor >= FACTOR_FROM else f"{100 * (factor - 1):+.0f}%"


def notes(comparison: Comparison) -> Iterator[str]:
    """Yield the verdict on the whole run, and what else is said below the table.

    That there is no saved run is one of the caveats.
    """
    if comparison.before:
        yield _verdict_on_run(comparison)
    if comparison.gates:
        yield f"Gate: {', '.join(map(str, comparison.gates))}"
    if gated := [change for change in comparison.changes if change.gate is not None]:
        yield f"Growth that fails a test: {_needed_range(gated)}"
    if comparison.gil_turned_on:
        yield f"The GIL is enabled, and was disabled before: {_named(comparison.gil_turned_on)}"
    if comparison.before and comparison.new:
        yield f"New, without a baseline: {_named(comparison.new)}"
    if comparison.gone:
        yield f"In the baseline, but did not run, pass or get measured: {_named(comparison.gone)}"
    yield from comparison.notes


def _verdict_on_run(comparison: Comparison) -> str:
    """Return how many tests there are of each verdict."""
    verdicts = _by_test(comparison)
    counts = [f"{number} {verdict}" for verdict, number in verdicts.items()]
    return (
        f"{units.count(verdicts.total(), 'test')} of {printable(comparison.after)}"
        f" compared with {names_of_runs(comparison.before)}:"
        f" {', '.join(counts) or 'nothing to compare'}"
    )


def _needed_range(gated: Sequence[Change]) -> str:
    """Return what the most and the least noisy test needs to fail, for each gated metric."""
    parts = []
    metrics = {change.metric for change in gated}
    for name in (name for name in METRICS if name in metrics):
        unit = METRICS[name].unit
        changes = [change for change in gated if change.metric == name]
        needed = [change.needed for change in changes if change.needed is not None]
        ends = dict.fromkeys(unit.printed(end(needed)) for end in (min, max) if needed)
        words = [METRICS[name].title, " to ".join(ends)]
        remarks = []
        if (cannot := len(changes) - len(needed)) > 0:
            remarks.append(f"{units.count(cannot, 'test')} cannot fail by it")
        remarks += _more_than_gate(changes)
        if remarks:
            words.append(f"({'; '.join(remarks)})")
        parts.append(" ".join(filter(None, words)))
    return ", ".join(parts)


def _more_than_gate(changes: Sequence[Change]) -> Iterator[str]:
    """Yield why tests have to grow by more than their gate allows to fail, if any have.

    ``changes`` are those of one metric.
    """
    more = [change for change in changes if change.causes and change.needed is not None]
    if not more:
        return
    if len(changes) == 1:
        printed = METRICS[more[0].metric].unit.printed
        what = f"more than the gate's {printed(more[0].allowed_by_gate)}"
    else:
        what = f"more than the gate allows in {len(more)} of {len(changes)} tests"
    causes = dict.fromkeys(cause for change in more for cause in change.causes)
    yield f"{what}, because of {' and '.join(causes)}"


def names_of_runs(names: Sequence[str]) -> str:
    """Return the names of runs in a row, of many the first and the last."""
    if len(names) > _SHOWN_NAMES:
        names = [f"{len(names)} runs from {names[0]} to {names[-1]}"]
    return ", ".join(map(printable, names)) or "nothing"


def _by_test(comparison: Comparison) -> Counter[ChangeVerdict]:
    """Count the tests by what is worst in each, the worst first."""
    worst: dict[str, ChangeVerdict] = {}
    for change in comparison.changes:  # worst first
        worst.setdefault(change.nodeid, change.verdict)
    return Counter(worst.values())


def _named(nodeids: Sequence[str]) -> str:
    names = ", ".join(map(printable, nodeids[:_SHOWN_NAMES]))
    more = len(nodeids) - _SHOWN_NAMES
    return f"{units.count(len(nodeids), 'test')} ({names}{f', {more} more' if more > 0 else ''})"


def caveats(comparison: Comparison) -> Iterator[str]:
    """Yield why verdicts may be off, or are missing."""
    for caveat in comparison.caveats:
        yield f"Warning: {caveat}"
    inconclusive = comparison.inconclusive
    for change in inconclusive[:_SHOWN_NAMES]:
        yield f"Warning: {inconclusive_text(change)}"
    if (more := len(inconclusive) - _SHOWN_NAMES) > 0:
        yield f"Warning: {units.count(more, 'more change')} over the gate, but not surely"
    noisy = [change for change in comparison.changes if change.hides_twice]
    for change in noisy[:_SHOWN_NAMES]:
        yield f"Warning: {noise_text(change)}"
    if (more := len(noisy) - _SHOWN_NAMES) > 0:
        yield f"Warning: so may {units.count(more, 'more metric')} of noisy saved runs"
    if comparison.gates and comparison.others_unknown:
        yield (
            "Warning: what other programs use of the processors is not known here: a busy machine"
            " may put a test over its gate"
        )
    reasons = Counter((one.metric, one.gated, one.reason) for one in comparison.incomparable)
    for (metric, gated, reason), number in sorted(reasons.items()):
        what = f"{metric} of {units.count(number, 'test')}"
        yield f"Warning: {what} {'not judged by the gate' if gated else 'not compared'}: {reason}"


def inconclusive_text(change: Change) -> str:
    """Return what is over its gate, but not surely, and why."""
    metric = METRICS[change.metric]
    return (
        f"{metric.name} {metric.unit.printed(change.after)} of {printable(change.nodeid)} is over"
        f" the gate, but not surely: {change.caveat}"
    )


def noise_text(change: Change) -> str:
    """Return what the saved runs are too noisy to show, and what helps."""
    metric = METRICS[change.metric]
    best, worst = (metric.unit.printed(end) for end in change.spread[:2])
    return (
        f"{metric.name} of {printable(change.nodeid)} may double and pass: it was {best} to {worst}"
        f" in {units.count(change.spread.runs, 'saved run')}; save them anew on a calm machine, or"
        " make the test longer"
    )


def busy_text(share: float) -> str:
    """Return what is wrong with a saved run of which others had this share."""
    return (
        f"Warning: others had {100 * share:.0f}% of the processor time that the tests were ready to"
        " use: as a baseline this run is noisy; save it again on a calm machine"
    )

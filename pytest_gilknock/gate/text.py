"""A comparison for people: the table, and the text of a test over its gate. Pure, no pytest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_gilknock.gate.compare import RANK, Change, Comparison, Verdict
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.render import format as text
from pytest_gilknock.render.reading_text import facts
from pytest_gilknock.reporting.terminal import Line

SIGNS: dict[Verdict, str] = {
    "over the gate": "!",
    "unsure": "?",
    "worse": "+",
    "better": "-",
    "steady": "=",
}

HEADS = ("", "metric", "before", "after", "change", "", "test")

MANIFOLD = 10
"""From where on a relative change is told as a factor."""

BUSY = 0.05
"""Share of what is allowed from which on a delay by the scheduler is worth telling."""

_MIN_ID = 20
_SHOWN_NAMES = 3


def percentage(change: Change) -> str:
    """Return the relative change, if any; from a baseline of zero it cannot be told."""
    if not change.difference:
        return ""
    if not change.before:
        return "from 0"
    factor = change.after / change.before
    return f"{factor:.0f}x" if factor >= MANIFOLD else f"{100 * (factor - 1):+.0f}%"


def cells(change: Change) -> tuple[str, ...]:
    """Return the row of a change, as :data:`HEADS` names its columns."""
    return (
        SIGNS[change.verdict],
        change.metric,
        METRICS[change.metric].unit.printed(change.before),
        METRICS[change.metric].unit.printed(change.after),
        METRICS[change.metric].signed(change.difference),
        percentage(change),
        text.printable(change.nodeid),
    )


def section(comparison: Comparison, *, width: int, top: int, everything: bool) -> list[Line]:
    """Return the table, worst first, and what it leaves out.

    At most ``top`` rows (0: all) beside those over the gate; ``everything``: the steady too.
    """
    changes = comparison.changes if everything else comparison.notable
    shown = [
        change for rank, change in enumerate(changes) if not top or rank < top or change.breached
    ]
    lines = list(_table(shown, width))
    if left := len(changes) - len(shown):
        lines.append(
            Line(f"({units.count(left, 'more row')} left out. Use --gil-top=0 to show all.)")
        )
    lines += [Line(line) for line in closing(comparison)]
    lines += [Line(line, yellow=True) for line in cautions(comparison)]
    return lines


def _table(changes: Sequence[Change], width: int) -> Iterator[Line]:
    if not changes:
        return
    rows = [cells(change) for change in changes]
    widths = [max(map(len, column)) for column in zip(HEADS, *rows, strict=True)]
    room = max(_MIN_ID, width - sum(widths[:-1]) - 2 * (len(widths) - 1))
    yield Line(_row(HEADS, widths, room), bold=True)
    for change, row in zip(changes, rows, strict=True):
        yield Line(_row(row, widths, room), red=change.breached)


def _row(row: Sequence[str], widths: Sequence[int], room: int) -> str:
    sign, metric, *numbers, nodeid = row
    left = [sign.ljust(widths[0]), metric.ljust(widths[1])]
    right = [cell.rjust(space) for cell, space in zip(numbers, widths[2:-1], strict=True)]
    return "  ".join([*left, *right, text.keep_end(nodeid, room)]).rstrip()


def closing(comparison: Comparison) -> Iterator[str]:
    """Yield the verdict on the whole run, in lines."""
    verdicts = _by_test(comparison)
    counts = [f"{number} {verdict}" for verdict in RANK if (number := verdicts[verdict])]
    yield (
        f"{units.count(verdicts.total(), 'test')} of {text.printable(comparison.after)}"
        f" compared with {before(comparison)}: {', '.join(counts) or 'nothing to compare'}"
    )
    if comparison.gates:
        yield f"Gate: {', '.join(map(str, comparison.gates))}"
    if comparison.new:
        yield f"New, without a baseline: {_named(comparison.new)}"
    if comparison.gone:
        yield f"In the baseline, not measured now: {_named(comparison.gone)}"
    yield from comparison.notes


def before(comparison: Comparison) -> str:
    """Return what a run is compared with."""
    return runs(comparison.before)


def runs(names: Sequence[str]) -> str:
    """Return the names of runs, of many the first and the last."""
    if len(names) > _SHOWN_NAMES:
        names = [f"{len(names)} runs from {names[0]} to {names[-1]}"]
    return ", ".join(map(text.printable, names)) or "nothing"


def _by_test(comparison: Comparison) -> Counter[Verdict]:
    worst: dict[str, Verdict] = {}
    for change in comparison.changes:  # worst first
        worst.setdefault(change.nodeid, change.verdict)
    return Counter(worst.values())


def _named(nodeids: Sequence[str]) -> str:
    names = ", ".join(map(text.printable, nodeids[:_SHOWN_NAMES]))
    more = len(nodeids) - _SHOWN_NAMES
    return f"{units.count(len(nodeids), 'test')} ({names}{f', {more} more' if more > 0 else ''})"


def cautions(comparison: Comparison) -> Iterator[str]:
    """Yield what keeps the comparison from being what it seems, in lines."""
    for warning in comparison.warnings:
        yield f"Warning: {warning}"
    unsure = sum(change.verdict == "unsure" for change in comparison.changes)
    if unsure:
        yield (
            f"Warning: {units.count(unsure, 'change')} over the gate, but not surely:"
            " the machine was busy, or the knocks were few"
        )
    reasons = Counter((one.metric, one.gated, one.reason) for one in comparison.unjudged)
    for (metric, gated, reason), number in sorted(reasons.items()):
        what = f"{metric} of {units.count(number, 'test')}"
        yield f"Warning: {what} {'not judged by the gate' if gated else 'not compared'}: {reason}"


def breach_text(
    changes: Iterable[Change], names: Sequence[str], reading: GilReading, root: str = ""
) -> str:
    """Return why a test fails: each metric over its gate, then what was measured now."""
    lines: list[str] = []
    for change in changes:
        lines.append(
            f"GIL contention regression: {summary(change)}, set by --gil-compare-fail={change.gate}"
        )
        lines.append(f"  before      {_spread(change, names)}")
    return "\n".join([*lines, *facts(reading, root)])


def summary(change: Change) -> str:
    """Return a change in one line: ``wait 250 ms, was 1.20 ms (+249 ms, 208x), allowed +20 ms``."""
    difference = ", ".join(
        filter(None, [METRICS[change.metric].signed(change.difference), percentage(change)])
    )
    busy = change.delay > BUSY * change.allowed
    delay = f" and {METRICS[change.metric].signed(change.delay)} for a busy machine" if busy else ""
    return (
        f"{change.metric} {METRICS[change.metric].unit.printed(change.after)}, was"
        f" {METRICS[change.metric].unit.printed(change.before)} ({difference}),"
        f" allowed {METRICS[change.metric].signed(change.allowed)}{delay}"
    )


def _spread(change: Change, names: Sequence[str]) -> str:
    worst = METRICS[change.metric].unit.printed(change.spread.worst)
    if change.spread.runs == 1:
        return f"{worst} in {runs(names)}"
    best = METRICS[change.metric].unit.printed(change.spread.best)
    return f"{worst}, the worst of {change.spread.runs} runs from {best} on ({runs(names)})"

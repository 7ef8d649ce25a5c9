"""A comparison for people: tables, and the text of a test that is over its gate. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_gilknock.gate.compare import RANK, Change, ChangeVerdict, Comparison
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lines import Line
from pytest_gilknock.render.markdown import code, markdown_table, prose
from pytest_gilknock.render.reading_text import reading_lines
from pytest_gilknock.render.tables import Column, cut_start, text_table

SIGNS: dict[ChangeVerdict, str] = {
    "over the gate": "!",
    "inconclusive": "?",
    "worse": "+",
    "better": "-",
    "steady": "=",
}

FACTOR_FROM = 10
"""Ratios from this value up print as ``12x``."""

BUSY = 0.05
"""A delay by the scheduler is printed from this share of the allowance up."""

MARKDOWN_ROWS = 50
"""A CI page is read from the top, and GitHub drops a summary above 1 MiB whole."""

_SHOWN_NAMES = 3


def percentage(change: Change) -> str:
    """Return the relative change; empty without a change, ``from 0`` where there is no ratio."""
    if not change.difference:
        return ""
    if not change.before:
        return "from 0"
    factor = change.after / change.before
    return f"{factor:.0f}x" if factor >= FACTOR_FROM else f"{100 * (factor - 1):+.0f}%"


def columns(changes: Sequence[Change]) -> list[Column]:
    """Return the table of changes: what each is, the numbers, and whose."""
    metrics = [METRICS[change.metric] for change in changes]
    pairs = list(zip(changes, metrics, strict=True))
    return [
        Column("", [SIGNS[change.verdict] for change in changes], right=False),
        Column("metric", [metric.name for metric in metrics], right=False),
        Column("before", [metric.unit.printed(change.before) for change, metric in pairs]),
        Column("after", [metric.unit.printed(change.after) for change, metric in pairs]),
        Column("change", [metric.signed(change.difference) for change, metric in pairs]),
        Column("", [percentage(change) for change in changes]),
        Column("test", [printable(one.nodeid) for one in changes], right=False, cut=cut_start),
    ]


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
    head, *rows = text_table(columns(changes), width)
    yield Line(head, bold=True)
    for change, row in zip(changes, rows, strict=True):
        yield Line(row, red=change.breached)


def as_markdown(comparison: Comparison, *, rows: int = MARKDOWN_ROWS) -> str:
    """Return the rows worth showing as a table of GitHub's and GitLab's Markdown."""
    lines = [f"### GIL contention compared with {code(before(comparison))}", ""]
    shown = comparison.notable[:rows]
    if shown:
        signs, *others, tests = columns(shown)
        signs = signs._replace(
            cells=[
                "**!**" if change.breached else f"\\{sign}"
                for change, sign in zip(shown, signs.cells, strict=True)
            ]
        )
        tests = tests._replace(cells=list(map(code, tests.cells)))
        lines += [*markdown_table([signs, *others, tests]), ""]
    if left := len(comparison.notable) - len(shown):
        lines += [f"{units.count(left, 'more row')} left out.", ""]
    for line in [*closing(comparison), *cautions(comparison)]:
        lines += [prose(line), ""]
    return "\n".join(lines)


def closing(comparison: Comparison) -> Iterator[str]:
    """Yield the verdict on the whole run, in lines."""
    verdicts = _by_test(comparison)
    counts = [f"{number} {verdict}" for verdict in RANK if (number := verdicts[verdict])]
    yield (
        f"{units.count(verdicts.total(), 'test')} of {printable(comparison.after)}"
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
    return ", ".join(map(printable, names)) or "nothing"


def _by_test(comparison: Comparison) -> Counter[ChangeVerdict]:
    worst: dict[str, ChangeVerdict] = {}
    for change in comparison.changes:  # worst first
        worst.setdefault(change.nodeid, change.verdict)
    return Counter(worst.values())


def _named(nodeids: Sequence[str]) -> str:
    names = ", ".join(map(printable, nodeids[:_SHOWN_NAMES]))
    more = len(nodeids) - _SHOWN_NAMES
    return f"{units.count(len(nodeids), 'test')} ({names}{f', {more} more' if more > 0 else ''})"


def cautions(comparison: Comparison) -> Iterator[str]:
    """Yield what keeps the comparison from being what it seems, in lines."""
    for warning in comparison.warnings:
        yield f"Warning: {warning}"
    inconclusive = sum(change.verdict == "inconclusive" for change in comparison.changes)
    if inconclusive:
        yield (
            f"Warning: {units.count(inconclusive, 'change')} over the gate, but not surely:"
            " the machine was busy, or the knocks were few"
        )
    reasons = Counter((one.metric, one.gated, one.reason) for one in comparison.incomparable)
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
    return "\n".join([*lines, *reading_lines(reading, root)])


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

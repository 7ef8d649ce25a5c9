"""A comparison for people: tables, and the text of a test that is over its gate. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.gate.compare import RANK, Change, ChangeVerdict
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lines import Line
from pytest_gilknock.render.markdown import code, prose
from pytest_gilknock.render.reading_text import reading_lines
from pytest_gilknock.render.tables import Column, cut_test, markdown_table, text_table

if TYPE_CHECKING:
    from pytest_gilknock.gate.runs import Comparison

SIGNS: dict[ChangeVerdict, str] = {
    "over the gate": "!",
    "inconclusive": "?",
    "worse": "+",
    "better": "-",
    "steady": "=",
}

FACTOR_FROM = 10
"""Ratios from this value up print as ``12x``."""

NOTABLE_DELAY = 0.05
"""What is due to others is printed from this share of the allowance up."""

LEGEND = "! over the gate, ? over it but not surely, + worse, - better"

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
        Column(
            "", [SIGNS[change.verdict] for change in changes], right=False, markdown=_sign_markdown
        ),
        Column("metric", [metric.name for metric in metrics], right=False),
        Column("before", [metric.unit.printed(change.before) for change, metric in pairs]),
        Column("after", [metric.unit.printed(change.after) for change, metric in pairs]),
        Column("change", [metric.signed(change.difference) for change, metric in pairs]),
        Column("", [percentage(change) for change in changes]),
        Column(
            "test",
            [printable(one.nodeid) for one in changes],
            right=False,
            cut=cut_test,
            markdown=code,
        ),
    ]


def _sign_markdown(sign: str) -> str:
    """Return a sign so that it begins no list; that of a breach is bold."""
    return f"**{sign}**" if sign == SIGNS["over the gate"] else f"\\{sign}"


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
    lines += [Line(line) for line in notes(comparison)]
    lines += [Line(line, yellow=True) for line in caveats(comparison)]
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
    lines = [f"### GIL contention compared with {code(names_of_runs(comparison.before))}", ""]
    shown = comparison.notable[:rows]
    if shown:
        *others, tests = columns(shown)
        places = [printable(change.blame or "") for change in shown]
        blame = [Column("blame", places, right=False, markdown=code)] if any(places) else []
        lines += [*markdown_table([*others, *blame, tests]), "", prose(LEGEND), ""]
    if left := len(comparison.notable) - len(shown):
        lines += [f"{units.count(left, 'more row')} left out.", ""]
    for line in [*notes(comparison), *caveats(comparison)]:
        lines += [prose(line), ""]
    return "\n".join(lines)


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
        yield f"In the baseline, but did not run or pass: {_named(comparison.gone)}"
    yield from comparison.notes


def _verdict_on_run(comparison: Comparison) -> str:
    """Return how many tests there are of each verdict."""
    verdicts = _by_test(comparison)
    counts = [f"{number} {verdict}" for verdict in RANK if (number := verdicts[verdict])]
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
        all_needed = [change.needed for change in gated if change.metric == name]
        needed = [one for one in all_needed if one is not None]
        ends = dict.fromkeys(unit.printed(end(needed)) for end in (min, max) if needed)
        words = [METRICS[name].title, " to ".join(ends)]
        if cannot := len(all_needed) - len(needed):
            words.append(f"({units.count(cannot, 'test')} cannot fail by it)")
        parts.append(" ".join(filter(None, words)))
    return ", ".join(parts)


def needed_table(comparison: Comparison) -> list[Line]:
    """Return what each gated test could have detected: a row for each metric, least first."""
    gated = [change for change in comparison.changes if change.gate is not None]
    gated.sort(
        key=lambda one: (one.metric, math.inf if one.needed is None else one.needed, one.nodeid)
    )
    if not gated:
        return []
    metrics = [METRICS[change.metric] for change in gated]
    pairs = list(zip(gated, metrics, strict=True))
    head, *rows = text_table(
        [
            Column("metric", [metric.name for metric in metrics], right=False),
            Column("before", [metric.unit.printed(one.before) for one, metric in pairs]),
            Column("to fail", [_needed(one, metric) for one, metric in pairs]),
            Column("test", [printable(one.nodeid) for one in gated], right=False),
        ]
    )
    lines = [Line(""), Line("What each gated test needs to fail:"), Line(head, bold=True)]
    return [*lines, *map(Line, rows)]


def _needed(change: Change, metric: Metric) -> str:
    return "cannot" if change.needed is None else metric.signed(change.needed)


def gil_text(module: str | None) -> str:
    """Return why a test fails in which the GIL is on, and was off in all saved runs."""
    by = f", turned on by {printable(module)}" if module else ""
    return f"GIL contention regression: enabled, was disabled{by}"


def names_of_runs(names: Sequence[str]) -> str:
    """Return the names of runs in a row, of many the first and the last."""
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


def breach_text(
    changes: Iterable[Change],
    names: Sequence[str],
    reading: GilReading,
    root: str = "",
    *,
    set_by: str = "--gil-compare-fail",
) -> str:
    """Return why a test fails: each metric over its gate, then what was measured now.

    ``set_by`` is the option or the ini key that has the gates.
    """
    place = f"{set_by}=" if set_by.startswith("--") else f"{set_by}: "
    lines: list[str] = []
    for change in changes:
        lines += [
            f"GIL contention regression: {summary(change)}",
            f"  allowed     {_allowance(change)}, set by {place}{change.gate}",
            f"  before      {_spread(change, names)}",
        ]
    return "\n".join([*lines, *reading_lines(reading, root)])


def summary(change: Change) -> str:
    """Return a change in some 40 characters: ``wait 250 ms, was 1.20 ms (+249 ms, 208x)``."""
    metric = METRICS[change.metric]
    difference = ", ".join(filter(None, [metric.signed(change.difference), percentage(change)]))
    after, was = metric.unit.printed(change.after), metric.unit.printed(change.before)
    return f"{metric.name} {after}, was {was} ({difference})"


def _allowance(change: Change) -> str:
    metric = METRICS[change.metric]
    allowed = metric.signed(change.allowed)
    if change.delay <= NOTABLE_DELAY * change.allowed:
        return allowed
    return f"{allowed}, without the {metric.signed(change.delay)} that others may have caused"


def _spread(change: Change, names: Sequence[str]) -> str:
    spread, printed = change.spread, METRICS[change.metric].unit.printed
    usual, best, worst = printed(spread.usual), printed(spread.best), printed(spread.worst)
    if spread.runs == 1:
        return f"{usual} in {names_of_runs(names)}"
    which = "worse" if spread.runs == 2 else "median"
    text = f"{usual}, the {which} of {spread.runs} from {best} to {worst} ({names_of_runs(names)})"
    disturbed = printed(spread.measured)
    return text if disturbed == worst else f"{text}, {disturbed} with what others caused of it"

"""A comparison as a table, with the sentences below it: terminal and Markdown. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.gate.text import caveats, names_of_runs, notes, percentage
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lines import Line, heading, rows_left_out
from pytest_gilknock.render.markdown import code, prose
from pytest_gilknock.render.tables import Column, cut_test, markdown_table, text_table

if TYPE_CHECKING:
    from pytest_gilknock.gate.compare import Change, ChangeVerdict
    from pytest_gilknock.gate.runs import Comparison

SIGNS: dict[ChangeVerdict, str] = {
    "over the gate": "!",
    "inconclusive": "?",
    "worse": "+",
    "better": "-",
    "steady": "=",
}

LEGEND = "! over the gate, ? over it but not surely, + worse, - better"

MARKDOWN_ROWS = 50
"""A CI page is read from the top, and GitHub drops a summary above 1 MiB whole."""


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
    lines = [*_table(shown, width), *rows_left_out(len(changes) - len(shown))]
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
    head = heading(without_gil=comparison.without_gil)
    lines = [f"### {head} compared with {code(names_of_runs(comparison.before))}", ""]
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
    causes = [" and ".join(one.causes) for one in gated]
    because = [Column("because of", causes, right=False)] if any(causes) else []
    head, *rows = text_table(
        [
            Column("metric", [metric.name for metric in metrics], right=False),
            Column("before", [metric.unit.printed(one.before) for one, metric in pairs]),
            Column("gate", [metric.signed(one.allowed_by_gate) for one, metric in pairs]),
            Column("to fail", [_needed(one, metric) for one, metric in pairs]),
            *because,
            Column("test", [printable(one.nodeid) for one in gated], right=False),
        ]
    )
    lines = [Line(""), Line("What each gated test needs to fail:"), Line(head, bold=True)]
    return [*lines, *map(Line, rows)]


def _needed(change: Change, metric: Metric) -> str:
    return "cannot" if change.needed is None else metric.signed(change.needed)

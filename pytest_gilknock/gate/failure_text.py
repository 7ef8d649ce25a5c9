"""The text of a test that is over its gate, or fails for a GIL that is on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.gate.text import names_of_runs, percentage, subject_of
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.reading_text import reading_lines

if TYPE_CHECKING:
    from pytest_gilknock.gate.compare import Change
    from pytest_gilknock.model.reading import GilReading

NOTABLE_DELAY = 0.05
"""What is due to others is printed from this share of the allowance up."""


def gil_text(module: str | None) -> str:
    """Return why a test fails in which the GIL is on, and was off in all saved runs."""
    by = f", turned on by {printable(module)}" if module else ""
    return f"GIL contention regression: enabled, was disabled{by}"


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
            f"{subject_of(change, reading.method)} regression: {summary(change)}",
            f"  allowed     {_allowance(change)} set by {place}{change.gate}",
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
    text = f"{metric.signed(change.allowed)},"
    if change.delay > NOTABLE_DELAY * change.allowed:
        text += f" without the {metric.signed(change.delay)} that others may have caused,"
    if (cause := change.allowed_more_for) is not None:
        text += f" for {cause} more than the {metric.signed(change.allowed_by_gate)}"
    return text


def _spread(change: Change, names: Sequence[str]) -> str:
    spread, printed = change.spread, METRICS[change.metric].unit.printed
    usual, best, worst = printed(spread.usual), printed(spread.best), printed(spread.worst)
    if spread.runs == 1:
        return f"{usual} in {names_of_runs(names)}"
    which = "worse" if spread.runs == 2 else "median"
    text = f"{usual}, the {which} of {spread.runs} from {best} to {worst} ({names_of_runs(names)})"
    disturbed = printed(spread.measured)
    return text if disturbed == worst else f"{text}, {disturbed} with what others caused of it"

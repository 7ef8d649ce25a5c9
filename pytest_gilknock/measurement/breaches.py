"""What the report of a test says that fails by a limit or a gate: the line to blame, and a summary.

It travels with the report, as attributes of plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_gilknock.model import wire
from pytest_gilknock.model.blame import worst_places
from pytest_gilknock.model.limits import Limit, longest_lock_wait
from pytest_gilknock.model.locks import LIMITED_KINDS
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.render.format import error_text

if TYPE_CHECKING:
    import pytest

    from pytest_gilknock.model.blame import Blame, Hold, Victim
    from pytest_gilknock.model.wire import LockKind, PhaseRecord

SECTION = "GIL contention"
"""The heading of what is said below a failed test."""


_KINDS_OF_GATES: dict[str, tuple[LockKind, ...]] = {
    "lock_wait": LIMITED_KINDS,
    "stop_the_world": ("stop_the_world",),
}
"""The kinds of waits that a gate on locks is for, by its metric."""


def add_breach(
    report: pytest.TestReport,
    failure: BaseException,
    record: PhaseRecord,
    metric: str | None = None,
) -> None:
    """Say on a report that its test failed by a limit or a gate, for which ``failure`` was raised.

    ``record`` is what was measured, ``metric`` what is over its gate. Where no line can be found
    for it, the report says why.
    """
    attributes = report.__dict__
    attributes[wire.BREACH] = True
    try:
        attributes[wire.BLAMED] = blamed_line(record, metric)
    except Exception as error:  # it would end the run with an internal error
        words = f"the line to blame could not be found: {error_text(error)}"
        report.sections.append((SECTION, words))
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = summary_of(str(failure))


def blamed_line(record: PhaseRecord, metric: str | None = None) -> list[Any] | None:
    """Return the file and line that is most to blame, if it is the program's own.

    That is what kept others waiting longest, or for a limit or a gate on holds the place of the
    longest hold; for those on locks, where the locks were let go for which they are. ``metric`` is
    the one that is over its gate; None where limits are broken.
    """
    reading = GilReading.from_raw(record["raw"])
    broken = [Limit(*limit) for limit, breached, _ in record.get("verdicts", []) if breached]
    frame = next((row.frame for row in _rows_to_blame(reading, broken, metric)), None)
    return [frame.file, frame.line] if frame is not None and frame.own else None


def _rows_to_blame(
    reading: GilReading, broken: Sequence[Limit], metric: str | None
) -> Sequence[Blame | Hold | Victim]:
    if metric == "max_hold" or {limit.kind for limit in broken} == {"max_hold"}:
        return reading.holds
    if metric in _KINDS_OF_GATES:
        return reading.locks.blamed_of(_KINDS_OF_GATES[metric])
    if broken and all(limit.is_on_locks for limit in broken):
        _, kind = longest_lock_wait(reading, broken)
        return reading.locks.blame.get(kind) or reading.locks.victims.get(kind, ())
    return worst_places(reading)


def summary_of(failure: str) -> str:
    """Return the text of a failure for the short test summary and JUnit's message.

    That is its first line, with ``GIL:`` or ``lock:`` for what stands before the number: a line of
    a terminal has no room for more. In CI, where lines are not cut off, the whole text would stand
    there once more.
    """
    head, _, fact = failure.partition("\n")[0].partition(": ")
    return f"{head.partition(' ')[0]}: {fact}"

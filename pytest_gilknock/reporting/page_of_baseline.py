"""What the page of a saved run says: its tests in figures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import WORTH_A_ROW
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lines import heading
from pytest_gilknock.reporting.page import Details, Page, Row, pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilknock.baseline.model import Baseline, BaselineEntry

_LACKS = (
    "A saved run keeps the numbers of its tests and the place most to blame, not their threads,"
    " stacks and waits: the page that a run writes itself has them, and that of a --gil-json file."
)

_HOW = (
    "Contention is the share of the time in which some thread held the GIL, wait the time"
    " threads waited for it, all together, max wait the longest single wait."
)
_HOW_WITHOUT_GIL = (
    "The GIL was off. Wait is the time threads waited for the interpreter, all together, max wait"
    " the longest single wait."
)


def page_of_baseline(baseline: Baseline) -> Page:
    """Return the page of a saved run."""
    tests = sorted(baseline.tests.items())
    waits = _waits(entry for _, entry in tests)
    interpreter, machine = baseline.interpreter, baseline.machine
    without_gil = baseline.methods == ("disabled",)
    return Page(
        title=heading(without_gil=without_gil),
        sentence=_sentence(waits, len(tests), "the interpreter" if without_gil else "the GIL"),
        figures=[
            ("tests measured", f"{len(tests):,}"),
            ("wait", _sum(waits, len(tests))),
            ("time", units.seconds(sum(entry.wall for _, entry in tests))),
            ("method", "/".join(baseline.methods) or units.NOT_MEASURED),
            ("GIL", "enabled" if interpreter.gil_enabled else "disabled"),
            ("saved", baseline.created),
            ("Python", printable(interpreter.version)),
            ("machine", printable(f"{machine.kind}, {units.count(machine.cpus, 'CPU')}")),
            *([("commit", printable(baseline.commit.id[:12]))] if baseline.commit else []),
        ],
        notes=[("quiet", _LACKS)],
        how=[_HOW_WITHOUT_GIL if without_gil else _HOW],
        rows=[_row(nodeid, entry) for nodeid, entry in tests],
        tests=len(tests),
        batches=list(pack(_details(entry) for _, entry in tests)),
        wait=0.0,
        holders=[],
        victims=[],
        stalls=[],
        changes=None,
    )


def _waits(entries: Iterable[BaselineEntry]) -> list[float]:
    """Return the waits (s) of the tests of which they were measured."""
    return [wait for entry in entries if (wait := entry.metrics.get("wait")) is not None]


def _sum(waits: list[float], tests: int) -> str:
    """Return the sum, and of how many of the ``tests`` it is if not of all."""
    if not waits:
        return units.NOT_MEASURED
    part = f" in {len(waits):,} of {tests:,} tests" if len(waits) < tests else ""
    return f"{units.seconds(sum(waits))}{part}"


def _sentence(waits: list[float], tests: int, waited_for: str) -> str:
    if not tests:
        return "No test was measured."
    if not waits:
        return f"How long threads waited for {waited_for} was not measured."
    text = f"No test kept a thread waiting for {waited_for} for a millisecond or more."
    if waiting := [wait for wait in waits if wait >= WORTH_A_ROW]:
        waited = units.seconds(sum(waiting))
        text = f"{units.count(len(waiting), 'test')} kept threads waiting {waited}."
    if unknown := tests - len(waits):
        text += f" In {units.count(unknown, 'more test')} the waits were not measured."
    return text


def _row(nodeid: str, entry: BaselineEntry) -> Row:
    threads_known = entry.metrics.get("wait") is not None  # they are those that could wait
    return Row(
        test=printable(nodeid),
        metrics=[entry.metrics.get(metric.name) for metric in METRICS.values() if metric.shown],
        lock_wait=entry.metrics.get("lock_wait"),
        threads=entry.threads if threads_known else None,
        wall=entry.wall,
        held_by=printable(entry.blame or ""),
        flags="",
    )


def _details(entry: BaselineEntry) -> Details:
    figures = [
        (metric.title, metric.unit.printed(entry.metrics.get(metric.name)))
        for metric in METRICS.values()
    ]
    figures += [
        ("time", units.seconds(entry.wall)),
        ("held", units.seconds(entry.held)),
        ("method", entry.method),
        (f"requests of {OWN_THREAD}", f"{entry.knocks_waited} of {entry.knocks} waited"),
        ("run delay", units.seconds(entry.run_delay)),
    ]
    head = "Most to blame:" if entry.method == "disabled" else "Held by"
    return Details(figures, longest=printable(f"{head} {entry.blame}") if entry.blame else None)

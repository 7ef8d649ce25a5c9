"""What the page of a run says of one test: its row, and what is shown once it is opened. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import worst_places
from pytest_gilknock.model.locks import KIND_NAMES, ended_by
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import shows_locks, thread_count
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lock_lines import lock_lines, worst_text
from pytest_gilknock.render.place_text import NO_FRAME, frame_text, frames_shown, place_text
from pytest_gilknock.render.places import longest_wait_text
from pytest_gilknock.render.reading_text import convoy_text
from pytest_gilknock.reporting.page import MOST_HOLDS, Details, Row, Stacks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_gilknock.model.blame import StackPart
    from pytest_gilknock.model.convoy import Convoy
    from pytest_gilknock.model.longest_wait import LongestWait
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.stack import Stack
    from pytest_gilknock.reporting.results import PhaseResult

MOST_STACKS = 60
"""Stacks in one flame graph of a test; those least waited for are left out."""


def row_of(test: PhaseResult, reading: GilReading, convoy: Convoy | None, root: str) -> Row:
    """Return the row of a test in the table."""
    rows = worst_places(reading)
    flags = [
        "breach" if test.breached else "caveat" if test.verdicts else "",
        "convoy" if convoy is not None else "",
        "failed" if test.outcome == "failed" else "",
    ]
    return Row(
        metrics=[metric.of(reading) for metric in METRICS.values() if metric.shown],
        lock_wait=reading.locks.lock_wait,
        threads=thread_count(reading),
        wall=reading.wall,
        held_by=place_text(rows[0].place, root) if rows else "",
        test=printable(test.name),
        flags=" ".join(filter(None, flags)),
    )


def details_of(
    test: PhaseResult,
    reading: GilReading,
    convoy: Convoy | None,
    timeline: dict[str, Any] | None,
    root: str,
) -> Details:
    """Return what is shown of a test once it is opened."""
    waits = _waits_of(reading)
    own = {frame for part in (*waits.blame, *waits.victims) for frame in part.frames if frame.own}
    return Details(
        figures=list(_figures(test, reading)),
        longest=_longest(waits, root),
        convoy=printable(convoy_text(convoy)) if convoy else None,
        verdicts=[(printable(verdict.fact), verdict.breached) for verdict in test.verdicts],
        threads=[
            (
                printable(thread.label),
                thread.held,
                thread.wait,
                thread.max_wait,
                thread.acquisitions,
                thread.contended,
            )
            for thread in reading.busiest_threads
        ],
        holds=[
            (
                place_text(hold.place, root),
                hold.longest,
                hold.count,
                hold.held,
                printable(hold.thread_label),
            )
            for hold in reading.holds[:MOST_HOLDS]
        ],
        locks=list(lock_lines(reading.locks, root)),
        by_knocks=waits.by_knocks,
        waited_for=waits.waited_for,
        blame=_stacks(waits.blame, root),
        victims=_stacks(waits.victims, root),
        own=sorted({frame_text(frame, root) for frame in own}),
        waits=reading.wait_histogram or (),
        timeline=timeline,
    )


class _Waits(NamedTuple):
    """The waits that flame graphs are drawn of, for the GIL or what is there in its place."""

    blame: list[StackPart]
    victims: list[StackPart]
    longest: LongestWait | None
    by_knocks: bool = False
    waited_for: str | None = None
    ended_by: str = "kept by"


def _longest(waits: _Waits, root: str) -> str | None:
    if waits.longest is None:
        return None
    return longest_wait_text(waits.longest, root, ended_by=waits.ended_by)


def _waits_of(reading: GilReading) -> _Waits:
    """Return the waits for the GIL, of knocks if of no thread; where it is off, for locks.

    Those for locks are of the kind that was waited for most.
    """
    if reading.method == "disabled" and reading.locks.worst is not None:
        kind, _ = reading.locks.worst
        return _Waits(
            [part for row in reading.locks.blame.get(kind, ()) for part in row.stacks],
            [part for row in reading.locks.victims.get(kind, ()) for part in row.stacks],
            reading.locks.longest_waits.get(kind),
            waited_for=KIND_NAMES[kind],
            ended_by=ended_by(kind),
        )
    blame = [part for row in reading.blame for part in row.stacks]
    by_knocks = reading.method != "disabled" and not any(part.waited for part in blame)
    if by_knocks:
        blame = [part._replace(waited=part.knock_waited) for part in blame]
    victims = [part for row in reading.victims for part in row.stacks]
    return _Waits(blame, victims, reading.longest_wait, by_knocks=by_knocks)


def _figures(test: PhaseResult, reading: GilReading) -> Iterator[tuple[str, str]]:
    yield "outcome", printable(test.outcome)
    yield "time", units.seconds(reading.wall)
    yield "contention", units.share(reading.contention)
    yield "wait", units.seconds(METRICS["wait"].of(reading))
    yield "longest wait", units.seconds(METRICS["max_wait"].of(reading))
    if shows_locks(reading):
        yield "mostly for", worst_text(reading.locks)
    if reading.hand_over:
        yield "hand-over", units.seconds(reading.hand_over)
    if reading.unlooked:
        yield "nobody looked", units.seconds(reading.unlooked)
    looks = sum(row.looks for row in reading.blame)
    if reading.method == "disabled":
        return
    yield "looks", str(looks) if reading.blame_method != "none" else units.NOT_MEASURED
    if reading.knocks:
        yield f"requests of {OWN_THREAD}", f"{reading.knocks_waited} of {reading.knocks} waited"


def _stacks(parts: Iterable[StackPart], root: str) -> Stacks:
    """Return (texts of the frames, outermost first; seconds), the most waited for first."""
    most = sorted(parts, key=lambda part: -part.waited)[:MOST_STACKS]
    return [(_frames(part.frames, root), part.waited) for part in most if part.waited > 0.0]


def _frames(stack: Stack, root: str) -> list[str]:
    """Return texts of the frames, outermost first; pytest's own around the test become one."""
    texts = [frame_text(frame, root) for frame in reversed(frames_shown(stack))] or [NO_FRAME]
    callee = next((frame.callee for frame in stack if frame.callee), None)
    return texts if callee is None else [*texts, f"({printable(callee)})"]
